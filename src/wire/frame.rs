//! Frames (spec 2.3.5): type, channel, size, payload, end octet. Splits frames off a read buffer without
//! copying and writes their headers. `method` and `content` interpret the payloads.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::content::HEADER_MIN;
use super::{AMQPClass, notation};

/// The octet that ends every frame.
pub const FRAME_END: u8 = 0xCE;
/// Length of the header before a payload: type, channel and size.
const HEAD: usize = 7;
/// Bytes of a frame besides its payload: header and end octet.
pub const FRAME_OVERHEAD: usize = HEAD + 1;
/// A method payload begins with class id and method id.
const METHOD_MIN: usize = 4;
/// Maximum number of payload bytes that RabbitMQ quotes in the text of a frame error.
const SNIPPET_MAX: usize = 16;
/// Line length of Erlang's term printer.
const PRINTER_LINE: usize = 80;
/// Minimum number of bytes by which a read buffer grows.
const RESERVE_MIN: usize = 4096;

/// A heartbeat frame, ready to send.
pub const HEARTBEAT: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, FRAME_END];

/// The type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// 1: a method.
    Method,
    /// 2: a content header.
    Header,
    /// 3: a part of a content body.
    Body,
    /// 8: a sign of life, without payload.
    Heartbeat,
}

impl FrameKind {
    /// The type octet.
    pub fn octet(self) -> u8 {
        match self {
            FrameKind::Method => 1,
            FrameKind::Header => 2,
            FrameKind::Body => 3,
            FrameKind::Heartbeat => 8,
        }
    }

    /// The kind of a frame with type `octet` and a payload of `len` bytes. RabbitMQ treats a method without
    /// room for its ids, a content header without its fixed part and a heartbeat with a payload as unknown
    /// frames.
    fn of(octet: u8, len: usize) -> Option<FrameKind> {
        match octet {
            1 if len >= METHOD_MIN => Some(FrameKind::Method),
            2 if len >= HEADER_MIN => Some(FrameKind::Header),
            3 => Some(FrameKind::Body),
            8 if len == 0 => Some(FrameKind::Heartbeat),
            _ => None,
        }
    }
}

/// One frame that the peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: FrameKind,
    /// 0 is the connection itself.
    pub channel: u16,
    /// A slice of the read buffer, not a copy.
    pub payload: Bytes,
}

/// A malformed frame. Every case is reply code 501 `FRAME_ERROR`, and the `Display` text is RabbitMQ's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// An unknown type octet, or one that does not fit the payload. The frame has been consumed: the stream
    /// is still in step.
    #[error("type {octet}, {snippet}: unknown_frame")]
    Unknown {
        octet: u8,
        channel: u16,
        /// The first bytes of the payload, in RabbitMQ's notation.
        snippet: String,
    },
    /// The payload is larger than the negotiated frame size allows. Detected before any of it is buffered.
    /// The rest of the stream cannot be read.
    #[error("type {octet}, all octets = <<>>: {{frame_too_large,{size},{allowed}}}")]
    TooLarge {
        octet: u8,
        channel: u16,
        /// The declared size of the payload, in bytes.
        size: u32,
        /// Maximum size of a payload that the peer should send, in bytes.
        allowed: u32,
    },
    /// The octet after the payload is not `FRAME_END`. The rest of the stream cannot be read.
    #[error("{}", bad_end_text(*.octet, .snippet, *.end))]
    BadEnd {
        octet: u8,
        channel: u16,
        /// The octet in place of `FRAME_END`.
        end: u8,
        /// The first bytes of the payload, in RabbitMQ's notation.
        snippet: String,
    },
}

impl FrameError {
    /// Whether the broker can still read the peer's `close-ok`: false if the stream is out of step.
    pub fn in_step(&self) -> bool {
        match self {
            FrameError::Unknown { .. } => true,
            FrameError::TooLarge { .. } | FrameError::BadEnd { .. } => false,
        }
    }

    pub fn channel(&self) -> u16 {
        match self {
            FrameError::Unknown { channel, .. }
            | FrameError::TooLarge { channel, .. }
            | FrameError::BadEnd { channel, .. } => *channel,
        }
    }
}

/// Splits the next whole frame off `buf`. `Ok(None)` asks for more bytes, and `buf` has room for some of
/// them. The room grows with the bytes that have arrived, so a declared size alone costs no memory. Never
/// exceeds the frame.
///
/// `frame_max` is the negotiated size of a whole frame. Like RabbitMQ this accepts a *payload* of that size,
/// because clients often forget the eight bytes of overhead.
pub fn split(buf: &mut BytesMut, frame_max: u32) -> Result<Option<Frame>, FrameError> {
    match look(buf, frame_max) {
        Look::Short { missing } => {
            make_room(buf, missing);
            Ok(None)
        }
        Look::Whole(head) => {
            let mut payload = buf.split_to(head.whole_len()).freeze();
            payload.advance(HEAD);
            payload.truncate(head.len);
            let kind = head.kind(&payload)?;
            Ok(Some(Frame {
                kind,
                channel: head.channel,
                payload,
            }))
        }
        Look::Bad(error) => Err(error),
    }
}

/// The whole frames of a read buffer, split off as one piece. Iterating slices that piece, so many small
/// frames cost one split of the buffer.
#[derive(Debug)]
pub struct Frames {
    whole: Bytes,
    /// The malformed frame that ended the batch.
    broken: Option<FrameError>,
}

impl Frames {
    /// Takes all whole frames from `buf`; see [`split`] for `frame_max` and for the room made in `buf`.
    /// Iterating reports a stream out of step after the frames before it; the bytes of the malformed frame
    /// stay in `buf`.
    pub fn take(buf: &mut BytesMut, frame_max: u32) -> Frames {
        let mut taken = 0;
        let (missing, broken) = loop {
            match look(buf.get(taken..).unwrap_or_default(), frame_max) {
                Look::Whole(head) => taken += head.whole_len(),
                Look::Short { missing } => break (missing, None),
                Look::Bad(error) => break (0, Some(error)),
            }
        };
        let whole = if taken == 0 {
            Bytes::new()
        } else {
            buf.split_to(taken).freeze()
        };
        make_room(buf, missing);
        Frames { whole, broken }
    }

    /// Whether iterating has reached the end.
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.broken.is_none()
    }

    /// The next frame, borrowed. Only [`FrameRef::bytes`] touches a reference count.
    pub fn next_ref(&mut self) -> Option<Result<FrameRef<'_>, FrameError>> {
        let Some(head) = Head::read(&self.whole) else {
            return self.broken.take().map(Err);
        };
        self.whole.advance(HEAD);
        let payload = self.whole.get(..head.len).unwrap_or_default();
        let kind = head.kind(payload);
        match kind {
            Ok(kind) => Some(Ok(FrameRef {
                kind,
                channel: head.channel,
                len: head.len,
                at: &mut self.whole,
            })),
            Err(error) => {
                self.whole.advance(head.len + 1);
                Some(Err(error))
            }
        }
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = match self.next_ref()? {
            Ok(frame) => frame,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(Frame {
            kind: frame.kind,
            channel: frame.channel,
            payload: frame.bytes(),
        }))
    }
}

/// A frame of a batch, still in its buffer. Dropping it moves on to the next frame.
#[derive(Debug)]
pub struct FrameRef<'a> {
    pub kind: FrameKind,
    pub channel: u16,
    len: usize,
    at: &'a mut Bytes,
}

impl FrameRef<'_> {
    pub fn payload(&self) -> &[u8] {
        self.at.get(..self.len).unwrap_or_default()
    }

    /// The payload as an owned slice of the buffer.
    pub fn bytes(&self) -> Bytes {
        self.at.slice(..self.len)
    }
}

impl Drop for FrameRef<'_> {
    fn drop(&mut self) {
        self.at.advance(self.len + 1);
    }
}

/// Writes a method frame.
pub fn encode_method(out: &mut BytesMut, channel: u16, method: &AMQPClass) {
    let start = out.len();
    // The generators seek back to write the lengths of tables, which works in a Vec.
    let payload = amq_protocol::frame::WriteContext::from(Vec::with_capacity(64));
    let (payload, _) = amq_protocol::protocol::gen_class(method)(payload)
        .expect("a Vec takes whatever is written to it")
        .into_inner();
    put_frame_header(out, FrameKind::Method, channel, payload.len());
    out.put_slice(&payload);
    out.put_u8(FRAME_END);
    debug_assert_eq!(out.len() - start, payload.len() + FRAME_OVERHEAD);
}

/// Writes the header before a payload of `payload_len` bytes. The caller writes the payload and [`FRAME_END`].
pub fn put_frame_header(out: &mut BytesMut, kind: FrameKind, channel: u16, payload_len: usize) {
    let len =
        u32::try_from(payload_len).expect("a frame is never larger than frame_max, which is a u32");
    let [c0, c1] = channel.to_be_bytes();
    let [l0, l1, l2, l3] = len.to_be_bytes();
    out.put_slice(&[kind.octet(), c0, c1, l0, l1, l2, l3]);
}

/// The header of a frame.
#[derive(Clone, Copy, Debug)]
struct Head {
    octet: u8,
    channel: u16,
    len: usize,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Head> {
        let [octet, c0, c1, l0, l1, l2, l3] = *bytes.first_chunk::<HEAD>()?;
        let len = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).ok()?;
        Some(Head {
            octet,
            channel: u16::from_be_bytes([c0, c1]),
            len,
        })
    }

    fn whole_len(self) -> usize {
        self.len + FRAME_OVERHEAD
    }

    fn kind(self, payload: &[u8]) -> Result<FrameKind, FrameError> {
        FrameKind::of(self.octet, self.len).ok_or_else(|| FrameError::Unknown {
            octet: self.octet,
            channel: self.channel,
            snippet: snippet(payload),
        })
    }
}

/// The result of looking at the front of a buffer.
enum Look {
    /// A frame with its end octet in place.
    Whole(Head),
    /// The beginning of a frame.
    Short { missing: usize },
    /// Bytes that cannot become a frame.
    Bad(FrameError),
}

fn look(bytes: &[u8], frame_max: u32) -> Look {
    let Some(head) = Head::read(bytes) else {
        // Any read brings enough for a header; the caller chooses the size of a read.
        return Look::Short { missing: 0 };
    };
    let Head {
        octet,
        channel,
        len,
    } = head;
    let size = u32::try_from(len).unwrap_or(u32::MAX);
    if size > frame_max {
        let allowed = frame_max.saturating_sub(8);
        return Look::Bad(FrameError::TooLarge {
            octet,
            channel,
            size,
            allowed,
        });
    }
    match bytes.get(HEAD + len).copied() {
        Some(FRAME_END) => Look::Whole(head),
        Some(end) => {
            let snippet = snippet(bytes.get(HEAD..HEAD + len).unwrap_or_default());
            Look::Bad(FrameError::BadEnd {
                octet,
                channel,
                end,
                snippet,
            })
        }
        None => Look::Short {
            missing: head.whole_len() - bytes.len(),
        },
    }
}

/// RabbitMQ's text for an unexpected frame of type `octet` (505): its type and the beginning of the payload.
pub fn frame_text(octet: u8, payload: &[u8]) -> String {
    format!("type {octet}, {}", snippet(payload))
}

/// Erlang's printer breaks a tuple that would exceed its line length and aligns the rest. RabbitMQ's clients
/// receive the broken line, so Leveret's do too.
fn bad_end_text(octet: u8, snippet: &str, end: u8) -> String {
    let before = format!("type {octet}, {snippet}: ");
    let reason = format!("{{invalid_frame_end_marker,{end}}}");
    if before.len() + reason.len() <= PRINTER_LINE {
        return before + &reason;
    }
    let indent = " ".repeat(before.len() + 1);
    format!("{before}{{invalid_frame_end_marker,\n{indent}{end}}}")
}

/// Reserves room for the missing bytes, but at most as many bytes as have arrived.
fn make_room(buf: &mut BytesMut, missing: usize) {
    if missing > 0 {
        buf.reserve(missing.min(buf.len().max(RESERVE_MIN)));
    }
}

fn snippet(payload: &[u8]) -> String {
    match payload.get(..SNIPPET_MAX) {
        Some(first) if payload.len() > SNIPPET_MAX => {
            format!("first 16 octets = {}", notation::pretty(first))
        }
        _ => format!("all octets = {}", notation::pretty(payload)),
    }
}
