//! A node of a simulated set: its store outlives its processes. While it leads, a broker writes numbers, and learns when
//! they are confirmed.

use std::sync::Arc;
use std::time::Duration;

use openraft::type_config::TypeConfigExt;
use parking_lot::Mutex;

use super::caller::Caller;
use super::checker::Checker;
use super::network::{Network, SimulatedMember, name};
use super::process::Process;
use super::world::World;
use crate::clock::{Holds, Mandate, Source};
use crate::cluster::raft::proposer::Proposer;
use crate::cluster::raft::types::Group;
use crate::cluster::raft::{MemberInfo, MemberOptions, Standing};
use crate::model::Ticket;
use crate::store::replica_model::ReplicaModel;

pub(super) const HEARTBEAT: Duration = Duration::from_millis(50);
pub(super) const ELECTION_TIMEOUT: Duration = Duration::from_millis(300);
/// Entries that are kept for members that lag: few, so that snapshots are needed.
const KEEP_ENTRIES: u64 = 8;
/// Pause before a broker that cannot begin tries again.
const AGAIN: Duration = Duration::from_millis(20);
/// The longest pause between two writes.
const PAUSE_MAX: Duration = Duration::from_millis(40);
/// Distance of the wall clocks ahead of virtual time.
const WALL: Duration = Duration::from_secs(1_700_000_000);

/// A node of a simulated set.
pub(super) struct Node {
    pub(super) info: MemberInfo,
    pub(super) store: Arc<ReplicaModel>,
    pub(super) process: Option<Process>,
    pub(super) election_timeout: Duration,
    /// The mandate of its broker.
    mandate: Arc<Mutex<Option<Arc<Mandate>>>>,
}

/// The clocks of the machine of a process.
struct Clocks {
    world: Arc<World>,
    process: Process,
}

impl std::fmt::Debug for Clocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the clocks of {:?}", self.process)
    }
}

impl Source for Clocks {
    fn since_boot_ns(&self) -> u64 {
        let since_boot = self.world.since_boot(self.process);
        u64::try_from(since_boot.as_nanos()).unwrap()
    }

    fn wall_ns(&self) -> u64 {
        let wall = WALL + self.world.now();
        u64::try_from(wall.as_nanos()).unwrap()
    }

    fn boot(&self) -> Option<Arc<str>> {
        None
    }
}

impl Node {
    /// A node with this store.
    pub(super) fn new(id: u64, store: ReplicaModel) -> Node {
        Node {
            info: MemberInfo {
                id,
                name: name(id),
                address: format!("n{id}:1"),
            },
            store: Arc::new(store),
            process: None,
            election_timeout: ELECTION_TIMEOUT,
            mandate: Arc::default(),
        }
    }

    /// Starts a process of this node.
    pub(super) fn start(
        &mut self,
        world: &Arc<World>,
        network: &Arc<Network>,
        checker: &Arc<Checker>,
    ) -> Process {
        let process = world.begin_process();
        self.process = Some(process);
        let options = MemberOptions {
            this: self.info.clone(),
            heartbeat: HEARTBEAT,
            election_timeout: self.election_timeout,
            keep_log_bytes: Some(KEEP_ENTRIES),
            clocks: Arc::new(Clocks {
                world: Arc::clone(world),
                process,
            }),
        };
        let peers = Arc::new(Caller {
            me: self.info.id,
            network: Arc::clone(network),
        });
        let (store, network, checker) = (self.store.clone(), network.clone(), checker.clone());
        let (world_of, mandate) = (Arc::clone(world), self.mandate.clone());
        world.spawn_on(process, async move {
            world_of.disk_time().await;
            let member = match SimulatedMember::start(options, store.clone(), peers).await {
                Ok(member) => member,
                Err(failure) => return checker.violate(format!("a start fails: {failure}")),
            };
            network.enter(process, Arc::clone(&member));
            let brokers = Brokers {
                world: world_of,
                member,
                store,
                checker,
                mandate,
            };
            brokers.run().await;
        });
        process
    }

    /// Whether clients are answered.
    pub(super) fn serves(&self, world: &World) -> bool {
        let runs = self.process.is_some_and(|it| !world.is_paused(it));
        let mandate = self.mandate.lock().clone();
        runs && mandate.is_some_and(|mandate| matches!(mandate.holds(), Holds::Yes(_)))
    }

    /// Its process is gone.
    pub(super) fn ended(&mut self) {
        self.process = None;
        *self.mandate.lock() = None;
    }
}

/// The brokers of a process, one in each leadership.
struct Brokers {
    world: Arc<World>,
    member: Arc<SimulatedMember>,
    store: Arc<ReplicaModel>,
    checker: Arc<Checker>,
    mandate: Arc<Mutex<Option<Arc<Mandate>>>>,
}

impl Brokers {
    async fn run(&self) {
        let mut standing = self.member.standing();
        loop {
            let leads = standing.wait_for(|standing| matches!(standing, Standing::Leads(_)));
            if leads.await.is_err() {
                return;
            }
            let Ok(begun) = self.member.begin().await else {
                Group::sleep(AGAIN).await;
                continue;
            };
            *self.mandate.lock() = Some(begun.mandate);
            let leadership = self.checker.begin(self.member.this().id, &self.store);
            if self.world.chance(0.5) {
                // Fails if the leadership is lost; the next leader completes it.
                drop(self.member.complete_change().await);
            }
            self.write(leadership, &begun.proposer).await;
        }
    }

    /// Writes numbers until the leadership is lost.
    async fn write(&self, leadership: u64, proposer: &Proposer<ReplicaModel>) {
        // What was written, from the first number on.
        let mut numbers = Vec::new();
        let mut confirmed = 0;
        loop {
            for _ in 0..self.world.below(4) {
                let number = self.checker.propose(leadership);
                numbers.push(number);
                let ticket = Ticket(numbers.len() as u64);
                let proposal = ReplicaModel::numbered(number);
                if proposer.propose(ticket, proposal).await.is_err() {
                    return;
                }
            }
            Group::sleep(self.world.between(Duration::ZERO, PAUSE_MAX)).await;
            let Ok(committed) = proposer.proposals.committed() else {
                return;
            };
            let committed = usize::try_from(committed).unwrap();
            for number in numbers.iter().take(committed).skip(confirmed) {
                self.checker.confirm(leadership, *number);
            }
            confirmed = committed.max(confirmed);
        }
    }
}
