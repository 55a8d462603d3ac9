//! Output of one connection that its socket has not taken: small pieces in one buffer, larger bodies as
//! slices, written many at a time and in order. Knows no frames.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};

use super::limits::{COPY_BODY_MAX, WRITE_SLICES};

/// A buffer larger than this is freed when everything is written.
const IDLE_BUFFER_MAX: usize = 4 * 1024;

#[derive(Debug)]
enum Piece {
    /// This many bytes of the buffer.
    Buffered(usize),
    Slice(Bytes),
}

#[derive(Debug, Default)]
pub(crate) struct Writer {
    buffer: BytesMut,
    /// All output but the bytes of the buffer after the last slice.
    pieces: VecDeque<Piece>,
    /// Bytes of the buffer in `pieces`.
    buffered: usize,
    /// Bytes of the slices in `pieces`.
    sliced: usize,
}

impl Writer {
    /// The buffer that small pieces are appended to.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Appends a body or a part of one: a copy if it is small, otherwise the slice.
    pub(crate) fn put_body(&mut self, body: &Bytes) {
        if body.len() <= COPY_BODY_MAX {
            self.buffer.extend_from_slice(body);
            return;
        }
        let unlisted = self.buffer.len() - self.buffered;
        if unlisted > 0 {
            self.pieces.push_back(Piece::Buffered(unlisted));
            self.buffered = self.buffer.len();
        }
        self.sliced += body.len();
        self.pieces.push_back(Piece::Slice(body.clone()));
    }

    /// Bytes that wait for the socket.
    pub(crate) fn pending(&self) -> usize {
        self.buffer.len() + self.sliced
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending() == 0
    }

    /// Writes until the output is empty or `write` fails, also with `WouldBlock`. `write` takes slices and
    /// returns the number of bytes written. Returns the total.
    pub(crate) fn flush(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> (usize, io::Result<()>) {
        let mut total = 0;
        while !self.is_empty() {
            let written = match self.pieces.is_empty() {
                true => write(&[IoSlice::new(&self.buffer)]),
                false => write(&self.slices()),
            };
            match written {
                Ok(0) => return (total, Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    self.advance(n);
                    total += n;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (total, Err(error)),
            }
        }
        if self.buffer.capacity() > IDLE_BUFFER_MAX {
            self.buffer = BytesMut::new();
        }
        if self.pieces.capacity() > 64 {
            self.pieces = VecDeque::new();
        }
        (total, Ok(()))
    }

    /// The first slices of the output.
    fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(WRITE_SLICES.min(self.pieces.len() + 1));
        let mut rest: &[u8] = &self.buffer;
        for piece in self.pieces.iter().take(WRITE_SLICES) {
            match piece {
                Piece::Buffered(length) => {
                    let Some((now, later)) = rest.split_at_checked(*length) else {
                        return slices;
                    };
                    slices.push(IoSlice::new(now));
                    rest = later;
                }
                Piece::Slice(bytes) => slices.push(IoSlice::new(bytes)),
            }
        }
        if slices.len() < WRITE_SLICES && slices.len() == self.pieces.len() && !rest.is_empty() {
            slices.push(IoSlice::new(rest));
        }
        slices
    }

    /// Drops `written` bytes.
    fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let Some(piece) = self.pieces.front_mut() else {
                self.buffer.advance(written.min(self.buffer.len()));
                return;
            };
            let length = match piece {
                Piece::Buffered(length) => *length,
                Piece::Slice(bytes) => bytes.len(),
            };
            let now = written.min(length);
            match piece {
                Piece::Buffered(left) => {
                    *left -= now;
                    self.buffered -= now;
                    self.buffer.advance(now);
                }
                Piece::Slice(bytes) => {
                    self.sliced -= now;
                    bytes.advance(now);
                }
            }
            if now == length {
                self.pieces.pop_front();
            }
            written -= now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The output arrives in order, however little the socket takes.
        #[test]
        fn order_is_kept(
            puts in proptest::collection::vec((any::<bool>(), 1usize..2_000), 0..60),
            takes in proptest::collection::vec(1usize..5_000, 1..40),
        ) {
            let (mut writer, mut expected, mut got) = (Writer::default(), Vec::new(), Vec::new());
            let mut takes = takes.into_iter().cycle();
            for (i, (slice, length)) in (0u8..).zip(puts) {
                let bytes = vec![i; length];
                expected.extend_from_slice(&bytes);
                match slice {
                    true => writer.put_body(&Bytes::from(bytes)),
                    false => writer.buffer().extend_from_slice(&bytes),
                }
                if i % 7 == 0 {
                    let mut calls = 2;
                    let (_, result) = writer.flush(|slices| {
                        calls -= 1;
                        if calls == 0 { return Err(io::ErrorKind::WouldBlock.into()); }
                        Ok(take(slices, takes.next().unwrap(), &mut got))
                    });
                    prop_assert!(result.is_ok() || result.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock));
                }
                prop_assert_eq!(writer.pending(), expected.len() - got.len());
            }
            let (_, result) = writer.flush(|slices| Ok(take(slices, takes.next().unwrap(), &mut got)));
            prop_assert!(result.is_ok());
            prop_assert_eq!(got, expected);
        }
    }

    fn take(slices: &[IoSlice<'_>], most: usize, got: &mut Vec<u8>) -> usize {
        let all: Vec<u8> = slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        let n = most.min(all.len());
        got.extend_from_slice(&all[..n]);
        n
    }
}
