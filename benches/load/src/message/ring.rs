//! The frames of a producer's messages, encoded once and sent again and again. Before each sending only
//! stamps and delays change, so a message costs a few stores and its share of a `write`.

use bytes::BytesMut;
use leveret::wire::protocol::basic;
use leveret::wire::{
    AMQPClass, AMQPProperties, AMQPValue, FRAME_OVERHEAD, FieldTable, encode_method,
    encode_properties, put_body_frame, put_content_header, short_string,
};

use super::due::{DueTimes, wall_clock_ms};
use crate::client::CHANNEL;
use crate::layout::Layout;
use crate::random::Random;
use crate::stamp::{STAMP_LEN, Stamp};

/// Size of a full ring in bytes: many messages per `write`, and small enough for the cache.
const RING_BYTES: usize = 192 * 1024;
/// The most messages of each route in a ring.
const ROUNDS_MAX: usize = 2000;

/// The header with a message's delay in ms.
const DELAY: &str = "x-delay";
/// The encoding of that header before its value: length, name, type of a long-int.
const DELAY_ENCODED: &[u8] = b"\x07x-delayI";

/// Properties that all messages share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageShape {
    /// Length of the body in bytes.
    pub(crate) size: usize,
    pub(crate) persistent: bool,
    /// The `x-delay`, if any. Due times replace it with one for each message.
    pub(crate) delay_ms: Option<i32>,
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

/// The frames of one message: offsets in the ring.
#[derive(Clone, Copy, Debug)]
struct Frames {
    /// Beginning of the body.
    stamp_at: usize,
    end: usize,
    /// The value of `x-delay`, if the message has one.
    delay_at: Option<usize>,
    /// Index of the route.
    route: usize,
}

/// One route of a producer.
#[derive(Clone, Copy, Debug)]
struct Route {
    stream: u32,
    next_sequence: u64,
}

/// Encoded messages of a producer. After the last one the first follows again.
#[derive(Debug)]
pub(crate) struct MessageRing {
    bytes: BytesMut,
    messages: Vec<Frames>,
    routes: Vec<Route>,
    /// Index of the next message.
    next: usize,
    /// Random due times, if messages have them.
    due: Option<DueTimes>,
}

impl MessageRing {
    /// Encodes the messages of a producer, the same number for each of its routes.
    pub(crate) fn new(
        layout: &Layout,
        producer: usize,
        shape: MessageShape,
        frame_max: u32,
    ) -> MessageRing {
        MessageRing::sized(RING_BYTES, layout, producer, shape, frame_max)
    }

    /// A ring with one message per route, for many slow producers.
    pub(crate) fn small(
        layout: &Layout,
        producer: usize,
        shape: MessageShape,
        frame_max: u32,
    ) -> MessageRing {
        MessageRing::sized(0, layout, producer, shape, frame_max)
    }

    fn sized(
        ring_bytes: usize,
        layout: &Layout,
        producer: usize,
        shape: MessageShape,
        frame_max: u32,
    ) -> MessageRing {
        let routes = layout.routes_of(producer);
        let piece_max = usize::try_from(frame_max).unwrap_or(usize::MAX) - FRAME_OVERHEAD;
        let rounds = (ring_bytes / (shape.size.max(1) * routes.len())).clamp(1, ROUNDS_MAX);
        let mut ring = MessageRing {
            bytes: BytesMut::new(),
            messages: Vec::with_capacity(rounds * routes.len()),
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
        let mut random = Random::new(producer as u64);
        for _ in 0..rounds {
            for (nth, route) in routes.iter().enumerate() {
                let publish = basic::Publish {
                    exchange: short_string(&layout.exchange_name()),
                    routing_key: short_string(&layout.routing_key(*route)),
                    mandatory: false,
                    immediate: false,
                };
                let body = filler(&mut random, shape.size);
                ring.push(nth, publish, &properties, body.chunks(piece_max));
            }
        }
        ring
    }

    /// Encodes a message at the end of the ring.
    fn push<'a>(
        &mut self,
        route: usize,
        publish: basic::Publish,
        properties: &[u8],
        body: impl Iterator<Item = &'a [u8]> + Clone,
    ) {
        let size: usize = body.clone().map(<[u8]>::len).sum();
        let publish = AMQPClass::Basic(basic::AMQPMethod::Publish(publish));
        encode_method(&mut self.bytes, CHANNEL, &publish);
        put_content_header(&mut self.bytes, CHANNEL, properties, size as u64);
        // Only the end octet of the frame follows the properties.
        let properties_at = self.bytes.len() - 1 - properties.len();
        let stamp_at = self.bytes.len() + FRAME_OVERHEAD - 1;
        for piece in body {
            put_body_frame(&mut self.bytes, CHANNEL, piece);
        }
        let delay = properties
            .windows(DELAY_ENCODED.len())
            .position(|bytes| bytes == DELAY_ENCODED);
        self.messages.push(Frames {
            stamp_at,
            end: self.bytes.len(),
            delay_at: delay.map(|at| properties_at + at + DELAY_ENCODED.len()),
            route,
        });
    }

    /// Gives each message a due time and a delay of its own. For messages whose shape has a delay.
    pub(crate) fn due_at(self, times: DueTimes) -> MessageRing {
        MessageRing {
            due: Some(times),
            ..self
        }
    }

    /// The next messages with fresh stamps, at most `max`, in one piece: their number, and their frames.
    /// `due_ns` gives the due time of the first, second, ... unless the ring draws random ones.
    pub(crate) fn take(&mut self, max: usize, due_ns: impl Fn(usize) -> u64) -> (usize, &[u8]) {
        let messages = self.messages.get(self.next..).unwrap_or_default();
        let count = messages.len().min(max);
        let from = self
            .next
            .checked_sub(1)
            .and_then(|last| self.messages.get(last))
            .map_or(0, |last| last.end);
        let mut end = from;
        let now_ms = self.due.as_ref().map_or(0, |_| wall_clock_ms());
        for (nth, message) in messages.iter().take(count).enumerate() {
            end = message.end;
            let Some(route) = self.routes.get_mut(message.route) else {
                continue;
            };
            let drawn = self.due.as_mut().map(|times| times.draw(now_ms));
            if let (Some(due), Some(at)) = (drawn, message.delay_at)
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
            let at = message.stamp_at;
            if let Some(body) = self.bytes.get_mut(at..at + STAMP_LEN) {
                body.copy_from_slice(&stamp.encode());
            }
        }
        self.next = (self.next + count) % self.messages.len().max(1);
        (count, self.bytes.get(from..end).unwrap_or_default())
    }

    /// Number of messages taken, by stream.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (usize, u64)> {
        self.routes.iter().map(|route| {
            (
                usize::try_from(route.stream).unwrap_or(usize::MAX),
                route.next_sequence,
            )
        })
    }
}

/// Bytes that do not compress, so that brokers that compress gain nothing.
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
    use leveret::wire::{Frame, FrameKind, PropertiesView, decode_header, decode_method, split};

    use super::*;
    use crate::layout::Routing;
    use crate::message::due::DueWindow;

    /// Decodes frames with the broker's decoder: exchange, routing key and stamp.
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
        let mut ring = MessageRing::new(&layout, 1, shape, 8192);
        let mut seen = Vec::new();
        while seen.len() < 50 {
            let (count, bytes) = ring.take(4, |nth| nth as u64);
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
            ring.sent().map(|(_, sent)| sent).sum::<u64>(),
            seen.len() as u64
        );
    }

    #[test]
    fn the_due_time_is_the_one_given() {
        let layout = Layout::new("t", (1, 1, 1), Routing::Default, 0).unwrap();
        let mut ring = MessageRing::new(
            &layout,
            0,
            MessageShape {
                size: 16,
                persistent: false,
                delay_ms: None,
            },
            1 << 17,
        );
        let (count, bytes) = ring.take(3, |nth| 1000 + nth as u64);
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
        let mut ring = MessageRing::new(&layout, 0, shape, 1 << 17).due_at(times);
        // Twice through the ring: the delay of a message overwrites the one of its predecessor.
        for _ in 0..2 * ring.messages.len() {
            let (_, bytes) = ring.take(1, |_| 0);
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
