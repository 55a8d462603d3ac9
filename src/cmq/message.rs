//! Messages as the API makes them and shows them.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use super::response::Object;
use crate::broker::queue::Received;
use crate::model::{Body, Message, Origin};
use crate::wire::{AMQPProperties, FieldTable, PropertiesView, encode_properties};

/// AMQP's `delivery-mode` of messages that survive a restart.
const PERSISTENT: u8 = 2;

/// A message that is sent or published through the API.
pub(super) fn new_message(
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
        handed_out: false,
    }
}

/// `msgId`.
pub(super) fn message_id(received: &Received) -> String {
    let view = PropertiesView::parse(&received.message.properties).ok();
    match view.as_ref().and_then(PropertiesView::message_id) {
        Some(id) => String::from_utf8_lossy(id).into_owned(),
        // Published over AMQP without an id: its position in the queue is unique as well.
        None => format!("{}-{}", received.id.lane, received.id.offset),
    }
}

/// `msgBody`. A body that is no text, which AMQP allows, is there a second time in base64.
pub(super) fn write_body(message: &Message, object: &mut Object<'_>) {
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
