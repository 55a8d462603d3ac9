//! Field tables: type tags, bounds, lookups.

use bytes::BytesMut;
use proptest::prelude::*;

use super::table;
use crate::wire::table::{Entry, array_values, check_fields, check_table, find};
use crate::wire::{AMQPValue, FieldTable, TABLE_DEPTH_MAX, TableError, decode_table, encode_table};

/// A table with the single field `k`.
fn single(value: &[u8]) -> Vec<u8> {
    with_len(&[b"\x01k", value].concat())
}

fn with_len(fields: &[u8]) -> Vec<u8> {
    [
        &u32::try_from(fields.len()).expect("small").to_be_bytes()[..],
        fields,
    ]
    .concat()
}

#[test]
fn every_type_tag_is_read_as_rabbitmq_reads_it() {
    let cases: &[(&[u8], AMQPValue)] = &[
        (b"t\x01", AMQPValue::Boolean(true)),
        (b"t\x07", AMQPValue::Boolean(true)),
        (b"b\xff", AMQPValue::ShortShortInt(-1)),
        (b"B\xff", AMQPValue::ShortShortUInt(255)),
        (b"s\xff\xff", AMQPValue::ShortInt(-1)),
        (b"u\xff\xff", AMQPValue::ShortUInt(65535)),
        (b"I\xff\xff\xff\xff", AMQPValue::LongInt(-1)),
        (b"i\xff\xff\xff\xff", AMQPValue::LongUInt(u32::MAX)),
        (
            b"l\xff\xff\xff\xff\xff\xff\xff\xff",
            AMQPValue::LongLongInt(-1),
        ),
        (
            b"L\xff\xff\xff\xff\xff\xff\xff\xff",
            AMQPValue::LongLongInt(-1),
        ),
        (b"f\x3f\x80\0\0", AMQPValue::Float(1.0)),
        (b"d\x3f\xf0\0\0\0\0\0\0", AMQPValue::Double(1.0)),
        (
            b"S\0\0\0\x02\xffa",
            AMQPValue::LongString(vec![0xff, b'a'].into()),
        ),
        (
            b"A\0\0\0\x03t\0V",
            AMQPValue::FieldArray(vec![AMQPValue::Boolean(false), AMQPValue::Void].into()),
        ),
        (b"T\0\0\0\0\0\0\0\x05", AMQPValue::Timestamp(5)),
        (b"F\0\0\0\0", AMQPValue::FieldTable(FieldTable::default())),
        (b"V", AMQPValue::Void),
        (b"x\0\0\0\x01\x09", AMQPValue::ByteArray(vec![9].into())),
    ];
    for (bytes, expected) in cases {
        let table = decode_table(&single(bytes)).expect("a known tag");
        assert_eq!(
            table.inner().get("k"),
            Some(expected),
            "{}",
            char::from(bytes[0])
        );
    }
    let decimal = decode_table(&single(b"D\x02\0\0\0\x07")).expect("decimal");
    let decimal = decimal
        .inner()
        .get("k")
        .and_then(AMQPValue::as_decimal_value)
        .expect("decimal");
    assert_eq!((decimal.scale, decimal.value), (2, 7));
}

#[test]
fn malformed_tables_are_refused() {
    let cases: &[(&[u8], TableError)] = &[
        (b"", TableError::Truncated),
        (b"\0\0\0\x01", TableError::Truncated),
        (b"\xff\xff\xff\xff", TableError::Truncated),
        (b"\0\0\0\0x", TableError::Trailing(1)),
        (&single(b""), TableError::Truncated),
        (&single(b"U\0\x01"), TableError::UnknownTag(b'U')),
        (&single(b"I\0\0\0"), TableError::Truncated),
        (&single(b"S\0\0\0\x05abc"), TableError::Truncated),
        (&single(b"A\0\0\0\x01I"), TableError::Truncated),
    ];
    for (bytes, expected) in cases {
        assert_eq!(decode_table(bytes).as_ref(), Err(expected), "{bytes:?}");
    }
}

/// A table with `depth - 1` arrays or tables nested inside it.
fn nested(depth: usize, array: bool) -> Vec<u8> {
    let mut inner = Vec::new();
    for level in 1..depth {
        let innermost = level == 1;
        inner = match (array, innermost) {
            (true, _) => [b"A", &with_len(&inner)[..]].concat(),
            (false, true) => [b"F", &with_len(b"")[..]].concat(),
            (false, false) => [b"F", &with_len(&[b"\x01k", &inner[..]].concat())[..]].concat(),
        };
    }
    if inner.is_empty() {
        with_len(b"")
    } else {
        single(&inner)
    }
}

#[test]
fn nesting_is_bounded_before_anything_recurses() {
    for array in [true, false] {
        let deepest = nested(TABLE_DEPTH_MAX, array);
        // At the maximum depth the parser's recursion must fit in a small stack, also in a debug build.
        let parsed = std::thread::Builder::new()
            .stack_size(1 << 20)
            .spawn(move || decode_table(&deepest).map(drop))
            .expect("thread")
            .join()
            .expect("no overflow");
        assert_eq!(parsed, Ok(()));
        assert_eq!(
            decode_table(&nested(TABLE_DEPTH_MAX + 1, array)),
            Err(TableError::TooDeep)
        );
        assert_eq!(
            check_table(&nested(10_000, array)),
            Err(TableError::TooDeep)
        );
    }
}

#[test]
fn names_that_are_not_text_are_masked() {
    let raw = with_len(b"\x02\xfeaV\x01nF\0\0\0\x04\x02\xff\xc3V\x02\xc3\xa9V");
    let table = decode_table(&raw).expect("well formed");
    let names: Vec<_> = table.into_iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["?a", "n", "é"]);
    let inner = table
        .inner()
        .get("n")
        .and_then(AMQPValue::as_field_table)
        .expect("table");
    assert!(inner.contains_key("??"));
    assert_eq!(find(&raw, "n").map(|entry| entry.tag), Some(b'F'));
}

#[test]
fn fields_are_found_without_building_the_table() {
    let raw = with_len(b"\x02CCA\0\0\0\x0cS\0\0\0\x01aS\0\0\0\x01b\x01nI\0\0\0\x05");
    assert_eq!(
        find(&raw, "n"),
        Some(Entry {
            name: b"n",
            tag: b'I',
            value: &[0, 0, 0, 5]
        })
    );
    assert_eq!(find(&raw, "N"), None);
    let cc = find(&raw, "CC").expect("there");
    assert_eq!(
        array_values(cc.value).collect::<Vec<_>>(),
        [(b'S', &b"a"[..]), (b'S', &b"b"[..])]
    );
    assert_eq!(find(b"\0\0\0\xff\x01nV", "n"), None);
    assert_eq!(find(b"", "n"), None);
}

fn nodes(value: &AMQPValue) -> usize {
    1 + match value {
        AMQPValue::FieldTable(table) => table.into_iter().map(|(_, value)| nodes(value)).sum(),
        AMQPValue::FieldArray(array) => array.as_slice().iter().map(nodes).sum(),
        _ => 0,
    }
}

/// Bytes that resemble a table more often than arbitrary bytes do.
pub(super) fn table_like() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        Just(0u8),
        0u8..12,
        proptest::sample::select(&b"tbBsuIilLfdDSATFVxUa"[..]),
        any::<u8>()
    ];
    proptest::collection::vec(byte, 0..120)
}

proptest! {
    #[test]
    fn tables_are_read_back_as_written(table in table()) {
        let mut raw = BytesMut::new();
        encode_table(&table, &mut raw);
        prop_assert_eq!(decode_table(&raw), Ok(table.clone()));
        prop_assert_eq!(check_fields(&raw[4..]), Ok(()));
        for (name, _) in &table {
            prop_assert!(find(&raw, name.as_str()).is_some());
        }
    }

    #[test]
    fn arbitrary_bytes_never_make_more_values_than_bytes(bytes in table_like(), bare in any::<bool>()) {
        let raw = if bare { with_len(&bytes) } else { bytes.clone() };
        prop_assert_eq!(check_fields(&bytes).is_ok(), decode_table(&with_len(&bytes)).is_ok());
        if let Ok(table) = decode_table(&raw) {
            prop_assert!(nodes(&AMQPValue::FieldTable(table)) <= bytes.len() + 1);
        }
    }

    #[test]
    fn the_walk_and_the_parser_agree(bytes in table_like()) {
        let raw = with_len(&bytes);
        let walked = check_table(&raw);
        let parsed = amq_protocol::types::parsing::parse_field_table(&raw[..]);
        match walked {
            Ok(()) if str::from_utf8(&raw).is_ok() => prop_assert!(matches!(parsed, Ok(([], _)))),
            // A name or a value has bytes above 127.
            Ok(()) => prop_assert!(decode_table(&raw).is_ok()),
            // amq-protocol knows this tag, RabbitMQ does not.
            Err(TableError::UnknownTag(b'U')) => {}
            Err(_) => prop_assert!(parsed.is_err()),
        }
    }
}
