//! A socket that gives up on a client that reads too slowly. A client that takes a byte now and then would otherwise
//! hold a response in memory for hours.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::limits::READ_AT_LEAST;
use crate::net::Transport;

pub(super) struct PatientSocket {
    stream: Transport,
    /// Time in which the client has to take [`READ_AT_LEAST`] bytes of what waits for it.
    within: Duration,
    /// While bytes wait for the client.
    waiting: Option<Waiting>,
}

struct Waiting {
    until: Pin<Box<Sleep>>,
    /// Bytes that the client has taken meanwhile.
    taken: usize,
}

impl PatientSocket {
    pub(super) fn new(stream: Transport, within: Duration) -> PatientSocket {
        PatientSocket {
            stream,
            within,
            waiting: None,
        }
    }

    /// Passes on the result of a write, or fails it when the client has taken too little for too long.
    fn check(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            if let (Some(waiting), Ok(bytes)) = (&mut self.waiting, &written) {
                waiting.taken = waiting.taken.saturating_add(*bytes);
                if waiting.taken >= READ_AT_LEAST {
                    self.waiting = None;
                }
            }
            return Poll::Ready(written);
        }
        let within = self.within;
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            until: Box::pin(sleep(within)),
            taken: 0,
        });
        waiting
            .until
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for PatientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        // A client that goes on sending has read its response.
        if buffer.filled().len() > before {
            self.waiting = None;
        }
        read
    }
}

impl AsyncWrite for PatientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.check(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.check(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.check(cx, flushed.map_ok(|()| 0)).map_ok(drop)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Far more than the buffers of sockets hold.
    const BYTES: usize = 64 * 1024 * 1024;

    /// Writes to a client that reads `piece` bytes at a time, with a pause before each.
    async fn write_to(piece: usize, pause: Duration) -> io::Result<()> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let client = TcpStream::connect(listener.local_addr()?);
        let (client, accepted) = tokio::join!(client, listener.accept());
        let mut client = client?;
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; piece];
            while client.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                sleep(pause).await;
            }
        });
        let mut socket = PatientSocket::new(accepted?.0.into(), Duration::from_millis(300));
        let written = socket.write_all(&vec![0; BYTES]).await;
        reading.abort();
        written
    }

    #[tokio::test]
    async fn a_client_that_reads_too_slowly_is_given_up() {
        let slow = write_to(1, Duration::from_millis(1)).await;
        assert_eq!(slow.unwrap_err().kind(), io::ErrorKind::TimedOut);
        write_to(1 << 20, Duration::ZERO).await.unwrap();
    }
}
