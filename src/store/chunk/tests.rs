//! Tests that chunks survive encoding, and that damage is reported.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::format::{HEADER_LEN, SAME_ORIGIN};
use super::*;
use crate::model::{Body, Message, Origin};

fn origin(exchange: &str, routing_key: &str) -> Arc<Origin> {
    Arc::new(Origin {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
    })
}

fn message(body: &'static [u8]) -> Message {
    Message {
        origin: origin("", "q"),
        properties: Bytes::from_static(b"\0\0"),
        body: Body::Whole(Bytes::from_static(body)),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
        handed_out: false,
    }
}

fn same(read: &Message, written: &Message) {
    assert_eq!(read.origin, written.origin);
    assert_eq!(read.properties, written.properties);
    assert_eq!(read.body.slices().concat(), written.body.slices().concat());
    assert_eq!(read.persistent, written.persistent);
    assert_eq!(read.priority, written.priority);
    assert_eq!(read.expiration_ms, written.expiration_ms);
    assert_eq!(read.delay_ms, written.delay_ms);
    assert_eq!(read.dead_lettered, written.dead_lettered);
    assert_eq!(read.failures, written.failures);
}

#[test]
fn bodies_are_slices_of_the_chunk() {
    let mut encoder = ChunkEncoder::new();
    encoder.push(5, &message(b"hello"));
    let chunk = encoder.finish();
    let read = decode(0, chunk.clone()).unwrap().next().unwrap().unwrap();
    let body = read.message.body.slices()[0].as_ptr_range();
    assert!(chunk.as_ptr_range().contains(&body.start));
}

#[test]
fn a_repeated_origin_is_stored_once() {
    let mut encoder = ChunkEncoder::new();
    encoder.push(5, &message(b""));
    let first = encoder.bytes();
    encoder.push(6, &message(b""));
    assert_eq!(
        encoder.bytes() - first,
        6,
        "flags, time, two lengths, two bytes of properties"
    );
    let origins: Vec<_> = decode(0, encoder.finish())
        .unwrap()
        .map(|read| read.unwrap().message.origin.clone())
        .collect();
    assert!(Arc::ptr_eq(&origins[0], &origins[1]));
}

#[test]
fn finish_empties_the_encoder() {
    let mut encoder = ChunkEncoder::new();
    encoder.push(5, &message(b"one"));
    let chunk = encoder.finish();
    assert!(encoder.is_empty() && encoder.bytes() == 0 && encoder.has_room_for(usize::MAX));
    encoder.push(5, &message(b"one"));
    assert_eq!(encoder.finish(), chunk);
    assert_eq!(count(&chunk), Ok(1));
    assert_eq!(first_enqueued_ms(&chunk), Ok(5));
}

#[test]
fn a_chunk_is_full_by_bytes_or_by_messages() {
    let mut encoder = ChunkEncoder::new();
    for _ in 0..CHUNK_MESSAGES_MAX {
        assert!(!encoder.is_full());
        encoder.push(5, &message(b""));
    }
    assert!(encoder.is_full());
    let mut encoder = ChunkEncoder::new();
    encoder.push(5, &message(b"x"));
    assert!(encoder.has_room_for(60_000));
    assert!(!encoder.has_room_for(CHUNK_BYTES_MAX));
}

#[test]
fn an_earlier_time_becomes_that_of_the_message_before() {
    let mut encoder = ChunkEncoder::new();
    for now in [100, 90, 101] {
        encoder.push(now, &message(b""));
    }
    let times: Vec<_> = decode(0, encoder.finish())
        .unwrap()
        .map(|m| m.unwrap().enqueued_ms)
        .collect();
    assert_eq!(times, [100, 100, 101]);
}

#[test]
fn damage_is_reported() {
    let mut encoder = ChunkEncoder::new();
    encoder.push(5, &message(b"hello"));
    let chunk = encoder.finish();
    let cut = decode(0, chunk.slice(..chunk.len() - 1)).unwrap().next();
    assert_eq!(cut.unwrap().unwrap_err(), ChunkError::Short);
    assert_eq!(
        decode(0, chunk.slice(..HEADER_LEN - 1)).unwrap_err(),
        ChunkError::Short
    );
    let mut later = chunk.to_vec();
    later[0] = 2;
    assert_eq!(decode(0, later.into()).unwrap_err(), ChunkError::Version(2));
    let mut same_as_nothing = chunk.to_vec();
    same_as_nothing[HEADER_LEN] |= SAME_ORIGIN;
    let read = decode(0, same_as_nothing.into()).unwrap().next().unwrap();
    assert_eq!(read.unwrap_err(), ChunkError::Malformed);
}

fn any_message() -> impl Strategy<Value = Message> {
    let body = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..3);
    (
        prop::sample::select(vec!["", "amq.topic", "x"]),
        prop::sample::select(vec!["", "a.b", "ключ"]),
        prop::collection::vec(any::<u8>(), 0..40),
        body,
        any::<bool>(),
        any::<u8>(),
        any::<(Option<u64>, Option<u64>)>(),
    )
        .prop_map(
            |(exchange, key, properties, body, persistent, priority, (expiration_ms, delay_ms))| {
                Message {
                    origin: origin(exchange, key),
                    properties: properties.into(),
                    body: Body::Parts(body.into_iter().map(Bytes::from).collect()),
                    persistent,
                    priority,
                    expiration_ms,
                    delay_ms,
                    dead_lettered: persistent,
                    failures: u32::from(priority) << 9,
                    handed_out: false,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn chunks_survive_encoding(
        messages in prop::collection::vec((any_message(), 0u64..5000), 1..40),
        first in 0u64..1 << 40,
    ) {
        let mut encoder = ChunkEncoder::new();
        let mut now = 1_700_000_000_000;
        for (message, delta) in &messages {
            now += delta;
            encoder.push(now, message);
        }
        prop_assert_eq!(encoder.len() as usize, messages.len());
        let chunk = encoder.finish();
        let read: Vec<_> = decode(first, chunk).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), messages.len());
        let mut now = 1_700_000_000_000;
        for (at, (read, (written, delta))) in read.iter().zip(&messages).enumerate() {
            now += delta;
            prop_assert_eq!(read.offset, first + at as u64);
            prop_assert_eq!(read.enqueued_ms, now);
            same(&read.message, written);
        }
    }

    #[test]
    fn decoding_never_panics(
        messages in prop::collection::vec(any_message(), 1..5),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut encoder = ChunkEncoder::new();
        messages.iter().for_each(|message| encoder.push(9, message));
        let mut chunk = encoder.finish().to_vec();
        for (at, byte) in hits {
            let at = at.index(chunk.len());
            chunk[at] = byte;
        }
        chunk.truncate(1 + cut.index(chunk.len()));
        if let Ok(reader) = decode(u64::MAX - 2, chunk.into()) {
            prop_assert!(reader.count() < 10_000);
        }
    }
}
