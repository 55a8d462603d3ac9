//! Publishes messages to a topic, one or a batch. The response leaves when they are on disk in every queue that they
//! were routed to.

use std::sync::Arc;

use super::bodies::{batch_bodies, single_body};
use crate::broker::exchange::{RouteKeys, delay_message};
use crate::broker::permissions::Permission;
use crate::broker::queue::Queue;
use crate::cmq::action::Action;
use crate::cmq::call::{Call, Outcome};
use crate::cmq::error::CmqError;
use crate::cmq::filter::{FilterKind, headers_of};
use crate::cmq::message::new_message;
use crate::cmq::push;
use crate::cmq::topics::{Topic, TopicId};
use crate::model::{Message, Origin};

/// `PublishMessage`.
pub(in crate::cmq) async fn one(call: &Call<'_>) -> Outcome {
    let (id, topic) = call.topic(Permission::Write)?;
    call.within_rate_limit(Action::PublishMessage, id.0)?;
    let body = single_body(call, topic.message_bytes)?;
    let ids = publish(call, id, &topic, &[body]).await?;
    let response = call.success().with(|object| {
        for id in ids {
            object.display("msgId", id);
        }
    });
    Ok(response.into())
}

/// `BatchPublishMessage`: all or nothing. All messages have the same tags and routing key.
pub(in crate::cmq) async fn batch(call: &Call<'_>) -> Outcome {
    let (id, topic) = call.topic(Permission::Write)?;
    call.within_rate_limit(Action::BatchPublishMessage, id.0)?;
    let bodies = batch_bodies(call, topic.message_bytes)?;
    let ids = publish(call, id, &topic, &bodies).await?;
    let response = call.success().with(|object| {
        object.objects("msgList", ids, |item, id| {
            item.display("msgId", id);
        });
    });
    Ok(response.into())
}

/// `msgTag.n`.
fn tags<'a>(call: &'a Call<'_>) -> Result<Vec<&'a str>, CmqError> {
    let config = &call.api.config;
    let tags = call.parameters.list("msgTag", usize::MAX)?;
    // Clients write an empty list as one empty item.
    let tags: Vec<&str> = tags
        .into_iter()
        .map(|(_, tag)| tag)
        .filter(|tag| !tag.is_empty())
        .collect();
    if tags.len() > config.filters_max {
        return Err(CmqError::TooManyMessageTags);
    }
    match tags.iter().all(|tag| config.is_tag(tag)) {
        true => Ok(tags),
        false => Err(CmqError::OutOfRange("msgTag".to_owned())),
    }
}

/// `routingKey`. A topic that filters by binding keys needs one.
fn routing_key<'a>(call: &'a Call<'_>, topic: &Topic) -> Result<&'a str, CmqError> {
    let key = call.parameters.text("routingKey").unwrap_or_default();
    if key.is_empty() && topic.filter == FilterKind::Keys {
        return Err(CmqError::NoRoutingKey);
    }
    call.api.config.check_key("routingKey", key)?;
    Ok(key)
}

/// Publishes messages in one commit, waits until they are on disk, and returns their ids.
async fn publish(
    call: &Call<'_>,
    id: TopicId,
    topic: &Topic,
    bodies: &[&[u8]],
) -> Result<Vec<u64>, CmqError> {
    let api = call.api;
    let (tags, key) = (tags(call)?, routing_key(call, topic)?);
    call.check_key(Permission::Write, topic, key)?;
    if api.alarms.raised().any() {
        return Err(CmqError::SendFailed);
    }
    let committer = api.broker.committer();
    committer.room().await;
    let origin = Arc::new(Origin {
        exchange: topic.name.clone(),
        routing_key: key.into(),
    });
    let headers = (!tags.is_empty()).then(|| headers_of(&tags));
    let now_secs = call.now_secs();
    let ids: Vec<u64> = bodies.iter().map(|_| api.message_ids.next()).collect();
    let run: Vec<Arc<Message>> = ids
        .iter()
        .zip(bodies)
        .map(|(id, body)| Arc::new(new_message(&origin, *id, now_secs, headers.as_ref(), body)))
        .collect();
    let bytes = run.iter().map(|message| message.size()).sum();
    // All messages have the same tags and key, so they are routed alike.
    let keys = RouteKeys {
        routing_key: key,
        cc: &[],
        properties: run.first().map_or(&[], |message| &message.properties),
    };
    let vhost = &call.caller.vhost;
    let exchange = vhost.exchange(&topic.name).ok_or(CmqError::NoSuchTopic)?;
    let mut queues = Vec::new();
    let held = vhost.route(&exchange, &keys, &mut queues);
    if queues.is_empty() && held.is_none() {
        return Err(match call.subscriptions(id, topic).is_empty() {
            true => CmqError::NoSubscription,
            false => CmqError::NoMatch,
        });
    }
    let later = held.iter().flat_map(|held| &held.queues);
    call.trace_sent(&run, queues.iter().chain(later));
    let copies = queues.len() + held.as_ref().map_or(0, |held| held.queues.len());
    let (mut ticket, mut refused) = (None, Vec::new());
    {
        let _one_batch = committer.batch_guard();
        let mut publish = |queue: &Arc<Queue>, run: &[Arc<Message>]| {
            let published = queue.publish(run);
            ticket = ticket.max(published.ticket);
            if !published.rejected.is_empty() {
                refused.push((Arc::clone(queue), at_indexes(run, &published.rejected)));
            }
        };
        for queue in &queues {
            publish(queue, &run);
        }
        if let Some(held) = held {
            let run: Vec<_> = run
                .iter()
                .map(|message| delay_message(message, held.delay_ms))
                .collect();
            for queue in &held.queues {
                publish(queue, &run);
            }
        }
    }
    committer.note_pending(bytes);
    call.count_sent(&run, run.len() * copies);
    exchange.stats.publish_in.add(run.len() as u64);
    exchange.stats.publish_out.add((run.len() * copies) as u64);
    let mut is_full = false;
    for (queue, refused) in refused {
        let kept = push::keep_for(api, vhost, id, &queue, &refused).await;
        is_full |= kept.is_none();
        ticket = ticket.max(kept);
    }
    call.durable(ticket).await?;
    call.count_confirmed(ids.len());
    // A full queue that was bound over AMQP got nothing. The publisher learns it, as AMQP's publishers do by a nack.
    match is_full {
        true => Err(CmqError::QueueFull),
        false => Ok(ids),
    }
}

/// The messages of a run that have these indexes.
fn at_indexes(run: &[Arc<Message>], indexes: &[u32]) -> Vec<Arc<Message>> {
    let messages = indexes.iter().filter_map(|index| {
        let index = usize::try_from(*index).ok()?;
        run.get(index).cloned()
    });
    messages.collect()
}
