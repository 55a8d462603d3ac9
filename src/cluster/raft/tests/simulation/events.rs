//! What may happen to a simulated set: crashes, pauses, cuts, bad weather, disks and clocks that go wrong, handovers.

use std::sync::Arc;
use std::time::Duration;

use super::network::Weather;
use super::node::ELECTION_TIMEOUT;
use super::schedule::{Schedule, index};
use crate::store::replica_model::DiskFault;

/// How far the clocks go wrong, in parts per million. The lease allows for more.
const DRIFT: u64 = 30_000;

/// What a crash takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    Process,
    Power,
}

impl Schedule {
    pub(super) fn happen(&mut self) {
        let at = self.target();
        match self.world.below(38) {
            0..2 => self.crash(at, Loss::Process),
            2..4 => self.crash(at, Loss::Power),
            4 => {
                for at in 0..self.nodes.len() {
                    self.crash(at, Loss::Power);
                }
            }
            5..8 => self.start_all(),
            8 => self.pause(at),
            9..12 => self.cut(at),
            12 => self.change_weather(),
            13 => self.harm_disk(at),
            14 => self.change_clock(at),
            15..18 => self.transfer(),
            18..20 => self.grow(),
            20..22 => self.shrink(),
            22..25 => self.heal_network(),
            25 => self.calm_network(),
            26..30 => self.cut_for_a_moment(at),
            30..32 => self.pause_for_a_moment(at),
            32..35 => self.start_others_anew(),
            35..37 => self.damage(at),
            _ => self.help_nodes(),
        }
    }

    /// The node to which something happens: often the one that serves.
    fn target(&self) -> usize {
        let serves = self.serving();
        let any = index(self.world.below(self.nodes.len() as u64));
        serves.filter(|_| self.world.chance(0.4)).unwrap_or(any)
    }

    /// The node that serves.
    fn serving(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.serves(&self.world))
    }

    pub(super) fn crash(&mut self, at: usize, loss: Loss) {
        let node = &mut self.nodes[at];
        let Some(process) = node.process else {
            return;
        };
        node.ended();
        let id = node.info.id;
        self.checker.compare(id, &node.store);
        self.network.leave(id);
        self.world.kill(process);
        match loss {
            Loss::Process => node.store.end_process(),
            Loss::Power => node.store.lose_power(),
        }
        self.tell(format!("n{id} loses its {loss:?}"));
        // The links of the others end.
        for other in 0..self.nodes.len() {
            if let Some((process, member)) = self.member(other)
                && self.world.chance(0.8)
            {
                self.world.spawn_on(process, async move {
                    member.succeed(id).await;
                });
            }
        }
    }

    pub(super) fn start_all(&mut self) {
        let mut nodes = std::mem::take(&mut self.nodes);
        for node in &mut nodes {
            if node.process.is_none() {
                node.store.set_fault(DiskFault::None);
                self.start(node);
            }
        }
        self.nodes = nodes;
        self.tell("all are started".to_owned());
    }

    fn pause(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if let Some(process) = node.process {
            let id = node.info.id;
            if self.world.is_paused(process) {
                self.world.resume(process);
                self.tell(format!("n{id} goes on"));
            } else {
                let sleeps = self.world.chance(0.4);
                self.world.pause(process, sleeps);
                self.tell(format!("n{id} is paused, its machine sleeps: {sleeps}"));
            }
        }
    }

    /// About as long as a leadership lasts without an answer.
    fn moment(&self) -> Duration {
        self.world
            .between(ELECTION_TIMEOUT / 3, ELECTION_TIMEOUT * 2)
    }

    fn pause_for_a_moment(&mut self, at: usize) {
        let node = &self.nodes[at];
        let Some(process) = node.process else {
            return;
        };
        let (world, time) = (Arc::clone(&self.world), self.moment());
        let sleeps = self.world.chance(0.4);
        self.world.pause(process, sleeps);
        self.world.spawn_outside(async move {
            world.timer(time).await;
            world.resume(process);
        });
        let id = node.info.id;
        self.tell(format!(
            "n{id} is paused for {time:?}, its machine sleeps: {sleeps}"
        ));
    }

    fn cut_for_a_moment(&mut self, at: usize) {
        self.isolate(at);
        self.heal_after(self.moment());
    }

    fn heal_after(&mut self, time: Duration) {
        let (world, network) = (Arc::clone(&self.world), Arc::clone(&self.network));
        self.world.spawn_outside(async move {
            world.timer(time).await;
            network.heal();
        });
        self.tell(format!("the network heals after {time:?}"));
    }

    /// The leader is alone for a while, and the others start again at once: they do not know when they have heard it.
    pub(super) fn start_others_anew(&mut self) {
        let Some(leader) = self.serving() else {
            return;
        };
        self.isolate(leader);
        self.heal_after(ELECTION_TIMEOUT * 2);
        let loss = match self.world.chance(0.5) {
            true => Loss::Process,
            false => Loss::Power,
        };
        let does_one_stay = self.world.chance(0.3);
        let others = (0..self.nodes.len()).filter(|at| *at != leader);
        for at in others.skip(usize::from(does_one_stay)) {
            self.crash(at, loss);
        }
        self.start_all();
    }

    fn cut(&mut self, at: usize) {
        let id = self.nodes[at].info.id;
        let others: Vec<u64> = self.nodes.iter().map(|node| node.info.id).collect();
        let (there, back) = match self.world.below(3) {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        let one = others[index(self.world.below(others.len() as u64))];
        let is_whole = self.world.chance(0.6);
        for other in others {
            if other == id || (!is_whole && other != one) {
                continue;
            }
            if there {
                self.network.cut(id, other);
            }
            if back {
                self.network.cut(other, id);
            }
            if self.world.chance(0.3) {
                self.network.break_connections(id, other);
                self.network.break_connections(other, id);
            }
        }
        let to = if is_whole { 0 } else { one };
        self.tell(format!("n{id} is cut off: {there}, {back}, from {to}"));
    }

    /// A node does not hear the others for a moment, and they hear it.
    fn deafen(&mut self, id: u64) {
        for other in &self.nodes {
            self.network.cut(other.info.id, id);
        }
        self.tell(format!("n{id} hears nobody"));
        self.heal_after(self.moment());
    }

    /// Cuts a node off from all others.
    pub(super) fn isolate(&mut self, at: usize) {
        let id = self.nodes[at].info.id;
        for other in &self.nodes {
            self.network.cut(id, other.info.id);
            self.network.cut(other.info.id, id);
        }
        self.tell(format!("n{id} is alone"));
    }

    pub(super) fn change_weather(&mut self) {
        let weather = Weather {
            delay_max: self
                .world
                .between(Duration::from_millis(1), Duration::from_millis(120)),
            lost: self.world.below(15) as f64 / 100.0,
            twice: self.world.below(10) as f64 / 100.0,
        };
        self.network.set_weather(weather);
        self.tell(format!("{weather:?}"));
    }

    fn harm_disk(&mut self, at: usize) {
        let node = &self.nodes[at];
        let id = node.info.id;
        let harm = match self.world.below(4) {
            0 => DiskFault::Broken,
            1 => DiskFault::Full,
            _ => {
                let time = self.world.between(Duration::ZERO, Duration::from_secs(4));
                if let Some(process) = node.process {
                    self.world.stall(process, time);
                }
                return self.tell(format!("the disk of n{id} stalls for {time:?}"));
            }
        };
        node.store.set_fault(harm);
        self.tell(format!("the disk of n{id}: {harm:?}"));
    }

    fn change_clock(&mut self, at: usize) {
        let rate = 1_000_000 - DRIFT + self.world.below(2 * DRIFT);
        let node = &self.nodes[at];
        if let Some(process) = node.process {
            self.world.set_rate(process, rate);
        }
        self.tell(format!("the clock of n{} goes at {rate}", node.info.id));
    }

    fn transfer(&mut self) {
        let Some((process, leader)) = self.leader() else {
            return;
        };
        let to = self.nodes[index(self.world.below(self.nodes.len() as u64))]
            .info
            .id;
        let to = self.world.chance(0.5).then_some(to);
        self.tell(format!("the leader hands over to {to:?}"));
        let me = leader.this().id;
        match self.world.below(10) {
            // Most do not hear the old leader any more, or it does not hear them.
            0..2 => self.cut(self.serving().unwrap_or_default()),
            2..6 => self.deafen(me),
            _ => {}
        }
        let checker = Arc::clone(&self.checker);
        self.world.spawn_on(process, async move {
            // Another event may keep it from that.
            let is_over = leader.transfer(to).await.is_ok();
            checker.count("handovers", u64::from(is_over));
        });
    }

    pub(super) fn heal_network(&mut self) {
        self.network.heal();
        self.tell("the network heals".to_owned());
    }

    pub(super) fn calm_network(&mut self) {
        self.network.set_weather(Weather::CALM);
        self.tell("the network is calm".to_owned());
    }

    /// All disks work, and all paused processes go on.
    pub(super) fn help_nodes(&mut self) {
        for node in &self.nodes {
            node.store.set_fault(DiskFault::None);
            if let Some(process) = node.process {
                self.world.resume(process);
                self.world.stall(process, Duration::ZERO);
            }
        }
        self.tell("all disks work, and all processes go on".to_owned());
    }
}
