//! What happens once an answer has left: an answer may carry a receipt, which is called when the system has taken its
//! last byte, and is dropped uncalled if the connection ends before. Messages that were received go back that way when
//! nobody is there to get them.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;

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

/// A socket that calls receipts.
pub(crate) struct Socket {
    io: TokioIo<TcpStream>,
    outgoing: Arc<Outgoing>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, outgoing: Arc<Outgoing>) -> Socket {
        Socket {
            io: TokioIo::new(stream),
            outgoing,
        }
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
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
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
