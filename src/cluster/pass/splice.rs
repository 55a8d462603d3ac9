//! Passes bytes between two connections, in both directions, until both have ended. Holds memory only for bytes that the
//! other side does not take yet, so idle connections cost none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

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
    /// How long the client may take nothing of what waits for it.
    patience: Duration,
    stalled: Option<Stalled>,
}

/// A client that takes nothing.
#[derive(Debug)]
struct Stalled {
    /// What it had taken by then.
    taken: u64,
    gives_up: Pin<Box<Sleep>>,
}

/// The state of one direction.
#[derive(Debug, Default)]
struct Direction {
    /// Bytes that were read and not yet written, behind those that were.
    rest: Vec<u8>,
    written: usize,
    /// Bytes of all rests that were written.
    taken: u64,
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
    pub(super) fn new(
        client: &'a mut C,
        leader: &'a mut L,
        patience: Duration,
    ) -> Splice<'a, C, L> {
        Splice {
            client,
            leader,
            up: Direction::default(),
            down: Direction::default(),
            is_half_closed: false,
            patience,
            stalled: None,
        }
    }

    /// Passes bytes until the leader has ended and all that it sent is passed, one side fails, or the client takes nothing
    /// for too long. What the client is told goes by `hear` too. A client that closes its side still gets what the leader sends.
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
                (_, Poll::Pending) => self.poll_patience(cx).map(|()| Ended::Client),
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

    /// Ready when the client has taken nothing for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.down.rest.is_empty() {
            self.stalled = None;
            return Poll::Pending;
        }
        let taken = self.down.taken;
        let stalled = self.stalled.take().filter(|stalled| stalled.taken == taken);
        let stalled = stalled.unwrap_or_else(|| Stalled {
            taken,
            gives_up: Box::pin(sleep(self.patience)),
        });
        let stalled = self.stalled.insert(stalled);
        stalled.gives_up.as_mut().poll(cx)
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
                written => {
                    self.written += written;
                    self.taken += written as u64;
                }
            }
        }
        if self.written > 0 {
            *self = Direction {
                is_dirty: true,
                is_over: self.is_over,
                taken: self.taken,
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_for_long_is_lost_and_a_slow_one_is_not() {
        let (mut client, mut at_client) = duplex(10);
        let (mut leader, mut at_leader) = duplex(1_000);
        at_leader.write_all(&[7; 60]).await.unwrap();
        let patience = Duration::from_millis(300);
        let mut splice = Splice::new(&mut client, &mut leader, patience);
        let slow = async {
            for _ in 0..4 {
                sleep(patience / 2).await;
                at_client.read_exact(&mut [0; 10]).await.unwrap();
            }
        };
        let begun = tokio::time::Instant::now();
        let (ended, ()) = tokio::join!(splice.run(|_| {}), slow);
        assert_eq!(ended, Ended::Client);
        assert!(begun.elapsed() >= patience * 2);
        assert_eq!(splice.into_rest().len(), 10);
    }
}
