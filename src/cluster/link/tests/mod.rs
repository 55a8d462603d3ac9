//! Links over real sockets: nodes of this process, and strangers that write bytes of their own.

mod calls;
mod cuts;
mod refusals;
mod strangers;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::handshake::Own;
use super::hello::{VERSIONS, Versions};
use super::service::Answering;
use super::{Caller, Lane, LinkError, LinkStream, Links, Peer, Refusal, Secret, Service, Trust};
use crate::clock::{Settable, Source};
use crate::net::Listener;

const LONG: Duration = Duration::from_secs(20);
const SECRET: &[u8] = b"a secret that all nodes know";

/// Kinds of requests that [`Echo`] answers.
const ECHO: u8 = 1;
const REFUSE: u8 = 2;
/// Waits for a permit of the gate.
const GATED: u8 = 3;

/// Answers as it is asked.
struct Echo {
    gate: Semaphore,
    /// Requests in the order in which they came.
    seen: Mutex<Vec<Bytes>>,
    callers: Mutex<Vec<Caller>>,
    at_work: AtomicUsize,
    at_work_max: AtomicUsize,
    left: AtomicUsize,
}

impl Echo {
    fn new() -> Arc<Echo> {
        Arc::new(Echo {
            gate: Semaphore::new(0),
            seen: Mutex::default(),
            callers: Mutex::default(),
            at_work: AtomicUsize::new(0),
            at_work_max: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
        })
    }
}

/// A handle that is a service, since answers outlive the call.
struct EchoService(Arc<Echo>);

impl Service for EchoService {
    fn call(&self, from: &Caller, kind: u8, request: Bytes) -> Answering {
        let echo = Arc::clone(&self.0);
        echo.callers.lock().push(from.clone());
        Box::pin(async move {
            let at_work = echo.at_work.fetch_add(1, Ordering::SeqCst) + 1;
            echo.at_work_max.fetch_max(at_work, Ordering::SeqCst);
            echo.seen
                .lock()
                .push(request.slice(..request.len().min(64)));
            if kind == GATED {
                echo.gate.acquire().await.unwrap().forget();
            }
            echo.at_work.fetch_sub(1, Ordering::SeqCst);
            match kind {
                REFUSE => Err(Refusal("not today".to_owned())),
                _ => Ok(request),
            }
        })
    }

    fn left(&self, _: &Caller) {
        self.0.left.fetch_add(1, Ordering::SeqCst);
    }

    /// Sends the header and then all bytes back.
    fn stream(&self, from: &Caller, kind: u8, header: Bytes, mut stream: LinkStream) {
        self.0.callers.lock().push(from.clone());
        tokio::spawn(async move {
            stream.write_all(&[kind]).await.unwrap();
            stream.write_all(&header).await.unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            stream.shutdown().await.unwrap();
        });
    }
}

/// What a test sets of a node.
struct Given {
    node: u64,
    set: Option<u64>,
    trust: Trust,
    versions: Versions,
    clock: Arc<dyn Source>,
}

fn given(node: u64) -> Given {
    Given {
        node,
        set: None,
        trust: by_secret(SECRET),
        versions: VERSIONS,
        clock: Arc::new(Settable::default()),
    }
}

fn by_secret(secret: &[u8]) -> Trust {
    Trust::new(Some(Secret::new(secret).unwrap()), None).unwrap()
}

/// A node that serves links.
struct Node {
    id: u64,
    links: Arc<Links>,
    echo: Arc<Echo>,
    address: SocketAddr,
    /// The name by which others call it: certificates are for names.
    host: String,
    stop: watch::Sender<bool>,
    serving: JoinSet<()>,
}

impl Node {
    fn start(given: Given) -> Node {
        Node::start_at(given, ([127, 0, 0, 1], 0).into())
    }

    fn start_at(given: Given, address: SocketAddr) -> Node {
        let id = given.node;
        let links = Arc::new(Links::with(Own {
            node: id,
            name: format!("leveret@{id}"),
            set: Mutex::new(given.set),
            versions: given.versions,
            clock: given.clock,
            trust: given.trust,
        }));
        let listener = Listener::open(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let echo = Echo::new();
        let service = Arc::new(EchoService(Arc::clone(&echo)));
        let mut serving = JoinSet::new();
        serving.spawn(Arc::clone(&links).serve(listener, service, stopped));
        Node {
            id,
            links,
            echo,
            address,
            host: "127.0.0.1".to_owned(),
            stop,
            serving,
        }
    }

    /// As others know it.
    fn peer(&self) -> Peer {
        Peer {
            node: Some(self.id),
            address: format!("{}:{}", self.host, self.address.port()),
        }
    }

    async fn call(&self, to: &Node, lane: Lane, kind: u8, body: Bytes) -> Result<Bytes, LinkError> {
        let request = vec![body];
        self.links.call(&to.peer(), lane, kind, request, LONG).await
    }

    async fn end(mut self) {
        self.stop.send_replace(true);
        while self.serving.join_next().await.is_some() {}
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("in time");
}
