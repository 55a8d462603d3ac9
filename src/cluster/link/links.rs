//! This node's links: calls and streams to others, and the listener where others call.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::accepted::Accepting;
use super::callers::Callers;
use super::dial::Dialer;
use super::error::LinkError;
use super::frame::{Outgoing, Tag};
use super::handshake::Own;
use super::hello::{Purpose, VERSIONS, Waited, compare_clocks};
use super::lane::LaneEnd;
use super::limits::{
    FRAME_MAX, HANDSHAKE_WITHIN, LANES_END_WITHIN, LANES_MAX, LINKS_MAX, OPEN_MAX, OPENING_MAX,
    STRANGERS_MAX,
};
use super::service::{Lane, Service};
use super::stream::LinkStream;
use super::trust::Trust;
use crate::clock::Source;
use crate::net::{Acceptor, Capacity, Listener};

/// A node that is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The node that must answer; `None` while its id is not known.
    pub node: Option<u64>,
    /// `HOST:PORT` of its listener for links.
    pub address: String,
}

/// This node, as others see it.
#[derive(Clone, Debug)]
pub struct Identity {
    pub node: u64,
    pub name: String,
    /// The set that it belongs to; `None` before it belongs to one.
    pub set: Option<u64>,
}

/// This node's connections to others: one per node and lane, opened when it is needed.
#[derive(Debug)]
pub struct Links {
    dialer: Arc<Dialer>,
    lanes: Mutex<HashMap<(String, Lane), Arc<LaneEnd>>>,
    callers: Arc<Callers>,
    /// Streams that are being opened, by address.
    opening: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Links {
    pub fn new(identity: Identity, trust: Trust, clock: Arc<dyn Source>) -> Links {
        let own = Own {
            node: identity.node,
            name: identity.name,
            set: Mutex::new(identity.set),
            versions: VERSIONS,
            clock,
            trust,
        };
        Links::with(own)
    }

    pub(super) fn with(own: Own) -> Links {
        let dialer = Dialer {
            own: Arc::new(own),
            refusals: Arc::default(),
        };
        Links {
            dialer: Arc::new(dialer),
            lanes: Mutex::default(),
            callers: Arc::default(),
            opening: Mutex::default(),
        }
    }

    /// The node belongs to this set from now on: connections of other sets are refused.
    pub fn belong_to(&self, set: u64) {
        *self.dialer.own.set.lock() = Some(set);
    }

    /// This node's wall clock, in milliseconds.
    pub fn wall_ms(&self) -> u64 {
        self.dialer.own.wall_ms()
    }

    /// Ends the lanes to a node if its clock, which it has told since `asked_ms`, is too far from this one's. Each new lane
    /// begins with a handshake, which is refused until the clocks agree.
    pub fn compare_clocks(&self, address: &str, theirs_ms: u64, asked_ms: u64) {
        let waited = Waited {
            from_ms: asked_ms,
            to_ms: self.wall_ms(),
        };
        if let Err(why) = compare_clocks(theirs_ms, waited) {
            tracing::debug!(address, "the lanes to a node end: {why}");
            self.lanes.lock().retain(|(to, _), _| to != address);
        }
    }

    /// Sends a request and waits for the answer. Requests of one lane leave in the order of the first poll of their
    /// calls. A call that is dropped or out of time may still be carried out.
    pub async fn call(
        &self,
        to: &Peer,
        lane: Lane,
        kind: u8,
        request: Vec<Bytes>,
        within: Duration,
    ) -> Result<Bytes, LinkError> {
        let bytes = request.iter().map(Bytes::len).sum();
        if bytes > FRAME_MAX {
            return Err(LinkError::TooLarge { bytes });
        }
        let end = self.lane(&to.address, lane)?;
        let answer = timeout(within, end.call(to.node, kind, request)).await;
        answer.unwrap_or(Err(LinkError::TimedOut))
    }

    /// Whether the process of a node is gone for certain: its system has ended all lanes that it had to this node, and
    /// refuses connections to its address. A node that is only cut off or does not answer is not gone.
    pub async fn is_gone(&self, node: u64, address: &str) -> bool {
        self.callers.is_gone(node, LANES_END_WITHIN).await && self.dialer.is_refused(address).await
    }

    /// Opens a connection of its own. The other node's service gets the header.
    pub async fn open(&self, to: &Peer, kind: u8, header: Bytes) -> Result<LinkStream, LinkError> {
        let bytes = header.len();
        if bytes > OPEN_MAX {
            return Err(LinkError::TooLarge { bytes });
        }
        let opening = self.opening(&to.address);
        let place = opening.acquire().await;
        let (mut stream, known) = self.dialer.dial(&to.address, Purpose::Stream).await?;
        if let Some(expected) = to.node.filter(|node| *node != known.node) {
            return Err(LinkError::AnotherNode {
                address: to.address.clone(),
                expected,
                found: known.node,
            });
        }
        let mut first = Outgoing::default();
        first.push(0, Tag::Open(kind), [header]);
        match timeout(HANDSHAKE_WITHIN, first.write_to(&mut stream)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(LinkError::Cut),
        }
        drop(place);
        Ok(stream)
    }

    /// Accepts connections of other nodes until `stopped` is true or its sender is gone, and ends them then. Dropping
    /// this future ends them too.
    pub async fn serve(
        self: Arc<Links>,
        listener: Listener,
        service: Arc<dyn Service>,
        stopped: watch::Receiver<bool>,
    ) {
        let own = Arc::clone(&self.dialer.own);
        let listener = match own.trust.tls() {
            Some(tls) => listener.with_tls(Arc::clone(tls)),
            None => listener,
        };
        let accepting = Arc::new(Accepting {
            own,
            refusals: Arc::clone(&self.dialer.refusals),
            callers: Arc::clone(&self.callers),
            service,
        });
        let capacity = Capacity {
            authenticated: LINKS_MAX,
            newcomers: STRANGERS_MAX,
        };
        let acceptor = Acceptor::new("cluster", capacity, HANDSHAKE_WITHIN);
        let stop_seen = stopped.clone();
        let serve_one = move |transport, address, permit| {
            let (accepting, mut stopped) = (Arc::clone(&accepting), stop_seen.clone());
            async move {
                tokio::select! {
                    () = accepting.serve(transport, address, permit) => {}
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                }
            }
        };
        acceptor.serve(listener, stopped, serve_one).await;
    }

    pub(super) fn lane(&self, address: &str, lane: Lane) -> Result<Arc<LaneEnd>, LinkError> {
        let mut lanes = self.lanes.lock();
        let key = (address.to_owned(), lane);
        if let Some(end) = lanes.get(&key) {
            return Ok(Arc::clone(end));
        }
        if lanes.len() >= LANES_MAX {
            lanes.retain(|_, end| !end.is_idle());
        }
        if lanes.len() >= LANES_MAX {
            return Err(LinkError::TooManyNodes);
        }
        let end = LaneEnd::start(Arc::clone(&self.dialer), address.to_owned(), lane);
        let end = Arc::new(end);
        lanes.insert(key, Arc::clone(&end));
        Ok(end)
    }

    #[cfg(test)]
    pub(super) fn forget_lanes(&self) {
        self.lanes.lock().clear();
    }

    fn opening(&self, address: &str) -> Arc<Semaphore> {
        let mut opening = self.opening.lock();
        if let Some(places) = opening.get(address) {
            return Arc::clone(places);
        }
        if opening.len() >= LANES_MAX {
            opening.retain(|_, places| places.available_permits() < OPENING_MAX);
        }
        let places = Arc::new(Semaphore::new(OPENING_MAX));
        opening.insert(address.to_owned(), Arc::clone(&places));
        places
    }
}
