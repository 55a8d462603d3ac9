//! What all requests and push workers of the API share: the broker, the API's own records of queues and topics, and
//! what bounds the requests.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};

use super::attributes::AllAttributes;
use super::body_budget::BodyBudget;
use super::config::CmqConfig;
use super::ids::IdSource;
use super::limits::{DENIED_LOGGED_EVERY, DENIED_LOGGED_MAX, LARGE_KIB_MAX, STAMP_MS};
use super::push::Resolver;
use super::queue_lookup::QueueLookup;
use super::rate_limits::RateLimits;
use super::recently_deleted::RecentlyDeleted;
use super::replay::Replays;
use super::topics::Topics;
use crate::broker::alarms::Alarms;
use crate::broker::broker::{Broker, OpenError};
use crate::model::QueueId;
use crate::seldom::Seldom;
use crate::store::StoreFailed;

pub(super) struct Api {
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
    /// Held while a handler changes queues or topics: what it has checked stays true until it has acted.
    pub(super) changes: Mutex<()>,
    /// Ids of messages, topics and subscriptions.
    pub(super) message_ids: IdSource,
    pub(super) request_ids: IdSource,
    /// Memory for the bodies of large requests.
    pub(super) request_bodies: BodyBudget,
    /// Memory for large responses, in KiB.
    pub(super) large_responses: Arc<Semaphore>,
    pub(super) queue_lookup: QueueLookup,
    /// Looks up the host names of endpoints.
    pub(super) resolver: Arc<Resolver>,
    /// Log lines about requests that were denied.
    pub(super) denied: Seldom,
}

impl Api {
    /// Reads the records, removes those of queues and topics that are gone, and completes bindings that a crash cut
    /// short.
    pub(super) async fn open(
        broker: Arc<Broker>,
        alarms: Arc<Alarms>,
        config: CmqConfig,
    ) -> Result<Arc<Api>, OpenError> {
        let committer = broker.committer();
        let attributes = AllAttributes::load(&**committer.store())?;
        let topics = Topics::load(&**committer.store())?;
        let tidied = attributes.tidy(&all_queues(&broker));
        tidied.commit(committer).await?;
        topics.tidy(&broker).await?;
        if let Err(error) = topics.bind_all(&broker).await {
            tracing::warn!(%error, "not all subscriptions are bound");
        }
        let now_ms = broker.clock().now_ms();
        // A time stamp is accepted from the skew before our clock until the skew after it. If any time stamp is
        // accepted, only the maximum number of signatures bounds the memory.
        let window_ms = match config.clock_skew_ms {
            0 => u64::MAX,
            // A time stamp lacks its fraction of a second, which counts at both ends.
            skew => skew.saturating_add(STAMP_MS).saturating_mul(2),
        };
        let large = usize::try_from(LARGE_KIB_MAX).unwrap_or(usize::MAX);
        Ok(Arc::new(Api {
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
            config,
        }))
    }

    /// Forgets the attributes, topics and subscriptions of what was deleted over AMQP.
    pub(super) async fn tidy(&self) -> Result<(), StoreFailed> {
        let _changes = self.changes.lock().await;
        self.topics.tidy(&self.broker).await?;
        let tidied = self.attributes.tidy(&all_queues(&self.broker));
        tidied.commit(self.broker.committer()).await
    }
}

fn all_queues(broker: &Broker) -> HashSet<QueueId> {
    let vhosts = broker.vhost_list();
    let queues = vhosts.iter().flat_map(|vhost| vhost.queues());
    queues.map(|queue| queue.id()).collect()
}
