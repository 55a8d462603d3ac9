//! Queues.

use std::sync::Arc;

use super::consumer::{Activity, ConsumerView};
use super::history::Subject;
use super::sources::Views;
use crate::broker::connections::ConnectionInfo;
use crate::broker::queue::{Counts, Queue, QueueSpec};
use crate::broker::stats::MessageStats;
use crate::model::Name;
use crate::model::arguments::QueueArguments;
use crate::model::effective::{Given, Setting};
use crate::model::policy::Applied;

/// A queue.
#[derive(Clone, Debug)]
pub struct QueueView {
    pub vhost: Name,
    /// Name, properties and declared arguments.
    pub spec: QueueSpec,
    /// What was given to it besides the declared arguments: policies and overrides.
    pub given: Given,
    /// The effective arguments.
    pub arguments: Arc<QueueArguments>,
    pub counts: Counts,
    pub state: QueueState,
    /// The connection that owns it, if it is exclusive and that connection is still open.
    pub owner: Option<Arc<ConnectionInfo>>,
    pub message_stats: MessageStats,
    /// Since when nothing has happened in it: Unix milliseconds. `None` if something has just happened.
    pub idle_since_ms: Option<u64>,
    /// The `timestamp` property of its first message, if that is in memory.
    pub head_timestamp: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueState {
    Running,
    /// Some of its messages are on disk and cannot be read.
    Damaged,
}

impl QueueState {
    pub fn as_str(self) -> &'static str {
        match self {
            QueueState::Running => "running",
            QueueState::Damaged => "damaged",
        }
    }
}

impl QueueView {
    /// The opaque "process id".
    pub fn pid(&self) -> String {
        format!("<leveret.2.{}.0>", self.spec.id.0)
    }

    /// The policies that apply.
    pub fn policies(&self) -> &Applied {
        &self.given.policies
    }

    /// Every value that was given and holds, with its source.
    pub fn settings(&self) -> Vec<Setting> {
        self.given.settings(&self.spec.arguments)
    }

    /// Names it for its history.
    pub fn subject(&self) -> Subject {
        Subject::Queue {
            vhost: self.vhost.clone(),
            name: self.spec.name.clone(),
        }
    }

    /// Ready and unacked messages.
    pub fn messages(&self) -> u64 {
        self.counts.ready.saturating_add(self.counts.unacked)
    }

    /// Bytes of the bodies of ready and unacked messages.
    pub fn message_bytes(&self) -> u64 {
        let Counts {
            ready_bytes,
            unacked_bytes,
            ..
        } = self.counts;
        ready_bytes.saturating_add(unacked_bytes)
    }
}

impl Views {
    /// The queues of a virtual host, ordered by name; none without that virtual host.
    pub fn queues(&self, vhost: &str) -> Vec<QueueView> {
        let Some(vhost) = self.vhost_of(vhost) else {
            return Vec::new();
        };
        let all = vhost.queues();
        let view = |queue: &Arc<Queue>| self.queue_view(vhost.name(), queue);
        all.iter().map(view).collect()
    }

    pub fn queue(&self, vhost: &str, name: &str) -> Option<QueueView> {
        let vhost = self.vhost_of(vhost)?;
        let queue = vhost.queue(name)?;
        Some(self.queue_view(vhost.name(), &queue))
    }

    /// The consumer that consumes exclusively, if there is one.
    pub fn exclusive_consumer(&self, queue: &QueueView) -> Option<ConsumerView> {
        let mut consumers = self.consumers_of_view(queue).into_iter();
        consumers.find(|consumer| consumer.info.exclusive)
    }

    /// The single active consumer of a queue that has such consumers.
    pub fn single_active_consumer(&self, queue: &QueueView) -> Option<ConsumerView> {
        let mut consumers = self.consumers_of_view(queue).into_iter();
        consumers.find(|consumer| consumer.activity == Activity::SingleActive)
    }

    fn consumers_of_view(&self, queue: &QueueView) -> Vec<ConsumerView> {
        match queue.counts.consumers {
            0 => Vec::new(),
            _ => self
                .queue_consumers(&queue.vhost, &queue.spec.name)
                .unwrap_or_default(),
        }
    }

    /// A queue of this virtual host.
    pub fn queue_view(&self, vhost: &Name, queue: &Queue) -> QueueView {
        let counts = queue.counts();
        let owner = queue.spec().exclusive_owner;
        QueueView {
            vhost: vhost.clone(),
            spec: queue.spec().clone(),
            given: queue.given(),
            arguments: queue.arguments(),
            counts,
            state: match counts.damaged {
                0 => QueueState::Running,
                _ => QueueState::Damaged,
            },
            owner: owner.and_then(|owner| self.connection_info(owner)),
            message_stats: queue.stats().messages(),
            idle_since_ms: self.idle_since_ms(queue.last_active()),
            head_timestamp: queue.head_timestamp(),
        }
    }
}
