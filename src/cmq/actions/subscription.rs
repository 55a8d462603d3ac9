//! Lists, shows, changes and ends subscriptions.

use std::sync::Arc;

use super::listing::{Page, contains_word, total};
use super::names::subscription_id;
use super::subscription_parameters::{check_keys, filter, format, strategy};
use crate::broker::permissions::Permission;
use crate::broker::queue::Queue;
use crate::cmq::call::{Call, Outcome};
use crate::cmq::error::CmqError;
use crate::cmq::filter::{Filter, FilterKind};
use crate::cmq::limits::{SUBSCRIPTION_LIST_MAX, SUBSCRIPTION_OFFSET_MAX};
use crate::cmq::push;
use crate::cmq::topics::{Endpoint, Subscription, Topic, TopicId};
use crate::model::Ticket;

/// A subscription with its topic, and the queue that it is bound to.
struct BoundSubscription {
    topic_id: TopicId,
    topic: Arc<Topic>,
    subscription: Arc<Subscription>,
    queue: Arc<Queue>,
}

/// The subscription that the request names. Refuses unless the caller may change it. Called with `changes` held.
fn find(call: &Call<'_>) -> Result<BoundSubscription, CmqError> {
    let (topic_id, topic) = call.topic(Permission::Read)?;
    let name = call.parameters.required("subscriptionName")?;
    let subscription = call.api.topics.subscription(topic_id, name);
    let subscription = subscription.ok_or(CmqError::NoSuchSubscription)?;
    match &subscription.endpoint {
        Endpoint::Queue { name, .. } => call.check(Permission::Write, name)?,
        Endpoint::Http { .. } => call.check_topic(Permission::Configure, &topic.name)?,
    }
    let queue = subscription.queue(&call.caller.vhost, &topic);
    let queue = queue.ok_or(CmqError::NoSuchSubscription)?;
    Ok(BoundSubscription {
        topic_id,
        topic,
        subscription,
        queue,
    })
}

/// `Unsubscribe`: drops messages that were not pushed yet.
pub(in crate::cmq) async fn unsubscribe(call: &Call<'_>) -> Outcome {
    let api = call.api;
    let ticket = {
        let _changes = api.changes.lock();
        let bound = find(call)?;
        let vhost = &call.caller.vhost;
        match bound.subscription.endpoint {
            Endpoint::Queue { .. } => {
                bound
                    .subscription
                    .unbind(vhost, &bound.topic, &bound.queue, None)?;
            }
            // The bindings go with the queue.
            Endpoint::Http { .. } => {}
        }
        bound.subscription.drop_waiting(vhost, &bound.topic);
        // The record goes last. After a crash before that, the next start completes the bindings, or finds no queue and
        // removes the subscription.
        let op = api
            .topics
            .remove_subscription(bound.topic_id, &bound.subscription);
        api.broker.committer().append(vec![op])
    };
    call.durable(Some(ticket)).await?;
    Ok(call.success().into())
}

/// `ListSubscriptionByTopic`.
pub(in crate::cmq) fn list(call: &Call<'_>) -> Outcome {
    let (id, topic) = call.topic(Permission::Read)?;
    let word = call.parameters.text("searchWord").unwrap_or_default();
    let mut subscriptions = call.subscriptions(id, &topic);
    subscriptions.retain(|(subscription, _)| {
        let is_seen = match &subscription.endpoint {
            Endpoint::Queue { name, .. } => call.sees_queue(name),
            Endpoint::Http { .. } => true,
        };
        is_seen && contains_word(&subscription.name, word)
    });
    let page = Page::read(call, 0..=SUBSCRIPTION_OFFSET_MAX, SUBSCRIPTION_LIST_MAX)?;
    let response = call.success().with(|object| {
        object.number("totalCount", total(&subscriptions)).objects(
            "subscriptionList",
            page.of(&subscriptions),
            |item, (subscription, _)| {
                item.text("subscriptionId", &subscription_id(subscription))
                    .text("subscriptionName", &subscription.name)
                    .text("protocol", subscription.endpoint.protocol())
                    .text("endpoint", subscription.endpoint.text());
            },
        );
    });
    Ok(response.into())
}

/// `GetSubscriptionAttributes`.
pub(in crate::cmq) fn get_attributes(call: &Call<'_>) -> Outcome {
    let (id, topic) = call.topic(Permission::Read)?;
    let name = call.parameters.required("subscriptionName")?;
    let found = call.api.topics.subscription(id, name);
    let subscription = found.ok_or(CmqError::NoSuchSubscription)?;
    let vhost = &call.caller.vhost;
    if subscription.queue(vhost, &topic).is_none() {
        return Err(CmqError::NoSuchSubscription);
    }
    // Messages that a subscribed queue has taken no longer count.
    let waiting = subscription.waiting(vhost, &topic);
    let waiting = waiting.map_or(0, |queue| push::waiting_in(&queue));
    let response = call.success().with(|object| {
        let protocol = subscription.endpoint.protocol();
        object
            .text("subscriptionId", &subscription_id(&subscription))
            .text("subscriptionName", &subscription.name)
            .text("topicOwner", &topic.owner)
            .number("msgCount", waiting)
            .text("protocol", protocol)
            // The Python client reads this spelling.
            .text("protocal", protocol)
            .text("endpoint", subscription.endpoint.text())
            .text("notifyStrategy", subscription.strategy.name())
            .text("notifyContentFormat", subscription.format.name())
            .number("createTime", subscription.created_secs)
            .number("lastModifyTime", subscription.modified_secs)
            .texts("bindingKey", subscription.filter.keys())
            // Some clients read one name, some the other.
            .texts("filterTag", subscription.filter.tags())
            .texts("filterTags", subscription.filter.tags());
    });
    Ok(response.into())
}

/// `SetSubscriptionAttributes`: attributes that the request does not name stay as they are.
pub(in crate::cmq) async fn set_attributes(call: &Call<'_>) -> Outcome {
    let ticket = {
        let _changes = call.api.changes.lock();
        let bound = find(call)?;
        let current = &*bound.subscription;
        let filter = filter(call, bound.topic.filter)?;
        let changed = Subscription {
            strategy: strategy(call)?.unwrap_or(current.strategy),
            format: format(call, &current.endpoint)?.unwrap_or(current.format),
            filter: filter.unwrap_or_else(|| current.filter.clone()),
            modified_secs: call.now_secs(),
            ..current.clone()
        };
        check_keys(call, &bound.topic, &changed.filter)?;
        change(call, &bound, changed)?
    };
    call.durable(ticket).await?;
    Ok(call.success().into())
}

/// `ClearSubscriptionFilterTags`: the subscription then gets all messages. Does nothing if the topic filters by binding
/// keys.
pub(in crate::cmq) async fn clear_tags(call: &Call<'_>) -> Outcome {
    let ticket = {
        let _changes = call.api.changes.lock();
        let bound = find(call)?;
        match bound.topic.filter {
            FilterKind::Keys => None,
            FilterKind::Tags => {
                let changed = Subscription {
                    filter: Filter::Tags(Vec::new()),
                    modified_secs: call.now_secs(),
                    ..Subscription::clone(&bound.subscription)
                };
                change(call, &bound, changed)?
            }
        }
    };
    call.durable(ticket).await?;
    Ok(call.success().into())
}

/// Changes a subscription. Binds before it unbinds, so that no message is missed that both filters match.
fn change(
    call: &Call<'_>,
    current: &BoundSubscription,
    changed: Subscription,
) -> Result<Option<Ticket>, CmqError> {
    let (topic, queue) = (&current.topic, &current.queue);
    let vhost = &call.caller.vhost;
    // The record comes first: after a crash, the next start completes the bindings.
    let op = call
        .api
        .topics
        .set_subscription(current.topic_id, changed.clone());
    let mut ticket = Some(call.api.broker.committer().append(vec![op]));
    ticket = ticket.max(changed.bind(vhost, topic, queue)?);
    let kept = Some(&changed.filter);
    ticket = ticket.max(current.subscription.unbind(vhost, topic, queue, kept)?);
    Ok(ticket)
}
