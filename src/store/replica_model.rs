//! The store of a member in memory, over a simulated disk: what a crash may leave of a log. The simulation of a set runs
//! on it, and a test of the store on disk runs the same commands on both.

use std::ops::Range;

use parking_lot::Mutex;

use super::{
    EntryId, IncomingSnapshot, OutgoingSnapshot, Proposal, Replica, ReplicaState, StoreError, Vote,
};

/// Entries of a log from the first one on.
pub(crate) type Entries = Vec<(EntryId, Proposal)>;

/// The store of a member in memory.
#[derive(Debug, Default)]
pub(crate) struct ReplicaModel(Mutex<Contents>);

#[derive(Clone, Debug, Default)]
struct Contents {
    log: Entries,
    /// The log as of the last sync.
    synced: Entries,
    /// What was done since, in order.
    changes: Vec<LogChange>,
    /// The end of the log up to which the last sync covers it.
    covered: u64,
    /// Longer logs that the disk may hold, whose ends a start has forgotten. They may come back until others are synced.
    forgotten: Vec<Entries>,
    purged: u64,
    applied: u64,
    /// What a crash leaves applied at least.
    checkpointed: u64,
    majority: EntryId,
    /// Earlier values that a power loss may bring back.
    majorities: Vec<EntryId>,
    vote: Vote,
}

#[derive(Clone, Debug)]
enum LogChange {
    Append(EntryId, Proposal),
    Truncate(u64),
}

/// A log after these changes. What is cut off stays on the disk until something replaces it, so a start may find it
/// again (`Cut::Undone`).
fn replay(log: &Entries, changes: &[LogChange], cut: Cut) -> Entries {
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
enum Cut {
    Done,
    Undone,
}

fn position(index: u64) -> usize {
    usize::try_from(index).unwrap()
}

fn id_at(log: &Entries, index: u64) -> EntryId {
    let at = index.checked_sub(1).map(position);
    let found = at.and_then(|at| log.get(at));
    found.map_or(EntryId::default(), |(id, _)| *id)
}

impl Contents {
    /// What the disk may hold: any part of the changes, from the first one on.
    fn outcomes(&self) -> Vec<Entries> {
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

    fn majority(&self) -> u64 {
        let is_there = id_at(&self.log, self.majority.index) == self.majority;
        if is_there { self.majority.index } else { 0 }.max(self.applied)
    }

    fn members(&self) -> Option<Vec<u8>> {
        let applied = self.log.get(..position(self.applied)).unwrap();
        let last = applied.iter().rev().find_map(|(_, it)| it.members());
        last.map(|members| members.to_vec())
    }

    fn state(&self) -> ReplicaState {
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

impl ReplicaModel {
    /// The whole log, with the entries that are purged.
    pub(crate) fn log(&self) -> Entries {
        self.0.lock().log.clone()
    }

    /// Whether this entry may be on the disk.
    pub(crate) fn may_have(&self, entry: &(EntryId, Proposal)) -> bool {
        let contents = self.0.lock();
        contents.log.contains(entry) || contents.outcomes().iter().flatten().any(|it| it == entry)
    }

    /// What a power loss cannot take.
    pub(crate) fn synced(&self) -> Entries {
        self.0.lock().synced.clone()
    }

    /// Everything that is applied survives a crash.
    pub(crate) fn checkpoint(&self) {
        let mut contents = self.0.lock();
        contents.checkpointed = contents.applied;
    }

    /// Takes what a start has found after a crash, or says why no start may find it. `found` are the kept entries.
    pub(crate) fn started_with(
        &self,
        state: &ReplicaState,
        found: &Entries,
        lost_power: bool,
    ) -> Result<(), String> {
        let mut contents = self.0.lock();
        let base = state.purged.index;
        let fits = |log: &Entries| log.get(position(base)..) == Some(&found[..]);
        let outcomes = contents.outcomes();
        let log = outcomes.iter().find(|log| fits(log)).cloned();
        let log = log.ok_or_else(|| {
            let ids = |log: &Entries| {
                let ids = log
                    .iter()
                    .map(|(id, _)| format!("{}.{}", id.term, id.index));
                ids.collect::<Vec<_>>().join(" ")
            };
            format!(
                "{} after {base}, from synced {} with {:?}",
                ids(found),
                ids(&contents.synced),
                contents.changes
            )
        })?;
        let mut majorities = contents.majorities.clone();
        majorities.push(contents.majority);
        let is_known = |majority: &EntryId| id_at(&log, majority.index) == *majority;
        let known = majorities.iter().filter(|it| is_known(it));
        let upto = known.map(|it| it.index).max().unwrap_or(0);
        let from = match lost_power {
            true => contents.checkpointed,
            false => contents.applied.max(if is_known(&contents.majority) {
                contents.majority.index
            } else {
                0
            }),
        };
        let applied = state.applied;
        if applied.index < from.min(contents.checkpointed)
            || applied.index > upto.max(contents.applied)
        {
            return Err(format!("{applied:?} is applied, {from} to {upto} may be"));
        }
        if base > contents.purged + 1 || id_at(&log, applied.index) != applied {
            return Err(format!("begins after {base}, {applied:?} is applied"));
        }
        if state.vote != contents.vote {
            return Err(format!("{:?} and not {:?}", state.vote, contents.vote));
        }
        contents.applied = applied.index;
        contents.purged = base;
        contents.majorities.clear();
        contents.majority = id_at(&log, state.majority);
        let is_longer = |it: &Entries| it.len() > log.len() && it.starts_with(&log);
        contents.forgotten = outcomes.into_iter().filter(is_longer).collect();
        start(&mut contents, log);
        Ok(())
    }
}

/// What was found is written and synced again, and what a majority has is applied.
fn start(contents: &mut Contents, log: Entries) {
    contents.synced.clone_from(&log);
    contents.covered = log.len() as u64;
    contents.log = log;
    contents.changes.clear();
    contents.purged = contents.purged.min(contents.applied);
    contents.applied = contents.majority();
}

/// Everything that was applied, an entry a block.
pub(crate) struct ModelSnapshot {
    id: EntryId,
    members: Option<Vec<u8>>,
    blocks: std::vec::IntoIter<Proposal>,
}

impl OutgoingSnapshot for ModelSnapshot {
    fn id(&self) -> EntryId {
        self.id
    }

    fn members(&self) -> Option<&[u8]> {
        self.members.as_deref()
    }

    fn leave_out_damaged(&mut self) {}

    fn next_block(&mut self) -> Result<Option<Proposal>, StoreError> {
        Ok(self.blocks.next())
    }
}

/// The blocks of a snapshot, from the first one on. The terms of all but the last are not known.
pub(crate) struct ReceivedModel(Entries);

impl IncomingSnapshot for ReceivedModel {
    type Received = ReceivedModel;

    fn take(&mut self, block: &Proposal) -> Result<(), StoreError> {
        let index = self.0.len() as u64 + 1;
        self.0.push((EntryId { term: 0, index }, block.clone()));
        Ok(())
    }

    fn finish(mut self, id: EntryId) -> Result<ReceivedModel, StoreError> {
        let last = self.0.last_mut().filter(|last| last.0.index == id.index);
        let last = last.ok_or_else(|| StoreError::Corrupt("a part of a snapshot".to_owned()))?;
        last.0 = id;
        Ok(self)
    }
}

impl Replica for ReplicaModel {
    type Outgoing = ModelSnapshot;
    type Incoming = ReceivedModel;
    type Received = ReceivedModel;

    fn append_entry(&self, id: EntryId, proposal: &Proposal) -> Result<(), StoreError> {
        let mut contents = self.0.lock();
        let last = id_at(&contents.log, contents.log.len() as u64);
        if id.index != contents.log.len() as u64 + 1 || id.term < last.term {
            return Err(StoreError::Corrupt(format!("{id:?} after {last:?}")));
        }
        contents.log.push((id, proposal.clone()));
        let change = LogChange::Append(id, proposal.clone());
        contents.changes.push(change);
        Ok(())
    }

    fn sync_log(&self) -> Result<(), StoreError> {
        let mut contents = self.0.lock();
        let last = contents.log.len() as u64;
        if last > contents.covered {
            let longer = replay(&contents.synced, &contents.changes, Cut::Undone);
            contents.synced = replay(&contents.synced, &contents.changes, Cut::Done);
            contents.changes.clear();
            contents.forgotten.clear();
            if longer.len() > contents.synced.len() && longer.starts_with(&contents.synced) {
                contents.forgotten.push(longer);
            }
            contents.covered = last;
        }
        Ok(())
    }

    fn truncate_log(&self, last: u64) -> Result<(), StoreError> {
        let mut contents = self.0.lock();
        if last < contents.applied || last > contents.log.len() as u64 {
            return Err(StoreError::Corrupt(format!("truncated after {last}")));
        }
        contents.log.truncate(position(last));
        contents.changes.push(LogChange::Truncate(last));
        contents.covered = contents.covered.min(last);
        Ok(())
    }

    fn purge_log(&self, upto: u64) -> Result<(), StoreError> {
        let mut contents = self.0.lock();
        contents.purged = contents.purged.max(upto.min(contents.applied));
        Ok(())
    }

    fn read_entries(
        &self,
        range: Range<u64>,
        max_bytes: u64,
    ) -> Result<Vec<(EntryId, Proposal)>, StoreError> {
        let contents = self.0.lock();
        let kept = contents.log.iter().skip(position(contents.purged));
        let mut bytes = 0;
        let mut found = Vec::new();
        for (id, proposal) in kept.filter(|(id, _)| range.contains(&id.index)) {
            bytes += proposal.weight() as u64;
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push((*id, proposal.clone()));
        }
        Ok(found)
    }

    fn term_of(&self, index: u64) -> Option<u64> {
        let contents = self.0.lock();
        let is_kept = (contents.purged..=contents.log.len() as u64).contains(&index);
        is_kept.then(|| id_at(&contents.log, index).term)
    }

    fn replica_state(&self) -> Result<ReplicaState, StoreError> {
        Ok(self.0.lock().state())
    }

    fn save_vote(&self, vote: Vote) -> Result<(), StoreError> {
        let mut contents = self.0.lock();
        contents.vote = vote;
        Ok(())
    }

    fn note_majority(&self, id: EntryId) {
        let mut contents = self.0.lock();
        let before = std::mem::replace(&mut contents.majority, id);
        contents.majorities.push(before);
    }

    fn apply_entries(&self, upto: u64) -> Result<(), StoreError> {
        let mut contents = self.0.lock();
        if upto > contents.synced.len() as u64
            || contents.synced[..position(upto)] != contents.log[..position(upto)]
        {
            return Err(StoreError::Corrupt(format!("{upto} is not durable")));
        }
        contents.applied = contents.applied.max(upto);
        Ok(())
    }

    fn excess_upto(&self, _: u64) -> Result<u64, StoreError> {
        Ok(self.0.lock().purged)
    }

    fn snapshot(&self) -> Result<ModelSnapshot, StoreError> {
        let contents = self.0.lock();
        let applied = &contents.log[..position(contents.applied)];
        let blocks: Vec<Proposal> = applied.iter().map(|(_, block)| block.clone()).collect();
        Ok(ModelSnapshot {
            id: id_at(&contents.log, contents.applied),
            members: contents.members(),
            blocks: blocks.into_iter(),
        })
    }

    fn receive_snapshot(&self) -> Result<ReceivedModel, StoreError> {
        Ok(ReceivedModel(Entries::new()))
    }

    fn install_snapshot(&self, received: ReceivedModel) -> Result<(), StoreError> {
        let mut contents = self.0.lock();
        let ReceivedModel(log) = received;
        let last = log.last().map_or(EntryId::default(), |(id, _)| *id);
        if id_at(&contents.log, last.index) != last {
            contents.synced.clone_from(&log);
            contents.covered = last.index;
            contents.log = log;
            contents.changes.clear();
            contents.forgotten.clear();
            contents.purged = last.index;
        }
        contents.applied = contents.applied.max(last.index);
        contents.checkpointed = contents.checkpointed.max(last.index);
        Ok(())
    }
}
