//! Receiving messages, one and in batches, and waiting for them. An answer leaves when it is on disk who has them; if
//! it cannot be written, they go back at once.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::super::answer::{Answer, Object};
use super::super::dispatch::{Call, Outcome, Reply};
use super::super::error::CmqError;
use crate::broker::permissions::Permission;
use crate::broker::queue::{Hand, Received};
use crate::model::{Body, Message};
use crate::wire::PropertiesView;

/// About the bytes that an answer has of a message beside its body.
const SHOWN_BYTES: usize = 320;

/// `ReceiveMessage`.
pub(in super::super) async fn one(call: &Call<'_>) -> Outcome {
    let hand = receive(call, 1).await?;
    let answer = answer(call, &hand).with(|object| {
        for received in &hand.messages {
            show(received, object);
        }
    });
    reply(call, answer, hand).await
}

/// `BatchReceiveMessage`: as many as there are, without waiting for more once there is one.
pub(in super::super) async fn batch(call: &Call<'_>) -> Outcome {
    let most = call.front.config.batch_max;
    let range = 1..=u64::try_from(most).unwrap_or(u64::MAX);
    let count = call.parameters.ranged("numOfMsg", range)?;
    let count = count.ok_or_else(|| CmqError::Missing("numOfMsg".to_owned()))?;
    let hand = receive(call, usize::try_from(count).unwrap_or(most)).await?;
    let answer = answer(call, &hand).with(|object| {
        object.objects("msgInfoList", &hand.messages, |item, received| {
            show(received, item);
        });
    });
    reply(call, answer, hand).await
}

/// An answer with room for the messages.
fn answer(call: &Call<'_>, hand: &Hand) -> Answer {
    let bodies: usize = hand.messages.iter().map(|one| one.message.body.len()).sum();
    let mut answer = call.success();
    answer.reserve(bodies + hand.messages.len() * SHOWN_BYTES);
    answer
}

/// Waits until it is on disk who has the messages; the answer was written meanwhile.
async fn reply(call: &Call<'_>, answer: Answer, hand: Hand) -> Outcome {
    call.durable(hand.ticket).await?;
    Ok(Reply {
        answer,
        receipt: Some(Box::new(move || drop(hand.keep()))),
    })
}

/// Takes up to `max` messages; at least one.
async fn receive(call: &Call<'_>, max: usize) -> Result<Hand, CmqError> {
    let queue = call.queue(Permission::Read)?;
    let front = call.front;
    let attributes = front.attributes.of(&queue, &front.config);
    let asked = call.parameters.integer("pollingWaitSeconds")?;
    // A client that means "for ever" sends thousands: that is no error.
    let wait_secs = asked.map_or(attributes.polling_wait_secs, |secs| {
        u64::try_from(secs).unwrap_or(0)
    });
    let wait = Duration::from_secs(wait_secs.min(front.config.polling_wait_max_secs));
    if queue.counts().unacked >= front.config.unacked_max {
        return Err(CmqError::TooManyUnacked);
    }
    let mut stopped = call.stopped.clone();
    let hand = tokio::select! {
        biased;
        hand = queue.receive(max, wait) => hand.map_err(|_| CmqError::NoSuchQueue)?,
        _ = stopped.wait_for(|stopped| *stopped) => return Err(CmqError::NoMessage),
    };
    if hand.messages.is_empty() {
        return Err(CmqError::NoMessage);
    }
    Ok(hand)
}

fn show(received: &Received, object: &mut Object<'_>) {
    object.text("msgId", &message_id(received));
    show_body(&received.message, object);
    object
        .display("receiptHandle", received.handle)
        .number("enqueueTime", received.enqueued_ms / 1000)
        .number("firstDequeueTime", received.first_received_ms / 1000)
        .number("nextVisibleTime", received.visible_ms / 1000)
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
