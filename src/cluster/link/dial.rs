//! Connects to other nodes.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::error::LinkError;
use super::handshake::{HandshakeError, Known, Own};
use super::hello::Purpose;
use super::limits::{ASKED_AFTER, CONNECT_WITHIN, HANDSHAKE_WITHIN, SILENT_MAX};
use super::refused::RefusalLog;
use super::stream::LinkStream;
use crate::net::{Transport, watch_peer};

/// Connects as this node.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) own: Arc<Own>,
    pub(super) refusals: Arc<RefusalLog>,
}

impl Dialer {
    /// A connection to the node at an address, after the handshake.
    pub(super) async fn dial(
        &self,
        address: &str,
        purpose: Purpose,
    ) -> Result<(LinkStream, Known), LinkError> {
        let unreachable = |why: String| LinkError::Unreachable {
            address: address.to_owned(),
            why,
        };
        let socket = match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(unreachable(error.to_string())),
            Err(_) => return Err(unreachable("no connection in time".to_owned())),
        };
        let shaken = timeout(HANDSHAKE_WITHIN, self.shake_hands(socket, address, purpose)).await;
        match shaken {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(error)) => Err(self.failed(address, error)),
            Err(_) => Err(unreachable("no handshake in time".to_owned())),
        }
    }

    /// Whether each address that this name has refuses connections: no process listens there.
    pub(super) async fn is_refused(&self, address: &str) -> bool {
        let found = timeout(CONNECT_WITHIN, lookup_host(address)).await;
        let Ok(Ok(found)) = found else {
            return false;
        };
        let mut are_refused = false;
        for address in found {
            let refused = timeout(CONNECT_WITHIN, TcpStream::connect(address)).await;
            are_refused =
                matches!(refused, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused);
            if !are_refused {
                return false;
            }
        }
        are_refused
    }

    async fn shake_hands(
        &self,
        socket: TcpStream,
        address: &str,
        purpose: Purpose,
    ) -> Result<(LinkStream, Known), HandshakeError> {
        socket.set_nodelay(true)?;
        watch_peer(&socket, SILENT_MAX, ASKED_AFTER)?;
        let mut stream = match self.own.trust.tls() {
            None => LinkStream::from(Transport::from(socket)),
            Some(tls) => LinkStream::from(tls.dial(socket, host_of(address)).await?),
        };
        let known = self.own.dial(&mut stream, purpose).await?;
        Ok((stream, known))
    }

    fn failed(&self, address_of: &str, error: HandshakeError) -> LinkError {
        let address = address_of.to_owned();
        let why = error.to_string();
        let error = match error {
            HandshakeError::Io(_) => return LinkError::Unreachable { address, why },
            HandshakeError::Refused(why) => LinkError::Refused { address, why },
            HandshakeError::Protocol
            | HandshakeError::Versions { .. }
            | HandshakeError::Unproven => LinkError::Stranger { address, why },
        };
        self.refusals.note(address_of, &error.to_string());
        error
    }
}

/// The host of `HOST:PORT`; an IPv6 address without its brackets.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}
