//! The loop that accepts connections, for any front door: how many may be open, and what happens when a door is
//! closed or the system has no more sockets. What a connection says is the front door's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};

/// How long to wait when the system has no more sockets to give.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The places of one front door, shared by all its listeners.
#[derive(Debug)]
pub struct Places {
    /// What the log calls the front door.
    door: &'static str,
    free: Arc<Semaphore>,
}

/// One connection's place, given back when it is dropped.
pub type Place = OwnedSemaphorePermit;

impl Places {
    /// Room for `max` connections at once; further ones wait in the system's backlog.
    pub fn new(door: &'static str, max: usize) -> Places {
        Places {
            door,
            free: Arc::new(Semaphore::new(max)),
        }
    }

    /// Accepts connections until `stopped` is true (or its sender is gone), each served by a task of its own, which
    /// keeps the place for as long as the connection is open. Returns when the last of them has ended; dropping this
    /// future drops all.
    pub async fn serve<F>(
        &self,
        listener: TcpListener,
        mut stopped: watch::Receiver<bool>,
        serve_one: impl Fn(TcpStream, SocketAddr, Place) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => break,
                Some(ended) = tasks.join_next() => {
                    self.log_panic(ended);
                    continue;
                }
                accepted = self.accept(&listener) => accepted,
            };
            if let Some((stream, peer, place)) = accepted {
                tasks.spawn(serve_one(stream, peer, place));
            }
        }
        drop(listener);
        while let Some(ended) = tasks.join_next().await {
            self.log_panic(ended);
        }
    }

    /// The next connection, when there is a place for it.
    async fn accept(&self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr, Place)> {
        let place = Arc::clone(&self.free).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, peer)) => Some((stream, peer, place)),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of {}", self.door);
                tokio::time::sleep(ACCEPT_RETRY).await;
                None
            }
        }
    }

    fn log_panic(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended {
            tracing::error!(%error, "a connection of {} ended by a panic", self.door);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    /// What does not happen in this time is taken not to happen.
    const SHORT: Duration = Duration::from_millis(200);

    /// Greets each connection, and stays until the peer has gone.
    async fn greet(mut stream: TcpStream, place: Place) {
        stream.write_all(b"hello").await.unwrap();
        let ended = stream.read(&mut [0]).await;
        assert!(matches!(ended, Ok(0) | Err(_)));
        drop(place);
    }

    async fn greeted(stream: &mut TcpStream) {
        let mut greeting = [0; 5];
        let read = timeout(LONG, stream.read_exact(&mut greeting)).await;
        read.expect("a greeting in time").expect("a greeting");
    }

    async fn open_door(max: usize) -> (SocketAddr, watch::Sender<bool>, JoinSet<()>) {
        // An address of its own: nobody else takes the port when the door is closed.
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let own = SocketAddr::from(([127, a + 1, b, c], 0));
        let listener = TcpListener::bind(own).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let mut door = JoinSet::new();
        door.spawn(async move {
            let places = Places::new("tests", max);
            places
                .serve(listener, stopped, |stream, _, place| greet(stream, place))
                .await;
        });
        (address, stop, door)
    }

    #[tokio::test]
    async fn one_more_than_there_are_places_waits_until_another_leaves() {
        let (address, _stop, _door) = open_door(2).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        greeted(&mut first).await;
        greeted(&mut second).await;
        // The system has taken it for us; nobody serves it.
        let mut third = TcpStream::connect(address).await.unwrap();
        assert!(timeout(SHORT, third.read(&mut [0; 5])).await.is_err());
        drop(first);
        greeted(&mut third).await;
        greeted_no_further(address).await;
    }

    async fn greeted_no_further(address: SocketAddr) {
        let mut further = TcpStream::connect(address).await.unwrap();
        assert!(timeout(SHORT, further.read(&mut [0; 5])).await.is_err());
    }

    #[tokio::test]
    async fn a_closed_door_waits_for_those_inside() {
        let (address, stop, mut door) = open_door(2).await;
        let mut inside = TcpStream::connect(address).await.unwrap();
        greeted(&mut inside).await;
        stop.send_replace(true);
        assert!(timeout(SHORT, door.join_next()).await.is_err());
        assert!(TcpStream::connect(address).await.is_err());
        drop(inside);
        let ended = timeout(LONG, door.join_next()).await.expect("an end");
        ended.expect("a task").expect("no panic");
    }
}
