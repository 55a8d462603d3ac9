//! What happens to a simulated set, by chance, and that it works again afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::checker::Checker;
use super::network::{Network, SimulatedMember};
use super::node::Node;
use super::process::{PPM, Process};
use super::world::World;
use crate::cluster::raft::{MemberRole, Standing};
use crate::store::replica_model::Plant;

/// The number of events and the longest time between two: in some schedules they come fast, in others seldom.
const PACES: [(u64, Duration); 4] = [
    (150, Duration::from_millis(60)),
    (100, Duration::from_millis(200)),
    (50, Duration::from_millis(600)),
    (25, Duration::from_millis(1500)),
];
/// A new set leads within this time, and one without faults works again.
const WORKS_WITHIN: Duration = Duration::from_secs(60);

/// How long a leader with a wrong clock is alone.
const ISOLATED: Duration = Duration::from_secs(2);
/// How often it is looked whether something has come true.
const LOOK: Duration = Duration::from_millis(20);

/// What a schedule has brought.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) events: u64,
    pub(super) polls: u64,
    pub(super) confirmed: u64,
    pub(super) leaderships: u64,
    pub(super) time: Duration,
    pub(super) done: BTreeMap<&'static str, u64>,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
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
            told: Vec::new(),
        }
    }

    pub(super) fn told(&self) -> String {
        self.told.join("\n")
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
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
        if self.planted == Some(Planted::WrongClocks) {
            self.isolate(0);
            self.pass(ISOLATED)?;
            self.heal_network();
        }
        if self.world.chance(0.5) {
            self.change_weather();
        }
        for _ in 0..events {
            self.happen();
            self.pass(self.world.between(Duration::ZERO, pause_max))?;
        }
        self.end_faults();
        self.work_again()
    }

    pub(super) fn tell(&mut self, what: String) {
        let now = self.world.now().as_micros();
        self.told.push(format!("{:>12.3} {what}", now as f64 / 1e3));
    }

    fn form(&mut self) -> Result<(), String> {
        for _ in 0..[3, 3, 3, 1, 5][index(self.world.below(5))] {
            self.add_node();
        }
        let is_there = |node: &Node| self.network.member(node.info.id).is_some();
        self.until("all have started", || self.nodes.iter().all(is_there))?;
        let members: Vec<_> = self.nodes.iter().map(|node| node.info.clone()).collect();
        let (process, member) = self.member(0).ok_or("it has started")?;
        let checker = Arc::clone(&self.checker);
        self.world.spawn_on(process, async move {
            if let Err(failure) = member.form(members).await {
                checker.violate(format!("no set is formed: {failure}"));
            }
        });
        self.until("the new set confirms", || self.checker.confirmed() > 0)
    }

    pub(super) fn add_node(&mut self) {
        self.ids += 1;
        let mut node = Node::new(self.ids, self.world.below(u64::MAX));
        if let Some(Planted::Store(plant)) = self.planted {
            node.store.plant(plant);
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

    fn pass(&self, time: Duration) -> Result<(), String> {
        self.world.pass(time, &mut || self.look());
        for node in &self.nodes {
            self.checker.compare(node.info.id, &node.store);
        }
        self.checker.violation().map_or(Ok(()), Err)
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<(), String> {
        let end = self.world.now() + WORKS_WITHIN;
        while !holds() {
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
    fn work_again(&mut self) -> Result<(), String> {
        self.pass(Duration::from_secs(1))?;
        let confirmed = self.checker.confirmed();
        self.until("the set confirms again", || {
            self.leader().is_some() && self.checker.confirmed() > confirmed + 10
        })?;
        self.until("all voters have the same", || self.are_equal())?;
        for node in &self.nodes {
            self.checker.compare_all(node.info.id, &node.store);
            self.checker.count("snapshots", node.store.installed());
            self.checker.count("truncations", node.store.truncations());
        }
        self.checker.violation().map_or(Ok(()), Err)
    }

    /// Whether the voters lack next to nothing that the leader has: it goes on writing.
    fn are_equal(&self) -> bool {
        let Some((_, leader)) = self.leader() else {
            return false;
        };
        let status = leader.status();
        let Some(applied) = status.applied else {
            return false;
        };
        let voters = status
            .members
            .iter()
            .filter(|it| it.role == MemberRole::Voter);
        voters.map(|voter| voter.member.id).all(|id| {
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
