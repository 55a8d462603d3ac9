//! Subscriptions: subscribe and unsubscribe, list, show and set attributes, clear filters.

use std::sync::Arc;

use super::super::dispatch::{Call, Outcome};
use super::super::error::CmqError;
use super::super::filter::{Filter, FilterKind};
use super::super::limits::{LIST_DEFAULT, SUBSCRIPTION_LIST_MAX, SUBSCRIPTION_OFFSET_MAX};
use super::super::push;
use super::super::topics::{Endpoint, Format, Strategy, Subscription, Topic, TopicId};
use super::queue::{holds_word, is_name};
use crate::broker::permissions::Permission;
use crate::broker::queue::Queue;
use crate::broker::vhost::Created;
use crate::model::{QueueId, Ticket};

fn public_id(subscription: &Subscription) -> String {
    format!("subsc-{:08x}", subscription.id)
}

/// Where a subscription is to lead, as the request says it.
enum Target<'a> {
    Queue(Arc<Queue>),
    Http(&'a str),
}

/// `Subscribe`.
pub(in super::super) async fn subscribe(call: &Call<'_>) -> Outcome {
    let front = call.front;
    let (_, topic) = call.topic(Permission::Read)?;
    let name = call.parameters.required("subscriptionName")?;
    if !is_name(name) {
        return Err(CmqError::SubscriptionNameFormat);
    }
    let target = target(call, &topic).await?;
    let (subscription, ticket) = {
        let _changes = front.changes.lock();
        front.tidy_topics();
        // It may be another one of that name, since the endpoint was looked at meanwhile.
        let (id, topic) = call.topic(Permission::Read)?;
        let filter = first_filter(call, &topic)?;
        let make = |endpoint| first(call, name, endpoint, filter);
        if front.topics.subscription(id, name).is_some() {
            return Err(CmqError::SubscriptionExists);
        }
        if front.topics.subscriptions(id).len() >= front.config.subscriptions_max {
            return Err(CmqError::TooManySubscriptions);
        }
        match target {
            Target::Queue(queue) => {
                let subscription = make(Endpoint::Queue {
                    name: queue.name().clone(),
                    id: queue.id(),
                    waiting: None,
                })?;
                let op = front.topics.set_subscription(id, subscription.clone());
                front.broker.committer().append(vec![op]);
                bind(call, id, &topic, subscription, &queue)?
            }
            Target::Http(url) => {
                let endpoint = Endpoint::Http {
                    url: url.to_owned(),
                    queue: QueueId(0),
                };
                push_to(call, id, &topic, make(endpoint)?)?
            }
        }
    };
    call.durable(ticket).await?;
    let answer = call.success().with(|object| {
        object.text("subscriptionId", &public_id(&subscription));
    });
    Ok(answer.into())
}

/// The filter of a new subscription.
fn first_filter(call: &Call<'_>, topic: &Topic) -> Result<Filter, CmqError> {
    let filter = filter(call, topic.filter)?;
    let filter = filter.unwrap_or_else(|| Filter::Tags(Vec::new()));
    if topic.filter == FilterKind::Keys && filter.keys().is_empty() {
        return Err(CmqError::NoBindingKey);
    }
    check_keys(call, topic, &filter)?;
    Ok(filter)
}

/// A new subscription.
fn first(
    call: &Call<'_>,
    name: &str,
    endpoint: Endpoint,
    filter: Filter,
) -> Result<Subscription, CmqError> {
    let now_secs = call.now_secs();
    Ok(Subscription {
        id: call.front.message_ids.next(),
        name: name.into(),
        strategy: strategy(call)?.unwrap_or(Strategy::ExponentialDecay),
        format: format(call, &endpoint)?.unwrap_or(match endpoint {
            Endpoint::Queue { .. } => Format::Simplified,
            Endpoint::Http { .. } => Format::Json,
        }),
        endpoint,
        filter,
        created_secs: now_secs,
        modified_secs: now_secs,
    })
}

/// Binds a new subscription's queue. A crash before that is durable leaves a subscription whose bindings are made at
/// the next start.
fn bind(
    call: &Call<'_>,
    id: TopicId,
    topic: &Topic,
    subscription: Subscription,
    queue: &Queue,
) -> Result<(Subscription, Option<Ticket>), CmqError> {
    match subscription.bind(&call.caller.vhost, topic, queue) {
        Ok(ticket) => Ok((subscription, ticket)),
        Err(error) => {
            let op = call.front.topics.remove_subscription(id, &subscription);
            call.front.broker.committer().append(vec![op]);
            Err(error.into())
        }
    }
}

/// Makes the queue in which messages for an HTTP endpoint wait, and binds it.
fn push_to(
    call: &Call<'_>,
    id: TopicId,
    topic: &Topic,
    mut subscription: Subscription,
) -> Result<(Subscription, Option<Ticket>), CmqError> {
    let (front, vhost) = (call.front, &call.caller.vhost);
    let new = push::queue_of(&front.config.push, &topic.name, &subscription.name);
    let record = |queue| {
        if let Endpoint::Http { queue: id, .. } = &mut subscription.endpoint {
            *id = queue;
        }
        vec![front.topics.set_subscription(id, subscription.clone())]
    };
    match vhost.create_queue_with(new, record)? {
        Created::New(queue, _) => {
            let bound = bind(call, id, topic, subscription, &queue);
            if bound.is_err() {
                vhost.delete_queue(&queue, |_| true);
            }
            bound
        }
        // Declared over AMQP, under a name of ours.
        Created::Existing(_) => Err(CmqError::SubscriptionExists),
    }
}

/// Reads `protocol` and `endpoint`, and refuses endpoints that the caller or nobody may use.
async fn target<'a>(call: &'a Call<'_>, topic: &Topic) -> Result<Target<'a>, CmqError> {
    let protocol = call.parameters.required("protocol")?;
    let endpoint = call.parameters.required("endpoint")?;
    match protocol.to_ascii_lowercase().as_str() {
        "queue" => {
            let queue = call.find_queue(Permission::Write, endpoint)?;
            Ok(Target::Queue(queue.ok_or(CmqError::NoSuchQueue)?))
        }
        "http" => {
            // Who subscribes for others makes a queue, and has the broker open connections.
            call.check_topic(Permission::Configure, &topic.name)?;
            push::check_endpoint(endpoint, &call.front.config.push, &call.front.resolver).await?;
            Ok(Target::Http(endpoint))
        }
        _ => Err(CmqError::UndefinedProtocol),
    }
}

fn strategy(call: &Call<'_>) -> Result<Option<Strategy>, CmqError> {
    let named = |name| Strategy::named(name).ok_or(CmqError::UndefinedStrategy);
    let name = call.parameters.text("notifyStrategy");
    name.filter(|name| !name.is_empty()).map(named).transpose()
}

/// The format that the request asks for. Queues get bodies as they are, whatever it says: clients that let it be chosen
/// for them ask for JSON there as well.
fn format(call: &Call<'_>, endpoint: &Endpoint) -> Result<Option<Format>, CmqError> {
    let name = call.parameters.text("notifyContentFormat");
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    match (endpoint, Format::named(name)) {
        (_, None) => Err(CmqError::UndefinedFormat),
        (Endpoint::Queue { .. }, Some(_)) => Ok(Some(Format::Simplified)),
        (Endpoint::Http { .. }, format) => Ok(format),
    }
}

/// The filter that the request asks for, if it does. What the topic does not filter by counts for nothing.
fn filter(call: &Call<'_>, kind: FilterKind) -> Result<Option<Filter>, CmqError> {
    let config = &call.front.config;
    let items = |name| {
        let items = call.parameters.list(name, usize::MAX)?;
        // Clients write an empty list as one empty item.
        let items = items.into_iter().map(|(_, item)| item.to_owned());
        let mut items: Vec<String> = items.filter(|item| !item.is_empty()).collect();
        let mut seen = std::collections::HashSet::new();
        items.retain(|item| seen.insert(item.clone()));
        Ok::<_, CmqError>(items)
    };
    let (tags, keys) = (items("filterTag")?, items("bindingKey")?);
    let max = config.filters_max;
    if tags.len() > max {
        return Err(CmqError::TooManyFilterTags);
    }
    if keys.len() > max {
        return Err(CmqError::TooManyBindingKeys);
    }
    if tags.len() + keys.len() > max {
        return Err(CmqError::TooManyFilters);
    }
    if !tags.iter().all(|tag| config.is_tag(tag)) {
        return Err(CmqError::OutOfRange("filterTag".to_owned()));
    }
    for key in &keys {
        config.check_key("bindingKey", key)?;
    }
    Ok(match kind {
        FilterKind::Tags if !tags.is_empty() => Some(Filter::Tags(tags)),
        FilterKind::Keys if !keys.is_empty() => Some(Filter::Keys(keys)),
        _ => None,
    })
}

/// Refuses binding keys that the caller has no right to.
fn check_keys(call: &Call<'_>, topic: &Topic, filter: &Filter) -> Result<(), CmqError> {
    let mut keys = filter.keys().iter();
    keys.try_for_each(|key| call.check_key(Permission::Read, topic, key))
}

/// A subscription with its topic and its queue.
type Found = (TopicId, Arc<Topic>, Arc<Subscription>, Arc<Queue>);

/// The subscription that the request names, if the caller may change it. Called with `changes` held.
fn find(call: &Call<'_>) -> Result<Found, CmqError> {
    let (id, topic) = call.topic(Permission::Read)?;
    let name = call.parameters.required("subscriptionName")?;
    let subscription = call.front.topics.subscription(id, name);
    let subscription = subscription.ok_or(CmqError::NoSuchSubscription)?;
    match &subscription.endpoint {
        Endpoint::Queue { name, .. } => call.check(Permission::Write, name)?,
        Endpoint::Http { .. } => call.check_topic(Permission::Configure, &topic.name)?,
    }
    let queue = subscription.queue(&call.caller.vhost, &topic);
    let queue = queue.ok_or(CmqError::NoSuchSubscription)?;
    Ok((id, topic, subscription, queue))
}

/// `Unsubscribe`: what has not been pushed is dropped.
pub(in super::super) async fn unsubscribe(call: &Call<'_>) -> Outcome {
    let front = call.front;
    let ticket = {
        let _changes = front.changes.lock();
        let (id, topic, subscription, queue) = find(call)?;
        let vhost = &call.caller.vhost;
        match subscription.endpoint {
            Endpoint::Queue { .. } => {
                subscription.unbind(vhost, &topic, &queue, None)?;
            }
            // Its bindings go with it.
            Endpoint::Http { .. } => {}
        }
        subscription.drop_waiting(vhost, &topic);
        // Last: a crash before leaves a subscription that is whole again after the next start, or without its queue.
        let op = front.topics.remove_subscription(id, &subscription);
        front.broker.committer().append(vec![op])
    };
    call.durable(Some(ticket)).await?;
    Ok(call.success().into())
}

/// `ListSubscriptionByTopic`.
pub(in super::super) fn list(call: &Call<'_>) -> Outcome {
    let (id, topic) = call.topic(Permission::Read)?;
    let word = call.parameters.text("searchWord").unwrap_or_default();
    let mut subscriptions = call.subscriptions(id, &topic);
    subscriptions.retain(|(subscription, _)| {
        let is_seen = match &subscription.endpoint {
            Endpoint::Queue { name, .. } => call.sees_queue(name),
            Endpoint::Http { .. } => true,
        };
        is_seen && holds_word(&subscription.name, word)
    });
    let offset = call
        .parameters
        .ranged("offset", 0..=SUBSCRIPTION_OFFSET_MAX)?
        .unwrap_or(0);
    let limit = call
        .parameters
        .ranged("limit", 0..=SUBSCRIPTION_LIST_MAX)?
        .unwrap_or(LIST_DEFAULT);
    let [offset, limit] = [offset, limit].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let answer = call.success().with(|object| {
        let total = u64::try_from(subscriptions.len()).unwrap_or(u64::MAX);
        let shown = subscriptions.iter().skip(offset).take(limit);
        object.number("totalCount", total).objects(
            "subscriptionList",
            shown,
            |item, (subscription, _)| {
                item.text("subscriptionId", &public_id(subscription))
                    .text("subscriptionName", &subscription.name)
                    .text("protocol", subscription.endpoint.protocol())
                    .text("endpoint", subscription.endpoint.text());
            },
        );
    });
    Ok(answer.into())
}

/// `GetSubscriptionAttributes`.
pub(in super::super) fn get_attributes(call: &Call<'_>) -> Outcome {
    let (id, topic) = call.topic(Permission::Read)?;
    let name = call.parameters.required("subscriptionName")?;
    let found = call.front.topics.subscription(id, name);
    let subscription = found.ok_or(CmqError::NoSuchSubscription)?;
    let vhost = &call.caller.vhost;
    if subscription.queue(vhost, &topic).is_none() {
        return Err(CmqError::NoSuchSubscription);
    }
    // What a subscribed queue has is no longer the topic's.
    let waiting = subscription.waiting(vhost, &topic);
    let waiting = waiting.map_or(0, |queue| push::waiting_in(&queue));
    let answer = call.success().with(|object| {
        let protocol = subscription.endpoint.protocol();
        object
            .text("subscriptionId", &public_id(&subscription))
            .text("subscriptionName", &subscription.name)
            .text("topicOwner", &topic.owner)
            .number("msgCount", waiting)
            .text("protocol", protocol)
            // The Python client's spelling.
            .text("protocal", protocol)
            .text("endpoint", subscription.endpoint.text())
            .text("notifyStrategy", subscription.strategy.name())
            .text("notifyContentFormat", subscription.format.name())
            .number("createTime", subscription.created_secs)
            .number("lastModifyTime", subscription.modified_secs)
            .texts("bindingKey", subscription.filter.keys())
            // Clients differ in how they call these.
            .texts("filterTag", subscription.filter.tags())
            .texts("filterTags", subscription.filter.tags());
    });
    Ok(answer.into())
}

/// `SetSubscriptionAttributes`: what the request does not name stays.
pub(in super::super) async fn set_attributes(call: &Call<'_>) -> Outcome {
    let ticket = {
        let _changes = call.front.changes.lock();
        let (id, topic, subscription, queue) = find(call)?;
        let filter = filter(call, topic.filter)?;
        let changed = Subscription {
            strategy: strategy(call)?.unwrap_or(subscription.strategy),
            format: format(call, &subscription.endpoint)?.unwrap_or(subscription.format),
            filter: filter.unwrap_or_else(|| subscription.filter.clone()),
            modified_secs: call.now_secs(),
            ..Subscription::clone(&subscription)
        };
        check_keys(call, &topic, &changed.filter)?;
        change(call, id, &topic, &subscription, changed, &queue)?
    };
    call.durable(ticket).await?;
    Ok(call.success().into())
}

/// `ClearSubscriptionFilterTags`: then it gets all messages. A topic with binding keys has no tags to clear.
pub(in super::super) async fn clear_tags(call: &Call<'_>) -> Outcome {
    let ticket = {
        let _changes = call.front.changes.lock();
        let (id, topic, subscription, queue) = find(call)?;
        match topic.filter {
            FilterKind::Keys => None,
            FilterKind::Tags => {
                let changed = Subscription {
                    filter: Filter::Tags(Vec::new()),
                    modified_secs: call.now_secs(),
                    ..Subscription::clone(&subscription)
                };
                change(call, id, &topic, &subscription, changed, &queue)?
            }
        }
    };
    call.durable(ticket).await?;
    Ok(call.success().into())
}

/// Changes a subscription. New bindings come before old ones go, so that nothing is missed that both match.
fn change(
    call: &Call<'_>,
    id: TopicId,
    topic: &Topic,
    current: &Subscription,
    changed: Subscription,
    queue: &Queue,
) -> Result<Option<Ticket>, CmqError> {
    let vhost = &call.caller.vhost;
    // First: what a crash leaves undone of the bindings is done at the next start.
    let op = call.front.topics.set_subscription(id, changed.clone());
    let mut ticket = Some(call.front.broker.committer().append(vec![op]));
    ticket = ticket.max(changed.bind(vhost, topic, queue)?);
    ticket = ticket.max(current.unbind(vhost, topic, queue, Some(&changed.filter))?);
    Ok(ticket)
}
