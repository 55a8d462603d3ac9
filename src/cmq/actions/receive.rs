//! Receives messages, one or a batch, and waits for them. The response leaves when the leases are on disk; if the client
//! cannot be sent the response, the messages return to their queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::broker::permissions::Permission;
use crate::broker::queue::{Queue, Received, ReceivedBatch};
use crate::cmq::action::Action;
use crate::cmq::call::{Call, Outcome, Reply};
use crate::cmq::error::CmqError;
use crate::cmq::limits::large_kib;
use crate::cmq::message::{message_id, write_body};
use crate::cmq::response::{Object, Response};

/// Bytes of a response for each message beside its body, approximately.
const FIELDS_BYTES: usize = 320;

/// `ReceiveMessage`.
pub(in crate::cmq) async fn one(call: &Call<'_>) -> Outcome {
    let (batch, memory) = receive(call, Action::ReceiveMessage, 1).await?;
    let response = response_for(call, &batch).with(|object| {
        for received in &batch.messages {
            write_message(call, received, object);
        }
    });
    reply(call, response, batch, memory).await
}

/// `BatchReceiveMessage`: does not wait for more messages when there is one.
pub(in crate::cmq) async fn batch(call: &Call<'_>) -> Outcome {
    let batch_max = call.api.config.batch_max;
    let range = 1..=u64::try_from(batch_max).unwrap_or(u64::MAX);
    let max = call.parameters.ranged("numOfMsg", range)?;
    let max = max.ok_or_else(|| CmqError::Missing("numOfMsg".to_owned()))?;
    let max = usize::try_from(max).unwrap_or(batch_max);
    let (batch, memory) = receive(call, Action::BatchReceiveMessage, max).await?;
    let response = response_for(call, &batch).with(|object| {
        object.objects("msgInfoList", &batch.messages, |item, received| {
            write_message(call, received, item);
        });
    });
    reply(call, response, batch, memory).await
}

/// The part of the memory for large responses that one response has until it has left. `None` if it is not large.
type ResponseMemory = Option<OwnedSemaphorePermit>;

fn body_bytes(batch: &ReceivedBatch) -> usize {
    batch
        .messages
        .iter()
        .map(|one| one.message.body.len())
        .sum()
}

/// An empty response with memory reserved for the messages.
fn response_for(call: &Call<'_>, batch: &ReceivedBatch) -> Response {
    let mut response = call.success();
    response.reserve(body_bytes(batch) + batch.messages.len() * FIELDS_BYTES);
    response
}

/// Waits until the leases are on disk. The response was written meanwhile.
async fn reply(
    call: &Call<'_>,
    response: Response,
    batch: ReceivedBatch,
    memory: ResponseMemory,
) -> Outcome {
    call.trace_received(&batch).await;
    call.durable(batch.ticket).await?;
    Ok(Reply {
        response,
        on_sent: Some(Box::new(move || {
            drop(batch.accept());
            drop(memory);
        })),
    })
}

/// Receives one to `max` messages, with memory for the response. If there is no memory for a large response, returns
/// the messages to the queue, waits for memory, and receives again.
async fn receive(
    call: &Call<'_>,
    action: Action,
    max: usize,
) -> Result<(ReceivedBatch, ResponseMemory), CmqError> {
    let queue = call.queue(Permission::Read)?;
    call.within_rate_limit(action, queue.id().0)?;
    let api = call.api;
    let wait = polling_wait(call, &queue)?;
    let begun = Instant::now();
    let mut memory: ResponseMemory = None;
    loop {
        if queue.counts().unacked >= api.config.unacked_max {
            return Err(CmqError::TooManyUnacked);
        }
        let left = wait.saturating_sub(begun.elapsed());
        let batch = receive_within(call, &queue, max, left).await?;
        let needed = large_kib(u64::try_from(body_bytes(&batch)).unwrap_or(u64::MAX));
        let Some(needed) = needed else {
            return Ok((batch, None));
        };
        let granted = memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if usize::try_from(needed).is_ok_and(|needed| needed <= granted) {
            return Ok((batch, memory));
        }
        drop(memory.take());
        let all = Arc::clone(&api.large_responses);
        memory = Arc::clone(&all).try_acquire_many_owned(needed).ok();
        if memory.is_some() {
            return Ok((batch, memory));
        }
        drop(batch);
        let mut stopped = call.stopped.clone();
        memory = tokio::select! {
            // The semaphore is never closed.
            memory = all.acquire_many_owned(needed) => memory.ok(),
            _ = stopped.wait_for(|stopped| *stopped) => return Err(CmqError::NoMessage),
        };
    }
}

/// How long a request waits for messages.
fn polling_wait(call: &Call<'_>, queue: &Queue) -> Result<Duration, CmqError> {
    let config = &call.api.config;
    let attributes = call.api.attributes.of(queue, config);
    let requested = call.parameters.integer("pollingWaitSeconds")?;
    // Too many seconds are no error: clients that want to wait for ever ask for thousands.
    let wait_secs = requested.map_or(attributes.polling_wait_secs, |secs| {
        u64::try_from(secs).unwrap_or(0)
    });
    Ok(Duration::from_secs(
        wait_secs.min(config.polling_wait_max_secs),
    ))
}

/// Receives one to `max` messages. Waits for the first one until `wait` is over or the broker stops.
async fn receive_within(
    call: &Call<'_>,
    queue: &Queue,
    max: usize,
    wait: Duration,
) -> Result<ReceivedBatch, CmqError> {
    let mut stopped = call.stopped.clone();
    let batch = tokio::select! {
        biased;
        batch = queue.receive(max, wait) => batch.map_err(|_| CmqError::NoSuchQueue)?,
        _ = stopped.wait_for(|stopped| *stopped) => return Err(CmqError::NoMessage),
    };
    match batch.messages.is_empty() {
        true => Err(CmqError::NoMessage),
        false => Ok(batch),
    }
}

fn write_message(call: &Call<'_>, received: &Received, object: &mut Object<'_>) {
    let secs = |moment| call.clock().wall_ms_at(moment) / 1000;
    object.text("msgId", &message_id(received));
    write_body(&received.message, object);
    object
        .display("receiptHandle", received.handle)
        .number("enqueueTime", secs(received.enqueued))
        .number("firstDequeueTime", secs(received.first_received))
        .number("nextVisibleTime", secs(received.visible))
        .number("dequeueCount", u64::from(received.count));
}
