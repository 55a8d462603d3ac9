//! Messages to topics, one and in batches. They are on disk in every queue that gets them when the answer leaves.

use std::sync::Arc;

use super::super::dispatch::{Call, Outcome};
use super::super::error::CmqError;
use super::super::filter::{FilterKind, headers_of};
use super::super::push;
use super::super::rate_limits::Kind;
use super::super::topics::{Topic, TopicId};
use super::send::{batch_bodies, check_body, message};
use crate::broker::exchange::{RouteKeys, keep_back};
use crate::broker::permissions::Permission;
use crate::broker::queue::Queue;
use crate::model::{Message, Origin};

/// `PublishMessage`.
pub(in super::super) async fn one(call: &Call<'_>) -> Outcome {
    let (id, topic) = call.topic(Permission::Write)?;
    call.within_quota(Kind::Publish, id.0)?;
    let body = call.parameters.bytes("msgBody");
    let body = body.ok_or_else(|| CmqError::Missing("msgBody".to_owned()))?;
    check_body(topic.message_bytes, body, None)?;
    let published = publish(call, id, &topic, &[body]).await?;
    let answer = call.success().with(|object| {
        for id in published {
            object.display("msgId", id);
        }
    });
    Ok(answer.into())
}

/// `BatchPublishMessage`: all or nothing, with the same tags and key for all.
pub(in super::super) async fn batch(call: &Call<'_>) -> Outcome {
    let (id, topic) = call.topic(Permission::Write)?;
    call.within_quota(Kind::BatchPublish, id.0)?;
    let bodies = batch_bodies(call, topic.message_bytes)?;
    let published = publish(call, id, &topic, &bodies).await?;
    let answer = call.success().with(|object| {
        object.objects("msgList", published, |item, id| {
            item.display("msgId", id);
        });
    });
    Ok(answer.into())
}

/// The tags of the messages.
fn tags<'a>(call: &'a Call<'_>) -> Result<Vec<&'a str>, CmqError> {
    let config = &call.front.config;
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

/// The routing key of the messages: a topic with binding keys cannot do without.
fn routing_key<'a>(call: &'a Call<'_>, topic: &Topic) -> Result<&'a str, CmqError> {
    let key = call.parameters.text("routingKey").unwrap_or_default();
    if key.is_empty() && topic.filter == FilterKind::Keys {
        return Err(CmqError::NoRoutingKey);
    }
    call.front.config.check_key("routingKey", key)?;
    Ok(key)
}

/// Puts messages into all queues that get them, in one commit; they are on disk when this returns their ids.
async fn publish(
    call: &Call<'_>,
    id: TopicId,
    topic: &Topic,
    bodies: &[&[u8]],
) -> Result<Vec<u64>, CmqError> {
    let front = call.front;
    let (tags, key) = (tags(call)?, routing_key(call, topic)?);
    call.check_key(Permission::Write, topic, key)?;
    if front.alarms.raised().any() {
        return Err(CmqError::SendFailed);
    }
    let committer = front.broker.committer();
    committer.room().await;
    let origin = Arc::new(Origin {
        exchange: topic.name.clone(),
        routing_key: key.into(),
    });
    let headers = (!tags.is_empty()).then(|| headers_of(&tags));
    let now_secs = call.now_secs();
    let ids: Vec<u64> = bodies.iter().map(|_| front.message_ids.next()).collect();
    let run: Vec<Arc<Message>> = ids
        .iter()
        .zip(bodies)
        .map(|(id, body)| Arc::new(message(&origin, *id, now_secs, headers.as_ref(), body)))
        .collect();
    let bytes = run.iter().map(|message| message.size()).sum();
    // Tags and key are the same for all, so where one goes, all go.
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
    let (mut ticket, mut refused) = (None, Vec::new());
    {
        let _one_batch = committer.batch_guard();
        let mut publish = |queue: &Arc<Queue>, run: &[Arc<Message>]| {
            let published = queue.publish(run);
            ticket = ticket.max(published.ticket);
            if !published.rejected.is_empty() {
                refused.push((Arc::clone(queue), named(run, &published.rejected)));
            }
        };
        for queue in &queues {
            publish(queue, &run);
        }
        if let Some(held) = held {
            let run: Vec<_> = run
                .iter()
                .map(|message| keep_back(message, held.delay_ms))
                .collect();
            for queue in &held.queues {
                publish(queue, &run);
            }
        }
    }
    committer.note_pending(bytes);
    let mut is_full = false;
    for (queue, refused) in refused {
        let kept = push::keep_for(front, vhost, id, &queue, &refused);
        is_full |= kept.is_none();
        ticket = ticket.max(kept);
    }
    call.durable(ticket).await?;
    // Somebody got nothing, who is no subscriber: as with AMQP's confirms, who publishes hears of it.
    match is_full {
        true => Err(CmqError::QueueFull),
        false => Ok(ids),
    }
}

/// Those of a run that are named by their indexes.
fn named(run: &[Arc<Message>], indexes: &[u32]) -> Vec<Arc<Message>> {
    let named = indexes.iter().filter_map(|index| {
        let index = usize::try_from(*index).ok()?;
        run.get(index).cloned()
    });
    named.collect()
}
