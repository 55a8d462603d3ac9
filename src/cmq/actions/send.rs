//! Sends messages to a queue, one or a batch. The response leaves when they are on disk.

use std::sync::Arc;

use super::bodies::{batch_bodies, single_body};
use crate::broker::permissions::Permission;
use crate::broker::queue::Queue;
use crate::cmq::action::Action;
use crate::cmq::call::{Call, Outcome};
use crate::cmq::error::CmqError;
use crate::cmq::message::new_message;
use crate::model::{Message, Origin};

/// `SendMessage`.
pub(in crate::cmq) async fn one(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Write)?;
    call.within_rate_limit(Action::SendMessage, queue.id().0)?;
    let attributes = call.api.attributes.of(&queue, &call.api.config);
    let body = single_body(call, attributes.message_bytes)?;
    let ids = enqueue(call, &queue, &[body]).await?;
    let response = call.success().with(|object| {
        for id in ids {
            object.display("msgId", id);
        }
    });
    Ok(response.into())
}

/// `BatchSendMessage`: all or nothing.
pub(in crate::cmq) async fn batch(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Write)?;
    call.within_rate_limit(Action::BatchSendMessage, queue.id().0)?;
    let attributes = call.api.attributes.of(&queue, &call.api.config);
    let bodies = batch_bodies(call, attributes.message_bytes)?;
    let ids = enqueue(call, &queue, &bodies).await?;
    let response = call.success().with(|object| {
        object.objects("msgList", ids, |item, id| {
            item.display("msgId", id);
        });
    });
    Ok(response.into())
}

/// Enqueues messages in one commit, waits until they are on disk, and returns their ids.
async fn enqueue(
    call: &Call<'_>,
    queue: &Arc<Queue>,
    bodies: &[&[u8]],
) -> Result<Vec<u64>, CmqError> {
    let api = call.api;
    let delay_max = api.config.delay_max_secs;
    let delay_secs = match call.parameters.ranged("delaySeconds", 0..=delay_max) {
        Err(CmqError::OutOfRange(_)) => return Err(CmqError::DelaySeconds),
        delay => delay?.unwrap_or(0),
    };
    if api.alarms.raised().any() {
        return Err(CmqError::SendFailed);
    }
    let committer = api.broker.committer();
    committer.room().await;
    let count = u64::try_from(bodies.len()).unwrap_or(u64::MAX);
    if delay_secs > 0 && queue.counts().delayed.saturating_add(count) > api.config.delayed_max {
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
        let id = api.message_ids.next();
        let message = Message {
            delay_ms,
            ..new_message(&origin, id, now_secs, None, body)
        };
        bytes += message.size();
        ids.push(id);
        run.push(Arc::new(message));
    }
    call.trace_sent(&run, std::iter::once(queue));
    let published = queue.publish_whole(&run);
    if !published.rejected.is_empty() {
        return Err(CmqError::QueueFull);
    }
    committer.note_pending(bytes);
    call.count_sent(&run, run.len());
    if published.ticket.is_none() && queue.is_deleted() {
        return Err(CmqError::NoSuchQueue);
    }
    call.durable(published.ticket).await?;
    call.count_confirmed(ids.len());
    Ok(ids)
}
