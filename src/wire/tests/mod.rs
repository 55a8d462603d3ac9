//! Tests of the wire room and the values they share. Fixed cases are tables of bytes; all other tests are
//! properties over arbitrary input.

mod frames;
mod methods;
mod properties;
mod tables;

use proptest::prelude::*;

use super::{AMQPValue, FieldArray, FieldTable, ShortString};

pub(super) fn short_string() -> impl Strategy<Value = ShortString> {
    "\\PC{0,60}".prop_map(|text| super::short_string(&text))
}

/// Any value of a table, with shallow nesting.
pub(super) fn value() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        (-1e30f32..1e30).prop_map(AMQPValue::Float),
        (-1e300f64..1e300).prop_map(AMQPValue::Double),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        proptest::collection::vec(any::<u8>(), 0..40)
            .prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        proptest::collection::vec(any::<u8>(), 0..40)
            .prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|values| AMQPValue::FieldArray(FieldArray::from(values))),
            fields(inner).prop_map(AMQPValue::FieldTable),
        ]
    })
}

pub(super) fn table() -> impl Strategy<Value = FieldTable> {
    fields(value())
}

fn fields(value: impl Strategy<Value = AMQPValue>) -> impl Strategy<Value = FieldTable> {
    proptest::collection::btree_map(short_string(), value, 0..5).prop_map(FieldTable::from)
}
