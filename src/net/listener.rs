//! A listening socket, and what its connections begin with.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};

use super::tls::Tls;
use crate::model::IpRange;

/// Number of connections that the system queues until the broker accepts them; the usual `net.core.somaxconn` of Linux.
/// When more clients connect together, the system may reset some that believe to be connected.
const ACCEPT_BACKLOG: u32 = 4096;

/// Listens on one address.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: TcpListener,
    /// `None` for plain TCP.
    pub(super) tls: Option<Arc<Tls>>,
    /// Peers that begin with a header of the PROXY protocol. Others send none.
    proxies: Arc<[IpRange]>,
}

impl Listener {
    /// Listens on an address; for port 0 the system chooses one.
    pub fn open(address: SocketAddr) -> io::Result<Listener> {
        let socket = if address.is_ipv6() {
            TcpSocket::new_v6()?
        } else {
            TcpSocket::new_v4()?
        };
        // A restarted broker must not wait until the system forgets the old connections.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let socket = socket.listen(ACCEPT_BACKLOG)?;
        Ok(Listener {
            socket,
            tls: None,
            proxies: [].into(),
        })
    }

    /// Connections begin with a TLS handshake.
    #[must_use]
    pub fn with_tls(self, tls: Arc<Tls>) -> Listener {
        Listener {
            tls: Some(tls),
            ..self
        }
    }

    /// Connections from these addresses begin with a header of the PROXY protocol, before TLS.
    #[must_use]
    pub fn with_proxies(self, proxies: Arc<[IpRange]>) -> Listener {
        Listener { proxies, ..self }
    }

    pub(super) fn is_proxy(&self, peer: SocketAddr) -> bool {
        let ip = peer.ip().to_canonical();
        self.proxies.iter().any(|range| range.contains(ip))
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
