//! A broker for tests inside this process. It confirms messages when it has read them, and invents the
//! messages that it delivers. It supports the default exchange, one stream per queue and one queue per
//! consumer, with bodies of one frame.

mod connection;
mod deliveries;
mod queue;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread;

use self::connection::Connection;
use self::queue::Queues;

/// A running sink. It ends with the process.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) port: u16,
}

impl Sink {
    /// Listens on a free port. The message with the sequence number `lost` is not delivered.
    pub(crate) fn start(lost: Option<u64>) -> io::Result<Sink> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let queues = Arc::new(Queues::new(lost));
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let queues = queues.clone();
                // The client notices when its connection ends with an error.
                thread::spawn(move || Connection::serve(socket, &queues));
            }
        });
        Ok(Sink { port })
    }
}
