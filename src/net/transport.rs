//! The connection of one client, as front doors see it: bytes, whether they travel plain or through TLS.
//!
//! There are two ways to use it. `try_` methods never wait, and [`Transport::ready`] tells when to call them again;
//! AMQP's rounds need that. Otherwise it is read and written by poll, as hyper does.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::client_facts::{ClientFacts, TlsFacts};
use super::peer_certificate::{LoginFrom, NoName, login_name};
use super::tls_stream::TlsStream;
use crate::model::TlsInfo;

/// How often the system asks a silent peer again.
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// An accepted connection.
#[derive(Debug)]
pub struct Transport {
    stream: Stream,
    /// What the socket does not tell, if there is anything.
    named: Option<Box<Named>>,
}

/// What others say of the client.
#[derive(Debug)]
enum Named {
    /// The address that the client connected to, by a proxy.
    Proxied(SocketAddr),
    /// The whole client, by another node of the set.
    Passed(ClientFacts),
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    /// Boxed, since the state of TLS is large and most connections have none.
    Tls(Box<TlsStream>),
}

impl From<TcpStream> for Transport {
    fn from(socket: TcpStream) -> Transport {
        Transport {
            stream: Stream::Plain(socket),
            named: None,
        }
    }
}

impl From<TlsStream> for Transport {
    fn from(stream: TlsStream) -> Transport {
        Transport {
            stream: Stream::Tls(Box::new(stream)),
            named: None,
        }
    }
}

impl Transport {
    /// A client reached it through a proxy, at this address.
    pub(super) fn proxied(mut self, local: Option<SocketAddr>) -> Transport {
        self.named = local.map(|local| Box::new(Named::Proxied(local)));
        self
    }

    /// Another node passes the client on.
    pub(super) fn passed_by_node(self, facts: ClientFacts) -> Transport {
        Transport {
            named: Some(Box::new(Named::Passed(facts))),
            ..self
        }
    }

    /// Whether another node of the set passes the client on.
    pub fn is_passed(&self) -> bool {
        matches!(self.named.as_deref(), Some(Named::Passed(_)))
    }

    /// What another node needs to know of the client, to which this connection is passed on.
    pub fn client_facts(&self, client: SocketAddr) -> io::Result<ClientFacts> {
        Ok(ClientFacts {
            client,
            local: self.local_addr()?,
            tls: self.tls_facts(),
        })
    }

    /// The address of a client that another node passes on.
    pub(super) fn passed_client(&self) -> io::Result<SocketAddr> {
        match self.named.as_deref() {
            Some(Named::Passed(facts)) => Ok(facts.client),
            Some(Named::Proxied(_)) | None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// The client's TLS.
    fn tls_facts(&self) -> Option<TlsFacts> {
        match (self.named.as_deref(), &self.stream) {
            (Some(Named::Passed(facts)), _) => facts.tls.clone(),
            (Some(Named::Proxied(_)) | None, Stream::Plain(_)) => None,
            (Some(Named::Proxied(_)) | None, Stream::Tls(stream)) => Some(stream.facts()),
        }
    }

    /// Whether TLS protects the connection of the client.
    pub fn is_secure(&self) -> bool {
        match (self.named.as_deref(), &self.stream) {
            (Some(Named::Passed(facts)), _) => facts.tls.is_some(),
            (Some(Named::Proxied(_)) | None, Stream::Plain(_)) => false,
            (Some(Named::Proxied(_)) | None, Stream::Tls(_)) => true,
        }
    }

    /// What operators see of the client's TLS.
    pub fn tls_info(&self) -> Option<TlsInfo> {
        self.tls_facts().map(|facts| facts.info())
    }

    /// The name of the user of the client's certificate.
    pub fn certificate_login(&self, from: LoginFrom) -> Result<String, NoName> {
        let facts = self.tls_facts().ok_or(NoName::NoTls)?;
        let certificate = facts.certificate().ok_or(NoName::NoCertificate)?;
        login_name(certificate, from)
    }

    /// Waits until a `try_` method of the interest may go on, or the socket fails. Meanwhile it sends what TLS has
    /// still to send. Cancel-safe.
    pub async fn ready(&mut self, interest: Interest) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.ready(interest).await.map(drop),
            Stream::Tls(stream) => stream.ready(interest).await,
        }
    }

    /// Reads without waiting; 0 is the end.
    pub fn try_read(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(socket) => read_now(socket, input),
            Stream::Tls(stream) => stream.try_read(input),
        }
    }

    /// Writes as much as is taken without waiting.
    pub fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.try_write_vectored(slices),
            Stream::Tls(stream) => stream.try_write_vectored(slices),
        }
    }

    /// Takes the pending error of the socket.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket().take_error()
    }

    /// The address that the client connected to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self.named.as_deref() {
            Some(Named::Proxied(local)) => Ok(*local),
            Some(Named::Passed(facts)) => Ok(facts.local),
            None => self.socket().local_addr(),
        }
    }

    /// Lets small writes leave immediately.
    pub fn set_nodelay(&self) -> io::Result<()> {
        self.socket().set_nodelay(true)
    }

    /// Closing the socket resets it: output that the peer has not taken is dropped.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        self.socket().set_zero_linger()
    }

    /// The system ends the connection when the peer's machine takes no bytes for `silent_max`. Asks a peer that says
    /// nothing for `asked_after` whether it is there.
    pub fn watch_peer(&self, silent_max: Duration, asked_after: Duration) -> io::Result<()> {
        watch_peer(self.socket(), silent_max, asked_after)
    }

    fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.socket(),
        }
    }
}

/// As [`Transport::watch_peer`], of a socket.
pub fn watch_peer(
    socket: &TcpStream,
    silent_max: Duration,
    asked_after: Duration,
) -> io::Result<()> {
    let milliseconds = u32::try_from(silent_max.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(socket, milliseconds)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, asked_after)?;
    sockopt::set_tcp_keepintvl(socket, ASKED_EVERY)?;
    Ok(())
}

/// Reads without waiting. `read_buf` remembers when a read has emptied the socket and skips the next system
/// call; plain `try_read` would make it, every second call where messages arrive one by one.
fn read_now(socket: &mut TcpStream, input: &mut BytesMut) -> io::Result<usize> {
    let reading = pin!(socket.read_buf(input));
    match reading.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Stream::Tls(stream) => stream.poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Stream::Tls(stream) => stream.poll_write_vectored(cx, &[IoSlice::new(bytes)]),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => stream.poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Ready when the socket has taken all output.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Stream::Tls(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Tls(stream) => stream.poll_shutdown(cx),
        }
    }
}
