//! Receiving messages, one and in batches, and waiting for them. An answer leaves when it is on disk who has them; if
//! it cannot be written, they go back at once.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::super::dispatch::{Call, Outcome, Reply};
use super::super::error::CmqError;
use super::super::limits::large_kib;
use super::super::rate_limits::Kind;
use super::super::response::{Object, Response};
use crate::broker::permissions::Permission;
use crate::broker::queue::{Hand, Queue, Received};
use crate::model::{Body, Message};
use crate::wire::PropertiesView;

/// About the bytes that an answer has of a message beside its body.
const SHOWN_BYTES: usize = 320;

/// `ReceiveMessage`.
pub(in super::super) async fn one(call: &Call<'_>) -> Outcome {
    let (hand, room) = receive(call, Kind::Receive, 1).await?;
    let answer = answer(call, &hand).with(|object| {
        for received in &hand.messages {
            show(call, received, object);
        }
    });
    reply(call, answer, hand, room).await
}

/// `BatchReceiveMessage`: as many as there are, without waiting for more once there is one.
pub(in super::super) async fn batch(call: &Call<'_>) -> Outcome {
    let batch_max = call.front.config.batch_max;
    let range = 1..=u64::try_from(batch_max).unwrap_or(u64::MAX);
    let most = call.parameters.ranged("numOfMsg", range)?;
    let most = most.ok_or_else(|| CmqError::Missing("numOfMsg".to_owned()))?;
    let most = usize::try_from(most).unwrap_or(batch_max);
    let (hand, room) = receive(call, Kind::BatchReceive, most).await?;
    let answer = answer(call, &hand).with(|object| {
        object.objects("msgInfoList", &hand.messages, |item, received| {
            show(call, received, item);
        });
    });
    reply(call, answer, hand, room).await
}

/// Room for a large answer; kept until that has left.
type Room = Option<OwnedSemaphorePermit>;

/// Bytes of the bodies in a hand.
fn body_bytes(hand: &Hand) -> usize {
    hand.messages.iter().map(|one| one.message.body.len()).sum()
}

/// An answer with room for the messages.
fn answer(call: &Call<'_>, hand: &Hand) -> Response {
    let mut answer = call.success();
    answer.reserve(body_bytes(hand) + hand.messages.len() * SHOWN_BYTES);
    answer
}

/// Waits until it is on disk who has the messages; the answer was written meanwhile.
async fn reply(call: &Call<'_>, answer: Response, hand: Hand, room: Room) -> Outcome {
    call.durable(hand.ticket).await?;
    Ok(Reply {
        answer,
        receipt: Some(Box::new(move || {
            drop(hand.keep());
            drop(room);
        })),
    })
}

/// Takes up to `max` messages; at least one. Who would have a large answer that there is no room for gives them back
/// and waits for room with empty hands.
async fn receive(call: &Call<'_>, kind: Kind, max: usize) -> Result<(Hand, Room), CmqError> {
    let queue = call.queue(Permission::Read)?;
    call.within_quota(kind, queue.id().0)?;
    let front = call.front;
    let wait = polling_wait(call, &queue)?;
    let begun = Instant::now();
    let mut room: Room = None;
    loop {
        if queue.counts().unacked >= front.config.unacked_max {
            return Err(CmqError::TooManyUnacked);
        }
        let left = wait.saturating_sub(begun.elapsed());
        let hand = take(call, &queue, max, left).await?;
        let needed = large_kib(u64::try_from(body_bytes(&hand)).unwrap_or(u64::MAX));
        let Some(needed) = needed else {
            return Ok((hand, None));
        };
        let held = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if usize::try_from(needed).is_ok_and(|needed| needed <= held) {
            return Ok((hand, room));
        }
        drop(room.take());
        let answers = Arc::clone(&front.large_responses);
        room = Arc::clone(&answers).try_acquire_many_owned(needed).ok();
        if room.is_some() {
            return Ok((hand, room));
        }
        drop(hand);
        let mut stopped = call.stopped.clone();
        room = tokio::select! {
            // The semaphore is never closed.
            room = answers.acquire_many_owned(needed) => room.ok(),
            _ = stopped.wait_for(|stopped| *stopped) => return Err(CmqError::NoMessage),
        };
    }
}

/// How long a request waits for messages.
fn polling_wait(call: &Call<'_>, queue: &Queue) -> Result<Duration, CmqError> {
    let config = &call.front.config;
    let attributes = call.front.attributes.of(queue, config);
    let asked = call.parameters.integer("pollingWaitSeconds")?;
    // A client that means "for ever" sends thousands: that is no error.
    let wait_secs = asked.map_or(attributes.polling_wait_secs, |secs| {
        u64::try_from(secs).unwrap_or(0)
    });
    Ok(Duration::from_secs(
        wait_secs.min(config.polling_wait_max_secs),
    ))
}

/// Takes up to `max` messages; at least one.
async fn take(
    call: &Call<'_>,
    queue: &Queue,
    max: usize,
    wait: Duration,
) -> Result<Hand, CmqError> {
    let mut stopped = call.stopped.clone();
    let hand = tokio::select! {
        biased;
        hand = queue.receive(max, wait) => hand.map_err(|_| CmqError::NoSuchQueue)?,
        _ = stopped.wait_for(|stopped| *stopped) => return Err(CmqError::NoMessage),
    };
    match hand.messages.is_empty() {
        true => Err(CmqError::NoMessage),
        false => Ok(hand),
    }
}

fn show(call: &Call<'_>, received: &Received, object: &mut Object<'_>) {
    let secs = |moment| call.clock().wall_ms_at(moment) / 1000;
    object.text("msgId", &message_id(received));
    show_body(&received.message, object);
    object
        .display("receiptHandle", received.handle)
        .number("enqueueTime", secs(received.enqueued))
        .number("firstDequeueTime", secs(received.first_received))
        .number("nextVisibleTime", secs(received.visible))
        .number("dequeueCount", u64::from(received.count));
}

/// What a message is called.
pub(in super::super) fn message_id(received: &Received) -> String {
    let view = PropertiesView::parse(&received.message.properties).ok();
    match view.as_ref().and_then(PropertiesView::message_id) {
        Some(id) => String::from_utf8_lossy(id).into_owned(),
        // Published over AMQP without one: its place is as good.
        None => format!("{}-{}", received.id.lane, received.id.offset),
    }
}

/// The body as text. What was published over AMQP need not be text: then it is there a second time, in base64.
pub(in super::super) fn show_body(message: &Message, object: &mut Object<'_>) {
    let joined;
    let bytes: &[u8] = match &message.body {
        Body::Whole(bytes) => bytes,
        Body::Parts(parts) => {
            joined = parts.concat();
            &joined
        }
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => object.text("msgBody", text),
        Err(_) => object
            .text("msgBody", &String::from_utf8_lossy(bytes))
            .text("msgBodyBase64", &BASE64_STANDARD.encode(bytes)),
    };
}
