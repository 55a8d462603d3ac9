//! Delayed messages. Queues delay a message whose `x-delay` header is above zero; `x-delayed-message` exchanges route as
//! another type does and turn the header below zero. Here: the argument that names the other type, the header, and the
//! copy of a message that such an exchange makes.

use std::sync::Arc;

use super::kind::ExchangeKind;
use crate::broker::error::BrokerError;
use crate::model::Message;
use crate::model::arguments::{integer_value, text_value};
use crate::wire::{AMQPValue, FieldTable, PropertiesView};

/// The argument that names the type by which a delayed exchange routes.
const DELAYED_TYPE: &str = "x-delayed-type";
/// The header with the delay in milliseconds.
const DELAY: &str = "x-delay";

/// The type by which a delayed exchange with these arguments routes.
pub(super) fn inner_kind(arguments: &FieldTable) -> Result<ExchangeKind, BrokerError> {
    arguments
        .inner()
        .get(DELAYED_TYPE)
        .and_then(text_value)
        .and_then(|name| ExchangeKind::parse(&name).ok())
        .filter(|kind| *kind != ExchangeKind::Delayed)
        .ok_or_else(|| {
            BrokerError::Refused(format!(
                "Invalid argument, '{DELAYED_TYPE}' must be an existing exchange type"
            ))
        })
}

/// The delay in milliseconds of a message with these properties, for any exchange. `None` without a delay, or
/// if the properties are malformed.
pub fn delay_ms(properties: &PropertiesView<'_>) -> Option<u64> {
    // Few messages have the header; the others' headers are not built.
    properties.header(DELAY)?;
    delay_ms_in(&properties.headers().ok()?)
}

/// The delay that the headers say. `None` without one, and for a message that was delayed before: its header is below
/// zero.
pub(super) fn delay_ms_in(headers: &FieldTable) -> Option<u64> {
    let value = headers.inner().get(DELAY)?;
    let delay = match value {
        AMQPValue::Float(_) | AMQPValue::Double(_) | AMQPValue::LongString(_) => {
            // Clients without integers send these types. The fraction is less than a millisecond.
            let text = match value {
                AMQPValue::Float(value) => value.trunc().to_string(),
                AMQPValue::Double(value) => value.trunc().to_string(),
                other => text_value(other)?.to_string(),
            };
            text.parse().ok()?
        }
        other => integer_value(other)?,
    };
    u64::try_from(delay).ok().filter(|delay| *delay > 0)
}

/// A message as queues delay it and as consumers get it. Its header says the delay below zero, so that no other delayed
/// exchange delays it again.
pub fn delay_message(message: &Message, delay_ms: u64) -> Arc<Message> {
    let mut delayed = Message {
        delay_ms: Some(delay_ms),
        ..message.clone()
    };
    if let Ok(view) = PropertiesView::parse(&message.properties)
        && let Ok(mut headers) = view.headers()
    {
        let ago = i64::try_from(delay_ms).map_or(i64::MIN, |delay| -delay);
        let ago = i32::try_from(ago).map_or(AMQPValue::LongLongInt(ago), AMQPValue::LongInt);
        headers.insert(DELAY.into(), ago);
        delayed.properties = view.edit().set_headers(&headers).finish();
    }
    Arc::new(delayed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, value: AMQPValue) -> FieldTable {
        let mut table = FieldTable::default();
        table.insert(name.into(), value);
        table
    }

    #[test]
    fn delays_are_read_from_any_number() {
        for (value, expected) in [
            (AMQPValue::LongInt(5000), Some(5000)),
            (AMQPValue::LongLongInt(1 << 40), Some(1 << 40)),
            (AMQPValue::ShortShortUInt(200), Some(200)),
            (AMQPValue::Double(1500.9), Some(1500)),
            (AMQPValue::LongString("70".into()), Some(70)),
            (AMQPValue::LongInt(0), None),
            (AMQPValue::LongInt(-5000), None),
            (AMQPValue::LongString("soon".into()), None),
            (AMQPValue::Double(f64::NAN), None),
            (AMQPValue::Boolean(true), None),
            (AMQPValue::Void, None),
        ] {
            assert_eq!(
                delay_ms_in(&table(DELAY, value.clone())),
                expected,
                "{value:?}"
            );
        }
        assert_eq!(delay_ms_in(&FieldTable::default()), None);
    }

    #[test]
    fn the_type_behind_has_to_exist() {
        let text = |value: &str| AMQPValue::LongString(value.into());
        let kind = |value| inner_kind(&table(DELAYED_TYPE, value));
        assert_eq!(kind(text("topic")), Ok(ExchangeKind::Topic));
        for wrong in [
            text("x-delayed-message"),
            text("zz"),
            text(""),
            AMQPValue::LongInt(1),
        ] {
            assert_eq!(
                kind(wrong).unwrap_err().to_string(),
                "Invalid argument, 'x-delayed-type' must be an existing exchange type"
            );
        }
        assert!(inner_kind(&FieldTable::default()).is_err());
    }
}
