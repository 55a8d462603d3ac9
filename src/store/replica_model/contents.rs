//! What a member's store in memory holds, and what a crash may leave of it.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::store::{EntryId, Identity, Proposal, ReplicaState, StoreError, Vote};

/// Entries of a log from the first one on.
pub(crate) type Entries = Vec<(EntryId, Proposal)>;

/// How the simulated disk fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DiskFault {
    #[default]
    None,
    /// Writes and syncs fail.
    Broken,
    /// Writes fail, and what was written can be synced.
    Full,
}

/// A fault of the store that a simulation must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// A sync returns before anything is durable: so a node answers, and confirms, before its flush.
    SyncsNothing,
    /// A power loss takes all votes.
    LosesVotes,
    /// A crash brings back what was cut off the log and replaced.
    BringsBackReplaced,
    /// Entries are applied as soon as they are durable here.
    AppliesEarly,
    /// A power loss takes the last entry that was synced.
    LosesLastEntry,
}

#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) log: Entries,
    /// The log as of the last sync.
    pub(super) synced: Entries,
    /// What was done since, in order.
    pub(super) changes: Vec<LogChange>,
    /// The end of the log up to which the last sync covers it.
    pub(super) covered: u64,
    /// Longer logs that the disk may hold, whose ends a start has forgotten. They may come back until others are synced.
    pub(super) forgotten: Vec<Entries>,
    pub(super) purged: u64,
    pub(super) applied: u64,
    /// What a crash leaves applied at least.
    pub(super) checkpointed: u64,
    pub(super) majority: EntryId,
    /// Earlier values that a power loss may bring back.
    pub(super) majorities: Vec<EntryId>,
    pub(super) vote: Vote,
    /// The record of members that a set has begun with here, and the last entry from before.
    pub(super) begun: Option<Begun>,
    pub(super) identity: Option<Identity>,
    pub(super) fault: DiskFault,
    /// After a failure nothing works until the store is opened again.
    pub(super) has_failed: bool,
    /// What an opening finds is chosen by it.
    pub(super) luck: Option<StdRng>,
    pub(super) plant: Option<Plant>,
    /// Snapshots that have taken the place of everything.
    pub(super) installed: u64,
    pub(super) truncations: u64,
    /// What was cut off the log last, with all that was before.
    pub(super) replaced: Entries,
}

/// How a set has begun with what a node had.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) after: u64,
    pub(super) members: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(super) enum LogChange {
    Append(EntryId, Proposal),
    Truncate(u64),
}

/// A log after these changes. What is cut off stays on the disk until something replaces it, so a start may find it
/// again (`Cut::Undone`).
pub(super) fn replay(log: &Entries, changes: &[LogChange], cut: Cut) -> Entries {
    let mut log = log.clone();
    for change in changes {
        match change {
            LogChange::Append(id, proposal) => {
                log.truncate(position(id.index - 1));
                log.push((*id, proposal.clone()));
            }
            LogChange::Truncate(last) if cut == Cut::Done => log.truncate(position(*last)),
            LogChange::Truncate(_) => {}
        }
    }
    log
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    Sync,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Done,
    Undone,
}

pub(super) fn position(index: u64) -> usize {
    usize::try_from(index).unwrap()
}

pub(super) fn id_at(log: &Entries, index: u64) -> EntryId {
    let at = index.checked_sub(1).map(position);
    let found = at.and_then(|at| log.get(at));
    found.map_or(EntryId::default(), |(id, _)| *id)
}

impl Contents {
    pub(super) fn check(&mut self, access: Access) -> Result<(), StoreError> {
        let fails = match self.fault {
            DiskFault::None => false,
            DiskFault::Broken => true,
            DiskFault::Full => access == Access::Write,
        };
        self.has_failed |= fails;
        match self.has_failed {
            true => Err(StoreError::Closed),
            false => Ok(()),
        }
    }

    /// A number up to this one, by chance.
    pub(super) fn choose(&mut self, most: u64) -> u64 {
        let luck = self.luck.as_mut();
        luck.map_or(most, |luck| luck.random_range(0..=most))
    }

    /// Takes one of the logs that the disk may hold.
    pub(super) fn open_again(&mut self) {
        let outcomes = self.outcomes();
        let log = outcomes[position(self.choose(outcomes.len() as u64 - 1))].clone();
        let is_longer = |it: &Entries| it.len() > log.len() && it.starts_with(&log);
        self.forgotten = outcomes.into_iter().filter(is_longer).collect();
        self.forgotten.dedup();
        self.start(log);
    }

    /// What was done is durable.
    pub(super) fn sync(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        self.forgotten.clear();
        let is_cut = |change: &LogChange| matches!(change, LogChange::Truncate(_));
        if !changes.iter().any(is_cut) {
            let from = self.synced.len();
            self.synced.extend_from_slice(&self.log[from..]);
            return;
        }
        let longer = replay(&self.synced, &changes, Cut::Undone);
        self.synced = replay(&self.synced, &changes, Cut::Done);
        if longer.len() > self.synced.len() && longer.starts_with(&self.synced) {
            self.forgotten.push(longer);
        }
    }

    /// A power loss does what the planted fault does.
    pub(super) fn suffer(&mut self) {
        match self.plant {
            Some(Plant::LosesVotes) => self.vote = Vote::default(),
            Some(Plant::BringsBackReplaced) if !self.replaced.is_empty() => {
                let log = self.replaced.clone();
                self.start(log);
            }
            Some(Plant::LosesLastEntry) => {
                let mut log = self.log.clone();
                log.pop();
                self.applied = self.applied.min(log.len() as u64);
                self.start(log);
            }
            Some(Plant::SyncsNothing | Plant::AppliesEarly | Plant::BringsBackReplaced) | None => {}
        }
    }

    /// What was found is written and synced again, and what a majority has is applied.
    pub(super) fn start(&mut self, log: Entries) {
        self.synced.clone_from(&log);
        self.covered = log.len() as u64;
        self.log = log;
        self.changes.clear();
        self.has_failed = false;
        self.applied = self.applied.min(self.covered);
        self.purged = self.purged.min(self.applied);
        self.applied = self.majority();
    }

    /// What the disk may hold: any part of the changes, from the first one on.
    pub(super) fn outcomes(&self) -> Vec<Entries> {
        let mut outcomes = Vec::new();
        for kept in (0..=self.changes.len()).rev() {
            for cut in [Cut::Done, Cut::Undone] {
                outcomes.push(replay(&self.synced, &self.changes[..kept], cut));
            }
        }
        for longer in &self.forgotten {
            for end in self.synced.len()..=longer.len() {
                outcomes.push(longer[..end].to_vec());
            }
        }
        outcomes
    }

    pub(super) fn majority(&self) -> u64 {
        let is_there = id_at(&self.log, self.majority.index) == self.majority;
        if is_there { self.majority.index } else { 0 }.max(self.applied)
    }

    pub(super) fn members(&self) -> Option<Vec<u8>> {
        let after = self.begun.as_ref().map_or(0, |begun| begun.after);
        let applied = position(after)..position(self.applied);
        let mut entries = self.log.get(applied).unwrap().iter().rev();
        let last = entries.find_map(|(_, it)| it.members());
        match (last, &self.begun) {
            (Some(members), _) => Some(members.to_vec()),
            (None, begun) => begun.as_ref().map(|begun| begun.members.clone()),
        }
    }

    pub(super) fn state(&self) -> ReplicaState {
        ReplicaState {
            purged: id_at(&self.log, self.purged),
            last: id_at(&self.log, self.log.len() as u64),
            applied: id_at(&self.log, self.applied),
            majority: self.majority(),
            vote: self.vote,
            members: self.members(),
        }
    }
}
