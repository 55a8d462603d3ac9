//! What happens to a simulated set, by chance, and that it works again afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::checker::Checker;
use super::network::{Network, SimulatedMember};
use super::node::Node;
use super::process::{PPM, Process};
use super::world::World;
use crate::cluster::raft::{MemberInfo, MemberRole, Standing};
use crate::store::replica_model::{Plant, ReplicaModel};

/// The number of events and the longest time between two: in some schedules they come fast, in others seldom.
const PACES: [(u64, Duration); 4] = [
    (150, Duration::from_millis(60)),
    (100, Duration::from_millis(200)),
    (50, Duration::from_millis(600)),
    (25, Duration::from_millis(1500)),
];
/// What a broker has written before its set is formed, in some schedules.
const BEFORE: u64 = 20;
/// A new set leads within this time, and one without faults works again.
const WORKS_WITHIN: Duration = Duration::from_secs(60);

/// How long a leader with a planted fault is alone.
const ISOLATED: Duration = Duration::from_secs(2);
/// How often it is looked whether something has come true.
const LOOK: Duration = Duration::from_millis(20);

/// What a schedule has brought.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) schedules: u64,
    pub(super) events: u64,
    pub(super) polls: u64,
    pub(super) confirmed: u64,
    pub(super) leaderships: u64,
    pub(super) time: Duration,
    pub(super) done: BTreeMap<&'static str, u64>,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
        self.schedules += other.schedules;
        self.events += other.events;
        self.polls += other.polls;
        self.confirmed += other.confirmed;
        self.leaderships += other.leaderships;
        self.time += other.time;
        for (what, times) in &other.done {
            *self.done.entry(what).or_default() += times;
        }
    }
}

/// A simulated set and what happens to it.
pub(super) struct Schedule {
    pub(super) world: Arc<World>,
    pub(super) network: Arc<Network>,
    pub(super) checker: Arc<Checker>,
    pub(super) nodes: Vec<Node>,
    ids: u64,
    planted: Option<Planted>,
    /// The last node that has begun anew.
    pub(super) replacing: Option<Replacing>,
    /// The nodes whose removal was asked for.
    pub(super) removed: BTreeSet<u64>,
    /// What has happened, for those who read about a failure.
    told: Vec<String>,
}

/// A fault that is put into a simulation, which must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    Store(Plant),
    /// The first node's clock goes at a quarter of its rate, and others at twice theirs: a lease lasts longer than others
    /// wait.
    WrongClocks,
    /// While the first node leads, it serves for twice the time for which the others have made sure of that.
    LongLease,
}

/// A node that begins anew in the place of a member whose files are damaged.
pub(super) struct Replacing {
    pub(super) old: u64,
    pub(super) new: MemberInfo,
    pub(super) is_done: Arc<AtomicBool>,
}

impl Schedule {
    pub(super) fn new(world: &Arc<World>, planted: Option<Planted>) -> Schedule {
        Schedule {
            world: Arc::clone(world),
            network: Network::new(Arc::clone(world)),
            checker: Checker::new(),
            nodes: Vec::new(),
            ids: 0,
            planted,
            replacing: None,
            removed: BTreeSet::new(),
            told: Vec::new(),
        }
    }

    pub(super) fn told(&self) -> String {
        self.told.join("\n")
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            schedules: 1,
            events: self.told.len() as u64,
            polls: self.world.polls(),
            confirmed: self.checker.confirmed() as u64,
            leaderships: self.checker.leaderships(),
            time: self.world.now(),
            done: self.checker.done(),
        }
    }

    /// Runs the schedule. Returns what was wrong.
    pub(super) fn run(&mut self) -> Result<(), String> {
        self.form()?;
        let (events, pause_max) = PACES[index(self.world.below(PACES.len() as u64))];
        match self.planted {
            Some(Planted::WrongClocks) => {
                self.isolate(0);
                self.pass(ISOLATED)?;
                self.heal_network();
            }
            Some(Planted::LongLease) => {
                self.start_others_anew();
                self.pass(ISOLATED)?;
            }
            Some(Planted::Store(_)) | None => {}
        }
        if self.world.chance(0.5) {
            self.change_weather();
        }
        for _ in 0..events {
            self.happen();
            self.pass(self.world.between(Duration::ZERO, pause_max))?;
        }
        self.end_faults();
        self.work_again()?;
        match self.world.chance(0.2) {
            true => self.survive(),
            false => Ok(()),
        }
    }

    pub(super) fn tell(&mut self, what: String) {
        let now = self.world.now().as_micros();
        self.told.push(format!("{:>12.3} {what}", now as f64 / 1e3));
    }

    fn form(&mut self) -> Result<(), String> {
        let count = [3, 3, 3, 1, 5][index(self.world.below(5))];
        let before = if self.world.chance(0.2) { BEFORE } else { 0 };
        for number in 1..=before {
            assert_eq!(self.checker.propose(0), number);
            self.checker.confirm(0, number);
        }
        self.add_node_with(1..before + 1);
        for _ in 1..count {
            self.add_node();
        }
        self.until("all have started", |all| {
            all.nodes.iter().all(|node| all.has_started(node.info.id))
        })?;
        let members: Vec<_> = self.nodes.iter().map(|node| node.info.clone()).collect();
        let (process, member) = self.member(0).ok_or("it has started")?;
        let checker = Arc::clone(&self.checker);
        self.world.spawn_on(process, async move {
            match member.form(members).await {
                Ok(()) => checker.count("formed", 1),
                Err(failure) => checker.violate(format!("no set is formed: {failure}")),
            }
        });
        self.until("the set is formed", |all| {
            all.checker.done().contains_key("formed")
        })?;
        self.until("the new set confirms", |all| {
            all.checker.confirmed() as u64 > before
        })?;
        self.until("all are members", |all| all.voters().len() == count)
    }

    pub(super) fn has_started(&self, id: u64) -> bool {
        self.network.member(id).is_some()
    }

    /// The ids of the voters, as the leader knows them; none without one.
    pub(super) fn voters(&self) -> Vec<u64> {
        let members = self.leader().map(|(_, leader)| leader.status().members);
        let members = members.into_iter().flatten();
        let voters = members.filter(|it| it.role == MemberRole::Voter);
        voters.map(|voter| voter.member.id).collect()
    }

    pub(super) fn add_node(&mut self) {
        self.add_node_with(1..1);
    }

    /// A node whose broker ran alone before, and has written these numbers.
    fn add_node_with(&mut self, numbers: Range<u64>) {
        self.ids += 1;
        let luck = self.world.below(u64::MAX);
        let store = match numbers.is_empty() {
            true => ReplicaModel::of_node(self.ids, luck),
            false => ReplicaModel::of_broker(self.ids, luck, numbers),
        };
        let mut node = Node::new(self.ids, store);
        match self.planted {
            Some(Planted::Store(plant)) => node.store.plant(plant),
            Some(Planted::LongLease) if self.ids == 1 => node.election_timeout *= 2,
            Some(Planted::LongLease | Planted::WrongClocks) | None => {}
        }
        self.start(&mut node);
        self.nodes.push(node);
    }

    pub(super) fn start(&self, node: &mut Node) {
        let process = node.start(&self.world, &self.network, &self.checker);
        if self.planted == Some(Planted::WrongClocks) {
            let rate = if node.info.id == 1 { PPM / 4 } else { PPM * 2 };
            self.world.set_rate(process, rate);
        }
    }

    pub(super) fn member(&self, at: usize) -> Option<(Process, Arc<SimulatedMember>)> {
        self.network.member(self.nodes[at].info.id)
    }

    /// The node that serves.
    pub(super) fn leader(&self) -> Option<(Process, Arc<SimulatedMember>)> {
        let mut nodes = self.nodes.iter();
        let leader = nodes.find(|node| node.serves(&self.world))?;
        self.network.member(leader.info.id)
    }

    fn look(&self) {
        let serves = |node: &&Node| node.serves(&self.world);
        let serving: Vec<u64> = self
            .nodes
            .iter()
            .filter(serves)
            .map(|it| it.info.id)
            .collect();
        self.checker.serve(&serving);
    }

    pub(super) fn pass(&self, time: Duration) -> Result<(), String> {
        self.world.pass(time, &mut || self.look());
        for node in &self.nodes {
            self.checker.compare(node.info.id, &node.store);
        }
        self.checker.violation().map_or(Ok(()), Err)
    }

    pub(super) fn until(
        &self,
        what: &str,
        holds: impl Fn(&Schedule) -> bool,
    ) -> Result<(), String> {
        let end = self.world.now() + WORKS_WITHIN;
        while !holds(self) {
            if self.world.now() >= end {
                return Err(format!("not in time: {what}: {}", self.standings()));
            }
            self.pass(LOOK)?;
        }
        Ok(())
    }

    fn end_faults(&mut self) {
        self.heal_network();
        self.calm_network();
        self.help_nodes();
        self.start_all();
    }

    /// The set confirms again, and all its voters have the same.
    pub(super) fn work_again(&mut self) -> Result<(), String> {
        self.pass(Duration::from_secs(1))?;
        self.until_confirmed(10)?;
        self.until_replaced()?;
        self.until("all voters have the same", Schedule::are_equal)?;
        for node in &self.nodes {
            self.checker.compare_all(node.info.id, &node.store);
            self.checker.count("snapshots", node.store.installed());
            self.checker.count("truncations", node.store.truncations());
        }
        self.checker.violation().map_or(Ok(()), Err)
    }

    /// Waits until a leader serves, and so many more writes are confirmed.
    pub(super) fn until_confirmed(&self, more: usize) -> Result<(), String> {
        let confirmed = self.checker.confirmed() + more;
        self.until("the set confirms again", |all| {
            all.leader().is_some() && all.checker.confirmed() > confirmed
        })
    }

    /// Whether the voters lack next to nothing that the leader has: it goes on writing.
    fn are_equal(&self) -> bool {
        let Some((_, leader)) = self.leader() else {
            return false;
        };
        let Some(applied) = leader.status().applied else {
            return false;
        };
        self.voters().into_iter().all(|id| {
            let node = self.nodes.iter().find(|node| node.info.id == id);
            node.is_some_and(|node| node.store.state().applied.index + 20 >= applied)
        })
    }

    fn standings(&self) -> String {
        let standings = self.nodes.iter().map(|node| {
            let standing = self.network.member(node.info.id).map(|(_, member)| {
                let status = member.status();
                let standing = match status.standing {
                    Standing::Leads(_) => "leads".to_owned(),
                    Standing::Follows { leader, .. } => format!("follows {}", leader.name),
                    Standing::NoMajority => "no majority".to_owned(),
                };
                let members: Vec<_> = status.members.iter().map(|it| &it.member.name).collect();
                format!(
                    "{standing}, term {}, last {:?}, applied {:?}, {members:?}",
                    status.term, status.last_index, status.applied
                )
            });
            format!("{}: {standing:?}", node.info.name)
        });
        standings.collect::<Vec<_>>().join("; ")
    }
}

/// A number that was drawn below a length.
pub(super) fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}
