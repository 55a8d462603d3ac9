//! A listening socket, and what its connections begin with.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};

use super::passed::Passed;
use super::suspension::{Order, Orders, Suspension, next_order};
use super::tls::Tls;
use crate::model::IpRange;

/// Number of connections that the system queues until the broker accepts them; the usual `net.core.somaxconn` of Linux.
/// When more clients connect together, the system may reset some that believe to be connected.
const ACCEPT_BACKLOG: u32 = 4096;

/// Number of passed clients that wait for their front door.
const PASSED_WAITING_MAX: usize = 1024;

/// Where connections come from.
#[derive(Debug)]
enum Source {
    /// `None` while it is suspended.
    Socket(Option<TcpListener>),
    /// Other nodes pass them on. While the listener is suspended, they wait.
    Nodes {
        passed: mpsc::Receiver<Passed>,
        is_suspended: bool,
    },
}

/// A connection that comes.
#[derive(Debug)]
pub(super) enum Incoming {
    Socket(TcpStream),
    Passed(Passed),
}

/// Listens on one address, or takes what other nodes pass on.
#[derive(Debug)]
pub struct Listener {
    source: Source,
    address: SocketAddr,
    /// `None` if nothing suspends it.
    pub(super) orders: Option<Orders>,
    /// `None` for plain TCP.
    pub(super) tls: Option<Arc<Tls>>,
    /// Peers that begin with a header of the PROXY protocol. Others send none.
    proxies: Arc<[IpRange]>,
    /// Where it goes when its server accepts no more.
    lender: Option<oneshot::Sender<Listener>>,
}

impl Listener {
    /// Listens on an address; for port 0 the system chooses one.
    pub fn open(address: SocketAddr) -> io::Result<Listener> {
        let socket = bind(address)?;
        Ok(Listener {
            address: socket.local_addr()?,
            source: Source::Socket(Some(socket)),
            orders: None,
            tls: None,
            proxies: [].into(),
            lender: None,
        })
    }

    /// Takes clients that other nodes pass on, instead of those of a socket.
    pub fn of_nodes() -> (mpsc::Sender<Passed>, Listener) {
        let (sender, passed) = mpsc::channel(PASSED_WAITING_MAX);
        let listener = Listener {
            source: Source::Nodes {
                passed,
                is_suspended: false,
            },
            address: ([0, 0, 0, 0], 0).into(),
            orders: None,
            tls: None,
            proxies: [].into(),
            lender: None,
        };
        (sender, listener)
    }

    /// The listener for a server, and where it comes back as soon as that server is told to stop: its socket stays open,
    /// and the next server accepts who has connected meanwhile. Nothing comes back if the server's future is dropped
    /// before that.
    pub fn lend(self) -> (Listener, oneshot::Receiver<Listener>) {
        let (lender, back) = oneshot::channel();
        let lent = Listener {
            lender: Some(lender),
            ..self
        };
        (lent, back)
    }

    /// Lets clients wait at the socket until `stopped` is true or its sender is gone, and goes back then.
    pub async fn idle(mut self, mut stopped: watch::Receiver<bool>) {
        let mut orders = self.orders.take();
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => break,
                order = next_order(orders.as_mut()) => self.obey(order),
            }
        }
        self.orders = orders;
        self.give_back();
    }

    /// Accepts no more: the socket goes back to its lender, or is closed.
    pub(super) fn give_back(mut self) {
        if let Some(lender) = self.lender.take() {
            // Without a lender that waits for it, it is closed.
            drop(lender.send(self));
        }
    }

    /// It closes and opens its socket as it is told.
    #[must_use]
    pub fn with_suspension(self, suspension: &Suspension) -> Listener {
        Listener {
            orders: Some(suspension.follow()),
            ..self
        }
    }

    /// The next connection; while the listener is suspended, none comes.
    pub(super) async fn accept(&mut self) -> io::Result<(Incoming, SocketAddr)> {
        match &mut self.source {
            Source::Socket(Some(socket)) => {
                let (stream, peer) = socket.accept().await?;
                Ok((Incoming::Socket(stream), peer))
            }
            Source::Nodes {
                passed,
                is_suspended: false,
            } => match passed.recv().await {
                Some(passed) => {
                    let peer = passed.peer()?;
                    Ok((Incoming::Passed(passed), peer))
                }
                None => std::future::pending().await,
            },
            Source::Socket(None)
            | Source::Nodes {
                is_suspended: true, ..
            } => std::future::pending().await,
        }
    }

    /// Does what it is told, and says so.
    pub(super) fn obey(&mut self, order: Order) {
        let obeyed = match (order.is_suspended, &mut self.source) {
            (true, Source::Socket(socket)) => {
                *socket = None;
                Ok(())
            }
            (false, Source::Socket(Some(_))) => Ok(()),
            (false, Source::Socket(socket @ None)) => {
                bind(self.address).map(|opened| *socket = Some(opened))
            }
            (told, Source::Nodes { is_suspended, .. }) => {
                *is_suspended = told;
                Ok(())
            }
        };
        // There is room for an answer of each listener.
        order.followed.try_send(obeyed).unwrap_or_default();
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

    /// For port 0 the one that the system has chosen.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    // A restarted broker must not wait until the system forgets the old connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_BACKLOG)
}
