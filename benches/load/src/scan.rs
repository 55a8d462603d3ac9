//! Reads what a broker sends, with one pass over the read buffer and nothing allocated per message: deliveries and
//! confirms are picked out by hand, other methods go through `wire`. Knows the stamp at the front of each body.

use std::io::{self, Read};

use super::BenchError;
use super::stamp::{STAMP_LEN, Stamp};
use leveret::wire::{AMQPClass, FRAME_END, FRAME_OVERHEAD, decode_method};

/// Size of a read buffer: a whole frame of any negotiated size and, usually, the beginning of the next.
const BUFFER: usize = 256 * 1024;
/// The largest frame that is negotiated: half a buffer, so that a whole frame always fits.
pub(super) const FRAME_MAX: u32 = 128 * 1024;
const HEAD: usize = FRAME_OVERHEAD - 1;

/// Something the broker sent.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    /// A whole message for a consumer.
    Message(Message),
    /// Messages published before are safe (`basic.ack`) or refused (`basic.nack`).
    Confirm {
        tag: u64,
        multiple: bool,
        taken: bool,
    },
    /// Any other method.
    Method(AMQPClass),
}

/// A delivery with its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The number that is the consumer tag.
    pub(super) consumer: usize,
    pub(super) delivery_tag: u64,
    pub(super) redelivered: bool,
    /// Length of the body in bytes.
    pub(super) size: u64,
    pub(super) stamp: Stamp,
}

/// Where in a message the stream is.
#[derive(Clone, Copy, Debug)]
enum Part {
    Between,
    Header(Message),
    Body {
        message: Message,
        missing: u64,
        stamp: [u8; STAMP_LEN],
        stamped: usize,
    },
}

/// The receiving side of a connection.
#[derive(Debug)]
pub(super) struct Incoming {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    part: Part,
}

impl Incoming {
    pub(super) fn new() -> Incoming {
        Incoming {
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            part: Part::Between,
        }
    }

    /// Reads once. `Ok(false)`: the read timed out. The end of the stream is an error.
    pub(super) fn fill(&mut self, from: &mut impl Read) -> Result<bool, BenchError> {
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

    /// The next thing that is complete in the buffer. Heartbeats are skipped.
    pub(super) fn next(&mut self) -> Result<Option<Event>, BenchError> {
        loop {
            let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
            let Some((kind, payload)) = split_frame(bytes)? else {
                return Ok(None);
            };
            self.start += payload.len() + FRAME_OVERHEAD;
            match (self.part, kind) {
                (Part::Between, 1) => match delivery(payload) {
                    Some(message) => self.part = Part::Header(message),
                    None => return method(payload).map(Some),
                },
                (Part::Header(mut message), 2) => {
                    message.size = payload
                        .get(4..)
                        .and_then(<[u8]>::first_chunk)
                        .map(|size| u64::from_be_bytes(*size))
                        .ok_or_else(|| unexpected("a short content header"))?;
                    if message.size == 0 {
                        self.part = Part::Between;
                        return Ok(Some(Event::Message(message)));
                    }
                    self.part = Part::Body {
                        message,
                        missing: message.size,
                        stamp: [0; STAMP_LEN],
                        stamped: 0,
                    };
                }
                (
                    Part::Body {
                        message,
                        missing,
                        mut stamp,
                        stamped,
                    },
                    3,
                ) => {
                    for (to, from) in stamp.iter_mut().skip(stamped).zip(payload) {
                        *to = *from;
                    }
                    let stamped = STAMP_LEN.min(stamped + payload.len());
                    let missing = missing
                        .checked_sub(payload.len() as u64)
                        .ok_or_else(|| unexpected("a body longer than announced"))?;
                    if missing == 0 {
                        self.part = Part::Between;
                        return Ok(Some(Event::Message(Message {
                            stamp: Stamp::decode(&stamp),
                            ..message
                        })));
                    }
                    self.part = Part::Body {
                        message,
                        missing,
                        stamp,
                        stamped,
                    };
                }
                (_, 8) => {}
                // A close may come between a method and its content.
                (_, 1) => {
                    self.part = Part::Between;
                    return method(payload).map(Some);
                }
                (_, kind) => return Err(unexpected(&format!("a frame of type {kind}"))),
            }
        }
    }
}

/// The first whole frame in `bytes`: its type and payload.
fn split_frame(bytes: &[u8]) -> Result<Option<(u8, &[u8])>, BenchError> {
    let Some(([kind, _, _, s0, s1, s2, s3], rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes([*s0, *s1, *s2, *s3]);
    if size > FRAME_MAX {
        return Err(unexpected(&format!("a frame of {size} bytes")));
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    match (rest.get(..size), rest.get(size)) {
        (Some(payload), Some(&FRAME_END)) => Ok(Some((*kind, payload))),
        (Some(_), Some(_)) => Err(unexpected("a frame without its end octet")),
        _ => Ok(None),
    }
}

/// Reads a `basic.deliver`; its content is still to come. `None`: another method, or a consumer tag not of ours.
fn delivery(payload: &[u8]) -> Option<Message> {
    let ([0, 60, 0, 60, tag_len], rest) = payload.split_first_chunk()? else {
        return None;
    };
    let (tag, rest) = rest.split_at_checked(usize::from(*tag_len))?;
    let mut consumer = 0usize;
    for digit in tag {
        consumer = consumer.checked_mul(10)? + usize::from(digit.checked_sub(b'0')?);
    }
    let (delivery_tag, rest) = rest.split_first_chunk()?;
    Some(Message {
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
    .ok_or_else(|| unexpected("a method that cannot be decoded"))
}

/// Whether a socket with a read timeout had nothing to read.
fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn unexpected(what: &str) -> BenchError {
    BenchError::Unexpected(what.to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};

    use super::*;
    use leveret::wire::{
        HEARTBEAT, encode_method, protocol, put_ack, put_body_frame, put_content_header,
        put_deliver, put_nack,
    };

    /// What a broker might send, and what is to be seen of it.
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
            // The third begins with a piece that does not hold the whole stamp.
            let (first, rest) = body.split_at(if nth == 3 { 9 } else { 0 });
            if !first.is_empty() {
                put_body_frame(&mut out, 1, first);
            }
            for piece in rest.chunks(100_000) {
                put_body_frame(&mut out, 1, piece);
            }
            out.put_slice(&HEARTBEAT);
            let mut seen = [0; STAMP_LEN];
            for (to, from) in seen.iter_mut().zip(&body) {
                *to = *from;
            }
            expected.push(Event::Message(Message {
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
    fn everything_is_seen_however_the_bytes_arrive() {
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
    fn nonsense_is_refused() {
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
