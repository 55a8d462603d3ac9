//! The socket under hyper: reports when a response has left, gives up on a client that takes nothing for long, and
//! replaces the error pages that hyper writes by itself.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::time::{Sleep, sleep};

use super::limits::{LINGER_BYTES_MAX, LINGER_TIME_MAX};
use super::response_body::InFlight;
use crate::net::Transport;

/// The socket of one connection.
///
/// hyper itself answers what it cannot read: a head that is too long, or bytes that are no HTTP. All our responses have
/// status 200, so any other status is hyper's. The socket writes `unreadable` in its place, and goes on reading what the
/// client still sends, so that the client gets to read the response.
pub(super) struct Socket<U> {
    io: TokioIo<Transport>,
    in_flight: Arc<InFlight>,
    patience: Duration,
    /// Runs while the client takes nothing of what is there for it; at its end the connection fails.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Makes the JSON of the response to an unreadable request.
    unreadable: U,
    replacement: Replacement,
}

/// How far the replacement of hyper's error page has come.
enum Replacement {
    /// hyper wrote no error page.
    NotNeeded,
    /// These bytes are still to be written.
    Writing(Bytes),
    /// All is written. The socket discards what the client sends, until the time is over or this many bytes have come.
    Lingering {
        until: Pin<Box<Sleep>>,
        bytes_left: usize,
    },
}

/// How hyper's error pages begin.
const ERROR_PAGES: [&[u8]; 4] = [b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 5", b"HTTP/1.0 5"];

impl<U: Fn() -> String + Unpin> Socket<U> {
    /// `patience` is how long the client may take nothing of what is there for it.
    pub(super) fn new(
        stream: Transport,
        in_flight: Arc<InFlight>,
        patience: Duration,
        unreadable: U,
    ) -> Socket<U> {
        Socket {
            io: TokioIo::new(stream),
            in_flight,
            patience,
            stalled: None,
            unreadable,
            replacement: Replacement::NotNeeded,
        }
    }

    /// Whether to replace what hyper writes. From its first error page on, [`Socket::write_replacement`] writes.
    fn replaces(&mut self, begin: &[u8]) -> bool {
        let is_error_page = ERROR_PAGES.iter().any(|page| begin.starts_with(page));
        if matches!(self.replacement, Replacement::NotNeeded) && is_error_page {
            let json = (self.unreadable)();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                json.len()
            );
            self.replacement = Replacement::Writing(Bytes::from(head + &json));
        }
        !matches!(self.replacement, Replacement::NotNeeded)
    }

    /// Writes the replacement, and then reports the `taken` bytes of hyper's as written.
    fn write_replacement(&mut self, cx: &mut Context<'_>, taken: usize) -> Poll<io::Result<usize>> {
        while let Replacement::Writing(rest) = &mut self.replacement {
            let written = Pin::new(&mut self.io).poll_write(cx, rest);
            match self.check_stall(cx, written) {
                Poll::Ready(Ok(bytes)) => self.advance_replacement(bytes),
                other => return other,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn advance_replacement(&mut self, bytes: usize) {
        if let Replacement::Writing(rest) = &mut self.replacement {
            rest.advance(bytes.min(rest.len()));
            if rest.is_empty() {
                self.replacement = Replacement::Lingering {
                    until: Box::pin(sleep(LINGER_TIME_MAX)),
                    bytes_left: LINGER_BYTES_MAX,
                };
            }
        }
    }

    /// Discards what the client still sends after an error page was replaced.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Replacement::Lingering { until, bytes_left } = &mut self.replacement else {
            return Poll::Ready(());
        };
        let mut buffer = [0; 4096];
        while *bytes_left > 0 && until.as_mut().poll(cx).is_pending() {
            let mut discarded = tokio::io::ReadBuf::new(&mut buffer);
            let stream = Pin::new(self.io.inner_mut());
            match ready!(tokio::io::AsyncRead::poll_read(stream, cx, &mut discarded)) {
                Ok(()) if !discarded.filled().is_empty() => {
                    *bytes_left = bytes_left.saturating_sub(discarded.filled().len());
                }
                _ => break,
            }
        }
        Poll::Ready(())
    }

    /// Passes on the result of a write, or fails it when the client has taken nothing for too long.
    fn check_stall(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        stalled
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<U: Unpin> Read for Socket<U> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<U: Fn() -> String + Unpin> Write for Socket<U> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.replaces(bytes) {
            return self.write_replacement(cx, bytes.len());
        }
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.check_stall(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.replaces(slices.first().map_or(&[], |first| first)) {
            let taken = slices.iter().map(|slice| slice.len()).sum();
            return self.write_replacement(cx, taken);
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.check_stall(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx).map_ok(|()| 0);
        let flushed = self.check_stall(cx, flushed).map_ok(drop);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.in_flight.sent();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        ready!(self.poll_linger(cx));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::Response;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use parking_lot::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;

    use super::*;
    use crate::cmq::response_body::{OnSent, ResponseBody};

    /// Far more than the buffers of sockets hold.
    const BYTES: usize = 64 * 1024 * 1024;

    /// What a client does when it has read as much as it wants.
    #[derive(Clone, Copy)]
    enum Then {
        HangsUp,
        ReadsNoMore,
    }

    /// Requests a response and reads `read` bytes of it; returns whether the callback was called.
    async fn is_called_when_read(read: usize, then: Then) -> bool {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (call, called) = oneshot::channel();
        let on_sent: Mutex<Option<OnSent>> =
            Mutex::new(Some(Box::new(move || call.send(()).unwrap())));
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let in_flight = Arc::<InFlight>::default();
            let patience = Duration::from_millis(match then {
                Then::HangsUp => 60_000,
                Then::ReadsNoMore => 100,
            });
            let socket = Socket::new(stream.into(), Arc::clone(&in_flight), patience, String::new);
            let respond = service_fn(|_| {
                let json = Bytes::from(vec![b'x'; BYTES]);
                let body = ResponseBody::new(json, on_sent.lock().take(), Arc::clone(&in_flight));
                async { Ok::<_, Infallible>(Response::new(body)) }
            });
            http1::Builder::new()
                .serve_connection(socket, respond)
                .await
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        let mut taken = vec![0; read];
        client.read_exact(&mut taken).await.unwrap();
        let still_there = match then {
            Then::HangsUp => {
                drop(client);
                None
            }
            Then::ReadsNoMore => Some(client),
        };
        // An error if the client left in the middle.
        drop(server.await.unwrap());
        drop(still_there);
        called.await.is_ok()
    }

    #[tokio::test]
    async fn the_callback_is_called_only_when_the_whole_response_has_left() {
        assert!(is_called_when_read(BYTES, Then::HangsUp).await);
        assert!(!is_called_when_read(1024, Then::HangsUp).await);
        assert!(!is_called_when_read(1024, Then::ReadsNoMore).await);
    }
}
