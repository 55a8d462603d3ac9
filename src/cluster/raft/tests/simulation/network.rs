//! The network between the nodes: calls that are delayed, lost and delivered twice, cuts of one direction or both, and
//! connections that break. On a connection of the Raft lane requests arrive in order; what was sent before it broke may
//! arrive later than what is sent on the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use openraft::type_config::TypeConfigExt;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::{mpsc, oneshot};

use super::process::Process;
use super::world::World;
use crate::cluster::raft::types::Group;
use crate::cluster::raft::{Lane, Member, MemberInfo, Origin, PeerError, PeerStream, Peers};
use crate::store::replica_model::ReplicaModel;

pub(super) type SimulatedMember = Member<ReplicaModel>;

/// Requests of one lane that a node has not begun to handle.
const WAITING_MAX: usize = 256;
const STREAM_BYTES: usize = 64 * 1024;
const STREAM_DELAY: Duration = Duration::from_millis(1);
/// A stream whose link is cut for longer than this is reset.
const STREAM_CUT_MAX: Duration = Duration::from_secs(5);

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

type Outcome = Result<Bytes, PeerError>;

/// The nodes that can be called, and what is under way between them.
pub(super) struct Network {
    world: Arc<World>,
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
struct Request {
    call: u64,
    from: u64,
    to: u64,
    lane: Lane,
    kind: u8,
    body: Bytes,
}

impl Request {
    fn origin(&self) -> Origin {
        origin(self.from)
    }
}

pub(super) fn name(id: u64) -> String {
    format!("n{id}")
}

fn origin(id: u64) -> Origin {
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

    fn is_cut(&self, from: u64, to: u64) -> bool {
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

    async fn call(self: Arc<Network>, request: Request, within: Duration) -> Outcome {
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

    /// Carries one direction of a stream.
    async fn carry(
        self: Arc<Network>,
        (from, to): (u64, u64),
        mut source: ReadHalf<DuplexStream>,
        mut sink: WriteHalf<DuplexStream>,
    ) {
        let mut buffer = vec![0; 4096];
        loop {
            let Ok(len @ 1..) = source.read(&mut buffer).await else {
                // An end that cannot be told has been seen there.
                drop(sink.shutdown().await);
                return;
            };
            self.world.timer(STREAM_DELAY).await;
            let cut_at = self.world.now();
            while self.is_cut(from, to) {
                if self.world.now() > cut_at + STREAM_CUT_MAX {
                    return;
                }
                self.world.timer(Duration::from_millis(20)).await;
            }
            if sink.write_all(&buffer[..len]).await.is_err() {
                return;
            }
        }
    }
}

fn unreachable() -> PeerError {
    PeerError::Unreachable("there is no connection".to_owned())
}

/// The calls of one process.
pub(super) struct Caller {
    pub(super) me: u64,
    pub(super) network: Arc<Network>,
}

impl Peers for Caller {
    fn call(
        &self,
        to: &MemberInfo,
        lane: Lane,
        kind: u8,
        request: Vec<Bytes>,
        within: Duration,
    ) -> BoxFuture<'static, Outcome> {
        let request = Request {
            call: 0,
            from: self.me,
            to: to.id,
            lane,
            kind,
            body: request.concat().into(),
        };
        Arc::clone(&self.network).call(request, within).boxed()
    }

    fn is_gone(&self, member: &MemberInfo) -> BoxFuture<'static, bool> {
        let (network, me, to) = (&self.network, self.me, member.id);
        let answers = !network.is_cut(me, to) && !network.is_cut(to, me);
        let is_gone = answers && network.member(to).is_none();
        std::future::ready(is_gone).boxed()
    }

    fn open(
        &self,
        to: &MemberInfo,
        _: u8,
        header: Bytes,
    ) -> BoxFuture<'static, Result<Box<dyn PeerStream>, PeerError>> {
        let (network, me, to) = (Arc::clone(&self.network), self.me, to.id);
        async move {
            network.world.timer(STREAM_DELAY).await;
            let callee = network.member(to);
            let callee = callee.filter(|_| !network.is_cut(me, to) && !network.is_cut(to, me));
            let (process, member) = callee.ok_or_else(unreachable)?;
            let (near, near_end) = duplex(STREAM_BYTES);
            let (far, far_end) = duplex(STREAM_BYTES);
            let (near_read, near_write) = split(near_end);
            let (far_read, far_write) = split(far_end);
            let world = &network.world;
            let (there, back) = (Arc::clone(&network), Arc::clone(&network));
            world.spawn_outside(there.carry((me, to), near_read, far_write));
            world.spawn_outside(back.carry((to, me), far_read, near_write));
            world.spawn_on(process, async move {
                member.receive(&origin(me), header, Box::new(far)).await;
            });
            Ok(Box::new(near) as Box<dyn PeerStream>)
        }
        .boxed()
    }
}
