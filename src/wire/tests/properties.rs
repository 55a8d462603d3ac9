//! Content headers and properties.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::{short_string, table, tables::table_like};
use crate::wire::{
    AMQPProperties, AMQPValue, FieldTable, FrameKind, HeaderError, PropertiesView, TableError,
    append_headers, decode_header, decode_properties, encode_properties, put_body_frame,
    put_content_header, split,
};

fn properties() -> impl Strategy<Value = AMQPProperties> {
    let s = || proptest::option::of(short_string());
    let octet = || proptest::option::of(any::<u8>());
    let first = (
        s(),
        s(),
        proptest::option::of(table()),
        octet(),
        octet(),
        s(),
        s(),
    );
    let second = (
        s(),
        s(),
        proptest::option::of(any::<u64>()),
        s(),
        s(),
        s(),
        s(),
    );
    (first, second).prop_map(|(first, second)| {
        let mut p = AMQPProperties::default();
        macro_rules! set {
            ($value:expr, $with:ident) => {
                if let Some(value) = $value {
                    p = p.$with(value);
                }
            };
        }
        set!(first.0, with_content_type);
        set!(first.1, with_content_encoding);
        set!(first.2, with_headers);
        set!(first.3, with_delivery_mode);
        set!(first.4, with_priority);
        set!(first.5, with_correlation_id);
        set!(first.6, with_reply_to);
        set!(second.0, with_expiration);
        set!(second.1, with_message_id);
        set!(second.2, with_timestamp);
        set!(second.3, with_type);
        set!(second.4, with_user_id);
        set!(second.5, with_app_id);
        set!(second.6, with_cluster_id);
        p
    })
}

#[test]
fn malformed_properties_are_refused() {
    let cases: &[(&[u8], HeaderError)] = &[
        (b"", HeaderError::Truncated),
        (b"\x80", HeaderError::Truncated),
        (b"\x80\0", HeaderError::Truncated),
        (b"\x80\0\x03ab", HeaderError::Truncated),
        (b"\x10\0", HeaderError::Truncated),
        (b"\0\x40\0\0\0\0\0\0\0", HeaderError::Truncated),
        (b"\x20\0\0\0\0\x01", HeaderError::Truncated),
        (b"\0\x01\0\0", HeaderError::MoreFlags),
        (b"\0\0\0", HeaderError::Trailing(1)),
    ];
    for (raw, expected) in cases {
        assert_eq!(
            PropertiesView::parse(raw).map(drop).as_ref(),
            Err(expected),
            "{raw:?}"
        );
        assert_eq!(
            decode_properties(raw).map(drop).as_ref(),
            Err(expected),
            "{raw:?}"
        );
    }
}

#[test]
fn the_flag_without_meaning_is_ignored() {
    assert_eq!(
        decode_properties(b"\x08\x02\x05"),
        Ok(AMQPProperties::default().with_priority(5))
    );
}

#[test]
fn binary_strings_are_readable_as_bytes_but_not_as_text() {
    let raw = b"\x04\0\x02\xff\xfe"; // correlation-id
    let view = PropertiesView::parse(raw).expect("well formed");
    assert_eq!(view.correlation_id(), Some(&[0xff, 0xfe][..]));
    assert_eq!(
        decode_properties(raw),
        Err(HeaderError::NotUtf8("correlation-id"))
    );
    assert_eq!(
        &view.edit().set_priority(3).finish()[..],
        b"\x0c\0\x03\x02\xff\xfe"
    );
}

#[test]
fn a_malformed_headers_table_is_found_when_it_is_read() {
    let raw = b"\x20\0\0\0\0\x03\x01kz";
    let view = PropertiesView::parse(raw).expect("the lengths are right");
    let bad = HeaderError::Headers(TableError::UnknownTag(b'z'));
    assert_eq!(view.check_headers(), Err(bad.clone()));
    assert_eq!(view.headers(), Err(bad.clone()));
    assert_eq!(decode_properties(raw), Err(bad));
}

#[test]
fn an_edit_changes_only_the_fields_it_names() {
    let mut headers = FieldTable::default();
    headers.insert("n".into(), AMQPValue::LongInt(1));
    let before = AMQPProperties::default()
        .with_content_type("text/plain".into())
        .with_headers(headers.clone())
        .with_delivery_mode(1)
        .with_expiration("1000".into())
        .with_timestamp(7)
        .with_cluster_id("c".into());
    let raw = encode_properties(&before);
    let view = PropertiesView::parse(&raw).expect("well formed");
    assert_eq!(view.edit().finish(), raw);

    headers.insert("x-death".into(), AMQPValue::Void);
    let edited = view
        .edit()
        .remove_expiration()
        .set_headers(&headers)
        .set_reply_to("r")
        .set_delivery_mode(2)
        .finish();
    let expected = AMQPProperties::default()
        .with_content_type("text/plain".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_reply_to("r".into())
        .with_timestamp(7)
        .with_cluster_id("c".into());
    assert_eq!(decode_properties(&edited), Ok(expected));

    let bare = view
        .edit()
        .remove_headers()
        .set_headers_raw(b"\0\0\0\0".to_vec())
        .finish();
    let bare = PropertiesView::parse(&bare).expect("well formed");
    assert_eq!(
        (bare.has_headers(), bare.headers()),
        (true, Ok(FieldTable::default()))
    );
}

proptest! {
    #[test]
    fn properties_are_read_back_as_written(properties in properties()) {
        let raw = encode_properties(&properties);
        prop_assert_eq!(decode_properties(&raw), Ok(properties.clone()));
        let view = PropertiesView::parse(&raw).expect("well formed");
        let text = |s: &Option<crate::wire::ShortString>| s.as_ref().map(|s| s.as_str().as_bytes().to_vec());
        let same = [
            (view.content_type(), properties.content_type()),
            (view.content_encoding(), properties.content_encoding()),
            (view.correlation_id(), properties.correlation_id()),
            (view.reply_to(), properties.reply_to()),
            (view.expiration(), properties.expiration()),
            (view.message_id(), properties.message_id()),
            (view.kind(), properties.kind()),
            (view.user_id(), properties.user_id()),
            (view.app_id(), properties.app_id()),
            (view.cluster_id(), properties.cluster_id()),
        ];
        for (ours, theirs) in same {
            prop_assert_eq!(ours.map(<[u8]>::to_vec), text(theirs));
        }
        prop_assert_eq!(view.delivery_mode(), *properties.delivery_mode());
        prop_assert_eq!(view.priority(), *properties.priority());
        prop_assert_eq!(view.timestamp(), *properties.timestamp());
        prop_assert_eq!(view.headers().ok(), Some(properties.headers().clone().unwrap_or_default()));
        prop_assert_eq!(view.edit().finish(), raw);
    }

    #[test]
    fn appended_headers_equal_those_that_an_edit_sets(properties in properties(), mode in proptest::option::of(1u8..3), value: i64) {
        let raw = encode_properties(&properties);
        let view = PropertiesView::parse(&raw).expect("well formed");
        let mut headers = view.headers().expect("well formed");
        let known = headers.contains_key("x-a") || headers.contains_key("x-b");
        headers.insert("x-a".into(), AMQPValue::LongLongInt(value));
        headers.insert("x-b".into(), AMQPValue::LongLongInt(7));
        let appended = append_headers(&raw, &[("x-a", value), ("x-b", 7)], mode);
        prop_assert_eq!(appended.is_none(), known);
        if let Some(appended) = appended {
            let found = PropertiesView::parse(&appended).expect("well formed");
            prop_assert_eq!(found.headers(), Ok(headers.clone()));
            prop_assert_eq!(found.delivery_mode(), view.delivery_mode().or(mode));
            let mut edit = view.edit();
            edit.set_headers(&found.headers().expect("well formed"));
            if let Some(mode) = mode.filter(|_| view.delivery_mode().is_none()) {
                edit.set_delivery_mode(mode);
            }
            prop_assert_eq!(decode_properties(&edit.finish()), decode_properties(&appended));
            prop_assert_eq!(append_headers(&appended, &[("x-b", value)], mode), None);
        }
    }

    #[test]
    fn appending_to_anything_never_panics(flags in any::<u16>(), rest in table_like()) {
        let raw = [&flags.to_be_bytes()[..], &rest].concat();
        drop(append_headers(&raw, &[("x", 1)], Some(1)));
    }

    #[test]
    fn arbitrary_properties_never_panic(flags in any::<u16>(), rest in table_like()) {
        let raw = [&(flags & !3).to_be_bytes()[..], &rest].concat();
        if let Ok(view) = PropertiesView::parse(&raw) {
            prop_assert_eq!(&view.edit().finish()[..], &raw[..]);
            prop_assert_eq!(view.check_headers().is_ok(), view.headers().is_ok());
        }
        prop_assert!(decode_properties(&raw).is_err() || PropertiesView::parse(&raw).is_ok());
    }

    #[test]
    fn arbitrary_headers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(header) = decode_header(Bytes::from(bytes.clone())) {
            prop_assert_eq!(&header.properties[..], &bytes[12..]);
        }
    }

    #[test]
    fn content_frames_are_split_again(properties in properties(), size in any::<u64>(), body in proptest::collection::vec(any::<u8>(), 0..99)) {
        let raw = encode_properties(&properties);
        let mut out = BytesMut::new();
        put_content_header(&mut out, 5, &raw, size);
        put_body_frame(&mut out, 5, &body);
        let header = split(&mut out, 131_072).expect("well formed").expect("whole");
        prop_assert_eq!((header.kind, header.channel), (FrameKind::Header, 5));
        let header = decode_header(header.payload).expect("well formed");
        prop_assert_eq!((header.class_id, header.body_size, header.properties), (60, size, raw));
        let piece = split(&mut out, 131_072).expect("well formed").expect("whole");
        prop_assert_eq!((piece.kind, piece.channel, &piece.payload[..]), (FrameKind::Body, 5, &body[..]));
        prop_assert!(out.is_empty());
    }
}
