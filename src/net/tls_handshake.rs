//! The TLS handshakes of a front door. Signatures cost CPU time, so few handshakes are worked on at a time, and
//! those that wait take turns in the order in which they came: connections that are open are served meanwhile.

use std::io;

use rustls::ServerConnection;
use tokio::net::TcpStream;
use tokio::sync::SemaphorePermit;

use super::acceptor::SocketPermit;
use super::tls::Tls;
use super::tls_stream::TlsStream;

impl Tls {
    /// Takes a connection through its handshake. The caller limits the time.
    pub(super) async fn shake_hands(
        &self,
        socket: TcpStream,
        permit: &SocketPermit,
    ) -> io::Result<TlsStream> {
        let session = ServerConnection::new(self.config()).map_err(io::Error::other)?;
        let mut stream = TlsStream::new(socket, session);
        while stream.is_shaking_hands() {
            flush(&mut stream).await?;
            stream.socket().readable().await?;
            let Some(turn) = self.turn(permit).await else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let read = stream.continue_handshake();
            drop(turn);
            match read {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        flush(&mut stream).await?;
        Ok(stream)
    }

    /// Waits for the right to work on a handshake. The peer waits for the broker meanwhile.
    async fn turn(&self, permit: &SocketPermit) -> Option<SemaphorePermit<'_>> {
        let turns = &self.turns.0;
        if let Ok(turn) = turns.try_acquire() {
            return Some(turn);
        }
        permit.awaits_broker();
        let turn = turns.acquire().await.ok();
        permit.awaits_peer();
        turn
    }
}

/// Waits until the socket has taken all output.
async fn flush(stream: &mut TlsStream) -> io::Result<()> {
    loop {
        match stream.flush_now() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.socket().writable().await?;
            }
            flushed => return flushed,
        }
    }
}
