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
    {
        let _changes = api.changes.lock().await;
        let bound = find(call)?;
        let vhost = &call.caller.vhost;
        let subscription = &bound.subscription;
        let bindings = match subscription.endpoint {
            Endpoint::Queue { .. } => subscription.bindings(&bound.topic, &bound.queue),
            // The bindings go with the queue.
            Endpoint::Http { .. } => Vec::new(),
        };
        // After a crash before the record is removed, the next start completes the bindings, or finds no queue and
        // removes the subscription.
        subscription.drop_waiting(vhost, &bound.topic).await?;
        let also = api.topics.remove_subscription(bound.topic_id, subscription);
        vhost.rebind_with(Vec::new(), bindings, also).await?;
    }
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
    {
        let _changes = call.api.changes.lock().await;
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
        change(call, &bound, changed).await?;
    }
    Ok(call.success().into())
}

/// `ClearSubscriptionFilterTags`: the subscription then gets all messages. Does nothing if the topic filters by binding
/// keys.
pub(in crate::cmq) async fn clear_tags(call: &Call<'_>) -> Outcome {
    {
        let _changes = call.api.changes.lock().await;
        let bound = find(call)?;
        match bound.topic.filter {
            FilterKind::Keys => {}
            FilterKind::Tags => {
                let changed = Subscription {
                    filter: Filter::Tags(Vec::new()),
                    modified_secs: call.now_secs(),
                    ..Subscription::clone(&bound.subscription)
                };
                change(call, &bound, changed).await?;
            }
        }
    }
    Ok(call.success().into())
}

/// Changes a subscription with its bindings. Bindings that both filters have stay.
async fn change(
    call: &Call<'_>,
    current: &BoundSubscription,
    changed: Subscription,
) -> Result<(), CmqError> {
    let (topic, queue) = (&current.topic, &current.queue);
    let bindings = changed.bindings(topic, queue);
    let mut gone = current.subscription.bindings(topic, queue);
    gone.retain(|binding| !bindings.contains(binding));
    let also = call.api.topics.put_subscription(current.topic_id, changed);
    let vhost = &call.caller.vhost;
    Ok(vhost.rebind_with(bindings, gone, also).await?)
}
