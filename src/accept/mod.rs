//! The loop that accepts connections, for any front door: how many may be open, who makes room for whom, and what
//! happens when a door is closed or the system has no more sockets. What a connection says is the front door's.

mod lobby; // who is inside

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

pub use lobby::Capacity;

use self::lobby::{Admission, Entered, Lobby, Room};
use crate::clock::monotonic;
use crate::seldom::Seldom;

/// How long to wait when the system has no more sockets to give.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Lines that the log has of one thing about a door in [`LOGGED_EVERY`].
const LOGGED_MAX: u64 = 1;
/// See [`LOGGED_MAX`].
const LOGGED_EVERY: Duration = Duration::from_secs(10);

/// The places of one front door, shared by all its listeners.
#[derive(Debug)]
pub struct Places {
    door: Arc<Door>,
    /// How long a newcomer has until it is known.
    patience: Duration,
    no_sockets: Seldom,
    crowded: Seldom,
}

#[derive(Debug)]
struct Door {
    /// What the log calls the front door.
    name: &'static str,
    capacity: Capacity,
    lobby: Mutex<Lobby>,
    /// Told when a connection leaves, or becomes known.
    changed: Notify,
    full: Seldom,
    ended: Seldom,
}

impl Door {
    fn log_ended(&self, peer: SocketAddr, why: &'static str) {
        let door = self.name;
        match self.ended.passes(monotonic()) {
            Some(unsaid) => {
                tracing::info!(%peer, %unsaid, "a connection of {door} was ended: {why}")
            }
            None => tracing::debug!(%peer, "a connection of {door} was ended: {why}"),
        }
    }
}

/// One connection's place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    door: Arc<Door>,
    id: u64,
    known: AtomicBool,
}

impl Place {
    /// The peer is known from now on, and has a place among those that are. False if there is none: then it keeps the
    /// one of a newcomer for as long as it stays, which should not be long.
    pub fn admit(&self) -> bool {
        if self.known.load(Ordering::Relaxed) {
            return true;
        }
        let admission = self.door.lobby.lock().admit(self.id);
        match admission {
            Admission::Known => {
                self.known.store(true, Ordering::Relaxed);
                self.door.changed.notify_waiters();
                true
            }
            Admission::ShownOut => true,
            Admission::Full => {
                if let Some(unsaid) = self.door.full.passes(monotonic()) {
                    let (door, known) = (self.door.name, self.door.capacity.known);
                    tracing::warn!(%unsaid, "{door} has as many connections as it may have: {known}");
                }
                false
            }
        }
    }

    /// The peer has said what was expected: its next words are waited for from now on.
    pub fn heard(&self) {
        self.awaits(true);
    }

    /// The peer has said what was expected, and waits for the broker: meanwhile it keeps its place.
    pub fn waits(&self) {
        self.awaits(false);
    }

    /// How many connections of known peers there may be.
    pub fn known_max(&self) -> usize {
        self.door.capacity.known
    }

    fn awaits(&self, is_awaited: bool) {
        if !self.known.load(Ordering::Relaxed) {
            let since = is_awaited.then(monotonic);
            self.door.lobby.lock().awaits(self.id, since);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut lobby = self.door.lobby.lock();
            match *self.known.get_mut() {
                true => lobby.known_left(),
                false => lobby.newcomer_left(self.id),
            }
        }
        self.door.changed.notify_waiters();
    }
}

impl Places {
    /// Room for so many connections at once. A peer that is not known after `patience` is hung up on.
    pub fn new(name: &'static str, capacity: Capacity, patience: Duration) -> Places {
        let seldom = || Seldom::new(LOGGED_MAX, LOGGED_EVERY);
        Places {
            door: Arc::new(Door {
                name,
                capacity,
                lobby: Mutex::new(Lobby::new(capacity)),
                changed: Notify::new(),
                full: seldom(),
                ended: seldom(),
            }),
            patience,
            no_sockets: seldom(),
            crowded: seldom(),
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
            if let Some((stream, peer, place, shown_out)) = accepted {
                let until = until_shown_out(shown_out, self.patience);
                let served = serve_one(stream, peer, place);
                let door = Arc::clone(&self.door);
                tasks.spawn(async move {
                    tokio::select! {
                        () = served => {}
                        why = until => door.log_ended(peer, why),
                    }
                });
            }
        }
        drop(listener);
        while let Some(ended) = tasks.join_next().await {
            self.log_panic(ended);
        }
    }

    /// The next connection, when there is a place for it.
    async fn accept(
        &self,
        listener: &TcpListener,
    ) -> Option<(TcpStream, SocketAddr, Place, oneshot::Receiver<()>)> {
        self.room().await;
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(unsaid) = self.no_sockets.passes(monotonic()) {
                    tracing::warn!(%error, %unsaid, "cannot accept a connection of {}", self.door.name);
                }
                sleep(ACCEPT_RETRY).await;
                return None;
            }
        };
        let entered = self.door.lobby.lock().enter(peer.ip(), monotonic());
        if entered.as_ref().is_none_or(|entered| entered.replaces)
            && let Some(unsaid) = self.crowded.passes(monotonic())
        {
            let (door, newcomers) = (self.door.name, self.door.capacity.newcomers);
            tracing::warn!(
                %peer, %unsaid,
                "{door} has as many connections that have not logged in as it may have, {newcomers} in all or half of \
                 them from this address: those that keep the broker waiting longest are ended"
            );
        }
        let Entered { id, shown_out, .. } = entered?;
        let place = Place {
            door: Arc::clone(&self.door),
            id,
            known: AtomicBool::new(false),
        };
        Some((stream, peer, place, shown_out))
    }

    /// Waits until a newcomer finds a place, be it another's.
    async fn room(&self) {
        loop {
            let mut changed = pin!(self.door.changed.notified());
            changed.as_mut().enable();
            let room = self.door.lobby.lock().room(monotonic());
            match room {
                Room::Now => return,
                Room::Later(None) => changed.await,
                Room::Later(Some(at)) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(Instant::from_std(at)) => {}
                },
            }
        }
    }

    fn log_panic(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended {
            tracing::error!(%error, "a connection of {} ended by a panic", self.door.name);
        }
    }
}

/// Waits until a newcomer has to go, and says why; for ever, once it cannot be any more.
async fn until_shown_out(shown_out: oneshot::Receiver<()>, patience: Duration) -> &'static str {
    match timeout(patience, shown_out).await {
        Ok(Ok(())) => "others needed its place",
        Ok(Err(_)) => std::future::pending().await,
        Err(_) => "it took too long to log in",
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    /// What does not happen in this time is taken not to happen.
    const SHORT: Duration = Duration::from_millis(200);

    /// Greets each connection, hears one byte, and stays until the peer has gone.
    async fn greet(mut stream: TcpStream, place: Place) {
        stream.write_all(b"hello").await.unwrap();
        if matches!(stream.read(&mut [0]).await, Ok(1)) {
            let answer: &[u8] = if place.admit() { b"known" } else { b"full!" };
            stream.write_all(answer).await.unwrap();
            // Whether it ends or breaks off.
            drop(stream.read(&mut [0]).await);
        }
    }

    async fn reads(stream: &mut TcpStream, expected: &[u8; 5]) {
        let mut read = [0; 5];
        let done = timeout(LONG, stream.read_exact(&mut read)).await;
        done.expect("words in time").expect("words");
        assert_eq!(&read, expected);
    }

    /// A connection that has said who it is.
    async fn known(address: SocketAddr, answer: &[u8; 5]) -> TcpStream {
        let mut stream = newcomer(address).await;
        stream.write_all(b"x").await.unwrap();
        reads(&mut stream, answer).await;
        stream
    }

    async fn newcomer(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        reads(&mut stream, b"hello").await;
        stream
    }

    async fn is_ended(stream: &mut TcpStream) -> bool {
        let read = timeout(LONG, stream.read(&mut [0; 5])).await;
        matches!(read.expect("an end in time"), Ok(0) | Err(_))
    }

    async fn open_door(
        capacity: Capacity,
        patience: Duration,
    ) -> (SocketAddr, watch::Sender<bool>, JoinSet<()>) {
        // An address of its own: nobody else takes the port when the door is closed.
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let own = SocketAddr::from(([127, a + 1, b, c], 0));
        let listener = TcpListener::bind(own).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let mut door = JoinSet::new();
        door.spawn(async move {
            let places = Places::new("tests", capacity, patience);
            places
                .serve(listener, stopped, |stream, _, place| greet(stream, place))
                .await;
        });
        (address, stop, door)
    }

    fn capacity(known: usize, newcomers: usize) -> Capacity {
        Capacity { known, newcomers }
    }

    #[tokio::test]
    async fn silent_connections_keep_nobody_out() {
        let (address, _stop, _door) = open_door(capacity(2, 8), LONG).await;
        let _known = known(address, b"known").await;
        let mut silent = Vec::new();
        for _ in 0..100 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        tokio::time::sleep(lobby::GRACE).await;
        let _second = known(address, b"known").await;
        assert!(is_ended(&mut silent[0]).await || is_ended(&mut silent[0]).await);
        // Both places are taken now: further ones are told so.
        let _third = known(address, b"full!").await;
    }

    #[tokio::test]
    async fn who_does_not_say_who_it_is_in_time_is_hung_up_on() {
        let (address, _stop, _door) = open_door(capacity(1, 8), 2 * SHORT).await;
        let mut talker = known(address, b"known").await;
        let mut overflow = known(address, b"full!").await;
        let mut silent = newcomer(address).await;
        assert!(is_ended(&mut silent).await);
        for stays in [&mut talker, &mut overflow] {
            assert!(timeout(SHORT, stays.read(&mut [0; 5])).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_closed_door_waits_for_those_inside() {
        let (address, stop, mut door) = open_door(capacity(2, 2), LONG).await;
        let inside = known(address, b"known").await;
        stop.send_replace(true);
        assert!(timeout(SHORT, door.join_next()).await.is_err());
        assert!(TcpStream::connect(address).await.is_err());
        drop(inside);
        let ended = timeout(LONG, door.join_next()).await.expect("an end");
        ended.expect("a task").expect("no panic");
    }
}
