//! AMQP values as cells, with the names that RabbitMQ has for their types.

use crate::ctl::protocol::{Cell, TypedCell};
use crate::wire::{AMQPValue, FieldTable};

/// A table such as `arguments` or `client_properties`.
pub(super) fn table(table: &FieldTable) -> Cell {
    Cell::Table(
        table
            .inner()
            .iter()
            .map(|(name, value)| (name.to_string(), typed(value)))
            .collect(),
    )
}

fn typed(value: &AMQPValue) -> TypedCell {
    let (kind, cell) = match value {
        AMQPValue::Boolean(truth) => ("bool", Cell::Bool(*truth)),
        AMQPValue::ShortShortInt(number) => ("byte", Cell::Integer(i64::from(*number))),
        AMQPValue::ShortShortUInt(number) => ("unsignedbyte", Cell::Integer(i64::from(*number))),
        AMQPValue::ShortInt(number) => ("short", Cell::Integer(i64::from(*number))),
        AMQPValue::ShortUInt(number) => ("unsignedshort", Cell::Integer(i64::from(*number))),
        AMQPValue::LongInt(number) => ("signedint", Cell::Integer(i64::from(*number))),
        AMQPValue::LongUInt(number) => ("unsignedint", Cell::Integer(i64::from(*number))),
        AMQPValue::LongLongInt(number) => ("long", Cell::Integer(*number)),
        AMQPValue::Float(number) => ("float", Cell::Float(f64::from(*number))),
        AMQPValue::Double(number) => ("double", Cell::Float(*number)),
        AMQPValue::DecimalValue(decimal) => (
            "decimal",
            Cell::Text(format!("{}e-{}", decimal.value, decimal.scale)),
        ),
        AMQPValue::ShortString(text) => ("longstr", Cell::Text(text.to_string())),
        AMQPValue::LongString(text) => ("longstr", Cell::Text(text.to_string())),
        AMQPValue::FieldArray(items) => (
            "array",
            Cell::List(items.as_slice().iter().map(typed).collect()),
        ),
        AMQPValue::Timestamp(seconds) => ("timestamp", Cell::from(*seconds)),
        AMQPValue::FieldTable(inner) => ("table", table(inner)),
        AMQPValue::ByteArray(bytes) => (
            "binary",
            Cell::Text(String::from_utf8_lossy(bytes.as_slice()).into_owned()),
        ),
        AMQPValue::Void => ("void", Cell::Nothing),
    };
    TypedCell {
        kind: kind.to_owned(),
        cell,
    }
}
