//! One authenticated request as the handlers of the actions see it: its parameters, and the queues and topics that they
//! name, as far as the caller has a right to them.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::action::Action;
use super::api::Api;
use super::authentication::Caller;
use super::error::CmqError;
use super::filter::FilterKind;
use super::parameters::Parameters;
use super::response::{RequestId, Response};
use super::response_body::OnSent;
use super::topics::{PUSH_QUEUE, Subscription, Topic, TopicId};
use crate::broker::permissions::{Permission, ResourceKind};
use crate::broker::queue::Queue;
use crate::broker::stats::{Protocol, Published, Sizes};
use crate::clock::Clock;
use crate::model::arguments::QueueKind;
use crate::model::{Message, Ticket};

pub(super) struct Call<'a> {
    pub(super) api: &'a Api,
    pub(super) caller: Caller,
    pub(super) parameters: &'a Parameters<'a>,
    pub(super) request: RequestId,
    /// The address of the client.
    pub(super) peer: IpAddr,
    /// Turns true when the broker stops: then no request waits any longer.
    pub(super) stopped: watch::Receiver<bool>,
}

/// A response, and what happens when it has left.
pub(super) struct Reply {
    pub(super) response: Response,
    pub(super) on_sent: Option<OnSent>,
}

impl From<Response> for Reply {
    fn from(response: Response) -> Reply {
        Reply {
            response,
            on_sent: None,
        }
    }
}

/// The result of an action.
pub(super) type Outcome = Result<Reply, CmqError>;

impl Call<'_> {
    /// A response of success that has no fields yet.
    pub(super) fn success(&self) -> Response {
        Response::success(self.request)
    }

    pub(super) fn clock(&self) -> &Clock {
        self.api.broker.clock()
    }

    /// Wall-clock time in seconds since 1970: clients are shown no other time.
    pub(super) fn now_secs(&self) -> u64 {
        self.clock().wall_ms() / 1000
    }

    /// Waits until a change is on disk.
    pub(super) async fn durable(&self, ticket: Option<Ticket>) -> Result<(), CmqError> {
        match ticket {
            Some(ticket) => Ok(self.api.broker.committer().wait(ticket).await?),
            None => Ok(()),
        }
    }

    /// Counts messages that the caller has sent, and their copies in queues.
    pub(super) fn count_sent(&self, messages: &[Arc<Message>], copies: usize) {
        let mut sizes = Sizes::default();
        let bodies = messages.iter().map(|message| message.body.len());
        bodies.for_each(|bytes| sizes.observe(bytes as u64, 1));
        let count = messages.len() as u64;
        let published = Published {
            received: count,
            received_confirm: count,
            routed: copies as u64,
            ..Published::default()
        };
        let stats = self.caller.vhost.stats();
        stats.count_published(Protocol::Cmq, &published, &sizes);
    }

    /// Counts sent messages that are on disk.
    pub(super) fn count_confirmed(&self, messages: usize) {
        let published = Published {
            confirmed: messages as u64,
            ..Published::default()
        };
        let stats = self.caller.vhost.stats();
        stats.count_published(Protocol::Cmq, &published, &Sizes::default());
    }

    /// Refuses if the queue or topic `id` had too many requests of this action in this second.
    pub(super) fn within_rate_limit(&self, action: Action, id: u64) -> Result<(), CmqError> {
        let now_ms = self.clock().now_ms();
        match self.api.rate_limits.admits(action, id, now_ms) {
            true => Ok(()),
            false => Err(CmqError::Throttled),
        }
    }
}

/// Queues.
impl Call<'_> {
    /// The queue that `queueName` names. Refuses unless the caller has `permission` on it.
    pub(super) fn queue(&self, permission: Permission) -> Result<Arc<Queue>, CmqError> {
        let name = self.parameters.required("queueName")?;
        let queue = self.find_queue(permission, name)?;
        queue.ok_or(CmqError::NoSuchQueue)
    }

    /// The queue of this name, whatever its case. Refuses unless the caller has `permission` on it.
    pub(super) fn find_queue(
        &self,
        permission: Permission,
        name: &str,
    ) -> Result<Option<Arc<Queue>>, CmqError> {
        let vhost = &self.caller.vhost;
        let queue = self.api.queue_lookup.find(vhost, name, is_served);
        let own = queue.as_ref().map_or(name, |queue| queue.name());
        self.check(permission, own)?;
        Ok(queue)
    }

    /// Refuses unless the caller has `permission` on this queue.
    pub(super) fn check(&self, permission: Permission, queue: &str) -> Result<(), CmqError> {
        let broker = &self.api.broker;
        self.caller
            .check(broker, permission, ResourceKind::Queue, queue)
    }

    /// Whether listings show this queue to the caller.
    pub(super) fn sees_queue(&self, queue: &str) -> bool {
        let broker = &self.api.broker;
        self.caller.sees(broker, ResourceKind::Queue, queue)
    }
}

/// Topics and subscriptions.
impl Call<'_> {
    /// The topic that `topicName` names. Refuses unless the caller has `permission` on it.
    pub(super) fn topic(&self, permission: Permission) -> Result<(TopicId, Arc<Topic>), CmqError> {
        let name = self.parameters.required("topicName")?;
        let topic = self.api.topics.named(&self.caller.vhost, name);
        let own = topic.as_ref().map_or(name, |(_, topic)| &topic.name);
        self.check_topic(permission, own)?;
        topic.ok_or(CmqError::NoSuchTopic)
    }

    /// Refuses unless the caller has `permission` on this topic.
    pub(super) fn check_topic(&self, permission: Permission, topic: &str) -> Result<(), CmqError> {
        let broker = &self.api.broker;
        self.caller
            .check(broker, permission, ResourceKind::Exchange, topic)
    }

    /// Refuses unless the caller may use this routing key or binding key of a topic.
    pub(super) fn check_key(
        &self,
        permission: Permission,
        topic: &Topic,
        key: &str,
    ) -> Result<(), CmqError> {
        if topic.filter != FilterKind::Keys {
            return Ok(());
        }
        let (user, vhost) = (&self.caller.user, self.caller.vhost.name());
        let users = self.api.broker.users();
        Ok(users.check_topic(user, vhost, &topic.name, permission, key)?)
    }

    /// Whether listings show this topic to the caller.
    pub(super) fn sees_topic(&self, topic: &str) -> bool {
        let broker = &self.api.broker;
        self.caller.sees(broker, ResourceKind::Exchange, topic)
    }

    /// The subscriptions of a topic with their queues, by name.
    pub(super) fn subscriptions(
        &self,
        id: TopicId,
        topic: &Topic,
    ) -> Vec<(Arc<Subscription>, Arc<Queue>)> {
        let vhost = &self.caller.vhost;
        let all = self.api.topics.subscriptions(id).into_iter();
        all.filter_map(|subscription| {
            let queue = subscription.queue(vhost, topic)?;
            Some((subscription, queue))
        })
        .collect()
    }
}

/// Whether the API knows a queue. It knows no streams, where nothing is ever deleted, no exclusive queues, and none of
/// the broker's own in which messages wait to be pushed.
pub(super) fn is_served(queue: &Arc<Queue>) -> bool {
    let spec = queue.spec();
    spec.exclusive_owner.is_none()
        && spec.arguments.kind != QueueKind::Stream
        && !spec.name.starts_with(PUSH_QUEUE)
}
