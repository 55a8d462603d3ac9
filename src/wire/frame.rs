//! Frames (spec 2.3.5): type, channel, size, payload, end octet. Takes them off a read buffer without copying and
//! writes their headers. What the payloads mean is known in `method` and `content`, not here.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::content::HEADER_MIN;
use super::{AMQPClass, notation};

/// The octet that ends every frame.
pub const FRAME_END: u8 = 0xCE;
/// Type, channel and size: what comes before a payload.
const HEAD: usize = 7;
/// Bytes of a frame that are not payload: its seven-byte head and the end octet.
pub const FRAME_OVERHEAD: usize = HEAD + 1;
/// A method payload opens with class and method id.
const METHOD_MIN: usize = 4;
/// How many bytes of a payload RabbitMQ quotes in the text of a frame error.
const SNIPPET_MAX: usize = 16;
/// Columns of a line of Erlang's term printer.
const PRINTER_LINE: usize = 80;
/// The least by which a read buffer is grown.
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

    /// The kind that `octet` and a payload of `len` bytes make. RabbitMQ takes a method too short for its ids, a
    /// content header too short for its fixed part and a heartbeat with a payload for unknown frames.
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

/// One frame off the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: FrameKind,
    /// The channel it belongs to; 0 is the connection itself.
    pub channel: u16,
    /// Its payload: a slice of the read buffer, not a copy.
    pub payload: Bytes,
}

/// Why bytes are not a frame. Every one of them is reply code 501 FRAME_ERROR; the `Display` text is the one
/// RabbitMQ gives.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A type octet that does not exist, or that does not go with the payload. The frame has been consumed: the
    /// stream is still in step.
    #[error("type {octet}, {snippet}: unknown_frame")]
    Unknown {
        /// The type octet.
        octet: u8,
        /// The channel number in the frame.
        channel: u16,
        /// The payload's first bytes, in RabbitMQ's notation.
        snippet: String,
    },
    /// A payload larger than the negotiated frame size allows. Found before any of it is buffered. What follows in
    /// the stream cannot be read.
    #[error("type {octet}, all octets = <<>>: {{frame_too_large,{size},{allowed}}}")]
    TooLarge {
        /// The type octet.
        octet: u8,
        /// The channel number in the frame.
        channel: u16,
        /// The payload size that the frame declares, in bytes.
        size: u32,
        /// The largest payload that the peer should send, in bytes.
        allowed: u32,
    },
    /// The octet after the payload is not `FRAME_END`. What follows in the stream cannot be read.
    #[error("{}", bad_end_text(*.octet, .snippet, *.end))]
    BadEnd {
        /// The type octet.
        octet: u8,
        /// The channel number in the frame.
        channel: u16,
        /// What stands in place of the end octet.
        end: u8,
        /// The payload's first bytes, in RabbitMQ's notation.
        snippet: String,
    },
}

impl FrameError {
    /// Whether reading can go on (for the peer's `close-ok`): false once the stream is out of step.
    pub fn in_step(&self) -> bool {
        match self {
            FrameError::Unknown { .. } => true,
            FrameError::TooLarge { .. } | FrameError::BadEnd { .. } => false,
        }
    }

    /// The channel number in the offending frame.
    pub fn channel(&self) -> u16 {
        match self {
            FrameError::Unknown { channel, .. }
            | FrameError::TooLarge { channel, .. }
            | FrameError::BadEnd { channel, .. } => *channel,
        }
    }
}

/// Splits the next whole frame off `buf`. `Ok(None)`: more bytes are needed, and `buf` has room for some of them;
/// the room grows with what has arrived, so a declared size alone costs nothing. Never more than the frame.
///
/// `frame_max` is the negotiated size of a whole frame. RabbitMQ lets a *payload* be that long, because clients often
/// get the eight bytes of overhead wrong, and so does this.
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

/// The whole frames that are in a read buffer, taken in one piece: iterating slices it. The cheap way when many small
/// frames arrive at once, for only one piece of the buffer is split off.
#[derive(Debug)]
pub struct Frames {
    whole: Bytes,
    /// What stopped the batch, if it was not just the end of the bytes.
    broken: Option<FrameError>,
}

impl Frames {
    /// Takes every whole frame that is in `buf`; see [`split`] for `frame_max` and for the room made in `buf`. A stream
    /// out of step is reported after the frames before it, and its bytes stay in `buf`.
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

    /// Whether nothing is left to iterate.
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.broken.is_none()
    }

    /// The next frame, borrowed: no reference count is touched unless [`FrameRef::bytes`] is called.
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

/// A frame of a batch, not yet taken out of it. The next frame is next when this is dropped.
#[derive(Debug)]
pub struct FrameRef<'a> {
    /// Its type.
    pub kind: FrameKind,
    /// The channel it belongs to.
    pub channel: u16,
    len: usize,
    at: &'a mut Bytes,
}

impl FrameRef<'_> {
    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.at.get(..self.len).unwrap_or_default()
    }

    /// The payload as a slice that can be kept.
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
    // The generators go back in the buffer to write the lengths of tables, which they can do in a Vec.
    let payload = amq_protocol::frame::WriteContext::from(Vec::with_capacity(64));
    let (payload, _) = amq_protocol::protocol::gen_class(method)(payload)
        .expect("a Vec takes whatever is written to it")
        .into_inner();
    put_frame_header(out, FrameKind::Method, channel, payload.len());
    out.put_slice(&payload);
    out.put_u8(FRAME_END);
    debug_assert_eq!(out.len() - start, payload.len() + FRAME_OVERHEAD);
}

/// Writes what comes before a payload of `payload_len` bytes. The payload and [`FRAME_END`] are the caller's to write.
pub fn put_frame_header(out: &mut BytesMut, kind: FrameKind, channel: u16, payload_len: usize) {
    let len =
        u32::try_from(payload_len).expect("a frame is never larger than frame_max, which is a u32");
    let [c0, c1] = channel.to_be_bytes();
    let [l0, l1, l2, l3] = len.to_be_bytes();
    out.put_slice(&[kind.octet(), c0, c1, l0, l1, l2, l3]);
}

/// The fixed part in front of a payload.
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

/// What stands at the front of some bytes.
enum Look {
    /// A frame with its end octet in place.
    Whole(Head),
    /// The beginning of one.
    Short { missing: usize },
    /// Something that cannot become one.
    Bad(FrameError),
}

fn look(bytes: &[u8], frame_max: u32) -> Look {
    let Some(head) = Head::read(bytes) else {
        // Any read brings enough for a head; how much to read at once is the caller's choice.
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

/// RabbitMQ's text for a frame of type `octet` that may not come now (505): type and beginning of the payload.
pub fn frame_text(octet: u8, payload: &[u8]) -> String {
    format!("type {octet}, {}", snippet(payload))
}

/// Erlang's printer breaks a tuple that would pass its line length, and aligns what follows; clients get it like that.
fn bad_end_text(octet: u8, snippet: &str, end: u8) -> String {
    let before = format!("type {octet}, {snippet}: ");
    let reason = format!("{{invalid_frame_end_marker,{end}}}");
    if before.len() + reason.len() <= PRINTER_LINE {
        return before + &reason;
    }
    let indent = " ".repeat(before.len() + 1);
    format!("{before}{{invalid_frame_end_marker,\n{indent}{end}}}")
}

/// Room for what is missing, but at most as much again as has arrived.
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
