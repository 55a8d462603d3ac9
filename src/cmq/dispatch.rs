//! From an action to its handler: one arm each, without any logic.

use super::action::Action;
use super::actions::{
    dead_letter, delete, publish, queue, queue_attributes, receive, send, subscribe, subscription,
    topic,
};
use super::call::{Call, Outcome};

/// Carries out an action.
pub(super) async fn carry_out(action: Action, call: &Call<'_>) -> Outcome {
    match action {
        Action::CreateQueue => queue::create(call).await,
        Action::ListQueue => queue::list(call),
        Action::GetQueueAttributes => queue_attributes::get_attributes(call).await,
        Action::SetQueueAttributes => queue_attributes::set_attributes(call).await,
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
        Action::Subscribe => subscribe::subscribe(call).await,
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
