//! How a shovel whose URI has no host reaches the broker that runs it: by a pair of connected sockets, of which the AMQP
//! front door serves one. No other process can have the other end, so it needs no password.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Weak};

use tokio::sync::watch;

use crate::amqp::Front;
use crate::auth::AuthUser;
use crate::broker::broker::Broker;
use crate::broker::users::TAG_IMPERSONATOR;
use crate::net::Transport;
use crate::shovel::link::{self, Socket};

/// Connections of others that are refused while a pair is made.
const STRANGERS_MAX: usize = 16;

pub struct LocalDoor {
    front: Weak<Front>,
    broker: Weak<Broker>,
    /// Whether the broker serves clients.
    running: watch::Receiver<bool>,
}

impl LocalDoor {
    pub fn new(
        front: &Arc<Front>,
        broker: &Arc<Broker>,
        running: watch::Receiver<bool>,
    ) -> LocalDoor {
        LocalDoor {
            front: Arc::downgrade(front),
            broker: Arc::downgrade(broker),
            running,
        }
    }
}

impl link::LocalDoor for LocalDoor {
    fn connect(&self, user: Option<&str>) -> io::Result<Socket> {
        let (Some(front), Some(broker), true) = (
            self.front.upgrade(),
            self.broker.upgrade(),
            *self.running.borrow(),
        ) else {
            return Err(io::Error::other("the broker does not serve clients now"));
        };
        let user = match user {
            // It passes messages on with the `user-id` that they have.
            None => AuthUser::broker([TAG_IMPERSONATOR.into()]),
            Some(name) => match broker.users().get(name) {
                Some(user) => user.logged_in(),
                None => return Err(io::Error::other(format!("there is no user '{name}'"))),
            },
        };
        let (outer, inner, peer) = pair()?;
        let inner = Transport::from(tokio::net::TcpStream::from_std(inner)?);
        tokio::spawn(front.serve_inside(inner, peer, Arc::new(user)));
        Ok(Box::pin(tokio::net::TcpStream::from_std(outer)?))
    }
}

/// Two connected sockets, and the address of the first. Its system calls do not wait: both ends are in this process.
fn pair() -> io::Result<(TcpStream, TcpStream, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let outer = TcpStream::connect(listener.local_addr()?)?;
    let address = outer.local_addr()?;
    for _ in 0..STRANGERS_MAX {
        let (inner, peer) = listener.accept()?;
        if peer == address {
            outer.set_nonblocking(true)?;
            inner.set_nonblocking(true)?;
            outer.set_nodelay(true)?;
            return Ok((outer, inner, address));
        }
    }
    Err(io::Error::new(
        ErrorKind::ConnectionRefused,
        "too many strangers connect to this broker's ports",
    ))
}
