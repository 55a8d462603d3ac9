//! Field tables and their values, in few words.

use leveret::wire::{AMQPValue, FieldTable};

pub(crate) fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

pub(crate) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

pub(crate) fn long(value: i64) -> AMQPValue {
    AMQPValue::LongLongInt(value)
}

/// Routing keys, as CC and BCC have them.
pub(crate) fn keys(keys: &[&str]) -> AMQPValue {
    let keys: Vec<AMQPValue> = keys.iter().map(|key| text(key)).collect();
    AMQPValue::FieldArray(keys.into())
}
