//! Decodes what a broker sends, in one pass over the read buffer and without an allocation per message.
//! Deliveries and confirms are decoded by hand for that reason, other methods by `wire`. Knows the stamp at
//! the front of each body.

use std::io::{self, Read};

use leveret::wire::{AMQPClass, FRAME_END, FRAME_OVERHEAD, decode_method};

use crate::error::BenchError;
use crate::stamp::{STAMP_LEN, Stamp};

/// Size of a read buffer: a whole frame of any negotiated size and, usually, the beginning of the next.
const BUFFER: usize = 256 * 1024;
/// The largest frame to negotiate: half a buffer, so that a whole frame always fits.
pub(crate) const FRAME_MAX: u32 = 128 * 1024;
/// Length of a frame's head: type, channel, size.
const HEAD: usize = FRAME_OVERHEAD - 1;
/// Types of frames.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    Delivery(Delivery),
    /// `basic.ack` (`taken`) or `basic.nack` of published messages.
    Confirm {
        tag: u64,
        multiple: bool,
        taken: bool,
    },
    /// Any other method.
    Method(AMQPClass),
}

/// A delivered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// The consumer tag, which is a number.
    pub(crate) consumer: usize,
    pub(crate) delivery_tag: u64,
    pub(crate) redelivered: bool,
    /// Length of the body in bytes.
    pub(crate) size: u64,
    pub(crate) stamp: Stamp,
}

/// The frame that the decoder expects.
#[derive(Clone, Copy, Debug)]
enum State {
    Method,
    /// The content header of a delivery.
    Header(Delivery),
    Body(PartialBody),
}

/// A delivery of which some body frames are missing.
#[derive(Clone, Copy, Debug)]
struct PartialBody {
    delivery: Delivery,
    /// Missing bytes of the body.
    missing: u64,
    /// The first bytes of the body, and their number so far.
    stamp: [u8; STAMP_LEN],
    stamped: usize,
}

/// The receiving side of a connection.
#[derive(Debug)]
pub(crate) struct Incoming {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    state: State,
}

impl Incoming {
    pub(crate) fn new() -> Incoming {
        Incoming {
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            state: State::Method,
        }
    }

    /// Reads once. `Ok(false)` after a timeout. The end of the stream is an error.
    pub(crate) fn fill(&mut self, from: &mut impl Read) -> Result<bool, BenchError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        match from.read(room) {
            Ok(0) => Err(BenchError::io("reading from the broker")(
                io::ErrorKind::UnexpectedEof.into(),
            )),
            Ok(count) => {
                self.end += count;
                Ok(true)
            }
            Err(error) if is_timeout(&error) => Ok(false),
            Err(error) => Err(BenchError::io("reading from the broker")(error)),
        }
    }

    /// The next event that is complete in the buffer. Skips heartbeats.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, BenchError> {
        loop {
            let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
            let Some((kind, payload)) = split_frame(bytes)? else {
                return Ok(None);
            };
            self.start += payload.len() + FRAME_OVERHEAD;
            let (state, event) = match (self.state, kind) {
                (State::Method, METHOD) => match delivery(payload) {
                    Some(delivery) => (State::Header(delivery), None),
                    None => (State::Method, Some(method(payload)?)),
                },
                (State::Header(delivery), HEADER) => with_header(delivery, payload)?,
                (State::Body(body), BODY) => body.with_frame(payload)?,
                (state, HEARTBEAT) => (state, None),
                // A close may come between a method and its content.
                (_, METHOD) => (State::Method, Some(method(payload)?)),
                (_, kind) => {
                    let text = format!("a frame of type {kind}");
                    return Err(BenchError::Unexpected(text));
                }
            };
            self.state = state;
            if event.is_some() {
                return Ok(event);
            }
        }
    }
}

/// Takes the content header of a delivery. A message without a body is complete.
fn with_header(delivery: Delivery, payload: &[u8]) -> Result<(State, Option<Event>), BenchError> {
    let size = payload
        .get(4..)
        .and_then(<[u8]>::first_chunk)
        .map(|size| u64::from_be_bytes(*size))
        .ok_or_else(|| BenchError::unexpected("a short content header"))?;
    let delivery = Delivery { size, ..delivery };
    if size == 0 {
        return Ok((State::Method, Some(Event::Delivery(delivery))));
    }
    let body = PartialBody {
        delivery,
        missing: size,
        stamp: [0; STAMP_LEN],
        stamped: 0,
    };
    Ok((State::Body(body), None))
}

impl PartialBody {
    fn with_frame(mut self, payload: &[u8]) -> Result<(State, Option<Event>), BenchError> {
        for (to, from) in self.stamp.iter_mut().skip(self.stamped).zip(payload) {
            *to = *from;
        }
        self.stamped = STAMP_LEN.min(self.stamped + payload.len());
        self.missing = self
            .missing
            .checked_sub(payload.len() as u64)
            .ok_or_else(|| BenchError::unexpected("a body longer than announced"))?;
        if self.missing > 0 {
            return Ok((State::Body(self), None));
        }
        let stamp = Stamp::decode(&self.stamp);
        let delivery = Delivery {
            stamp,
            ..self.delivery
        };
        Ok((State::Method, Some(Event::Delivery(delivery))))
    }
}

/// The first whole frame in `bytes`: its type and payload.
fn split_frame(bytes: &[u8]) -> Result<Option<(u8, &[u8])>, BenchError> {
    let Some(([kind, _, _, s0, s1, s2, s3], rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes([*s0, *s1, *s2, *s3]);
    if size > FRAME_MAX {
        return Err(BenchError::Unexpected(format!("a frame of {size} bytes")));
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    match (rest.get(..size), rest.get(size)) {
        (Some(payload), Some(&FRAME_END)) => Ok(Some((*kind, payload))),
        (Some(_), Some(_)) => Err(BenchError::unexpected("a frame without its end octet")),
        _ => Ok(None),
    }
}

/// Decodes a `basic.deliver` without its content. `None` for another method, or a consumer tag that is not a
/// number.
fn delivery(payload: &[u8]) -> Option<Delivery> {
    let ([0, 60, 0, 60, tag_len], rest) = payload.split_first_chunk()? else {
        return None;
    };
    let (tag, rest) = rest.split_at_checked(usize::from(*tag_len))?;
    let mut consumer = 0usize;
    for digit in tag {
        consumer = consumer.checked_mul(10)? + usize::from(digit.checked_sub(b'0')?);
    }
    let (delivery_tag, rest) = rest.split_first_chunk()?;
    Some(Delivery {
        consumer,
        delivery_tag: u64::from_be_bytes(*delivery_tag),
        redelivered: *rest.first()? != 0,
        size: 0,
        stamp: Stamp::default(),
    })
}

fn method(payload: &[u8]) -> Result<Event, BenchError> {
    let confirm = |tag: &[u8; 8], bits: &u8, taken| Event::Confirm {
        tag: u64::from_be_bytes(*tag),
        multiple: bits & 1 != 0,
        taken,
    };
    match payload {
        [0, 60, 0, 80, tag @ .., bits] => tag.try_into().ok().map(|tag| confirm(tag, bits, true)),
        [0, 60, 0, 120, tag @ .., bits] => tag.try_into().ok().map(|tag| confirm(tag, bits, false)),
        _ => decode_method(payload).ok().map(Event::Method),
    }
    .ok_or_else(|| BenchError::unexpected("a method that cannot be decoded"))
}

/// Whether a socket with a read timeout had nothing to read.
fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use leveret::wire::{
        HEARTBEAT as HEARTBEAT_FRAME, encode_method, protocol, put_ack, put_body_frame,
        put_content_header, put_deliver, put_nack,
    };

    use super::*;

    /// Bytes of a broker, and the events in them.
    fn script() -> (BytesMut, Vec<Event>) {
        let mut out = BytesMut::new();
        let mut expected = Vec::new();
        for (nth, size) in [(1u64, 16usize), (2, 1024), (3, 300_000), (4, 0), (5, 5)] {
            let stamp = Stamp {
                due_ns: 99 + nth,
                stream: 7,
                sequence: nth,
            };
            let mut body = vec![b'x'; size];
            for (to, from) in body.iter_mut().zip(stamp.encode()) {
                *to = from;
            }
            put_deliver(&mut out, 1, "317", nth, nth == 2, "", "q");
            put_content_header(&mut out, 1, &[0x10, 0, 2], size as u64);
            // The first frame of the third body holds a part of the stamp.
            let (first, rest) = body.split_at(if nth == 3 { 9 } else { 0 });
            if !first.is_empty() {
                put_body_frame(&mut out, 1, first);
            }
            for piece in rest.chunks(100_000) {
                put_body_frame(&mut out, 1, piece);
            }
            out.put_slice(&HEARTBEAT_FRAME);
            let mut seen = [0; STAMP_LEN];
            for (to, from) in seen.iter_mut().zip(&body) {
                *to = *from;
            }
            expected.push(Event::Delivery(Delivery {
                consumer: 317,
                delivery_tag: nth,
                redelivered: nth == 2,
                size: size as u64,
                stamp: Stamp::decode(&seen),
            }));
        }
        put_ack(&mut out, 1, 1 << 40, true);
        expected.push(Event::Confirm {
            tag: 1 << 40,
            multiple: true,
            taken: true,
        });
        put_nack(&mut out, 1, 5, false, false);
        expected.push(Event::Confirm {
            tag: 5,
            multiple: false,
            taken: false,
        });
        let close = AMQPClass::Channel(protocol::channel::AMQPMethod::CloseOk(
            protocol::channel::CloseOk {},
        ));
        encode_method(&mut out, 1, &close);
        expected.push(Event::Method(close));
        (out, expected)
    }

    /// Gives at most `step` bytes per read, and times out when there are none.
    struct Dribble<'a> {
        bytes: &'a [u8],
        step: usize,
    }

    impl Read for Dribble<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.bytes.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = self.step.min(into.len()).min(self.bytes.len());
            let (now, later) = self.bytes.split_at(count);
            into[..count].copy_from_slice(now);
            self.bytes = later;
            Ok(count)
        }
    }

    #[test]
    fn events_do_not_depend_on_the_sizes_of_reads() {
        let (bytes, expected) = script();
        for step in [1, 7, 1000, 1 << 20] {
            let mut from = Dribble {
                bytes: &bytes,
                step,
            };
            let mut incoming = Incoming::new();
            let mut seen = Vec::new();
            while incoming.fill(&mut from).unwrap() {
                while let Some(event) = incoming.next().unwrap() {
                    seen.push(event);
                }
            }
            assert_eq!(seen, expected, "{step} bytes at a time");
        }
    }

    #[test]
    fn malformed_frames_are_errors() {
        let check = |bytes: &[u8]| {
            let mut incoming = Incoming::new();
            incoming
                .fill(&mut Dribble {
                    bytes,
                    step: 1 << 20,
                })
                .unwrap();
            assert!(incoming.next().is_err(), "{bytes:?}");
        };
        check(&[1, 0, 1, 0xFF, 0, 0, 0, 1]);
        check(&[1, 0, 1, 0, 0, 0, 1, 7, 7]);
        check(&[3, 0, 1, 0, 0, 0, 1, 7, FRAME_END]);
        check(&[1, 0, 1, 0, 0, 0, 4, 9, 9, 9, 9, FRAME_END]);
    }
}
