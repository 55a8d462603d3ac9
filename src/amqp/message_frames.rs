//! Messages as content header and body frames, with the headers that the broker adds to a delivery.

use std::borrow::Cow;

use bytes::{BufMut, Bytes};

use super::writer::Writer;
use crate::broker::queue::ReturnCounts;
use crate::model::Message;
use crate::model::arguments::QueueKind;
use crate::model::stream::STREAM_OFFSET;
use crate::wire::{self, FRAME_END, FRAME_OVERHEAD, FrameKind, PropertiesView};

/// Header: how often a quorum queue's message was returned.
const ACQUIRED_COUNT: &str = "x-acquired-count";
/// Header: how many deliveries of a quorum queue's message failed.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// Header: the message's offset in a rewindable queue.
const OFFSET: &str = "x-offset";
/// Header: when a rewindable queue enqueued the message, Unix milliseconds.
const ENQUEUED_AT: &str = "x-enqueued-at";
/// The `delivery-mode` of transient messages.
const TRANSIENT: u8 = 1;

/// Headers that the broker adds to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddedHeaders {
    None,
    /// `x-acquired-count` and `x-delivery-count` of a quorum queue, unless they are 0.
    Counts(ReturnCounts),
    /// `x-stream-offset`: the message's offset in its stream.
    StreamOffset(u64),
    /// `x-offset` and `x-enqueued-at` of a rewindable queue, and the counts unless they are 0.
    Rewindable {
        offset: u64,
        /// Unix milliseconds.
        enqueued_ms: u64,
        counts: ReturnCounts,
    },
}

impl AddedHeaders {
    /// The headers for a message from a queue of this type. Only rewindable queues know `enqueued_ms`.
    pub(crate) fn of(
        kind: QueueKind,
        counts: ReturnCounts,
        offset: u64,
        enqueued_ms: Option<u64>,
    ) -> AddedHeaders {
        // Only quorum queues show the counts.
        let counts = match kind {
            QueueKind::Stream => return AddedHeaders::StreamOffset(offset),
            QueueKind::Quorum => counts,
            QueueKind::Classic => ReturnCounts::default(),
        };
        match enqueued_ms {
            Some(enqueued_ms) => AddedHeaders::Rewindable {
                offset,
                enqueued_ms,
                counts,
            },
            None if counts == ReturnCounts::default() => AddedHeaders::None,
            None => AddedHeaders::Counts(counts),
        }
    }
}

/// Writes a message as content header and body frames.
pub(crate) fn put_content(
    out: &mut Writer,
    frame_max: u32,
    channel: u16,
    message: &Message,
    added: AddedHeaders,
) {
    put_header(out, channel, message, added);
    let payload_max = (frame_max as usize).saturating_sub(FRAME_OVERHEAD).max(1);
    match message.body.len() {
        0 => {}
        size if size <= payload_max => put_body_frame(out, channel, message, size),
        size => put_body_frames(out, channel, message, size, payload_max),
    }
}

fn put_header(out: &mut Writer, channel: u16, message: &Message, added: AddedHeaders) {
    let properties = delivered_properties(&message.properties, added);
    let body_size = message.body.len() as u64;
    wire::put_content_header(out.buffer(), channel, &properties, body_size);
}

/// A message's properties as the client gets them.
pub(crate) fn delivered_properties(own: &Bytes, added: AddedHeaders) -> Cow<'_, Bytes> {
    match added {
        AddedHeaders::None => Cow::Borrowed(own),
        AddedHeaders::Counts(counts) => {
            let headers: Vec<_> = count_headers(counts).collect();
            Cow::Owned(with_headers(own, &headers, None))
        }
        AddedHeaders::StreamOffset(offset) => {
            // RabbitMQ's streams add the mode as well.
            let headers = [(STREAM_OFFSET, signed(offset))];
            Cow::Owned(with_headers(own, &headers, Some(TRANSIENT)))
        }
        AddedHeaders::Rewindable {
            offset,
            enqueued_ms,
            counts,
        } => {
            let headers = [(OFFSET, signed(offset)), (ENQUEUED_AT, signed(enqueued_ms))];
            let headers: Vec<_> = headers.into_iter().chain(count_headers(counts)).collect();
            Cow::Owned(with_headers(own, &headers, None))
        }
    }
}

/// The headers for counts that are not 0.
fn count_headers(counts: ReturnCounts) -> impl Iterator<Item = (&'static str, i64)> {
    [
        (ACQUIRED_COUNT, i64::from(counts.acquired)),
        (DELIVERY_COUNT, i64::from(counts.delivery)),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
}

fn put_body_frame(out: &mut Writer, channel: u16, message: &Message, size: usize) {
    wire::put_frame_header(out.buffer(), FrameKind::Body, channel, size);
    for part in message.body.slices() {
        out.put_body(part);
    }
    out.buffer().put_u8(FRAME_END);
}

/// Cuts a body into frames anew, since the publisher's frames may have been larger.
fn put_body_frames(
    out: &mut Writer,
    channel: u16,
    message: &Message,
    size: usize,
    payload_max: usize,
) {
    let mut left = size;
    let mut left_in_frame = 0;
    for part in message.body.slices() {
        let mut part: Bytes = part.clone();
        while !part.is_empty() {
            if left_in_frame == 0 {
                left_in_frame = left.min(payload_max);
                wire::put_frame_header(out.buffer(), FrameKind::Body, channel, left_in_frame);
            }
            let piece = part.split_to(part.len().min(left_in_frame));
            out.put_body(&piece);
            left_in_frame -= piece.len();
            left -= piece.len();
            if left_in_frame == 0 {
                out.buffer().put_u8(FRAME_END);
            }
        }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The properties with `headers` added, in place of the publisher's headers of the same names, and with
/// `mode` unless they have a delivery mode. Malformed properties stay unchanged.
fn with_headers(properties: &Bytes, headers: &[(&str, i64)], mode: Option<u8>) -> Bytes {
    if let Some(appended) = wire::append_headers(properties, headers, mode) {
        return appended;
    }
    let Ok(view) = PropertiesView::parse(properties) else {
        return properties.clone();
    };
    let Ok(mut table) = view.headers() else {
        return properties.clone();
    };
    for (name, value) in headers {
        table.insert((*name).into(), wire::AMQPValue::LongLongInt(*value));
    }
    let mut edit = view.edit();
    edit.set_headers(&table);
    if let Some(mode) = mode.filter(|_| view.delivery_mode().is_none()) {
        edit.set_delivery_mode(mode);
    }
    edit.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Body, Origin};
    use crate::wire::{Frame, split};
    use bytes::BytesMut;

    fn frames(body: Body, frame_max: u32) -> Vec<Frame> {
        let origin = Arc::new(Origin {
            exchange: "x".into(),
            routing_key: "k".into(),
        });
        let properties = Bytes::from_static(&[0, 0]);
        let message = Message {
            origin,
            properties,
            body,
            persistent: false,
            priority: 0,
            expiration_ms: None,
            delay_ms: None,
            dead_lettered: false,
            failures: 0,
            handed_out: false,
        };
        let mut out = Writer::default();
        put_content(&mut out, frame_max, 3, &message, AddedHeaders::None);
        let mut bytes = BytesMut::new();
        out.flush(|slices| {
            bytes.extend_from_slice(&slices[0]);
            Ok(slices[0].len())
        })
        .1
        .unwrap();
        std::iter::from_fn(|| split(&mut bytes, frame_max).unwrap()).collect()
    }

    #[test]
    fn bodies_are_cut_at_frame_max() {
        let part = |n: usize, byte: u8| Bytes::from(vec![byte; n]);
        for (body, sizes) in [
            (Body::Whole(Bytes::new()), vec![]),
            (Body::Whole(part(4_088, 1)), vec![4_088]),
            (Body::Whole(part(4_089, 1)), vec![4_088, 1]),
            (
                Body::Parts(vec![part(3_000, 1), part(3_000, 2), part(2_177, 3)]),
                vec![4_088, 4_088, 1],
            ),
            (Body::Parts(vec![part(10, 1), part(10, 2)]), vec![20]),
        ] {
            let sent = body.slices().concat();
            let frames = frames(body, 4_096);
            assert_eq!(frames[0].kind, FrameKind::Header);
            assert_eq!(
                frames[1..]
                    .iter()
                    .map(|frame| frame.payload.len())
                    .collect::<Vec<_>>(),
                sizes
            );
            assert!(
                frames[1..]
                    .iter()
                    .all(|frame| frame.kind == FrameKind::Body && frame.channel == 3)
            );
            assert_eq!(
                frames[1..]
                    .iter()
                    .map(|frame| frame.payload.clone())
                    .collect::<Vec<_>>()
                    .concat(),
                sent
            );
        }
    }
}
