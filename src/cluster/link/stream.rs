//! A connection between two nodes after its handshake.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::net::Transport;

/// A connection of its own: bytes in both directions, each of which can be closed by itself.
#[derive(Debug)]
pub struct LinkStream(Ends);

#[derive(Debug)]
enum Ends {
    /// Accepted, or dialed without TLS.
    Transport(Transport),
    Dialed(Box<TlsStream<TcpStream>>),
}

impl From<Transport> for LinkStream {
    fn from(transport: Transport) -> LinkStream {
        LinkStream(Ends::Transport(transport))
    }
}

impl From<TlsStream<TcpStream>> for LinkStream {
    fn from(stream: TlsStream<TcpStream>) -> LinkStream {
        LinkStream(Ends::Dialed(Box::new(stream)))
    }
}

impl LinkStream {
    /// The accepting side's end, as front doors take it; `None` on the side that has dialed through TLS.
    pub fn into_transport(self) -> Option<Transport> {
        match self.0 {
            Ends::Transport(transport) => Some(transport),
            Ends::Dialed(_) => None,
        }
    }
}

impl AsyncRead for LinkStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Ends::Transport(stream) => Pin::new(stream).poll_read(cx, buffer),
            Ends::Dialed(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Ends::Transport(stream) => Pin::new(stream).poll_write(cx, bytes),
            Ends::Dialed(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Ends::Transport(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Ends::Dialed(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Ends::Transport(stream) => Pin::new(stream).poll_flush(cx),
            Ends::Dialed(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Ends::Transport(stream) => Pin::new(stream).poll_shutdown(cx),
            Ends::Dialed(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
