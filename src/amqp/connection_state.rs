//! The state of a connection that its channels work with: shared parts of the broker, the output, the method
//! that waits for something, and counts over all channels. Decides nothing.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::assembly::Assembling;
use super::channel::{Channel, Phase};
use super::consumers::ConsumerChannels;
use super::error::Handled;
use super::front::Front;
use super::handshake::Capabilities;
use super::method_id::MethodId;
use super::outbox::Outbox;
use super::unsynced::Unsynced;
use super::writer::Writer;
use crate::auth::AuthUser;
use crate::broker::error::BrokerError;
use crate::broker::queue::Queue;
use crate::broker::session::Session;
use crate::broker::stats::PublishCounts;
use crate::broker::users::{Answer, RenewalError};
use crate::clock::{Clock, Moment};
use crate::model::Name;
use crate::store::commit::Committer;
use crate::wire::{self, AMQPClass};

/// Parts of a connection that never change after its handshake.
pub(crate) struct Context {
    /// The connection's name in the log.
    pub(crate) name: Name,
    pub(crate) peer: IpAddr,
    pub(crate) session: Arc<Session>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) front: Arc<Front>,
    pub(crate) committer: Arc<Committer>,
    /// The largest frame, in bytes.
    pub(crate) frame_max: u32,
    /// Maximum number of open channels.
    pub(crate) channel_max: u16,
    pub(crate) client: Capabilities,
}

impl Context {
    /// When the secret of the user expires, if it does.
    pub(super) fn expiry(&self) -> Option<Instant> {
        let at_ms = self.session.logged_in().expires_at_ms()?;
        let left_ms = at_ms.saturating_sub(self.session.clock().wall_ms());
        Instant::now().checked_add(Duration::from_millis(left_ms))
    }
}

/// The rest of a method, run when the event that it waits for has happened.
pub(crate) type Continuation =
    Box<dyn FnOnce(&mut Channel, &mut ConnectionState) -> Handled + Send>;

/// What has become of a method that has waited.
pub(crate) enum Rest {
    OfChannel(Continuation),
    /// The new secret of the connection's user is accepted or refused.
    NewSecret(Result<Arc<AuthUser>, RenewalError>),
}

/// A method that waits for something. Until then the connection handles no further frame.
pub(crate) struct PendingMethod {
    pub(crate) channel: u16,
    pub(crate) method: MethodId,
    pub(crate) future: Pin<Box<dyn Future<Output = Rest> + Send>>,
}

pub(crate) struct ConnectionState {
    pub(crate) shared: Context,
    pub(crate) out: Writer,
    /// The method being handled.
    pub(crate) method: MethodId,
    pub(crate) pending: Option<PendingMethod>,
    pub(crate) consumers: ConsumerChannels,
    pub(crate) assembling: Assembling,
    /// Channels with work left for the end of the batch of frames.
    pub(crate) to_flush: Vec<u16>,
    /// Channels with confirms to come.
    pub(crate) confirming: Vec<u16>,
    /// Channels with deliveries in the output.
    pub(crate) delivering: Vec<u16>,
    /// The client has published, or the firehose has copied what it was sent.
    pub(crate) has_published: bool,
    pub(crate) unsynced: Unsynced,
    /// A full queue that takes no further publishes from this connection for now.
    pub(crate) full_queue: Option<Arc<Queue>>,
    /// Publishes and confirms of this batch of frames.
    pub(crate) published: PublishCounts,
    /// Size of the buffer that the current frames were read into.
    pub(crate) read_buffer: usize,
    opened: Instant,
    /// No delivery goes back to its queue before, in milliseconds since the connection was opened.
    ack_due_ms: Option<u64>,
}

impl ConnectionState {
    pub(crate) fn new(shared: Context, read_buffer: usize) -> ConnectionState {
        ConnectionState {
            shared,
            out: Writer::default(),
            method: MethodId::NONE,
            pending: None,
            consumers: ConsumerChannels::default(),
            assembling: Assembling::default(),
            to_flush: Vec::new(),
            confirming: Vec::new(),
            delivering: Vec::new(),
            has_published: false,
            unsynced: Unsynced::default(),
            full_queue: None,
            published: PublishCounts::default(),
            read_buffer,
            opened: Instant::now(),
            ack_due_ms: None,
        }
    }

    /// Resets all counts and lists of channels, once the channels are closed.
    pub(crate) fn forget_channels(&mut self) {
        self.consumers = ConsumerChannels::default();
        self.assembling = Assembling::default();
        self.to_flush = Vec::new();
        self.confirming = Vec::new();
        self.delivering = Vec::new();
        self.has_published = false;
        self.unsynced = Unsynced::default();
        self.full_queue = None;
        self.ack_due_ms = None;
    }

    /// Notes a queue that holds the connection back, if there is one. A connection that consumes from the full queue goes
    /// on: while it is not read it could not ack, and the queue might never have room.
    pub(crate) fn hold_back(&mut self, full: Option<&Arc<Queue>>) {
        let me = self.shared.session.connection;
        let consumes = |queue: &Arc<Queue>| {
            let consumers = queue.consumers();
            consumers.iter().any(|consumer| consumer.connection == me)
        };
        if let Some(queue) = full.filter(|queue| !consumes(queue)) {
            self.full_queue = Some(Arc::clone(queue));
        }
    }

    /// Sends a method.
    pub(crate) fn send(&mut self, channel: u16, method: AMQPClass) {
        wire::encode_method(self.out.buffer(), channel, &method);
    }

    /// Runs the rest of the method being handled when `future` is ready.
    pub(crate) fn wait_for(
        &mut self,
        channel: &Channel,
        future: impl Future<Output = Continuation> + Send + 'static,
    ) {
        debug_assert!(self.pending.is_none(), "one method waits at a time");
        self.pending = Some(PendingMethod {
            channel: channel.number,
            method: self.method,
            future: Box::pin(async move { Rest::OfChannel(future.await) }),
        });
    }

    /// Runs the rest of the method being handled if the user may do what was asked; waits for the answer if need be.
    pub(crate) fn when_permitted(
        &mut self,
        channel: &mut Channel,
        answer: Answer,
        rest: impl FnOnce(&mut Channel, &mut ConnectionState) -> Handled + Send + 'static,
    ) -> Handled {
        match answer {
            Answer::Known(permitted) => {
                permitted.map_err(BrokerError::from)?;
                rest(channel, self)
            }
            Answer::Asked(asked) => {
                self.wait_for(channel, async move {
                    let permitted = asked.await.map_err(BrokerError::from);
                    then(move |channel, connection| {
                        permitted?;
                        match channel.phase {
                            Phase::Open => rest(channel, connection),
                            // The broker has closed the channel meanwhile.
                            Phase::Closing | Phase::Crossed => Ok(()),
                        }
                    })
                });
                Ok(())
            }
        }
    }

    /// Counts the publishes and confirms of a batch for the virtual host.
    pub(crate) fn count_published(&mut self) {
        self.published.flush(self.shared.session.vhost.stats());
    }

    /// A delivery goes back to its queue at this time, unless it is acked before.
    pub(crate) fn expect_ack_by(&mut self, due_ms: u64) {
        self.ack_due_ms = Some(self.ack_due_ms.map_or(due_ms, |due| due.min(due_ms)));
    }

    /// When the first delivery may go back to its queue.
    pub(crate) fn ack_deadline(&self) -> Option<Instant> {
        self.opened
            .checked_add(Duration::from_millis(self.ack_due_ms?))
    }

    /// Whether the first delivery may have to go back to its queue by now. Forgets its time then.
    pub(crate) fn take_ack_due(&mut self, now_ms: u64) -> bool {
        self.ack_due_ms
            .take_if(|due_ms| *due_ms <= now_ms)
            .is_some()
    }

    /// Milliseconds since the connection was opened.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn clock(&self) -> &Clock {
        self.shared.session.clock()
    }

    /// Wall-clock time of a moment, as clients see it.
    pub(crate) fn wall_ms_at(&self, moment: Moment) -> u64 {
        self.clock().wall_ms_at(moment)
    }
}

/// Boxes the rest of a method.
pub(crate) fn then(
    rest: impl FnOnce(&mut Channel, &mut ConnectionState) -> Handled + Send + 'static,
) -> Continuation {
    Box::new(rest)
}
