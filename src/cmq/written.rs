//! What happens once an answer has left: an answer may carry a receipt, which is called when the system has taken its
//! last byte, and is dropped uncalled if the connection ends before. Messages that were received go back that way when
//! nobody is there to get them.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

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
pub(crate) struct Socket {
    io: TokioIo<TcpStream>,
    outgoing: Arc<Outgoing>,
    patience: Duration,
    /// Until when the peer has to take something, while there is something that it does not take.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// `patience` is how long the peer may take nothing of what there is for it.
    pub(crate) fn new(stream: TcpStream, outgoing: Arc<Outgoing>, patience: Duration) -> Socket {
        Socket {
            io: TokioIo::new(stream),
            outgoing,
            patience,
            stalled: None,
        }
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

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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
        Pin::new(&mut self.io).poll_shutdown(cx)
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
            let socket = Socket::new(stream, Arc::clone(&outgoing), patience);
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
