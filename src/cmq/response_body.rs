//! The body of a response, which may carry a callback for the moment when the socket has taken its last byte. A
//! connection that ends earlier drops the callback uncalled: that is how messages return to their queue that a client
//! did not get.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

/// Called when the socket has taken the whole response.
pub(super) type OnSent = Box<dyn FnOnce() + Send>;

/// The callbacks of the responses of one connection that hyper has and the socket has not yet taken.
#[derive(Default)]
pub(super) struct InFlight(Mutex<Vec<OnSent>>);

impl InFlight {
    /// The socket has taken everything so far.
    pub(super) fn sent(&self) {
        let callbacks = std::mem::take(&mut *self.0.lock());
        for on_sent in callbacks {
            on_sent();
        }
    }
}

/// The body of one response.
pub(super) struct ResponseBody {
    json: Option<Bytes>,
    on_sent: Option<OnSent>,
    in_flight: Arc<InFlight>,
}

impl ResponseBody {
    pub(super) fn new(
        json: Bytes,
        on_sent: Option<OnSent>,
        in_flight: Arc<InFlight>,
    ) -> ResponseBody {
        ResponseBody {
            json: Some(json),
            on_sent,
            in_flight,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // hyper buffers this frame before it writes again, and flushes the socket only when its buffer is empty: the
        // next flush means that the socket has taken the response.
        if let Some(on_sent) = self.on_sent.take() {
            self.in_flight.0.lock().push(on_sent);
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
