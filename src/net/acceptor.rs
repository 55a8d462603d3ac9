//! The loop that accepts the connections of a front door, within its limits, and takes them through what comes
//! before the front door's protocol.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::admission::{Acceptance, Admission, AdmissionControl, Capacity, Entry, Room};
use super::listener::{Incoming, Listener};
use super::proxy_header::{Named, read_header};
use super::suspension::next_order;
use super::tls::Tls;
use super::transport::Transport;
use crate::clock::monotonic;
use crate::seldom::Seldom;

/// Pause after the system refused a socket.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Maximum number of log lines of one kind per [`LOGGED_EVERY`].
const LOGGED_MAX: u64 = 1;
const LOGGED_EVERY: Duration = Duration::from_secs(10);

/// Accepts the connections of one front door, on any number of listeners.
#[derive(Debug)]
pub struct Acceptor {
    door: Arc<FrontDoor>,
    /// Maximum time that a newcomer may take to log in.
    patience: Duration,
    no_sockets: Seldom,
}

#[derive(Debug)]
struct FrontDoor {
    /// The name in the log.
    name: &'static str,
    capacity: Capacity,
    control: Mutex<AdmissionControl>,
    /// Notified when a connection ends or is admitted.
    changed: Notify,
    full: Seldom,
    ended: Seldom,
    crowded: Seldom,
    /// Connections that ended before the front door's protocol began.
    unprepared: Seldom,
}

impl FrontDoor {
    /// Serves a connection to its end, or until the newcomer must be ended.
    async fn serve_until(
        self: Arc<FrontDoor>,
        peer: SocketAddr,
        served: impl Future<Output = ()>,
        until: impl Future<Output = &'static str>,
    ) {
        tokio::select! {
            () = served => {}
            why = until => self.log_ended(peer, why),
        }
    }

    fn log_ended(&self, peer: SocketAddr, why: &'static str) {
        let door = self.name;
        match self.ended.passes(monotonic()) {
            Some(unsaid) => {
                tracing::info!(%peer, %unsaid, "a connection of {door} was ended: {why}")
            }
            None => tracing::debug!(%peer, "a connection of {door} was ended: {why}"),
        }
    }

    fn log_crowded(&self, peer: SocketAddr) {
        if let Some(unsaid) = self.crowded.passes(monotonic()) {
            let (door, newcomers) = (self.name, self.capacity.newcomers);
            tracing::warn!(
                %peer, %unsaid,
                "{door} has reached its maximum of connections without a login, {newcomers} in all or half of them from \
                 this address: it ends those that keep the broker waiting longest"
            );
        }
    }

    /// Health checks open a connection and close it, so the end alone is no news.
    fn log_unprepared(&self, peer: SocketAddr, what: &'static str, error: &io::Error) {
        let door = self.name;
        let is_end = error.kind() == io::ErrorKind::UnexpectedEof;
        let passes = (!is_end).then(|| self.unprepared.passes(monotonic()));
        match passes.flatten() {
            Some(unsaid) => tracing::info!(%peer, %error, %unsaid, "{what} of {door} failed"),
            None => tracing::debug!(%peer, %error, "{what} of {door} failed"),
        }
    }
}

/// The right of one connection to be open. Dropping it returns the connection's place.
#[derive(Debug)]
pub struct SocketPermit {
    door: Arc<FrontDoor>,
    id: u64,
    admitted: AtomicBool,
}

impl SocketPermit {
    /// Counts the connection among those of authenticated peers. False if there are too many of these: the
    /// connection then keeps its place as a newcomer, and the front door should close it soon.
    pub fn admit(&self) -> bool {
        if self.admitted.load(Ordering::Relaxed) {
            return true;
        }
        let admission = self.door.control.lock().admit(self.id);
        match admission {
            Admission::Admitted => {
                self.admitted.store(true, Ordering::Relaxed);
                self.door.changed.notify_waiters();
                true
            }
            Admission::Displaced => true,
            Admission::Full => {
                if let Some(unsaid) = self.door.full.passes(monotonic()) {
                    let (door, max) = (self.door.name, self.authenticated_max());
                    tracing::warn!(%unsaid, "{door} has reached its maximum of {max} connections");
                }
                false
            }
        }
    }

    /// The proxy has named the client. False if too many newcomers have come from its address.
    fn locate(&self, peer: SocketAddr) -> bool {
        let located = self
            .door
            .control
            .lock()
            .locate(self.id, peer.ip(), monotonic());
        if located != Ok(Room::Free) {
            self.door.log_crowded(peer);
        }
        located.is_ok()
    }

    /// From now on the broker waits for the peer.
    pub fn awaits_peer(&self) {
        self.set_awaited(true);
    }

    /// From now on the peer waits for the broker, and is not displaced.
    pub fn awaits_broker(&self) {
        self.set_awaited(false);
    }

    /// Maximum number of connections of authenticated peers.
    pub fn authenticated_max(&self) -> usize {
        self.door.control.lock().authenticated_max()
    }

    fn set_awaited(&self, is_awaited: bool) {
        if !self.admitted.load(Ordering::Relaxed) {
            let since = is_awaited.then(monotonic);
            self.door.control.lock().awaits(self.id, since);
        }
    }
}

impl Drop for SocketPermit {
    fn drop(&mut self) {
        {
            let mut control = self.door.control.lock();
            match *self.admitted.get_mut() {
                true => control.authenticated_left(),
                false => control.newcomer_left(self.id),
            }
        }
        self.door.changed.notify_waiters();
    }
}

impl Acceptor {
    /// Sets the maximum number of connections of authenticated peers. Connections beyond a lower one stay open.
    pub fn set_authenticated_max(&self, max: usize) {
        self.door.control.lock().set_authenticated_max(max);
    }

    /// Creates an acceptor that ends a connection without a login after `patience`.
    pub fn new(name: &'static str, capacity: Capacity, patience: Duration) -> Acceptor {
        let seldom = || Seldom::new(LOGGED_MAX, LOGGED_EVERY);
        Acceptor {
            door: Arc::new(FrontDoor {
                name,
                capacity,
                control: Mutex::new(AdmissionControl::new(capacity)),
                changed: Notify::new(),
                full: seldom(),
                ended: seldom(),
                crowded: seldom(),
                unprepared: seldom(),
            }),
            patience,
            no_sockets: seldom(),
        }
    }

    /// Accepts connections until `stopped` is true or its sender is dropped. Each connection has a task,
    /// which holds the permit while the connection is open. Returns when the last task has ended; dropping
    /// this future drops all tasks.
    pub async fn serve<F>(
        &self,
        mut listener: Listener,
        mut stopped: watch::Receiver<bool>,
        serve_one: impl Fn(Transport, SocketAddr, SocketPermit) -> F + Clone + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        let mut orders = listener.orders.take();
        loop {
            let accepted = tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => break,
                order = next_order(orders.as_mut()) => {
                    listener.obey(order);
                    continue;
                }
                Some(ended) = tasks.join_next() => {
                    self.log_panic(ended);
                    continue;
                }
                accepted = self.accept(&mut listener) => accepted,
            };
            let Some((incoming, peer, permit, displaced)) = accepted else {
                continue;
            };
            let until = until_ended(displaced, self.patience);
            let door = Arc::clone(&self.door);
            let incoming = match incoming {
                Incoming::Socket(socket) if listener.tls.is_none() && !listener.is_proxy(peer) => {
                    let served = serve_one(socket.into(), peer, permit);
                    tasks.spawn(door.serve_until(peer, served, until));
                    continue;
                }
                Incoming::Socket(_) | Incoming::Passed(_) => incoming,
            };
            let prelude = Prelude {
                tls: listener.tls.clone(),
                is_proxied: listener.is_proxy(peer),
            };
            let (serve_one, mut stopped) = (serve_one.clone(), stopped.clone());
            tasks.spawn(async move {
                let mut until = pin!(until);
                // Boxed, so that an open connection does not keep the memory of its prelude.
                let prepared = tokio::select! {
                    prepared = Box::pin(prelude.prepare(incoming, peer, &permit)) => prepared,
                    why = until.as_mut() => return door.log_ended(peer, why),
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                };
                if let Some((transport, peer)) = prepared {
                    let served = serve_one(transport, peer, permit);
                    door.serve_until(peer, served, until).await;
                }
            });
        }
        listener.orders = orders;
        listener.give_back();
        while let Some(ended) = tasks.join_next().await {
            self.log_panic(ended);
        }
    }

    /// The right of a connection of the broker to itself, which takes no newcomer's place.
    pub fn admit_inside(&self) -> SocketPermit {
        self.door.control.lock().admit_inside();
        SocketPermit {
            door: Arc::clone(&self.door),
            id: 0,
            admitted: AtomicBool::new(true),
        }
    }

    /// Waits for a place, then for the next connection.
    async fn accept(
        &self,
        listener: &mut Listener,
    ) -> Option<(Incoming, SocketAddr, SocketPermit, oneshot::Receiver<()>)> {
        self.place_for_newcomer().await;
        let (incoming, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(unsaid) = self.no_sockets.passes(monotonic()) {
                    tracing::warn!(%error, %unsaid, "cannot accept a connection of {}", self.door.name);
                }
                sleep(ACCEPT_RETRY).await;
                return None;
            }
        };
        let ip = (!listener.is_proxy(peer)).then(|| peer.ip());
        let entry = self.door.control.lock().enter(ip, monotonic());
        if entry.as_ref().is_none_or(|entry| entry.replaces) {
            self.door.log_crowded(peer);
        }
        let Entry { id, displaced, .. } = entry?;
        let permit = SocketPermit {
            door: Arc::clone(&self.door),
            id,
            admitted: AtomicBool::new(false),
        };
        Some((incoming, peer, permit, displaced))
    }

    /// Waits until a newcomer can enter, into a free place or by displacing another.
    async fn place_for_newcomer(&self) {
        loop {
            let mut changed = pin!(self.door.changed.notified());
            changed.as_mut().enable();
            let acceptance = self.door.control.lock().acceptance(monotonic());
            match acceptance {
                Acceptance::Now => return,
                Acceptance::Later(None) => changed.await,
                Acceptance::Later(Some(at)) => tokio::select! {
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

/// What comes before the front door's protocol.
struct Prelude {
    tls: Option<Arc<Tls>>,
    is_proxied: bool,
}

impl Prelude {
    /// Returns the connection and its client's address; `None` if it has failed.
    async fn prepare(
        &self,
        incoming: Incoming,
        peer: SocketAddr,
        permit: &SocketPermit,
    ) -> Option<(Transport, SocketAddr)> {
        let door = &permit.door;
        let mut socket = match incoming {
            Incoming::Socket(socket) => socket,
            Incoming::Passed(passed) => {
                return match passed.welcome().await {
                    Ok(transport) => Some((transport, peer)),
                    Err(error) => {
                        door.log_unprepared(peer, "a passed connection", &error);
                        None
                    }
                };
            }
        };
        let mut named = Named::Proxy;
        if self.is_proxied {
            match read_header(&mut socket).await {
                Ok(header) => named = header,
                Err(error) => {
                    door.log_unprepared(peer, "a PROXY header", &error);
                    return None;
                }
            }
        }
        let (peer, local) = match named {
            Named::Client { peer, local } => (peer, Some(local)),
            Named::Proxy => (peer, None),
        };
        if local.is_some() && !permit.locate(peer) {
            return None;
        }
        let Some(tls) = &self.tls else {
            return Some((Transport::from(socket).proxied(local), peer));
        };
        match tls.shake_hands(socket, permit).await {
            Ok(stream) => Some((Transport::from(stream).proxied(local), peer)),
            Err(error) => {
                door.log_unprepared(peer, "a TLS handshake", &error);
                None
            }
        }
    }
}

/// Waits until a newcomer must be ended, and returns the reason. Waits for ever once the newcomer is admitted.
async fn until_ended(displaced: oneshot::Receiver<()>, patience: Duration) -> &'static str {
    match timeout(patience, displaced).await {
        Ok(Ok(())) => "others needed its place",
        Ok(Err(_)) => std::future::pending().await,
        Err(_) => "it took too long to log in",
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    /// The tests assume that an event that has not happened after this time does not happen.
    const SHORT: Duration = Duration::from_millis(200);

    /// Greets each connection, reads one byte, and stays until the peer has gone.
    async fn greet(mut stream: Transport, permit: SocketPermit) {
        stream.write_all(b"hello").await.unwrap();
        if matches!(stream.read(&mut [0]).await, Ok(1)) {
            let answer: &[u8] = if permit.admit() { b"known" } else { b"full!" };
            stream.write_all(answer).await.unwrap();
            drop(stream.read(&mut [0]).await);
        }
    }

    async fn reads(stream: &mut TcpStream, expected: &[u8; 5]) {
        let mut read = [0; 5];
        let done = timeout(LONG, stream.read_exact(&mut read)).await;
        done.expect("words in time").expect("words");
        assert_eq!(&read, expected);
    }

    /// Logs a new connection in and checks the answer.
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
        let listener = listen();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let mut door = JoinSet::new();
        door.spawn(serve(listener, stopped, capacity, patience));
        (address, stop, door)
    }

    async fn open_lent_door() -> (
        SocketAddr,
        watch::Sender<bool>,
        JoinSet<()>,
        oneshot::Receiver<Listener>,
    ) {
        let (listener, back) = listen().lend();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let mut door = JoinSet::new();
        door.spawn(serve(listener, stopped, capacity(2, 2), LONG));
        (address, stop, door, back)
    }

    /// Listens at an address of its own, so that no other test takes the port when the listener is closed.
    fn listen() -> Listener {
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let own = SocketAddr::from(([127, a + 1, b, c], 0));
        Listener::open(own).unwrap()
    }

    async fn serve(
        listener: Listener,
        stopped: watch::Receiver<bool>,
        capacity: Capacity,
        patience: Duration,
    ) {
        let acceptor = Acceptor::new("tests", capacity, patience);
        acceptor
            .serve(listener, stopped, |stream, _, permit| greet(stream, permit))
            .await;
    }

    fn capacity(authenticated: usize, newcomers: usize) -> Capacity {
        Capacity {
            authenticated,
            newcomers,
        }
    }

    #[tokio::test]
    async fn silent_connections_do_not_keep_others_out() {
        let (address, _stop, _door) = open_door(capacity(2, 8), LONG).await;
        let _known = known(address, b"known").await;
        let mut silent = Vec::new();
        for _ in 0..100 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        tokio::time::sleep(super::super::admission::GRACE).await;
        let _second = known(address, b"known").await;
        assert!(is_ended(&mut silent[0]).await || is_ended(&mut silent[0]).await);
        // Both places are taken now.
        let _third = known(address, b"full!").await;
    }

    #[tokio::test]
    async fn a_connection_without_a_login_is_ended_in_time() {
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
    async fn serving_ends_after_the_last_connection() {
        let (address, stop, mut door) = open_door(capacity(2, 2), LONG).await;
        let inside = known(address, b"known").await;
        stop.send_replace(true);
        assert!(timeout(SHORT, door.join_next()).await.is_err());
        assert!(TcpStream::connect(address).await.is_err());
        drop(inside);
        let ended = timeout(LONG, door.join_next()).await.expect("an end");
        ended.expect("a task").expect("no panic");
    }

    #[tokio::test]
    async fn a_lent_listener_comes_back_before_the_last_connection_ends_and_loses_no_client() {
        let (address, stop, mut door, back) = open_lent_door().await;
        let inside = known(address, b"known").await;
        stop.send_replace(true);
        let listener = timeout(LONG, back)
            .await
            .expect("in time")
            .expect("a listener");
        let mut between = TcpStream::connect(address).await.unwrap();
        let (_stop, stopped) = watch::channel(false);
        let (listener, _back) = listener.lend();
        let mut next = JoinSet::new();
        next.spawn(serve(listener, stopped, capacity(2, 2), LONG));
        reads(&mut between, b"hello").await;
        drop(inside);
        let ended = timeout(LONG, door.join_next()).await.expect("an end");
        ended.expect("a task").expect("no panic");
    }
}
