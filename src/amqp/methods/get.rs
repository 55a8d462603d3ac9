//! `basic.get`, and how a message is written as content frames.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::super::channel::{Channel, Phase};
use super::super::cx::{Cx, Handled, done};
use super::super::error::{Code, Refusal};
use super::super::unacked::Unacked;
use super::super::writer::Writer;
use super::queue::count;
use crate::broker::queue::{Got, Queue};
use crate::model::Message;
use crate::model::arguments::QueueKind;
use crate::model::stream::STREAM_OFFSET;
use crate::wire::protocol::basic::{AMQPMethod, Get, GetEmpty};
use crate::wire::{self, AMQPClass, FRAME_END, FRAME_OVERHEAD, FrameKind, PropertiesView};

/// The header that says how often a quorum queue's message came back.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// The header with a message's place in a queue that keeps acked messages.
const OFFSET: &str = "x-offset";
/// The header that says when it got there, in milliseconds since 1970.
const ENQUEUED_AT: &str = "x-enqueued-at";

impl Channel {
    /// `basic.get`.
    pub(crate) fn basic_get(&mut self, cx: &mut Cx<'_>, m: Get) -> Handled {
        let name = self.queue_name(m.queue.as_str())?;
        let queue = cx.shared.session.queue_for_get(&name)?;
        let vhost = Arc::clone(cx.shared.session.vhost.name());
        let arguments = &queue.spec().arguments;
        if arguments.kind == QueueKind::Stream {
            let text = format!(
                "basic.get not supported by stream queues queue '{name}' in vhost '{vhost}'"
            );
            return Err(Refusal::new(Code::NotImplemented, text));
        }
        if arguments.kind == QueueKind::Quorum && arguments.single_active_consumer {
            let text = format!(
                "cannot obtain access to locked queue '{name}' in vhost '{vhost}'. basic.get operations are not \
                 supported by quorum queues with single active consumer"
            );
            return Err(Refusal::new(Code::ResourceLocked, text));
        }
        cx.later(self, async move {
            let got = queue.get(m.no_ack).await;
            done(move |channel, cx| match got {
                Ok(Some(got)) => channel.got(cx, &queue, &got, m.no_ack),
                Ok(None) => {
                    cx.send(
                        channel.number,
                        AMQPClass::Basic(AMQPMethod::GetEmpty(GetEmpty {})),
                    );
                    Ok(())
                }
                Err(_) => Err(Refusal::new(
                    Code::NotFound,
                    format!("no queue '{name}' in vhost '{vhost}'"),
                )),
            })
        });
        Ok(())
    }

    pub(super) fn got(
        &mut self,
        cx: &mut Cx<'_>,
        queue: &Arc<Queue>,
        got: &Got,
        no_ack: bool,
    ) -> Handled {
        if self.phase != Phase::Open {
            // It was closed from this side meanwhile, and has given back what it had.
            if !no_ack {
                queue.leave(&[], &[got.lease]);
            }
            return Ok(());
        }
        let tag = match no_ack {
            true => self.ledger.skip(),
            false => {
                let queue = self.queues.acquire(queue);
                self.ledger.push(Unacked {
                    queue,
                    consumer: None,
                    lease: got.lease,
                    at_ms: cx.now_ms,
                })
            }
        };
        let origin = &got.message.origin;
        wire::put_get_ok(
            cx.out.buffer(),
            self.number,
            tag,
            got.redelivered,
            &origin.exchange,
            &origin.routing_key,
            count(got.remaining),
        );
        let kind = queue.spec().arguments.kind;
        let enqueued_ms = got.enqueued.map(|enqueued| cx.wall_ms_at(enqueued));
        let extra = Extra::of(kind, got.delivery_count, got.lease.offset, enqueued_ms);
        put_content(
            cx.out,
            cx.shared.frame_max,
            self.number,
            &got.message,
            extra,
        );
        Ok(())
    }
}

/// What a delivery tells in its headers besides what its publisher wrote there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extra {
    Nothing,
    /// `x-delivery-count`: how often a quorum queue's message came back before.
    DeliveryCount(u32),
    /// `x-stream-offset`: the message's place in its stream.
    StreamOffset(u64),
    /// `x-offset` and `x-enqueued-at`, from a queue that keeps acked messages: the message's place, and when it got
    /// there, Unix ms. And `x-delivery-count`, unless it is 0.
    Kept {
        offset: u64,
        enqueued_ms: u64,
        deliveries: u32,
    },
}

impl Extra {
    /// What a message from a queue of this type tells; `enqueued_ms` is told by queues that keep acked messages.
    pub(crate) fn of(
        kind: QueueKind,
        delivery_count: u32,
        offset: u64,
        enqueued_ms: Option<u64>,
    ) -> Extra {
        // Only quorum queues show how often a message came back.
        let deliveries = match kind {
            QueueKind::Stream => return Extra::StreamOffset(offset),
            QueueKind::Quorum => delivery_count,
            QueueKind::Classic => 0,
        };
        match (enqueued_ms, deliveries) {
            (Some(enqueued_ms), _) => Extra::Kept {
                offset,
                enqueued_ms,
                deliveries,
            },
            (None, 0) => Extra::Nothing,
            (None, count) => Extra::DeliveryCount(count),
        }
    }
}

/// Writes a message's header and body frames.
pub(crate) fn put_content(
    out: &mut Writer,
    frame_max: u32,
    channel: u16,
    message: &Message,
    extra: Extra,
) {
    let size = message.body.len();
    let own = &message.properties;
    match extra {
        Extra::Nothing => wire::put_content_header(out.buffer(), channel, own, size as u64),
        Extra::DeliveryCount(count) => {
            let properties = with_headers(own, &[(DELIVERY_COUNT, count.into())], false);
            wire::put_content_header(out.buffer(), channel, &properties, size as u64);
        }
        Extra::StreamOffset(offset) => {
            let properties = with_headers(own, &[(STREAM_OFFSET, signed(offset))], true);
            wire::put_content_header(out.buffer(), channel, &properties, size as u64);
        }
        Extra::Kept {
            offset,
            enqueued_ms,
            deliveries,
        } => {
            let headers = [
                (OFFSET, signed(offset)),
                (ENQUEUED_AT, signed(enqueued_ms)),
                (DELIVERY_COUNT, deliveries.into()),
            ];
            let told = if deliveries == 0 { 2 } else { 3 };
            let headers = headers.get(..told).unwrap_or_default();
            let properties = with_headers(own, headers, false);
            wire::put_content_header(out.buffer(), channel, &properties, size as u64);
        }
    }
    let most = (frame_max as usize).saturating_sub(FRAME_OVERHEAD).max(1);
    if size <= most {
        if size > 0 {
            wire::put_frame_header(out.buffer(), FrameKind::Body, channel, size);
            message
                .body
                .slices()
                .iter()
                .for_each(|part| out.put_body(part));
            out.buffer().put_u8(FRAME_END);
        }
        return;
    }
    // Cut without regard to the frames in which it came: the publisher's frames may have been larger.
    let mut left = size;
    let mut room = 0;
    for part in message.body.slices() {
        let mut part: Bytes = part.clone();
        while !part.is_empty() {
            if room == 0 {
                room = left.min(most);
                wire::put_frame_header(out.buffer(), FrameKind::Body, channel, room);
            }
            let piece = part.split_to(part.len().min(room));
            out.put_body(&piece);
            room -= piece.len();
            left -= piece.len();
            if room == 0 {
                out.buffer().put_u8(FRAME_END);
            }
        }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The `delivery-mode` of transient messages.
const TRANSIENT: u8 = 1;

/// The properties with these among the headers, instead of what the publisher called so. `with_mode`: without a
/// `delivery-mode` they get that of transient messages, as those that RabbitMQ's streams give out. Properties that
/// cannot be read stay as they are.
fn with_headers(properties: &Bytes, headers: &[(&str, i64)], with_mode: bool) -> Bytes {
    let mode = with_mode.then_some(TRANSIENT);
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
        };
        let mut out = Writer::default();
        put_content(&mut out, frame_max, 3, &message, Extra::Nothing);
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
