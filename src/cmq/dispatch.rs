//! From the name of an action to its handler: flat and dull.

use std::sync::Arc;

use tokio::sync::watch;

use super::actions::{dead_letter, delete, publish, queue, receive, send, subscription, topic};
use super::authentication::Caller;
use super::error::CmqError;
use super::filter::FilterKind;
use super::front::Front;
use super::parameters::Parameters;
use super::rate_limits::Kind;
use super::response::{RequestId, Response};
use super::topics::{PUSH_QUEUE, Subscription, Topic, TopicId};
use super::written::Receipt;
use crate::broker::permissions::{Permission, ResourceKind};
use crate::broker::queue::Queue;
use crate::clock::Clock;
use crate::model::Ticket;
use crate::model::arguments::QueueKind;

/// Makes [`Action`] from the names of the API. Clients spell some of them with capitals of their own.
macro_rules! actions {
    ($($name:ident)+) => {
        /// What can be asked.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Action {
            $($name,)+
        }

        impl Action {
            /// The action of this name.
            pub(super) fn named(name: &str) -> Option<Action> {
                const ALL: &[(&str, Action)] = &[$((stringify!($name), Action::$name)),+];
                ALL.iter()
                    .find(|(own, _)| own.eq_ignore_ascii_case(name))
                    .map(|(_, action)| *action)
            }
        }
    };
}

actions! {
    CreateQueue ListQueue GetQueueAttributes SetQueueAttributes DeleteQueue ClearQueue RewindQueue
    QueryQueueRoute UnbindDeadLetterQueue ListDeadLetterSourceQueues
    CreateTopic ListTopic GetTopicAttributes SetTopicAttributes DeleteTopic QueryTopicRoute
    PublishMessage BatchPublishMessage
    Subscribe Unsubscribe ListSubscriptionByTopic GetSubscriptionAttributes
    SetSubscriptionAttributes ClearSubscriptionFilterTags
    SendMessage BatchSendMessage ReceiveMessage BatchReceiveMessage DeleteMessage BatchDeleteMessage
}

impl Action {
    /// Whether it brings messages, so that to carry it out twice would bring them twice.
    pub(super) fn sends(self) -> bool {
        matches!(
            self,
            Action::SendMessage
                | Action::BatchSendMessage
                | Action::PublishMessage
                | Action::BatchPublishMessage
        )
    }
}

/// A request that is known to come from its caller.
pub(crate) struct Call<'a> {
    /// What the front door has.
    pub(crate) front: &'a Front,
    /// Who asks.
    pub(crate) caller: Caller,
    /// With which parameters.
    pub(crate) parameters: &'a Parameters<'a>,
    /// What its answer says it answers.
    pub(crate) request: RequestId,
    /// Turns true when nobody should wait any longer.
    pub(crate) stopped: watch::Receiver<bool>,
}

/// What goes back.
pub(crate) struct Reply {
    /// The answer.
    pub(crate) answer: Response,
    /// What to do once it has left.
    pub(crate) receipt: Option<Receipt>,
}

impl From<Response> for Reply {
    fn from(answer: Response) -> Reply {
        Reply {
            answer,
            receipt: None,
        }
    }
}

/// What an action comes to.
pub(crate) type Outcome = Result<Reply, CmqError>;

impl Call<'_> {
    /// An answer of success, to be filled.
    pub(crate) fn success(&self) -> Response {
        Response::success(self.request)
    }

    /// The broker's time.
    pub(crate) fn clock(&self) -> &Clock {
        self.front.broker.clock()
    }

    /// Wall-clock time in seconds since the Unix epoch, as clients are shown it.
    pub(crate) fn now_secs(&self) -> u64 {
        self.clock().wall_ms() / 1000
    }

    /// Waits until a change is on disk.
    pub(crate) async fn durable(&self, ticket: Option<Ticket>) -> Result<(), CmqError> {
        match ticket {
            Some(ticket) => Ok(self.front.broker.committer().wait(ticket).await?),
            None => Ok(()),
        }
    }

    /// Refuses if too many requests of this kind came for a queue or topic in this second.
    pub(crate) fn within_quota(&self, kind: Kind, id: u64) -> Result<(), CmqError> {
        match self
            .front
            .rate_limits
            .admits(kind, id, self.clock().now_ms())
        {
            true => Ok(()),
            false => Err(CmqError::Throttled),
        }
    }

    /// Refuses unless the caller has this right over a queue.
    pub(crate) fn check(&self, permission: Permission, queue: &str) -> Result<(), CmqError> {
        let broker = &self.front.broker;
        self.caller
            .check(broker, permission, ResourceKind::Queue, queue)
    }

    /// The queue that `queueName` names, if the caller has this right over it.
    pub(crate) fn queue(&self, permission: Permission) -> Result<Arc<Queue>, CmqError> {
        let name = self.parameters.required("queueName")?;
        let queue = self.find_queue(permission, name)?;
        queue.ok_or(CmqError::NoSuchQueue)
    }

    /// The queue of this name, in whatever letters, if the caller has this right over it.
    pub(crate) fn find_queue(
        &self,
        permission: Permission,
        name: &str,
    ) -> Result<Option<Arc<Queue>>, CmqError> {
        let vhost = &self.caller.vhost;
        let queue = self.front.queue_lookup.queue(vhost, name, is_served);
        let own = queue.as_ref().map_or(name, |queue| queue.name());
        self.check(permission, own)?;
        Ok(queue)
    }

    /// Whether the caller may see that there is this queue.
    pub(crate) fn sees_queue(&self, queue: &str) -> bool {
        let broker = &self.front.broker;
        self.caller.sees(broker, ResourceKind::Queue, queue)
    }

    /// Whether the caller may see that there is this topic.
    pub(crate) fn sees_topic(&self, topic: &str) -> bool {
        let broker = &self.front.broker;
        self.caller.sees(broker, ResourceKind::Exchange, topic)
    }
}

impl Call<'_> {
    /// Refuses unless the caller has this right over a topic.
    pub(crate) fn check_topic(&self, permission: Permission, topic: &str) -> Result<(), CmqError> {
        let broker = &self.front.broker;
        self.caller
            .check(broker, permission, ResourceKind::Exchange, topic)
    }

    /// Refuses unless the caller may use this routing key or binding key of a topic.
    pub(crate) fn check_key(
        &self,
        permission: Permission,
        topic: &Topic,
        key: &str,
    ) -> Result<(), CmqError> {
        if topic.filter != FilterKind::Keys {
            return Ok(());
        }
        let (user, vhost) = (&self.caller.user, self.caller.vhost.name());
        let users = self.front.broker.users();
        Ok(users.check_topic(user, vhost, &topic.name, permission, key)?)
    }

    /// The topic that `topicName` names, if the caller has this right over it.
    pub(crate) fn topic(&self, permission: Permission) -> Result<(TopicId, Arc<Topic>), CmqError> {
        let name = self.parameters.required("topicName")?;
        let topic = self.front.topics.named(&self.caller.vhost, name);
        let own = topic.as_ref().map_or(name, |(_, topic)| &topic.name);
        self.check_topic(permission, own)?;
        topic.ok_or(CmqError::NoSuchTopic)
    }

    /// The subscriptions of a topic with their queues, by name.
    pub(crate) fn subscriptions(
        &self,
        id: TopicId,
        topic: &Topic,
    ) -> Vec<(Arc<Subscription>, Arc<Queue>)> {
        let vhost = &self.caller.vhost;
        let all = self.front.topics.subscriptions(id).into_iter();
        all.filter_map(|subscription| {
            let queue = subscription.queue(vhost, topic)?;
            Some((subscription, queue))
        })
        .collect()
    }
}

/// Whether a queue is one that the API knows: no stream, where nothing is ever deleted, no connection's own, and none in
/// which messages wait to be pushed.
pub(crate) fn is_served(queue: &Arc<Queue>) -> bool {
    let spec = queue.spec();
    spec.exclusive_owner.is_none()
        && spec.arguments.kind != QueueKind::Stream
        && !spec.name.starts_with(PUSH_QUEUE)
}

/// Carries an action out.
pub(super) async fn carry_out(action: Action, call: &Call<'_>) -> Outcome {
    match action {
        Action::CreateQueue => queue::create(call).await,
        Action::ListQueue => queue::list(call),
        Action::GetQueueAttributes => queue::get_attributes(call).await,
        Action::SetQueueAttributes => queue::set_attributes(call).await,
        Action::DeleteQueue => queue::delete(call).await,
        Action::ClearQueue => queue::clear(call).await,
        Action::RewindQueue => queue::rewind(call).await,
        Action::QueryQueueRoute => queue::query_route(call),
        Action::UnbindDeadLetterQueue => dead_letter::unbind(call).await,
        Action::ListDeadLetterSourceQueues => dead_letter::list_sources(call),
        Action::CreateTopic => topic::create(call).await,
        Action::ListTopic => topic::list(call),
        Action::GetTopicAttributes => topic::get_attributes(call),
        Action::SetTopicAttributes => topic::set_attributes(call).await,
        Action::DeleteTopic => topic::delete(call).await,
        Action::QueryTopicRoute => topic::query_route(call),
        Action::PublishMessage => publish::one(call).await,
        Action::BatchPublishMessage => publish::batch(call).await,
        Action::Subscribe => subscription::subscribe(call).await,
        Action::Unsubscribe => subscription::unsubscribe(call).await,
        Action::ListSubscriptionByTopic => subscription::list(call),
        Action::GetSubscriptionAttributes => subscription::get_attributes(call),
        Action::SetSubscriptionAttributes => subscription::set_attributes(call).await,
        Action::ClearSubscriptionFilterTags => subscription::clear_tags(call).await,
        Action::SendMessage => send::one(call).await,
        Action::BatchSendMessage => send::batch(call).await,
        Action::ReceiveMessage => receive::one(call).await,
        Action::BatchReceiveMessage => receive::batch(call).await,
        Action::DeleteMessage => delete::one(call).await,
        Action::BatchDeleteMessage => delete::batch(call).await,
    }
}
