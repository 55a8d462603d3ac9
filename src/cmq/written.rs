//! What happens once an answer has left: an answer may carry a receipt, which is called when the system has taken its
//! last byte, and is dropped uncalled if the connection ends before. Messages that were received go back that way when
//! nobody is there to get them. Also has a request that HTTP makes nothing of answered as any other.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::limits::{LINGER_BYTES_MAX, LINGER_TIME_MAX};

/// Called when the answer has been written.
pub(crate) type Receipt = Box<dyn FnOnce() + Send>;

/// The receipts of answers that are on their way, for one connection.
#[derive(Default)]
pub(crate) struct Outgoing(Mutex<Vec<Receipt>>);

/// The body of one answer.
pub(crate) struct Parcel {
    json: Option<Bytes>,
    receipt: Option<Receipt>,
    outgoing: Arc<Outgoing>,
}

impl Parcel {
    pub(crate) fn new(json: Bytes, receipt: Option<Receipt>, outgoing: Arc<Outgoing>) -> Parcel {
        Parcel {
            json: Some(json),
            receipt,
            outgoing,
        }
    }
}

impl Body for Parcel {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // hyper buffers what it is given here before it writes again, and flushes the socket only when its buffer is
        // empty: the next flush means that the answer has left.
        if let Some(receipt) = self.receipt.take() {
            self.outgoing.0.lock().push(receipt);
        }
        Poll::Ready(self.json.take().map(|json| Ok(Frame::data(json))))
    }

    fn is_end_stream(&self) -> bool {
        self.json.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.json.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}

/// A socket that calls receipts, and fails when its peer takes nothing for long.
///
/// hyper answers by itself what it cannot read: a head that is too long, or no HTTP at all. All our own answers are 200,
/// so any other is one of these; it is replaced by `unreadable`, and what the peer is still sending is read, so that it
/// comes to read the answer.
pub(crate) struct Socket<U> {
    io: TokioIo<TcpStream>,
    outgoing: Arc<Outgoing>,
    patience: Duration,
    /// Until when the peer has to take something, while there is something that it does not take.
    stalled: Option<Pin<Box<Sleep>>>,
    unreadable: U,
    instead: Instead,
}

/// What is written in place of an answer of hyper's.
enum Instead {
    /// Nothing: all answers are ours.
    Nothing,
    /// The rest of this.
    Rest(Bytes),
    /// It is written; what the peer sends is read until this time, up to so many bytes.
    Lingering(Pin<Box<Sleep>>, usize),
}

/// The beginnings of answers of hyper's own.
const REFUSALS: [&[u8]; 4] = [b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 5", b"HTTP/1.0 5"];

impl<U: Fn() -> String + Unpin> Socket<U> {
    /// `patience` is how long the peer may take nothing of what there is for it.
    pub(crate) fn new(
        stream: TcpStream,
        outgoing: Arc<Outgoing>,
        patience: Duration,
        unreadable: U,
    ) -> Socket<U> {
        Socket {
            io: TokioIo::new(stream),
            outgoing,
            patience,
            stalled: None,
            unreadable,
            instead: Instead::Nothing,
        }
    }

    /// Whether an answer is one that has to be replaced; from then on [`Socket::write_instead`] writes.
    fn replaces(&mut self, begin: &[u8]) -> bool {
        let is_ours = |begin: &[u8]| !REFUSALS.iter().any(|refusal| begin.starts_with(refusal));
        if matches!(self.instead, Instead::Nothing) && !is_ours(begin) {
            let json = (self.unreadable)();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                json.len()
            );
            self.instead = Instead::Rest(Bytes::from(head + &json));
        }
        !matches!(self.instead, Instead::Nothing)
    }

    /// Writes what stands in place of `taken` bytes, and says that these were written when it is.
    fn write_instead(&mut self, cx: &mut Context<'_>, taken: usize) -> Poll<io::Result<usize>> {
        while let Instead::Rest(rest) = &mut self.instead {
            let written = Pin::new(&mut self.io).poll_write(cx, rest);
            match self.wrote(cx, written) {
                Poll::Ready(Ok(bytes)) => self.wrote_instead(bytes),
                other => return other,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn wrote_instead(&mut self, bytes: usize) {
        if let Instead::Rest(rest) = &mut self.instead {
            rest.advance(bytes.min(rest.len()));
            if rest.is_empty() {
                self.instead =
                    Instead::Lingering(Box::pin(sleep(LINGER_TIME_MAX)), LINGER_BYTES_MAX);
            }
        }
    }

    /// Reads what the peer is still sending, until that ends or has taken long enough.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Instead::Lingering(until, left) = &mut self.instead else {
            return Poll::Ready(());
        };
        let mut buffer = [0; 4096];
        while *left > 0 && until.as_mut().poll(cx).is_pending() {
            let mut forgotten = tokio::io::ReadBuf::new(&mut buffer);
            let stream = Pin::new(self.io.inner_mut());
            match ready!(tokio::io::AsyncRead::poll_read(stream, cx, &mut forgotten)) {
                Ok(()) if !forgotten.filled().is_empty() => {
                    *left = left.saturating_sub(forgotten.filled().len());
                }
                _ => break,
            }
        }
        Poll::Ready(())
    }

    /// What a write has come to, unless that took too long.
    fn wrote(
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
            return self.write_instead(cx, bytes.len());
        }
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.replaces(slices.first().map_or(&[], |first| first)) {
            let taken = slices.iter().map(|slice| slice.len()).sum();
            return self.write_instead(cx, taken);
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            let receipts = std::mem::take(&mut *self.outgoing.0.lock());
            for receipt in receipts {
                receipt();
            }
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
    use hyper::Response;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::*;

    /// Far more than sockets hold.
    const BYTES: usize = 64 * 1024 * 1024;

    /// What a client does when it has read what it wants.
    #[derive(Clone, Copy)]
    enum Then {
        HangsUp,
        ReadsNoMore,
    }

    /// Asks for an answer and reads so much of it; whether its receipt was called, or dropped uncalled.
    async fn is_called_when_read(read: usize, then: Then) -> bool {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, called) = oneshot::channel();
        let receipt: Mutex<Option<Receipt>> =
            Mutex::new(Some(Box::new(move || told.send(()).unwrap())));
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let outgoing = Arc::<Outgoing>::default();
            let patience = Duration::from_millis(match then {
                Then::HangsUp => 60_000,
                Then::ReadsNoMore => 100,
            });
            let socket = Socket::new(stream, Arc::clone(&outgoing), patience, String::new);
            let answer = service_fn(|_| {
                let json = Bytes::from(vec![b'x'; BYTES]);
                let parcel = Parcel::new(json, receipt.lock().take(), Arc::clone(&outgoing));
                async { Ok::<_, Infallible>(Response::new(parcel)) }
            });
            http1::Builder::new().serve_connection(socket, answer).await
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
    async fn a_receipt_is_called_when_the_answer_has_left_and_not_before() {
        assert!(is_called_when_read(BYTES, Then::HangsUp).await);
        assert!(!is_called_when_read(1024, Then::HangsUp).await);
        assert!(!is_called_when_read(1024, Then::ReadsNoMore).await);
    }
}
