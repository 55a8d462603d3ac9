//! Frames of messages to publish, made once and sent again and again: before each sending only the stamps are written
//! anew. So a message costs a few stores and its share of a `write`.

use bytes::BytesMut;

use super::due::{DueTimes, wall_clock_ms};
use super::layout::Layout;
use super::link::CHANNEL;
use super::random::Random;
use super::stamp::{STAMP_LEN, Stamp};
use leveret::wire::protocol::basic;
use leveret::wire::{
    AMQPClass, AMQPProperties, AMQPValue, FRAME_OVERHEAD, FieldTable, encode_method,
    encode_properties, put_body_frame, put_content_header, short_string,
};

/// A block is about this large, in bytes: many messages per `write`, and still in the cache when it is sent again.
const BLOCK_BYTES: usize = 192 * 1024;

/// The header with a message's delay in ms, and how it is encoded before its value: length, name, type of a long-int.
const DELAY: &str = "x-delay";
const DELAY_ENCODED: &[u8] = b"\x07x-delayI";

/// What is the same for every message.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageShape {
    /// Length of the body in bytes.
    pub(super) size: usize,
    pub(super) persistent: bool,
    /// Its `x-delay`, if it has one. With due times each message has its own instead.
    pub(super) delay_ms: Option<i32>,
}

impl MessageShape {
    fn properties(&self) -> AMQPProperties {
        let properties =
            AMQPProperties::default().with_delivery_mode(if self.persistent { 2 } else { 1 });
        let Some(delay_ms) = self.delay_ms else {
            return properties;
        };
        let mut headers = FieldTable::default();
        headers.insert(DELAY.into(), AMQPValue::LongInt(delay_ms));
        properties.with_headers(headers)
    }
}

/// One message in the block.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Where its body begins, and the whole message ends.
    stamp_at: usize,
    end: usize,
    /// Where its delay is, if it has one.
    delay_at: Option<usize>,
    /// Which of the producer's routes it takes.
    route: usize,
}

/// One route of a producer.
#[derive(Clone, Copy, Debug)]
struct Route {
    stream: u32,
    next_sequence: u64,
}

/// A producer's messages, ready to be sent in a circle.
#[derive(Debug)]
pub(super) struct Block {
    bytes: BytesMut,
    slots: Vec<Slot>,
    routes: Vec<Route>,
    /// The slot to be sent next.
    next: usize,
    /// When messages are due, if that is to be drawn.
    due: Option<DueTimes>,
}

impl Block {
    /// Makes the messages of a producer, each of its routes as often as the others.
    pub(super) fn new(
        layout: &Layout,
        producer: usize,
        shape: MessageShape,
        frame_max: u32,
    ) -> Block {
        Block::sized(BLOCK_BYTES, layout, producer, shape, frame_max)
    }

    /// A block with one message per route, for producers that are many and slow.
    pub(super) fn small(
        layout: &Layout,
        producer: usize,
        shape: MessageShape,
        frame_max: u32,
    ) -> Block {
        Block::sized(0, layout, producer, shape, frame_max)
    }

    fn sized(
        block_bytes: usize,
        layout: &Layout,
        producer: usize,
        shape: MessageShape,
        frame_max: u32,
    ) -> Block {
        let routes = layout.routes_of(producer);
        let piece_max = usize::try_from(frame_max).unwrap_or(usize::MAX) - FRAME_OVERHEAD;
        let rounds = (block_bytes / (shape.size.max(1) * routes.len())).clamp(1, 2000);
        let mut block = Block {
            bytes: BytesMut::new(),
            slots: Vec::with_capacity(rounds * routes.len()),
            routes: routes
                .iter()
                .map(|route| Route {
                    stream: u32::try_from(layout.stream(producer, *route)).unwrap_or(u32::MAX),
                    next_sequence: 0,
                })
                .collect(),
            next: 0,
            due: None,
        };
        let properties = encode_properties(&shape.properties());
        let delay_in = properties
            .windows(DELAY_ENCODED.len())
            .position(|bytes| bytes == DELAY_ENCODED)
            .map(|at| at + DELAY_ENCODED.len());
        let mut random = Random::new(producer as u64);
        for _ in 0..rounds {
            for (nth, route) in routes.iter().enumerate() {
                let publish = basic::Publish {
                    exchange: short_string(&layout.exchange_name()),
                    routing_key: short_string(&layout.routing_key(*route)),
                    mandatory: false,
                    immediate: false,
                };
                let publish = AMQPClass::Basic(basic::AMQPMethod::Publish(publish));
                encode_method(&mut block.bytes, CHANNEL, &publish);
                put_content_header(&mut block.bytes, CHANNEL, &properties, shape.size as u64);
                // The properties are the end of their frame, but for its last byte.
                let properties_at = block.bytes.len() - 1 - properties.len();
                let stamp_at = block.bytes.len() + FRAME_OVERHEAD - 1;
                for piece in filler(&mut random, shape.size).chunks(piece_max) {
                    put_body_frame(&mut block.bytes, CHANNEL, piece);
                }
                block.slots.push(Slot {
                    stamp_at,
                    end: block.bytes.len(),
                    delay_at: delay_in.map(|at| properties_at + at),
                    route: nth,
                });
            }
        }
        block
    }

    /// Messages are due at these times, each after a delay of its own. For messages that have a delay.
    pub(super) fn due_at(self, times: DueTimes) -> Block {
        Block {
            due: Some(times),
            ..self
        }
    }

    /// The next messages in one piece, at most `max`, with fresh stamps; `due_ns` says when the first, second... were
    /// due, unless that is drawn. Returns how many there are, and their frames.
    pub(super) fn take(&mut self, max: usize, due_ns: impl Fn(usize) -> u64) -> (usize, &[u8]) {
        let slots = self.slots.get(self.next..).unwrap_or_default();
        let count = slots.len().min(max);
        let from = self
            .next
            .checked_sub(1)
            .and_then(|slot| self.slots.get(slot))
            .map_or(0, |slot| slot.end);
        let mut end = from;
        let now_ms = self.due.as_ref().map_or(0, |_| wall_clock_ms());
        for (nth, slot) in slots.iter().take(count).enumerate() {
            if let Some(route) = self.routes.get_mut(slot.route) {
                let drawn = self.due.as_mut().map(|times| times.draw(now_ms));
                if let (Some(due), Some(at)) = (drawn, slot.delay_at)
                    && let Some(delay) = self.bytes.get_mut(at..at + size_of::<i32>())
                {
                    delay.copy_from_slice(&due.delay_ms.to_be_bytes());
                }
                let stamp = Stamp {
                    due_ns: drawn.map_or_else(|| due_ns(nth), |due| due.stamp_ns),
                    stream: route.stream,
                    sequence: route.next_sequence,
                };
                route.next_sequence += 1;
                if let Some(body) = self.bytes.get_mut(slot.stamp_at..slot.stamp_at + STAMP_LEN) {
                    body.copy_from_slice(&stamp.encode());
                }
            }
            end = slot.end;
        }
        self.next = (self.next + count) % self.slots.len().max(1);
        (count, self.bytes.get(from..end).unwrap_or_default())
    }

    /// How many messages were taken, by stream.
    pub(super) fn sent(&self) -> impl Iterator<Item = (usize, u64)> {
        self.routes.iter().map(|route| {
            (
                usize::try_from(route.stream).unwrap_or(usize::MAX),
                route.next_sequence,
            )
        })
    }
}

/// Bytes that no compression makes smaller, so that no broker is flattered.
fn filler(random: &mut Random, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.draw().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::due::DueWindow;
    use super::super::layout::Routing;
    use super::*;
    use leveret::wire::{Frame, FrameKind, PropertiesView, decode_header, decode_method, split};

    /// Reads frames back with the broker's own decoder: exchange, key, and what the body says.
    fn read_back(bytes: &[u8], size: usize) -> Vec<(String, String, Stamp)> {
        let mut buffer = BytesMut::from(bytes);
        let mut next = || -> Option<Frame> { split(&mut buffer, 1 << 17).unwrap() };
        let mut messages = Vec::new();
        while let Some(method) = next() {
            let AMQPClass::Basic(basic::AMQPMethod::Publish(publish)) =
                decode_method(&method.payload).unwrap()
            else {
                panic!("not a publish");
            };
            let header = decode_header(next().unwrap().payload).unwrap();
            assert_eq!(header.body_size, size as u64);
            let mut body = Vec::new();
            while body.len() < size {
                let frame = next().unwrap();
                assert_eq!((frame.kind, frame.channel), (FrameKind::Body, CHANNEL));
                body.extend_from_slice(&frame.payload);
            }
            let stamp = Stamp::decode(body.first_chunk().unwrap());
            messages.push((
                publish.exchange.to_string(),
                publish.routing_key.to_string(),
                stamp,
            ));
        }
        messages
    }

    #[test]
    fn messages_take_their_routes_in_turn_and_count_on() {
        let layout = Layout::new("t", (2, 0, 6), Routing::Topic, 6).unwrap();
        let shape = MessageShape {
            size: 20_000,
            persistent: true,
            delay_ms: None,
        };
        let mut block = Block::new(&layout, 1, shape, 8192);
        let mut seen = Vec::new();
        while seen.len() < 50 {
            let (count, bytes) = block.take(4, |nth| nth as u64);
            let messages = read_back(bytes, shape.size);
            assert_eq!(messages.len(), count);
            seen.extend(messages);
        }
        for (nth, (exchange, key, stamp)) in seen.iter().enumerate() {
            let route = [1, 3, 5][nth % 3];
            assert_eq!(
                (exchange.as_str(), key),
                ("t.topic", &format!("bench.{route}.some.words"))
            );
            assert_eq!(stamp.stream, 6 + route);
            assert_eq!(stamp.sequence, nth as u64 / 3);
        }
        assert_eq!(
            block.sent().map(|(_, sent)| sent).sum::<u64>(),
            seen.len() as u64
        );
    }

    #[test]
    fn the_due_time_is_the_one_given() {
        let layout = Layout::new("t", (1, 1, 1), Routing::Default, 0).unwrap();
        let mut block = Block::new(
            &layout,
            0,
            MessageShape {
                size: 16,
                persistent: false,
                delay_ms: None,
            },
            1 << 17,
        );
        let (count, bytes) = block.take(3, |nth| 1000 + nth as u64);
        assert_eq!(count, 3);
        let due: Vec<u64> = read_back(bytes, 16)
            .iter()
            .map(|(_, _, stamp)| stamp.due_ns)
            .collect();
        assert_eq!(due, [1000, 1001, 1002]);
    }

    #[test]
    fn a_drawn_due_time_is_in_the_stamp_and_makes_the_delay() {
        let layout = Layout::new("t", (1, 1, 1), Routing::Default, 0).unwrap();
        let shape = MessageShape {
            size: 16,
            persistent: true,
            delay_ms: Some(7),
        };
        let window: DueWindow = "100..200".parse().unwrap();
        let before_ms = wall_clock_ms();
        let times = DueTimes::new(window.starting_at(before_ms), 0);
        let mut block = Block::new(&layout, 0, shape, 1 << 17).due_at(times);
        // Twice through the block: the delay of a message is written over the one of its predecessor.
        for _ in 0..2 * block.slots.len() {
            let (_, bytes) = block.take(1, |_| 0);
            let now_ms = wall_clock_ms();
            let mut buffer = BytesMut::from(bytes);
            let [_, header, body] = [(); 3].map(|()| split(&mut buffer, 1 << 17).unwrap().unwrap());
            let due_ms = Stamp::decode(body.payload.first_chunk().unwrap()).due_ns / 1_000_000;
            let properties = decode_header(header.payload).unwrap().properties;
            let properties = PropertiesView::parse(&properties).unwrap();
            let headers = properties.headers().unwrap();
            let Some(AMQPValue::LongInt(delay_ms)) = headers.inner().get("x-delay") else {
                panic!("{headers:?}")
            };
            let published_ms = due_ms - u64::try_from(*delay_ms).unwrap();
            assert!((before_ms..=now_ms).contains(&published_ms));
            assert!((before_ms + 100_000..before_ms + 200_000).contains(&due_ms));
        }
    }

    #[test]
    fn a_delay_is_a_header() {
        let shape = |delay_ms| MessageShape {
            size: 16,
            persistent: true,
            delay_ms,
        };
        assert_eq!(shape(None).properties().headers(), &None);
        let delayed = shape(Some(1000)).properties();
        let headers = delayed.headers().as_ref().unwrap();
        assert_eq!(
            headers.inner().get("x-delay"),
            Some(&AMQPValue::LongInt(1000))
        );
    }
}
