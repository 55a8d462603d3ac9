//! The wire codec on the message path: from a read buffer to messages, and from messages to a write buffer.

use std::hint::black_box;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput};

use leveret::model::{Body, Message, Origin};
use leveret::wire::protocol::basic;
use leveret::wire::{
    AMQPClass, FRAME_END, FRAME_OVERHEAD, FrameKind, Frames, Hot, decode_header, decode_hot,
    encode_method, put_body_frame, put_content_header, put_deliver, put_frame_header, short_string,
};

const FRAME_MAX: u32 = 128 * 1024;
/// Number of messages per read or write.
const RUN: usize = 100;
/// Raw properties of a persistent message: flags, then `delivery-mode` 2.
const PERSISTENT: [u8; 3] = [0x10, 0, 2];

/// Publishes of `size` bytes, as a client sends them.
fn published(size: usize) -> BytesMut {
    let mut out = BytesMut::new();
    let publish = AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish {
        exchange: short_string("orders"),
        routing_key: short_string("orders.new.europe"),
        mandatory: false,
        immediate: false,
    }));
    for _ in 0..RUN {
        encode_method(&mut out, 1, &publish);
        put_content_header(&mut out, 1, &PERSISTENT, size as u64);
        for piece in vec![7; size].chunks(FRAME_MAX as usize - FRAME_OVERHEAD) {
            put_body_frame(&mut out, 1, piece);
        }
    }
    out
}

/// Walks whole frames as a connection does, and assembles their messages.
fn assemble(mut frames: Frames, origin: &Arc<Origin>) -> Vec<Message> {
    let mut messages = Vec::with_capacity(RUN);
    let mut properties = Bytes::new();
    while let Some(frame) = frames.next_ref() {
        let frame = frame.expect("a good frame");
        match frame.kind {
            FrameKind::Method => match decode_hot(frame.payload()) {
                Ok(Hot::Publish(publish)) => {
                    black_box(publish);
                }
                other => panic!("not a publish: {other:?}"),
            },
            FrameKind::Header => {
                properties = decode_header(frame.bytes())
                    .expect("a content header")
                    .properties;
            }
            FrameKind::Body => messages.push(Message {
                origin: Arc::clone(origin),
                properties: properties.clone(),
                body: Body::Whole(frame.bytes()),
                persistent: true,
                priority: 0,
                expiration_ms: None,
                delay_ms: None,
                dead_lettered: false,
                failures: 0,
                handed_out: false,
            }),
            FrameKind::Heartbeat => {}
        }
    }
    messages
}

/// Splits frames, with and without the assembly of publishes.
pub(crate) fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish");
    group.throughput(Throughput::Elements(RUN as u64));
    let origin = Arc::new(Origin {
        exchange: "orders".into(),
        routing_key: "orders.new.europe".into(),
    });
    for size in [16, 1024] {
        let bytes = published(size);
        group.bench_function(format!("frame split/{size} B"), |bencher| {
            bencher.iter_batched(
                || bytes.clone(),
                |mut bytes| {
                    let mut frames = Frames::take(&mut bytes, FRAME_MAX);
                    let mut octets = 0;
                    while let Some(Ok(frame)) = frames.next_ref() {
                        octets += frame.payload().len();
                    }
                    octets
                },
                BatchSize::SmallInput,
            );
        });
        group.bench_function(format!("split and assembly/{size} B"), |bencher| {
            bencher.iter_batched(
                || bytes.clone(),
                |mut bytes| assemble(Frames::take(&mut bytes, FRAME_MAX), &origin),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Writes deliveries without their bodies, which the broker does not copy.
pub(crate) fn deliveries(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("delivery");
    group.throughput(Throughput::Elements(RUN as u64));
    let mut out = BytesMut::with_capacity(64 * 1024);
    group.bench_function("encoding", |bencher| {
        bencher.iter(|| {
            out.clear();
            for tag in 0..RUN as u64 {
                put_deliver(
                    &mut out,
                    1,
                    "amq.ctag-1",
                    tag,
                    false,
                    "orders",
                    "orders.new.europe",
                );
                put_content_header(&mut out, 1, &PERSISTENT, 1024);
                put_frame_header(&mut out, FrameKind::Body, 1, 1024);
                out.extend_from_slice(&[FRAME_END]);
            }
            out.len()
        });
    });
    group.finish();
}
