//! Sending messages, one and in batches. An answer leaves when what it tells of is on disk.

use std::sync::Arc;

use bytes::Bytes;

use super::super::dispatch::{Call, Outcome};
use super::super::error::CmqError;
use super::super::rate_limits::Kind;
use crate::broker::permissions::Permission;
use crate::broker::queue::Queue;
use crate::model::{Body, Message, Origin};
use crate::wire::{AMQPProperties, FieldTable, encode_properties};

/// AMQP's `delivery-mode` of messages that survive a restart.
const PERSISTENT: u8 = 2;

/// `SendMessage`.
pub(in super::super) async fn one(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Write)?;
    call.within_quota(Kind::Send, queue.id().0)?;
    let attributes = call.front.attributes.of(&queue, &call.front.config);
    let body = call.parameters.bytes("msgBody");
    let body = body.ok_or_else(|| CmqError::Missing("msgBody".to_owned()))?;
    check_body(attributes.message_bytes, body, None)?;
    let sent = enqueue(call, &queue, &[body]).await?;
    let answer = call.success().with(|object| {
        for id in sent {
            object.display("msgId", id);
        }
    });
    Ok(answer.into())
}

/// `BatchSendMessage`: all or nothing.
pub(in super::super) async fn batch(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Write)?;
    call.within_quota(Kind::BatchSend, queue.id().0)?;
    let attributes = call.front.attributes.of(&queue, &call.front.config);
    let bodies = batch_bodies(call, attributes.message_bytes)?;
    let sent = enqueue(call, &queue, &bodies).await?;
    let answer = call.success().with(|object| {
        object.objects("msgList", sent, |item, id| {
            item.display("msgId", id);
        });
    });
    Ok(answer.into())
}

/// The bodies of a batch, each of at most `bytes_max`.
pub(super) fn batch_bodies<'a>(
    call: &'a Call<'_>,
    bytes_max: u64,
) -> Result<Vec<&'a [u8]>, CmqError> {
    let config = &call.front.config;
    let entries = call.parameters.items("msgBody", config.batch_max)?;
    if entries.is_empty() {
        return Err(CmqError::Missing("msgBody.n".to_owned()));
    }
    for (index, body) in &entries {
        check_body(bytes_max, body, Some(*index))?;
    }
    let bodies: Vec<&[u8]> = entries.into_iter().map(|(_, body)| body).collect();
    let bytes: usize = bodies.iter().map(|body| body.len()).sum();
    if u64::try_from(bytes).is_ok_and(|bytes| bytes > config.batch_bytes_max) {
        return Err(CmqError::BatchTooLarge);
    }
    Ok(bodies)
}

/// Refuses bodies that the queue or topic does not take; of a batch, with the name of the entry.
pub(super) fn check_body(bytes_max: u64, body: &[u8], index: Option<u32>) -> Result<(), CmqError> {
    let entry = index.map(|index| format!("msgBody.{index}"));
    let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
    match (size, entry) {
        (0, None) => Err(CmqError::EmptyBody),
        (0, Some(entry)) => Err(CmqError::EmptyEntry(entry)),
        (size, None) if size > bytes_max => Err(CmqError::MessageTooLarge),
        (size, Some(entry)) if size > bytes_max => Err(CmqError::EntryTooLarge(entry)),
        _ => Ok(()),
    }
}

/// Puts messages into a queue, in one commit; they are on disk when this returns their ids.
async fn enqueue(
    call: &Call<'_>,
    queue: &Arc<Queue>,
    bodies: &[&[u8]],
) -> Result<Vec<u64>, CmqError> {
    let front = call.front;
    let delay_max = front.config.delay_max_secs;
    let delay_secs = match call.parameters.ranged("delaySeconds", 0..=delay_max) {
        Err(CmqError::OutOfRange(_)) => return Err(CmqError::DelaySeconds),
        delay => delay?.unwrap_or(0),
    };
    if front.alarms.raised().any() {
        return Err(CmqError::SendFailed);
    }
    let committer = front.broker.committer();
    committer.room().await;
    let count = u64::try_from(bodies.len()).unwrap_or(u64::MAX);
    if delay_secs > 0 && queue.counts().delayed.saturating_add(count) > front.config.delayed_max {
        return Err(CmqError::TooManyUnacked);
    }
    let origin = Arc::new(Origin {
        exchange: "".into(),
        routing_key: Arc::clone(queue.name()),
    });
    let delay_ms = (delay_secs > 0).then(|| delay_secs.saturating_mul(1000));
    let now_secs = call.now_secs();
    let mut ids = Vec::with_capacity(bodies.len());
    let mut run = Vec::with_capacity(bodies.len());
    let mut bytes = 0;
    for body in bodies {
        let id = front.message_ids.next();
        let message = Message {
            delay_ms,
            ..message(&origin, id, now_secs, None, body)
        };
        bytes += message.size();
        ids.push(id);
        run.push(Arc::new(message));
    }
    let published = queue.publish_whole(&run);
    if !published.rejected.is_empty() {
        return Err(CmqError::QueueFull);
    }
    committer.note_pending(bytes);
    if published.ticket.is_none() && queue.is_deleted() {
        return Err(CmqError::NoSuchQueue);
    }
    call.durable(published.ticket).await?;
    Ok(ids)
}

/// A message as the API makes it.
pub(super) fn message(
    origin: &Arc<Origin>,
    id: u64,
    now_secs: u64,
    headers: Option<&FieldTable>,
    body: &[u8],
) -> Message {
    let mut properties = AMQPProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(id.to_string().into())
        .with_timestamp(now_secs);
    if let Some(headers) = headers {
        properties = properties.with_headers(headers.clone());
    }
    Message {
        origin: Arc::clone(origin),
        properties: encode_properties(&properties),
        body: Body::Whole(Bytes::copy_from_slice(body)),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
    }
}
