//! Consumers.

use std::sync::Arc;

use super::connection::ChannelRef;
use super::sources::Views;
use crate::broker::queue::{ConsumerInfo, Queue};
use crate::model::Name;

/// A consumer of a queue.
#[derive(Clone, Debug)]
pub struct ConsumerView {
    pub vhost: Name,
    pub queue: Name,
    /// `None` if its connection has just ended.
    pub channel: Option<ChannelRef>,
    pub info: ConsumerInfo,
    pub activity: Activity,
}

/// Whether a consumer gets deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    Up,
    /// It is the single active consumer.
    SingleActive,
    /// It waits behind the single active consumer.
    Waiting,
}

impl Activity {
    /// RabbitMQ's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Activity::Up => "up",
            Activity::SingleActive => "single_active",
            Activity::Waiting => "waiting",
        }
    }
}

impl Views {
    /// The consumers of a virtual host, ordered by queue; none without that virtual host.
    pub fn consumers(&self, vhost: &str) -> Vec<ConsumerView> {
        let queues = self.vhost_of(vhost).map(|vhost| vhost.queues());
        let queues = queues.unwrap_or_default();
        let consumers = |queue: &Arc<Queue>| self.consumers_of(vhost, queue);
        queues.iter().flat_map(consumers).collect()
    }

    /// The consumers of one queue; `None` without such a queue.
    pub fn queue_consumers(&self, vhost: &str, queue: &str) -> Option<Vec<ConsumerView>> {
        let queue = self.vhost_of(vhost)?.queue(queue)?;
        Some(self.consumers_of(vhost, &queue))
    }

    fn consumers_of(&self, vhost: &str, queue: &Queue) -> Vec<ConsumerView> {
        let vhost = Name::from(vhost);
        let is_single = queue.arguments().single_active_consumer;
        let consumers = queue.consumers().into_iter();
        let view = |info: ConsumerInfo| ConsumerView {
            vhost: vhost.clone(),
            queue: queue.name().clone(),
            channel: self.channel_ref(info.connection, info.channel),
            activity: match (is_single, info.active) {
                (false, _) => Activity::Up,
                (true, true) => Activity::SingleActive,
                (true, false) => Activity::Waiting,
            },
            info,
        };
        consumers.map(view).collect()
    }
}
