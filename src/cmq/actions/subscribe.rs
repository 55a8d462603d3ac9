//! Subscribes to a topic: binds a queue to it, or a queue of the broker's own from which messages are pushed to an HTTP
//! endpoint.

use std::sync::Arc;

use super::names::{is_name, subscription_id};
use super::subscription_parameters::{check_keys, filter, format, strategy};
use crate::broker::permissions::Permission;
use crate::broker::queue::Queue;
use crate::broker::vhost::Created;
use crate::cmq::call::{Call, Outcome};
use crate::cmq::error::CmqError;
use crate::cmq::filter::{Filter, FilterKind};
use crate::cmq::push;
use crate::cmq::topics::{Endpoint, Format, Strategy, Subscription, Topic, TopicId};
use crate::model::{QueueId, QueueOverrides};

/// `Subscribe`.
pub(in crate::cmq) async fn subscribe(call: &Call<'_>) -> Outcome {
    let api = call.api;
    let (_, topic) = call.topic(Permission::Read)?;
    let name = call.parameters.required("subscriptionName")?;
    if !is_name(name) {
        return Err(CmqError::SubscriptionNameFormat);
    }
    let requested = endpoint(call, &topic).await?;
    let subscription = {
        let _changes = api.changes.lock().await;
        api.topics.tidy(&api.broker).await?;
        // Another topic may have this name by now: the check of the endpoint took time.
        let (id, topic) = call.topic(Permission::Read)?;
        let filter = first_filter(call, &topic)?;
        let make = |endpoint| new_subscription(call, name, endpoint, filter);
        if api.topics.subscription(id, name).is_some() {
            return Err(CmqError::SubscriptionExists);
        }
        if api.topics.subscriptions(id).len() >= api.config.subscriptions_max {
            return Err(CmqError::TooManySubscriptions);
        }
        match requested {
            RequestedEndpoint::Queue(queue) => {
                let subscription = make(Endpoint::Queue {
                    name: queue.name().clone(),
                    id: queue.id(),
                    waiting: None,
                })?;
                let bindings = subscription.bindings(&topic, &queue);
                let also = api.topics.put_subscription(id, subscription.clone());
                let vhost = &call.caller.vhost;
                vhost.rebind_with(bindings, Vec::new(), also).await?;
                subscription
            }
            RequestedEndpoint::Http(url) => {
                let endpoint = Endpoint::Http {
                    url: url.to_owned(),
                    queue: QueueId(0),
                };
                create_push_queue(call, id, &topic, make(endpoint)?).await?
            }
        }
    };
    let response = call.success().with(|object| {
        object.text("subscriptionId", &subscription_id(&subscription));
    });
    Ok(response.into())
}

/// `protocol` and `endpoint`.
enum RequestedEndpoint<'a> {
    Queue(Arc<Queue>),
    Http(&'a str),
}

/// Reads `protocol` and `endpoint`. Refuses an endpoint that the caller may not use, or that nothing may be pushed to.
async fn endpoint<'a>(
    call: &'a Call<'_>,
    topic: &Topic,
) -> Result<RequestedEndpoint<'a>, CmqError> {
    let protocol = call.parameters.required("protocol")?;
    let endpoint = call.parameters.required("endpoint")?;
    match protocol.to_ascii_lowercase().as_str() {
        "queue" => {
            let queue = call.find_queue(Permission::Write, endpoint)?;
            Ok(RequestedEndpoint::Queue(
                queue.ok_or(CmqError::NoSuchQueue)?,
            ))
        }
        "http" => {
            // Such a subscription makes a queue, and has the broker open connections.
            call.check_topic(Permission::Configure, &topic.name)?;
            push::check_endpoint(endpoint, &call.api.config.push, &call.api.resolver).await?;
            Ok(RequestedEndpoint::Http(endpoint))
        }
        _ => Err(CmqError::UndefinedProtocol),
    }
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

fn new_subscription(
    call: &Call<'_>,
    name: &str,
    endpoint: Endpoint,
    filter: Filter,
) -> Result<Subscription, CmqError> {
    let now_secs = call.now_secs();
    Ok(Subscription {
        id: call.api.message_ids.next(),
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

/// Creates the queue in which messages for an HTTP endpoint wait, and binds it.
async fn create_push_queue(
    call: &Call<'_>,
    id: TopicId,
    topic: &Topic,
    mut subscription: Subscription,
) -> Result<Subscription, CmqError> {
    let (api, vhost) = (call.api, &call.caller.vhost);
    let new = push::queue_of(&api.config.push, &topic.name, &subscription.name);
    let record = |queue| {
        if let Endpoint::Http { queue: id, .. } = &mut subscription.endpoint {
            *id = queue;
        }
        api.topics.put_subscription(id, subscription.clone())
    };
    let created = vhost
        .create_queue_with(new, QueueOverrides::default(), record)
        .await?;
    let queue = match created {
        Created::New(queue) => queue,
        // A client declared it over AMQP, although the prefix of its name is the API's.
        Created::Existing(_) => return Err(CmqError::SubscriptionExists),
    };
    // After a crash before the bindings are durable, the next start makes them.
    let bindings = subscription.bindings(topic, &queue);
    if let Err(error) = vhost.rebind(bindings, Vec::new()).await {
        let gone = api.topics.remove_subscription(id, &Arc::new(subscription));
        gone.commit(api.broker.committer()).await?;
        vhost.delete_queue(&queue, |_| true).await?;
        return Err(error.into());
    }
    Ok(subscription)
}
