//! Frames of a link after its handshake: a head of 16 octets and a body. Reading slices bodies out of one buffer,
//! writing gathers them without a copy.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::limits::{FRAME_MAX, OPEN_MAX, READ_BUFFER, READ_BUFFER_REST};

/// Length of a frame's head.
const HEAD: usize = 16;
/// Maximum number of slices of one write.
const SLICES: usize = 64;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// Its body is a request of this kind.
    Request(u8),
    /// Its body answers the request with the same id.
    Answer,
    /// Its body says why that request has no answer.
    Refusal,
    /// The first and only frame of a stream of this kind.
    Open(u8),
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) id: u64,
    pub(super) tag: Tag,
}

impl Head {
    /// The caller has checked that the length fits.
    fn encode(self, out: &mut BytesMut) {
        let (tag, kind) = match self.tag {
            Tag::Request(kind) => (1, kind),
            Tag::Answer => (2, 0),
            Tag::Refusal => (3, 0),
            Tag::Open(kind) => (4, kind),
        };
        out.put_u32(u32::try_from(self.length).unwrap_or(u32::MAX));
        out.put_u64(self.id);
        out.put_u8(tag);
        out.put_u8(kind);
        out.put_u16(0);
    }

    fn decode(mut head: impl Buf) -> io::Result<Head> {
        let length = usize::try_from(head.get_u32()).unwrap_or(usize::MAX);
        let id = head.get_u64();
        let (tag, kind) = (head.get_u8(), head.get_u8());
        let tag = match tag {
            1 => Tag::Request(kind),
            2 => Tag::Answer,
            3 => Tag::Refusal,
            4 => Tag::Open(kind),
            _ => return Err(invalid("a frame of an unknown type")),
        };
        match length <= FRAME_MAX {
            true => Ok(Head { length, id, tag }),
            false => Err(invalid("a frame that is too large")),
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads frames.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(stream: R) -> FrameReader<R> {
        FrameReader {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// The next frame's head; `None` at the end between two frames. The caller reads the body next.
    pub(super) async fn head(&mut self) -> io::Result<Option<Head>> {
        while self.buffer.len() < HEAD {
            // Small frames share a buffer, which lives as long as one of their bodies.
            if self.buffer.capacity() - self.buffer.len() < READ_BUFFER_REST {
                self.buffer.reserve(READ_BUFFER);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
        Head::decode(self.buffer.split_to(HEAD)).map(Some)
    }

    pub(super) async fn body(&mut self, length: usize) -> io::Result<Bytes> {
        while self.buffer.len() < length {
            // Memory that no byte has reached costs nothing, so a length alone takes none.
            self.buffer.reserve(length - self.buffer.len());
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.split_to(length).freeze())
    }
}

/// Reads the frame that opens a stream, and no byte after it.
pub(super) async fn read_open<R>(stream: &mut R) -> io::Result<(u8, Bytes)>
where
    R: AsyncRead + Unpin,
{
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await?;
    let Head { length, tag, .. } = Head::decode(&head[..])?;
    match tag {
        Tag::Open(kind) if length <= OPEN_MAX => {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            Ok((kind, body.into()))
        }
        Tag::Open(_) => Err(invalid("a frame that is too large")),
        Tag::Request(_) | Tag::Answer | Tag::Refusal => Err(invalid("an unexpected frame")),
    }
}

/// Frames on their way to the socket.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    heads: BytesMut,
    slices: VecDeque<Bytes>,
}

impl Outgoing {
    pub(super) fn push(&mut self, id: u64, tag: Tag, parts: impl IntoIterator<Item = Bytes>) {
        let place = self.slices.len();
        self.slices.push_back(Bytes::new());
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        self.slices.extend(parts);
        let length = self.slices.range(place..).map(Bytes::len).sum();
        Head { length, id, tag }.encode(&mut self.heads);
        if let Some(head) = self.slices.get_mut(place) {
            *head = self.heads.split().freeze();
        }
    }

    /// Writes all frames. When this fails or is dropped, the connection is of no more use.
    pub(super) async fn write_to<W>(&mut self, stream: &mut W) -> io::Result<()>
    where
        W: AsyncWrite + Unpin,
    {
        while !self.slices.is_empty() {
            let mut gathered = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, bytes) in gathered.iter_mut().zip(&self.slices) {
                *slice = IoSlice::new(bytes);
                count += 1;
            }
            let written = stream
                .write_vectored(gathered.get(..count).unwrap_or_default())
                .await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.advance(written);
        }
        stream.flush().await
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.slices.front_mut() {
            if first.len() > written {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.slices.pop_front();
        }
    }
}
