//! The body of a response: its pieces are written when the client can take them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::OwnedSemaphorePermit;

use super::pieces::Scrape;

pub(super) struct ScrapeBody {
    pub(super) scrape: Scrape,
    /// Held until the last piece is sent, or the client is gone.
    pub(super) turn: Option<OwnedSemaphorePermit>,
}

impl Body for ScrapeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.scrape.next();
        if piece.is_none() {
            self.turn = None;
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::from(piece)))))
    }
}
