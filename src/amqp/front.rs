//! The AMQP front door: settings, and the state that all its connections share.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::assembly_budget::AssemblyBudget;
use super::direct_reply_to::Requesters;
use super::handshake;
use super::limits::{ASSEMBLING_BYTES_MAX, REFUSALS_LOGGED_EVERY, REFUSALS_LOGGED_MAX};
use super::route_cache::RouteQuota;
use super::sasl::Mechanism;
use crate::broker::alarms::Alarms;
use crate::broker::broker::Broker;
use crate::net::{Acceptor, Capacity, LoginFrom};
use crate::seldom::Seldom;

/// An operator's settings for connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest `channel-max` that a client may ask for.
    pub channel_max: u16,
    /// The largest frame, in bytes.
    pub frame_max: u32,
    /// The heartbeat suggested to clients, in seconds; 0 is none.
    pub heartbeat_secs: u16,
    /// The largest message body, in bytes.
    pub message_bytes_max: u64,
    /// How long a delivery may stay unacked, in milliseconds; `None` is for ever.
    pub consumer_timeout_ms: Option<u64>,
    /// Maximum number of open connections, and of those in their handshake.
    pub connections: Capacity,
    /// From the accepted socket to `connection.open-ok`.
    pub handshake_timeout: Duration,
    /// The product name in `connection.start`.
    pub server_product: String,
    /// How clients may log in, in the order of the offer.
    pub mechanisms: Vec<Mechanism>,
    /// Where in a client's certificate the name of its user stands.
    pub login_from: LoginFrom,
}

impl Settings {
    /// What a handshake needs of them.
    pub(super) fn handshake(&self) -> handshake::Settings {
        handshake::Settings {
            channel_max: self.channel_max,
            frame_max: self.frame_max,
            heartbeat: self.heartbeat_secs,
            product: self.server_product.clone(),
            mechanisms: self.mechanisms.clone(),
        }
    }
}

/// State that all connections share, over all listeners.
pub struct Front {
    pub(super) broker: Arc<Broker>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) settings: Settings,
    pub(super) requesters: Arc<Requesters>,
    pub(super) routes: Arc<RouteQuota>,
    pub(super) assembling: Arc<AssemblyBudget>,
    handshake: Mutex<Arc<handshake::Settings>>,
    /// In milliseconds; 0 is for ever.
    consumer_timeout_ms: AtomicU64,
    pub(super) acceptor: Acceptor,
    pub(super) logins_refused: Seldom,
    pub(super) peers_refused: Seldom,
}

impl Front {
    /// A front door to the broker, which stops publishers while one of the alarms is on.
    pub fn new(broker: Arc<Broker>, alarms: Arc<Alarms>, settings: Settings) -> Arc<Front> {
        let handshake = Arc::new(settings.handshake());
        let acceptor = Acceptor::new("AMQP", settings.connections, settings.handshake_timeout);
        let message_max = usize::try_from(settings.message_bytes_max).unwrap_or(usize::MAX);
        let consumer_timeout_ms = AtomicU64::new(settings.consumer_timeout_ms.unwrap_or(0));
        Arc::new(Front {
            consumer_timeout_ms,
            broker,
            alarms,
            settings,
            requesters: Arc::default(),
            routes: Arc::default(),
            assembling: AssemblyBudget::new(ASSEMBLING_BYTES_MAX, message_max),
            handshake: Mutex::new(handshake),
            acceptor,
            logins_refused: Seldom::new(REFUSALS_LOGGED_MAX, REFUSALS_LOGGED_EVERY),
            peers_refused: Seldom::new(REFUSALS_LOGGED_MAX, REFUSALS_LOGGED_EVERY),
        })
    }

    /// Sets the largest `channel-max` of connections that are opened from now on, until the next start.
    pub fn set_channel_max(&self, channel_max: NonZeroU16) {
        let mut handshake = self.handshake.lock();
        *handshake = Arc::new(handshake::Settings {
            channel_max: channel_max.get(),
            ..handshake::Settings::clone(&handshake)
        });
    }

    /// Sets the maximum number of open connections. Connections beyond a lower one stay open.
    pub fn set_connection_max(&self, max: usize) {
        self.acceptor.set_authenticated_max(max);
    }

    /// Sets the heartbeat and the largest frame that connections are offered from now on.
    pub fn set_tuning(&self, heartbeat: u16, frame_max: u32) {
        let mut handshake = self.handshake.lock();
        *handshake = Arc::new(handshake::Settings {
            heartbeat,
            frame_max,
            ..handshake::Settings::clone(&handshake)
        });
    }

    /// Sets how long deliveries may stay unacked, those under way included; zero is for ever.
    pub fn set_consumer_timeout(&self, timeout: Duration) {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.consumer_timeout_ms
            .store(timeout_ms, Ordering::Relaxed);
    }

    pub(super) fn consumer_timeout_ms(&self) -> Option<u64> {
        let timeout_ms = self.consumer_timeout_ms.load(Ordering::Relaxed);
        (timeout_ms > 0).then_some(timeout_ms)
    }

    pub(super) fn handshake(&self) -> Arc<handshake::Settings> {
        Arc::clone(&self.handshake.lock())
    }
}
