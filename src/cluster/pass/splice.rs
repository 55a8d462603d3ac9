//! Passes bytes between two connections, in both directions, until both have ended. Holds memory only for bytes that the
//! other side does not take yet, so idle connections cost none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Maximum number of bytes of one read, and of those that wait for the other side.
pub(super) const PIECE: usize = 64 * 1024;

thread_local! {
    /// Bytes between a read and its write. Empty between calls, so all connections of a thread share it.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into());
}

/// Which side a failure or end comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client is gone.
    Client,
    /// The leader has closed its side, or is gone.
    Leader,
}

/// Both connections.
pub(super) struct Splice<'a, C, L> {
    client: &'a mut C,
    leader: &'a mut L,
    up: Direction,
    down: Direction,
    /// The leader knows that the client has closed its side.
    is_half_closed: bool,
}

/// The state of one direction.
#[derive(Debug, Default)]
struct Direction {
    /// Bytes that were read and not yet written, behind those that were.
    rest: Vec<u8>,
    written: usize,
    /// Bytes were written and not flushed.
    is_dirty: bool,
    /// Nothing more comes.
    is_over: bool,
}

/// A failed read or write, told apart by the side.
enum Failed {
    From,
    To,
}

impl<'a, C, L> Splice<'a, C, L>
where
    C: AsyncRead + AsyncWrite + Unpin,
    L: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(client: &'a mut C, leader: &'a mut L) -> Splice<'a, C, L> {
        Splice {
            client,
            leader,
            up: Direction::default(),
            down: Direction::default(),
            is_half_closed: false,
        }
    }

    /// Passes bytes until the leader has ended and all that it sent is passed, or one side fails. What the client is
    /// told goes by `hear` too. A client that closes its side still gets what the leader sends.
    pub(super) async fn run(&mut self, mut hear: impl FnMut(&[u8])) -> Ended {
        poll_fn(|cx| {
            let up = self.poll_up(cx);
            let down = self.down.poll(cx, self.leader, self.client, &mut hear);
            match (up, down) {
                (Poll::Ready(Err(Failed::From)), _) | (_, Poll::Ready(Err(Failed::To))) => {
                    Poll::Ready(Ended::Client)
                }
                // A leader that takes no more may have said why: that comes first.
                (_, Poll::Ready(Ok(()) | Err(Failed::From))) => Poll::Ready(Ended::Leader),
                (_, Poll::Pending) => Poll::Pending,
            }
        })
        .await
    }

    /// What the leader has sent and the client has not taken, to be written before anything else.
    pub(super) fn into_rest(self) -> Vec<u8> {
        let Direction {
            mut rest, written, ..
        } = self.down;
        rest.drain(..written.min(rest.len()));
        rest
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        ready!(self.up.poll(cx, self.client, self.leader, &mut |_| {}))?;
        if !self.is_half_closed {
            ready!(Pin::new(&mut *self.leader).poll_shutdown(cx)).map_err(|_| Failed::To)?;
            self.is_half_closed = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Direction {
    /// Ready when the input has ended and the other side has all of it.
    fn poll<F, T>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
        hear: &mut impl FnMut(&[u8]),
    ) -> Poll<Result<(), Failed>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        loop {
            ready!(self.poll_rest(cx, to)).map_err(|_| Failed::To)?;
            let read = match self.is_over {
                true => Poll::Pending,
                false => self.poll_piece(cx, from, to, hear)?,
            };
            if read.is_pending() {
                ready!(self.poll_flush(cx, to)).map_err(|_| Failed::To)?;
                return match self.is_over {
                    true => Poll::Ready(Ok(())),
                    false => Poll::Pending,
                };
            }
        }
    }

    /// Reads a piece and writes what the other side takes of it.
    fn poll_piece<F, T>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
        hear: &mut impl FnMut(&[u8]),
    ) -> Poll<Result<(), Failed>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        BUFFER.with_borrow_mut(|buffer| {
            let mut piece = ReadBuf::new(buffer);
            let read = Pin::new(from).poll_read(cx, &mut piece);
            ready!(read).map_err(|_| Failed::From)?;
            let bytes = piece.filled();
            if bytes.is_empty() {
                self.is_over = true;
                return Poll::Ready(Ok(()));
            }
            hear(bytes);
            let written = match Pin::new(to).poll_write(cx, bytes) {
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Failed::To)),
                Poll::Pending => 0,
            };
            self.is_dirty = true;
            self.rest
                .extend_from_slice(bytes.get(written..).unwrap_or_default());
            Poll::Ready(Ok(()))
        })
    }

    /// Writes what waits, and gives its memory back.
    fn poll_rest<T>(&mut self, cx: &mut Context<'_>, to: &mut T) -> Poll<io::Result<()>>
    where
        T: AsyncWrite + Unpin,
    {
        while let Some(rest @ [_, ..]) = self.rest.get(self.written..) {
            match ready!(Pin::new(&mut *to).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        if self.written > 0 {
            *self = Direction {
                is_dirty: true,
                is_over: self.is_over,
                ..Direction::default()
            };
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush<T>(&mut self, cx: &mut Context<'_>, to: &mut T) -> Poll<io::Result<()>>
    where
        T: AsyncWrite + Unpin,
    {
        if self.is_dirty {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.is_dirty = false;
        }
        Poll::Ready(Ok(()))
    }
}
