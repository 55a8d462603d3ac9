//! The client of a connection, as the handlers of its requests see it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::net::{SocketPermit, Transport};

/// A connected client. Requests carry it as an extension, in an `Arc`.
#[derive(Debug)]
pub struct Peer {
    address: SocketAddr,
    permit: SocketPermit,
    is_passed: bool,
    is_last: AtomicBool,
}

impl Peer {
    pub(super) fn new(stream: &Transport, address: SocketAddr, permit: SocketPermit) -> Peer {
        Peer {
            address,
            permit,
            is_passed: stream.is_passed(),
            is_last: AtomicBool::new(false),
        }
    }

    /// Whether another node of the set passes the client on to this one.
    pub fn is_passed(&self) -> bool {
        self.is_passed
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Counts the connection among those of known clients. If there are too many of them, the connection ends with
    /// this response.
    pub fn admit(&self) {
        if !self.permit.admit() {
            self.is_last.store(true, Ordering::Relaxed);
        }
    }

    /// From now on the client waits for the broker, and is not displaced by other newcomers.
    pub fn awaits_broker(&self) {
        self.permit.awaits_broker();
    }

    /// From now on the broker waits for the client.
    pub fn awaits_peer(&self) {
        self.permit.awaits_peer();
    }

    pub(super) fn is_last(&self) -> bool {
        self.is_last.load(Ordering::Relaxed)
    }
}
