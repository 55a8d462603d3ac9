//! The store of a member in memory, over a simulated disk: what a crash may leave of a log. The simulation of a set runs
//! on it, and a test of the store on disk runs the same commands on both.

mod comparing; // what a start on disk has found, beside it
mod contents; // what it holds, and what a crash may leave of it
mod snapshot; // all of it, for another member

use std::ops::Range;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::keys::KeyspaceName;
use super::writes::{Change, Write};
use super::{Batch, EntryId, Identity, Journal, Proposal, Replica, ReplicaState, StoreError, Vote};

use contents::{Access, Begun, Contents, LogChange, id_at, position};
pub(crate) use contents::{DiskFault, Entries, Plant};
use snapshot::{ModelSnapshot, ReceivedModel, begun_block};

/// The key of the numbers that simulated entries hold.
const NUMBER: &[u8] = b"simulated";

/// The store of a member in memory.
#[derive(Debug, Default)]
pub(crate) struct ReplicaModel(Mutex<Contents>);

impl ReplicaModel {
    /// The store of a new node, whose disk finds by this seed what a crash has left.
    pub(crate) fn of_node(node: u64, seed: u64) -> ReplicaModel {
        ReplicaModel(Mutex::new(Contents {
            identity: Some(Identity { node, set: None }),
            luck: Some(StdRng::seed_from_u64(seed)),
            ..Contents::default()
        }))
    }

    /// The store of a broker that ran alone and has written these numbers.
    pub(crate) fn of_broker(node: u64, seed: u64, numbers: Range<u64>) -> ReplicaModel {
        let model = ReplicaModel::of_node(node, seed);
        let numbered = numbers.map(ReplicaModel::numbered);
        let log: Entries = (1..)
            .map(|index| EntryId { term: 1, index })
            .zip(numbered)
            .collect();
        {
            let mut contents = model.0.lock();
            contents.vote.term = 1;
            contents.applied = log.len() as u64;
            contents.checkpointed = contents.applied;
            contents.start(log);
        }
        model
    }

    /// A change that holds a number.
    pub(crate) fn numbered(number: u64) -> Proposal {
        let write = Write {
            space: KeyspaceName::Meta,
            key: Bytes::from_static(NUMBER),
            change: Change::Put(Bytes::copy_from_slice(&number.to_le_bytes())),
        };
        Proposal::from_writes(vec![write])
    }

    /// The number that this change holds.
    pub(crate) fn number(proposal: &Proposal) -> Option<u64> {
        match proposal.writes() {
            [
                Write {
                    key,
                    change: Change::Put(value),
                    ..
                },
            ] if **key == *NUMBER => Some(u64::from_le_bytes(value[..].try_into().unwrap())),
            _ => None,
        }
    }

    /// This fault is in the store.
    pub(crate) fn plant(&self, plant: Plant) {
        self.0.lock().plant = Some(plant);
    }

    /// How the disk is from now on.
    pub(crate) fn set_fault(&self, fault: DiskFault) {
        self.0.lock().fault = fault;
    }

    /// Snapshots that have taken the place of everything.
    pub(crate) fn installed(&self) -> u64 {
        self.0.lock().installed
    }

    pub(crate) fn truncations(&self) -> u64 {
        self.0.lock().truncations
    }

    /// What it holds.
    pub(crate) fn state(&self) -> ReplicaState {
        self.0.lock().state()
    }

    /// The entries that are applied, from the first one on.
    pub(crate) fn applied(&self) -> Entries {
        let contents = self.0.lock();
        contents.log[..position(contents.applied)].to_vec()
    }

    /// The process is lost, and the store is opened again: what was written is there.
    pub(crate) fn end_process(&self) {
        let mut contents = self.0.lock();
        let log = contents.log.clone();
        contents.start(log);
        if contents.plant == Some(Plant::BringsBackReplaced) {
            contents.suffer();
        }
    }

    /// The process and the machine's power are lost, and the store is opened again.
    pub(crate) fn lose_power(&self) {
        let mut contents = self.0.lock();
        let majorities = std::mem::take(&mut contents.majorities);
        let at = position(contents.choose(majorities.len() as u64));
        if let Some(majority) = majorities.get(at) {
            contents.majority = *majority;
        }
        let span = contents.applied - contents.checkpointed;
        contents.applied = contents.checkpointed + contents.choose(span);
        contents.open_again();
        contents.suffer();
    }

    /// The whole log, with the entries that are purged.
    pub(crate) fn log(&self) -> Entries {
        self.0.lock().log.clone()
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
}

impl Replica for ReplicaModel {
    type Outgoing = ModelSnapshot;
    type Incoming = ReceivedModel;
    type Received = ReceivedModel;

    fn identity(&self) -> Result<Option<Identity>, StoreError> {
        Ok(self.0.lock().identity)
    }

    fn note_set(&self, set: u64) -> Result<(), StoreError> {
        let mut contents = self.0.lock();
        contents.check(Access::Write)?;
        let identity = contents.identity.as_mut().ok_or(StoreError::Closed)?;
        identity.set = Some(set);
        Ok(())
    }

    fn begin_set(&self, members: &[u8]) -> Result<(), StoreError> {
        let mut contents = self.0.lock();
        contents.check(Access::Sync)?;
        contents.checkpointed = contents.applied;
        contents.begun = Some(Begun {
            after: contents.applied,
            members: members.to_vec(),
        });
        Ok(())
    }

    fn append_entry(&self, id: EntryId, proposal: &Proposal) -> Result<(), StoreError> {
        let mut contents = self.0.lock();
        contents.check(Access::Write)?;
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
        contents.check(Access::Sync)?;
        let last = contents.log.len() as u64;
        match contents.plant {
            Some(Plant::SyncsNothing) => return Ok(()),
            Some(Plant::AppliesEarly) => contents.applied = last,
            Some(Plant::LosesVotes | Plant::BringsBackReplaced | Plant::LosesLastEntry) | None => {}
        }
        if last > contents.covered {
            contents.sync();
            contents.covered = last;
        }
        Ok(())
    }

    fn truncate_log(&self, last: u64) -> Result<(), StoreError> {
        let mut contents = self.0.lock();
        contents.check(Access::Sync)?;
        if last < contents.applied || last > contents.log.len() as u64 {
            return Err(StoreError::Corrupt(format!("truncated after {last}")));
        }
        contents.replaced = contents.log.clone();
        contents.truncations += 1;
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

    fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.0.lock().log.is_empty())
    }

    fn save_vote(&self, vote: Vote) -> Result<(), StoreError> {
        let mut contents = self.0.lock();
        contents.check(Access::Sync)?;
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
        let is_durable = contents.plant == Some(Plant::SyncsNothing)
            || contents.synced.get(..position(upto)) == contents.log.get(..position(upto));
        if !is_durable {
            return Err(StoreError::Corrupt(format!("{upto} is not durable")));
        }
        contents.applied = contents.applied.max(upto);
        Ok(())
    }

    /// An entry counts as a byte.
    fn kept_entries(&self) -> Result<(usize, u64), StoreError> {
        let contents = self.0.lock();
        let kept = contents.log.len() - position(contents.purged);
        Ok((kept, kept as u64))
    }

    fn excess_upto(&self, keep_bytes: u64) -> Result<u64, StoreError> {
        let contents = self.0.lock();
        let excess = (contents.log.len() as u64).saturating_sub(keep_bytes);
        Ok(excess.max(contents.purged))
    }

    fn snapshot(&self) -> Result<ModelSnapshot, StoreError> {
        let contents = self.0.lock();
        let applied = &contents.log[..position(contents.applied)];
        let mut blocks: Vec<Proposal> = applied.iter().map(|(_, block)| block.clone()).collect();
        if let Some(begun) = &contents.begun {
            blocks.insert(position(begun.after), begun_block(begun));
        }
        Ok(ModelSnapshot {
            id: id_at(&contents.log, contents.applied),
            members: contents.members(),
            blocks: blocks.into_iter(),
        })
    }

    fn receive_snapshot(&self) -> Result<ReceivedModel, StoreError> {
        Ok(ReceivedModel::default())
    }

    fn install_snapshot(&self, received: ReceivedModel) -> Result<(), StoreError> {
        let mut contents = self.0.lock();
        let ReceivedModel { log, begun } = received;
        let last = log.last().map_or(EntryId::default(), |(id, _)| *id);
        if id_at(&contents.log, last.index) != last {
            contents.synced.clone_from(&log);
            contents.covered = last.index;
            contents.log = log;
            contents.begun = begun;
            contents.changes.clear();
            contents.forgotten.clear();
            contents.purged = last.index;
            contents.installed += 1;
        }
        contents.applied = contents.applied.max(last.index);
        contents.checkpointed = contents.checkpointed.max(last.index);
        Ok(())
    }
}

/// A set's store takes no batches by itself.
impl Journal for ReplicaModel {
    fn append(&self, _: &Batch) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    fn sync(&self) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    fn apply(&self) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut contents = self.0.lock();
        if contents.fault != DiskFault::None {
            return Err(StoreError::Closed);
        }
        contents.open_again();
        Ok(())
    }
}
