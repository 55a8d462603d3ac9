//! Looking up the names of endpoints. The system's way to do that blocks, for seconds if it must, so it has a few
//! threads of its own; one name is looked up after the other, and names take turns.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::pool::{Pool, PoolError, PoolLimits};

/// Names that are looked up at once, and that wait for it.
const LIMITS: PoolLimits = PoolLimits {
    threads: 8,
    waiting: 1_024,
};

/// What looks names up.
#[derive(Debug)]
pub(crate) struct Resolver(Pool<String>);

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver(Pool::new("resolver", LIMITS))
    }
}

impl Resolver {
    /// The addresses that a name stands for right now.
    pub(super) async fn addresses(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let asked = name.to_owned();
        let looked_up = self.0.run(name.to_ascii_lowercase(), move || {
            (asked.as_str(), port).to_socket_addrs().map(Vec::from_iter)
        });
        looked_up.await.unwrap_or_else(|error| Err(busy(error)))
    }
}

fn busy(error: PoolError) -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, error)
}
