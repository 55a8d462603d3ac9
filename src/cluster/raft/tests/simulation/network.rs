//! The network between the nodes: calls that are delayed, lost and delivered twice, cuts of one direction or both, and
//! connections that break. On a connection of the Raft lane requests arrive in order; what was sent before it broke may
//! arrive later than what is sent on the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use openraft::type_config::TypeConfigExt;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::process::Process;
use super::world::World;
use crate::cluster::raft::types::Group;
use crate::cluster::raft::{Lane, Member, Origin, PeerError};
use crate::store::replica_model::ReplicaModel;

pub(super) type SimulatedMember = Member<ReplicaModel>;

/// Requests of one lane that a node has not begun to handle.
const WAITING_MAX: usize = 256;

/// How the network is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) delay_max: Duration,
    /// The parts of messages that are lost, and that are delivered twice.
    pub(super) lost: f64,
    pub(super) twice: f64,
}

impl Weather {
    pub(super) const CALM: Weather = Weather {
        delay_max: Duration::from_millis(1),
        lost: 0.0,
        twice: 0.0,
    };
}

pub(super) type Outcome = Result<Bytes, PeerError>;

/// The nodes that can be called, and what is under way between them.
pub(super) struct Network {
    pub(super) world: Arc<World>,
    state: Mutex<State>,
}

struct State {
    weather: Weather,
    nodes: BTreeMap<u64, (Process, Arc<SimulatedMember>)>,
    /// Directions that are cut.
    cuts: Vec<(u64, u64)>,
    /// When the last message of the Raft lane arrives, by direction.
    arrivals: BTreeMap<(u64, u64), Duration>,
    lanes: BTreeMap<(u64, Process), mpsc::Sender<Request>>,
    calls: BTreeMap<u64, Call>,
    calls_begun: u64,
}

struct Call {
    from: u64,
    to: u64,
    answer: oneshot::Sender<Outcome>,
}

#[derive(Clone)]
pub(super) struct Request {
    /// Given by the network.
    pub(super) call: u64,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) lane: Lane,
    pub(super) kind: u8,
    pub(super) body: Bytes,
}

impl Request {
    fn origin(&self) -> Origin {
        origin(self.from)
    }
}

pub(super) fn name(id: u64) -> String {
    format!("n{id}")
}

pub(super) fn origin(id: u64) -> Origin {
    let name = name(id);
    Origin { id, name }
}

impl Network {
    pub(super) fn new(world: Arc<World>) -> Arc<Network> {
        let state = State {
            weather: Weather::CALM,
            nodes: BTreeMap::new(),
            cuts: Vec::new(),
            arrivals: BTreeMap::new(),
            lanes: BTreeMap::new(),
            calls: BTreeMap::new(),
            calls_begun: 0,
        };
        Arc::new(Network {
            world,
            state: Mutex::new(state),
        })
    }

    /// A node can be called from now on.
    pub(super) fn enter(&self, process: Process, member: Arc<SimulatedMember>) {
        let id = member.this().id;
        self.state.lock().nodes.insert(id, (process, member));
    }

    /// Its process is gone. Calls to it fail, and its members are told.
    pub(super) fn leave(&self, id: u64) {
        let mut state = self.state.lock();
        let gone = state.nodes.remove(&id);
        if let Some((process, _)) = &gone {
            state.lanes.retain(|(_, to), _| to != process);
        }
        drop(state);
        drop(gone);
        self.fail_calls(|call| call.to == id || call.from == id);
    }

    pub(super) fn member(&self, id: u64) -> Option<(Process, Arc<SimulatedMember>)> {
        self.state.lock().nodes.get(&id).cloned()
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        self.state.lock().weather = weather;
    }

    /// Cuts one direction.
    pub(super) fn cut(&self, from: u64, to: u64) {
        self.state.lock().cuts.push((from, to));
    }

    pub(super) fn heal(&self) {
        self.state.lock().cuts.clear();
    }

    pub(super) fn is_cut(&self, from: u64, to: u64) -> bool {
        self.state.lock().cuts.contains(&(from, to))
    }

    /// The connections from one node to another break.
    pub(super) fn break_connections(&self, from: u64, to: u64) {
        self.state.lock().arrivals.remove(&(from, to));
        self.fail_calls(|call| (call.from, call.to) == (from, to));
    }

    fn fail_calls(&self, fails: impl Fn(&Call) -> bool) {
        let failed: Vec<Call> = {
            let mut state = self.state.lock();
            let failed = state.calls.extract_if(.., |_, call| fails(call));
            failed.map(|(_, call)| call).collect()
        };
        for call in failed {
            // Who called may be gone.
            drop(call.answer.send(Err(unreachable())));
        }
    }

    pub(super) async fn call(self: Arc<Network>, request: Request, within: Duration) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let mut request = request;
        {
            let mut state = self.state.lock();
            state.calls_begun += 1;
            request.call = state.calls_begun;
            let (from, to) = (request.from, request.to);
            state.calls.insert(request.call, Call { from, to, answer });
        }
        let call = request.call;
        self.send(request);
        let outcome = Group::timeout(within, outcome).await;
        self.state.lock().calls.remove(&call);
        match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(unreachable()),
            Err(_) => Err(PeerError::TimedOut),
        }
    }

    /// When a message that is sent now arrives; not at all if it is lost, and maybe twice.
    fn arrivals(&self, from: u64, to: u64, lane: Lane) -> Vec<Duration> {
        let now = self.world.now();
        let weather = self.state.lock().weather;
        if self.is_cut(from, to) || self.world.chance(weather.lost) {
            return Vec::new();
        }
        let delay = || {
            self.world
                .between(Duration::from_micros(20), weather.delay_max)
        };
        let mut first = now + delay();
        if lane == Lane::Raft {
            let mut state = self.state.lock();
            let last = state.arrivals.entry((from, to)).or_default();
            first = first.max(*last + Duration::from_nanos(1));
            *last = first;
        }
        let mut all = vec![first];
        if self.world.chance(weather.twice) {
            all.push(first + delay());
        }
        all
    }

    fn send(self: &Arc<Network>, request: Request) {
        for at in self.arrivals(request.from, request.to, request.lane) {
            let (network, request) = (Arc::clone(self), request.clone());
            let time = at.saturating_sub(self.world.now());
            self.world.spawn_outside(async move {
                network.world.timer(time).await;
                network.arrive(request);
            });
        }
    }

    fn arrive(self: &Arc<Network>, request: Request) {
        if self.is_cut(request.from, request.to) {
            return;
        }
        let Some((process, member)) = self.member(request.to) else {
            // Nothing listens there.
            self.answer(&request, Err(unreachable()));
            return;
        };
        match request.lane {
            Lane::Control => {
                let network = Arc::clone(self);
                self.world.spawn_on(process, async move {
                    let answer = member
                        .handle(&request.origin(), request.kind, request.body.clone())
                        .await;
                    network.answer(&request, Ok(answer));
                });
            }
            Lane::Raft => {
                let mut state = self.state.lock();
                let lane = state.lanes.entry((request.from, process));
                let lane = lane.or_insert_with(|| {
                    let (lane, requests) = mpsc::channel(WAITING_MAX);
                    let serving = Arc::clone(self).serve_in_order(member, requests);
                    self.world.spawn_on(process, serving);
                    lane
                });
                // More than that are lost.
                drop(lane.try_send(request));
            }
        }
    }

    /// Begins to handle requests in order, and answers them in order.
    async fn serve_in_order(
        self: Arc<Network>,
        member: Arc<SimulatedMember>,
        mut requests: mpsc::Receiver<Request>,
    ) {
        let mut handling = FuturesOrdered::new();
        loop {
            tokio::select! {
                biased;
                Some((request, answer)) = handling.next() => self.answer(&request, Ok(answer)),
                request = requests.recv() => {
                    let Some(request) = request else { return };
                    let member = Arc::clone(&member);
                    handling.push_back(async move {
                        let answer = member.handle(&request.origin(), request.kind, request.body.clone()).await;
                        (request, answer)
                    });
                }
            }
        }
    }

    fn answer(self: &Arc<Network>, request: &Request, outcome: Outcome) {
        let (from, to) = (request.to, request.from);
        let Some(at) = self.arrivals(from, to, request.lane).pop() else {
            return;
        };
        let (network, call) = (Arc::clone(self), request.call);
        let time = at.saturating_sub(self.world.now());
        self.world.spawn_outside(async move {
            network.world.timer(time).await;
            if network.is_cut(from, to) {
                return;
            }
            let call = network.state.lock().calls.remove(&call);
            if let Some(call) = call {
                // Who called may be gone.
                drop(call.answer.send(outcome));
            }
        });
    }
}

pub(super) fn unreachable() -> PeerError {
    PeerError::Unreachable("there is no connection".to_owned())
}
