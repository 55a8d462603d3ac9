//! Looks up the host names of endpoints. The system's resolver may block for seconds, so it runs on a few threads of its
//! own, which take one look-up of each name in turn.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::pool::{Pool, PoolError, PoolLimits};

const LIMITS: PoolLimits = PoolLimits {
    threads: 8,
    waiting: 1_024,
};

#[derive(Debug)]
pub(crate) struct Resolver(Pool<String>);

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver(Pool::new("resolver", LIMITS))
    }
}

impl Resolver {
    pub(super) async fn addresses(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let host = name.to_owned();
        let looked_up = self.0.run(name.to_ascii_lowercase(), move || {
            (host.as_str(), port).to_socket_addrs().map(Vec::from_iter)
        });
        looked_up.await.unwrap_or_else(|error| Err(busy(error)))
    }
}

fn busy(error: PoolError) -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, error)
}
