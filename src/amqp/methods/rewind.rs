//! Rewinding a queue. AMQP has no method for it: the request is a message to a reserved exchange, and the
//! reply comes by direct reply-to. The routing key names the queue; the header `x-rewind-to` or, without it,
//! the body says where to. `docs/rewind.md` tells how clients use it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::super::channel::{Channel, Mode};
use super::super::connection_state::{ConnectionState, then};
use super::super::direct_reply_to::is_address;
use super::super::error::{Code, Handled, Refusal};
use crate::broker::queue::{RewindTo, Rewound};
use crate::model::arguments::integer_value;
use crate::model::{Body, Message, Name, Origin};
use crate::wire::{AMQPProperties, AMQPValue, PropertiesView, encode_properties, short_string};

const REWIND_TO: &str = "x-rewind-to";
/// Maximum length of a position in the body.
const POSITION_BYTES_MAX: usize = 64;

struct RewindRequest {
    /// The publish's confirm number.
    seq: u64,
    /// Address of the requester that gets the reply.
    reply_to: Option<Name>,
    correlation_id: Option<String>,
    queue: String,
}

impl Channel {
    /// Handles a message to the reserved exchange.
    pub(super) fn rewind_request(
        &mut self,
        connection: &mut ConnectionState,
        message: &Message,
    ) -> Handled {
        self.flush_run(connection);
        let seq = match &mut self.mode {
            Mode::Tx(_) => {
                let text = "a queue cannot be rewound in a transaction";
                return Err(Refusal::new(Code::PreconditionFailed, text));
            }
            Mode::Confirm(confirms) => confirms.next(),
            Mode::Plain => 0,
        };
        let view = PropertiesView::parse(&message.properties)
            .map_err(|_| Refusal::new(Code::InternalError, ""))?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let request = RewindRequest {
            seq,
            reply_to: view
                .reply_to()
                .and_then(text)
                .filter(|name| is_address(name))
                .map(Name::from),
            correlation_id: view.correlation_id().and_then(text),
            queue: message.origin.routing_key.to_string(),
        };
        let to = match position(&view, &message.body) {
            Ok(to) => to,
            Err(why) => {
                let refusal = Refusal::new(Code::PreconditionFailed, why);
                return self.rewound(connection, &request, Err(refusal));
            }
        };
        let session = Arc::clone(&connection.shared.session);
        connection.wait_for(self, async move {
            let rewound = session.rewind_queue(&request.queue, to).await;
            then(move |channel, connection| {
                channel.rewound(connection, &request, rewound.map_err(Refusal::from))
            })
        });
        Ok(())
    }

    /// Sends the outcome to the requester. Without a requester a refusal closes the channel.
    fn rewound(
        &mut self,
        connection: &mut ConnectionState,
        request: &RewindRequest,
        rewound: Result<Rewound, Refusal>,
    ) -> Handled {
        let Some(reply_to) = &request.reply_to else {
            rewound?;
            self.confirm_rewind(connection, request.seq, true);
            return Ok(());
        };
        let succeeded = rewound.is_ok();
        let reply = Arc::new(reply(request, reply_to, rewound));
        let seq = request.seq;
        self.reply(
            connection,
            &reply,
            &[Arc::clone(reply_to)],
            move |channel, connection| {
                channel.confirm_rewind(connection, seq, succeeded);
                Ok(())
            },
        )
    }

    fn confirm_rewind(&mut self, connection: &mut ConnectionState, seq: u64, succeeded: bool) {
        if let Mode::Confirm(confirms) = &mut self.mode {
            match succeeded {
                true => confirms.accept(seq, None),
                false => confirms.refuse(seq),
            }
            self.expect_confirms(connection);
        }
    }
}

/// Where a request rewinds to.
fn position(view: &PropertiesView<'_>, body: &Body) -> Result<RewindTo, String> {
    let headers = view.headers().map_err(|error| error.to_string())?;
    let written = match headers.inner().get(REWIND_TO) {
        Some(AMQPValue::Timestamp(seconds)) => {
            let ms = seconds.checked_mul(1000);
            return ms
                .map(RewindTo::Time)
                .ok_or_else(|| "no such time".to_owned());
        }
        Some(AMQPValue::LongString(text)) => text.as_bytes().to_vec(),
        Some(value) => {
            let offset = integer_value(value).and_then(|offset| u64::try_from(offset).ok());
            return offset
                .map(RewindTo::Offset)
                .ok_or_else(|| format!("{REWIND_TO} is neither a time nor an offset"));
        }
        None if body.len() <= POSITION_BYTES_MAX => body.slices().concat(),
        None => {
            return Err(format!(
                "the body is longer than {POSITION_BYTES_MAX} bytes"
            ));
        }
    };
    let written = String::from_utf8_lossy(&written);
    written.trim().parse().map_err(|error| format!("{error}"))
}

/// The reply: a JSON object with the outcome, or with code and text of the refusal.
fn reply(request: &RewindRequest, reply_to: &Name, rewound: Result<Rewound, Refusal>) -> Message {
    let outcome = match rewound {
        Ok(rewound) => json!({
            "queue": request.queue,
            "messages": rewound.messages,
            "from_offset": rewound.from_offset,
        }),
        Err(refusal) => json!({
            "queue": request.queue,
            "code": refusal.code.number(),
            "error": format!("{} - {}", refusal.code.name(), refusal.text),
        }),
    };
    let mut properties = AMQPProperties::default().with_content_type("application/json".into());
    if let Some(id) = &request.correlation_id {
        properties = properties.with_correlation_id(short_string(id));
    }
    Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: Arc::clone(reply_to),
        }),
        properties: encode_properties(&properties),
        body: Body::Whole(Bytes::from(outcome.to_string())),
        persistent: false,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
        handed_out: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FieldTable;

    fn requested(header: Option<AMQPValue>, body: &str) -> Result<RewindTo, String> {
        let mut headers = FieldTable::default();
        if let Some(value) = header {
            headers.insert(REWIND_TO.into(), value);
        }
        let raw = encode_properties(&AMQPProperties::default().with_headers(headers));
        let view = PropertiesView::parse(&raw).expect("properties");
        position(&view, &Body::Whole(Bytes::copy_from_slice(body.as_bytes())))
    }

    #[test]
    fn the_position_is_in_the_header_or_in_the_body() {
        let text = |text: &str| AMQPValue::LongString(text.into());
        for (header, body, expected) in [
            (None, "17", Some(RewindTo::Offset(17))),
            (None, " 5s\n", Some(RewindTo::Time(5_000))),
            (Some(text("7")), "5s", Some(RewindTo::Offset(7))),
            (
                Some(AMQPValue::Timestamp(9)),
                "",
                Some(RewindTo::Time(9_000)),
            ),
            (Some(AMQPValue::LongInt(9)), "", Some(RewindTo::Offset(9))),
            (Some(AMQPValue::LongLongInt(-9)), "", None),
            (Some(AMQPValue::Timestamp(u64::MAX)), "", None),
            (Some(AMQPValue::Boolean(true)), "1", None),
            (Some(text("soon")), "1", None),
            (None, "", None),
            (None, &"1".repeat(65), None),
        ] {
            assert_eq!(
                requested(header.clone(), body).ok(),
                expected,
                "{header:?} {body}"
            );
        }
    }
}
