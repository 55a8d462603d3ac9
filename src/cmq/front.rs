//! The front door as a whole: what all listeners and connections share. How a request is read is in `http`, what it
//! does in `actions`.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::attributes::AllAttributes;
use super::body_budget::BodyBudget;
use super::connection;
use super::ids::IdSource;
use super::limits::{CmqConfig, DENIED_LOGGED_EVERY, DENIED_LOGGED_MAX, LARGE_KIB_MAX, STAMP_MS};
use super::push::Resolver;
use super::queue_lookup::QueueLookup;
use super::rate_limits::RateLimits;
use super::recently_deleted::RecentlyDeleted;
use super::replay::Replays;
use super::topics::Topics;
use crate::accept::Places;
use crate::broker::alarms::Alarms;
use crate::broker::broker::Broker;
use crate::model::QueueId;
use crate::seldom::Seldom;
use crate::store::StoreError;

/// What all connections share, over all listeners.
pub struct Front {
    pub(super) broker: Arc<Broker>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) config: CmqConfig,
    pub(super) replays: Replays,
    pub(super) rate_limits: RateLimits,
    pub(super) recently_deleted: RecentlyDeleted,
    /// Attributes of queues.
    pub(super) attributes: AllAttributes,
    /// Topics and subscriptions.
    pub(super) topics: Topics,
    /// Held by whoever changes queues or topics through the API: what is checked stays so until it is done.
    pub(super) changes: Mutex<()>,
    /// Ids of messages that are sent here.
    pub(super) message_ids: IdSource,
    /// Ids of requests.
    pub(super) request_ids: IdSource,
    /// BodyBudget for large requests.
    pub(super) request_bodies: BodyBudget,
    /// BodyBudget for large answers, in KiB.
    pub(super) large_responses: Arc<Semaphore>,
    /// Topics and queues whose names clients write in other letters.
    pub(super) queue_lookup: QueueLookup,
    /// What looks up the names of endpoints.
    pub(super) resolver: Arc<Resolver>,
    /// Lines of the log on requests that were denied.
    pub(super) denied: Seldom,
    places: Places,
}

impl Front {
    /// A front door to the broker, which takes no messages while one of the alarms is on.
    ///
    /// # Errors
    /// When what is stored about queues cannot be read.
    pub fn open(
        broker: Arc<Broker>,
        alarms: Arc<Alarms>,
        config: CmqConfig,
    ) -> Result<Arc<Front>, StoreError> {
        let committer = broker.committer();
        let (attributes, mut left_over) =
            AllAttributes::load(&**committer.store(), &all_queues(&broker))?;
        let (topics, without_topic) = Topics::load(&**committer.store())?;
        left_over.extend(without_topic);
        left_over.extend(topics.tidy(&broker));
        if let Err(error) = topics.bind_all(&broker) {
            tracing::warn!(%error, "not all subscriptions are bound");
        }
        if !left_over.is_empty() {
            // Not waited for: if it does not happen, it will at the next start.
            committer.append(left_over);
        }
        // Never before an id that an earlier run gave out.
        let now_ms = broker.clock().now_ms();
        // A time stamp is accepted from so long before our clock until so long after; if any is, as many signatures
        // are remembered as may be.
        let window_ms = match config.clock_skew_ms {
            0 => u64::MAX,
            // It is cut to its second, which counts for it at both ends.
            skew => skew.saturating_add(STAMP_MS).saturating_mul(2),
        };
        let large = usize::try_from(LARGE_KIB_MAX).unwrap_or(usize::MAX);
        Ok(Arc::new(Front {
            broker,
            alarms,
            replays: Replays::new(config.replays_max, window_ms),
            rate_limits: RateLimits::new(config.requests_max),
            recently_deleted: RecentlyDeleted::new(config.name_rest),
            attributes,
            changes: Mutex::new(()),
            message_ids: IdSource::starting_at(now_ms).beyond(topics.highest_id()),
            topics,
            request_ids: IdSource::starting_at(now_ms),
            request_bodies: BodyBudget::new(u64::from(LARGE_KIB_MAX) * 1024),
            large_responses: Arc::new(Semaphore::new(large)),
            queue_lookup: QueueLookup::default(),
            resolver: Arc::default(),
            denied: Seldom::new(DENIED_LOGGED_MAX, DENIED_LOGGED_EVERY),
            places: Places::new("CMQ", config.connections, config.newcomer_timeout),
            config,
        }))
    }

    /// Forgets everything that was deleted over AMQP.
    pub(super) fn tidy(&self) {
        let _changes = self.changes.lock();
        self.tidy_topics();
        let ops = self.attributes.tidy(&all_queues(&self.broker));
        if !ops.is_empty() {
            // Not waited for: if it does not happen, it will at the next start.
            self.broker.committer().append(ops);
        }
    }

    /// Forgets topics and subscriptions that were deleted over AMQP. Called with `changes` held.
    pub(super) fn tidy_topics(&self) {
        let ops = self.topics.tidy(&self.broker);
        if !ops.is_empty() {
            // Not waited for: if it does not happen, it will at the next start.
            self.broker.committer().append(ops);
        }
    }

    /// Accepts connections until `stopped` is true (or its sender is gone), then returns when the last connection has
    /// ended: requests that wait are answered at once, and no further one is read. Dropping this future drops all.
    pub async fn serve(self: Arc<Front>, listener: TcpListener, stopped: watch::Receiver<bool>) {
        let serve_one = |stream, peer: SocketAddr, place| {
            let front = Arc::clone(&self);
            let stopped = stopped.clone();
            connection::serve(front, stream, peer.ip(), place, stopped)
        };
        self.places
            .serve(listener, stopped.clone(), serve_one)
            .await;
    }
}

fn all_queues(broker: &Broker) -> HashSet<QueueId> {
    let vhosts = broker.vhost_list();
    let queues = vhosts.iter().flat_map(|vhost| vhost.queues());
    queues.map(|queue| queue.id()).collect()
}
