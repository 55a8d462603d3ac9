//! Clients that a node passes on to another, over real sockets.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Courtesy, Door, DoorLimits, Hearing, PASSED_CLIENT, Passage, Passing};
use crate::clock::System;
use crate::cluster::link::{
    Answering, Caller, Identity, LinkStream, Links, Peer, Refusal, Secret, Service, Trust,
};
use crate::net::{Acceptor, Capacity, Listener, SocketPermit, Transport};

const LONG: Duration = Duration::from_secs(20);
const HOLD: Duration = Duration::from_secs(1);
const CAPACITY: Capacity = Capacity {
    authenticated: 1000,
    newcomers: 1000,
};

fn links(node: u64) -> Arc<Links> {
    let identity = Identity {
        node,
        name: format!("leveret@{node}"),
        set: Some(1),
    };
    let secret = Secret::new(b"a secret that all nodes know").unwrap();
    let trust = Trust::new(Some(secret), None).unwrap();
    Arc::new(Links::new(identity, trust, Arc::new(System)))
}

/// A node that leads when its door is open.
struct Leader {
    peer: Peer,
    passage: Arc<Passage>,
    written: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
    /// Its open door.
    stop: watch::Sender<bool>,
}

struct PassageService(Arc<Passage>);

impl Service for PassageService {
    fn call(&self, _: &Caller, _: u8, _: Bytes) -> Answering {
        Box::pin(async { Err(Refusal("nothing is called here".to_owned())) })
    }

    fn left(&self, _: &Caller) {}

    fn stream(&self, from: &Caller, kind: u8, header: Bytes, stream: LinkStream) {
        assert_eq!(kind, PASSED_CLIENT);
        self.0.take(from, &header, stream);
    }
}

impl Leader {
    fn start(node: u64) -> Leader {
        let listener = Listener::open(([127, 0, 0, 1], 0).into()).unwrap();
        let peer = Peer {
            node: Some(node),
            address: listener.local_addr().unwrap().to_string(),
        };
        let passage = Arc::new(Passage::default());
        let service = Arc::new(PassageService(Arc::clone(&passage)));
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let serving = links(node).serve(listener, service, stopped);
        tasks.spawn(serving);
        Leader {
            peer,
            passage,
            written: Arc::default(),
            tasks,
            stop,
        }
    }

    /// Tells each client its own facts, then echoes; writes without end when the client says `f`.
    fn open_door(&mut self) {
        let listener = self.passage.listener(Door::Amqp);
        let (stopped, written) = (self.stop.subscribe(), Arc::clone(&self.written));
        self.tasks.spawn(async move {
            let acceptor = Acceptor::new("tests", CAPACITY, LONG);
            let serve_one = move |client, peer, permit: SocketPermit| {
                let written = Arc::clone(&written);
                async move {
                    permit.admit();
                    serve(client, peer, &written).await.unwrap_or_default();
                }
            };
            acceptor.serve(listener, stopped, serve_one).await;
        });
    }
}

async fn serve(
    mut client: Transport,
    peer: SocketAddr,
    written: &AtomicUsize,
) -> std::io::Result<()> {
    let local = client.local_addr()?;
    let facts = format!("{peer} {local} {}\n", client.is_secure());
    client.write_all(facts.as_bytes()).await?;
    let mut bytes = vec![0; 100_000];
    loop {
        let read = client.read(&mut bytes).await?;
        match bytes.get(..read).unwrap_or_default() {
            [] => return client.shutdown().await,
            b"quit" => return Ok(()),
            b"flood" => loop {
                written.fetch_add(client.write(&[7; 100_000]).await?, Ordering::SeqCst);
            },
            bytes => client.write_all(bytes).await?,
        }
    }
}

/// A client that was told more than this hears how much that was.
const MUCH: usize = 1 << 20;

/// Says why in one line, and as last word `sorry: ` and why. Counts what a client is told.
#[derive(Default)]
struct Plain(usize);

impl Courtesy for Plain {
    fn turn_away(
        &self,
        _: Door,
        mut client: Transport,
        _: SocketAddr,
        _: SocketPermit,
        why: String,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            client.write_all(why.as_bytes()).await.unwrap_or_default();
            client.shutdown().await.unwrap_or_default();
        })
    }

    fn hearing(&self, _: Door) -> Option<Box<dyn Hearing>> {
        Some(Box::new(Plain::default()))
    }
}

impl Hearing for Plain {
    fn heard(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    fn last_word(&self, why: &str) -> Option<Bytes> {
        Some(match self.0 {
            heard if heard > MUCH => format!("sorry: {why} after {heard} bytes").into(),
            _ => format!("sorry: {why}").into(),
        })
    }
}

/// A node that follows.
struct Follower {
    address: SocketAddr,
    leader: watch::Sender<Option<Peer>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Follower {
    fn start(leader: Option<&Leader>) -> Follower {
        let listener = Listener::open(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (leader, led) = watch::channel(leader.map(|leader| leader.peer.clone()));
        let (stop, stopped) = watch::channel(false);
        let limits = DoorLimits {
            door: Door::Amqp,
            name: "tests",
            capacity: CAPACITY,
            patience: LONG,
        };
        let passing = Passing::new(links(99), led, HOLD, Arc::new(Plain::default()), [limits]);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::new(passing).serve(listener, Door::Amqp, stopped));
        Follower {
            address,
            leader,
            stop,
            tasks,
        }
    }

    async fn client(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A client that the leader serves already, and what it was told of itself.
    async fn served_client(&self) -> (TcpStream, String) {
        let mut client = self.client().await;
        let facts = line(&mut client).await;
        (client, facts)
    }
}

async fn line(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let reading = async {
        let mut line = String::new();
        loop {
            match stream.read_u8().await.unwrap() {
                b'\n' => return line,
                octet => line.push(octet.into()),
            }
        }
    };
    timeout(LONG, reading).await.expect("a line in time")
}

async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut rest = String::new();
    let read = timeout(LONG, stream.read_to_string(&mut rest)).await;
    read.expect("an end in time").expect("no reset");
    rest
}

#[tokio::test]
async fn the_leader_knows_a_passed_client_as_the_other_node_does() {
    let mut leader = Leader::start(1);
    leader.open_door();
    let follower = Follower::start(Some(&leader));
    let (mut client, facts) = follower.served_client().await;
    let peer = client.local_addr().unwrap();
    assert_eq!(facts, format!("{peer} {} false", follower.address));
    client.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    client.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
}

#[tokio::test]
async fn many_bytes_pass_in_both_directions_and_so_does_a_half_close() {
    let mut leader = Leader::start(1);
    leader.open_door();
    let follower = Follower::start(Some(&leader));
    let (client, _) = follower.served_client().await;
    let body: Vec<u8> = (0..16 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
    let (mut read, mut write) = client.into_split();
    let sent = body.clone();
    let sending = tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
        write
    });
    let mut back = vec![0; body.len()];
    read.read_exact(&mut back).await.unwrap();
    assert!(back == body);
    // The leader has heard the half-close, and closes its side: the client gets its last word.
    assert!(rest(&mut read).await.starts_with("sorry: the leader"));
    sending.await.unwrap();
}

#[tokio::test]
async fn a_client_that_reads_nothing_stops_the_leader_and_no_other_client() {
    let mut leader = Leader::start(1);
    leader.open_door();
    let follower = Follower::start(Some(&leader));
    let (mut client, _) = follower.served_client().await;
    client.write_all(b"flood").await.unwrap();
    let mut before = 0;
    let stalled = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let written = leader.written.load(Ordering::SeqCst);
            if written > 0 && written == before {
                return written;
            }
            before = written;
        }
    };
    let written = timeout(LONG, stalled).await.expect("a stop");
    // What the buffers of three sockets take.
    assert!(written < 32 << 20, "{written}");
    let (mut other, _) = follower.served_client().await;
    other.write_all(b"hello").await.unwrap();
    other.read_exact(&mut [0; 5]).await.unwrap();
}

#[tokio::test]
async fn without_a_leader_clients_are_held_for_a_while_and_told_why() {
    let follower = Follower::start(None);
    let began = tokio::time::Instant::now();
    let said = rest(&mut follower.client().await).await;
    assert_eq!(said, "no leader: too few nodes of the set hear each other");
    assert!(began.elapsed() >= HOLD);

    // A leader that does not serve yet, and one that is not there.
    let leader = Leader::start(1);
    follower.leader.send_replace(Some(leader.peer.clone()));
    let said = rest(&mut follower.client().await).await;
    assert!(said.ends_with("does not serve clients now"), "{said}");
    drop(leader);
    let said = rest(&mut follower.client().await).await;
    assert!(said.starts_with("no leader: "), "{said}");
}

#[tokio::test]
async fn a_client_that_comes_during_an_election_is_served_after_it() {
    let mut leader = Leader::start(1);
    let follower = Follower::start(None);
    let mut early = follower.client().await;
    follower.leader.send_replace(Some(leader.peer.clone()));
    let mut late = follower.client().await;
    leader.open_door();
    for client in [&mut early, &mut late] {
        assert!(line(client).await.ends_with("false"));
    }
}

#[tokio::test]
async fn clients_of_a_leader_that_is_replaced_get_a_last_word_and_the_next_leader_serves() {
    let (mut first, mut second) = (Leader::start(1), Leader::start(2));
    first.open_door();
    second.open_door();
    let follower = Follower::start(Some(&first));
    let (mut client, _) = follower.served_client().await;
    // The set has no leader for a moment: the connection stays.
    follower.leader.send_replace(None);
    client.write_all(b"hello").await.unwrap();
    client.read_exact(&mut [0; 5]).await.unwrap();
    follower.leader.send_replace(Some(second.peer.clone()));
    let said = rest(&mut client).await;
    assert_eq!(said, "sorry: another node leads the set now");
    follower.served_client().await;
}

#[tokio::test]
async fn the_last_word_comes_after_all_that_the_client_had_not_taken_yet() {
    let (mut first, second) = (Leader::start(1), Leader::start(2));
    first.open_door();
    let follower = Follower::start(Some(&first));
    let (mut client, facts) = follower.served_client().await;
    client.write_all(b"flood").await.unwrap();
    let mut before = 0;
    let stalled = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let written = first.written.load(Ordering::SeqCst);
            if written > MUCH && written == before {
                return;
            }
            before = written;
        }
    };
    timeout(LONG, stalled).await.expect("a stop");
    follower.leader.send_replace(Some(second.peer.clone()));
    let said = rest(&mut client).await;
    let (flood, word) = said.split_once("sorry: ").expect("a last word");
    assert!(flood.bytes().all(|octet| octet == 7));
    let heard = facts.len() + 1 + flood.len();
    assert_eq!(
        word,
        format!("another node leads the set now after {heard} bytes")
    );
}

#[tokio::test]
async fn a_client_that_is_held_when_its_node_stops_is_told_so() {
    let follower = Follower::start(None);
    let mut client = follower.client().await;
    tokio::time::sleep(HOLD / 4).await; // it is accepted by then
    follower.stop.send_replace(true);
    assert_eq!(rest(&mut client).await, super::passing::NO_LEADER_CAME);
}

#[tokio::test]
async fn clients_of_a_leader_that_is_lost_get_a_last_word() {
    let mut leader = Leader::start(1);
    leader.open_door();
    let follower = Follower::start(Some(&leader));
    let (mut client, _) = follower.served_client().await;
    let (mut quitting, _) = follower.served_client().await;
    quitting.write_all(b"quit").await.unwrap();
    assert_eq!(
        rest(&mut quitting).await,
        "sorry: the leader of the set is lost"
    );
    leader.tasks.shutdown().await;
    assert_eq!(
        rest(&mut client).await,
        "sorry: the leader of the set is lost"
    );
}

#[tokio::test]
async fn a_node_that_stops_ends_its_passed_clients() {
    let mut leader = Leader::start(1);
    leader.open_door();
    let mut follower = Follower::start(Some(&leader));
    let (mut client, _) = follower.served_client().await;
    follower.stop.send_replace(true);
    assert!(rest(&mut client).await.ends_with("reason 'shutdown'"));
    drop(client);
    let ended = timeout(LONG, follower.tasks.join_next()).await;
    ended.expect("an end in time");
}

#[tokio::test]
async fn a_client_that_leaves_is_not_kept_by_the_leader() {
    let mut leader = Leader::start(1);
    leader.open_door();
    let mut follower = Follower::start(Some(&leader));
    for _ in 0..100 {
        follower.served_client().await;
    }
    // All tasks of clients end, without the stop's last word.
    follower.stop.send_replace(true);
    let ended = timeout(Duration::from_secs(2), follower.tasks.join_next()).await;
    ended.expect("an end in time");
    leader.stop.send_replace(true);
    let both = async { while leader.tasks.join_next().await.is_some() {} };
    timeout(LONG, both).await.expect("an end in time");
}
