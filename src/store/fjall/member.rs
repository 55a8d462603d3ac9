//! The store of a member of a set: a data directory enters a set, and the set's replication drives its log.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use super::core::Core;
use super::error::failed;
use super::keyspaces::two_numbers;
use super::open::LOG_DIR;
use super::options::FjallOptions;
use super::snapshot::{Received, SnapshotSource, SnapshotTarget};
use super::{FjallStore, dir, repair, snapshot};
use crate::model::LogId;
use crate::store::log::{EntryId, Vote, VoteFile};
use crate::store::{Batch, Identity, Proposal, Replica, ReplicaState, StoreError, keys};

impl FjallStore {
    /// Opens or creates the store of a member of a set. What a broker that ran alone has left is what the set begins
    /// with.
    pub fn open_member(dir: &Path, options: FjallOptions) -> Result<FjallStore, StoreError> {
        let lock = dir::lock(dir)?;
        let open = || {
            repair::complete(dir)?;
            if Identity::read(dir)?.is_none() {
                enter_set(dir, options)?;
            }
            FjallStore::open_locked(dir, options, lock)
        };
        open().map_err(|error| error.advised(dir))
    }

    /// The changes of a batch, as the set is asked to make them. `removals` are the logs whose removal is proposed and may
    /// not be applied yet. Only an applied removal is the store's own: one that is proposed may never come true.
    pub fn propose(&self, batch: &Batch, removals: &mut HashSet<LogId>) -> Proposal {
        let removed = self.core.removed.lock();
        removals.retain(|log| !removed.dead.contains(log));
        let is_dead = |log: &LogId| removed.dead.contains(log) || removals.contains(log);
        let (proposal, removed_logs) = Proposal::of(batch, is_dead);
        removals.extend(removed_logs);
        proposal
    }
}

impl Replica for FjallStore {
    type Outgoing = SnapshotSource;
    type Incoming = SnapshotTarget;
    type Received = Received;

    fn identity(&self) -> Result<Option<Identity>, StoreError> {
        Identity::read(&self.core.dir)
    }

    fn note_set(&self, set: u64) -> Result<(), StoreError> {
        let identity = self.identity()?.ok_or(StoreError::Closed)?;
        let set = Some(set);
        Identity { set, ..identity }.write(&self.core.dir)
    }

    fn begin_set(&self, members: &[u8]) -> Result<(), StoreError> {
        let open = self.core.open()?;
        let applied = open.changing();
        let mut writes = open.spaces.batch(1);
        writes.insert(&open.spaces.meta, keys::MEMBERS, members);
        writes.commit().map_err(failed("writing"))?;
        drop(applied);
        open.checkpoint_whole()
    }

    fn append_entry(&self, id: EntryId, proposal: &Proposal) -> Result<(), StoreError> {
        let open = self.core.open()?;
        open.append_as(id, proposal.writes().to_vec())
    }

    fn sync_log(&self) -> Result<(), StoreError> {
        self.core.open()?.log.sync()
    }

    fn truncate_log(&self, last: u64) -> Result<(), StoreError> {
        self.core.open()?.truncate(last)
    }

    fn purge_log(&self, upto: u64) -> Result<(), StoreError> {
        let open = self.core.open()?;
        open.log.purge(upto.min(open.applied_index()));
        Ok(())
    }

    fn read_entries(
        &self,
        range: Range<u64>,
        max_bytes: u64,
    ) -> Result<Vec<(EntryId, Proposal)>, StoreError> {
        let entries = self
            .core
            .open()?
            .log
            .read(range.start, range.end, max_bytes)?;
        let proposals = entries
            .into_iter()
            .map(|(id, writes)| (id, Proposal::from_writes(writes)));
        Ok(proposals.collect())
    }

    fn term_of(&self, index: u64) -> Option<u64> {
        self.core.open().ok()?.log.term_of(index)
    }

    fn replica_state(&self) -> Result<ReplicaState, StoreError> {
        let open = self.core.open()?;
        let (purged, last) = open.log.bounds().ok_or(StoreError::Closed)?;
        let vote = open.vote.as_ref().and_then(|vote| vote.lock().vote());
        let members = open.spaces.meta.get(keys::MEMBERS);
        let members = members.map_err(failed("reading"))?;
        let applied = open.applied_id();
        let majority = open.log.majority();
        let is_there = open.log.term_of(majority.index) == Some(majority.term);
        Ok(ReplicaState {
            purged,
            last,
            applied,
            majority: if is_there { majority.index } else { 0 }.max(applied.index),
            vote: vote.ok_or(StoreError::Closed)?,
            members: members.map(|members| members.to_vec()),
        })
    }

    fn is_empty(&self) -> Result<bool, StoreError> {
        let state = self.replica_state()?;
        let begins = state.last.index == 0 && state.applied.index == 0;
        // A directory of an earlier format may have a new log beside its full database.
        Ok(begins && snapshot::is_empty(&self.core.open()?.spaces)?)
    }

    fn save_vote(&self, vote: Vote) -> Result<(), StoreError> {
        let open = self.core.open()?;
        let file = open.vote.as_ref().ok_or(StoreError::Closed)?;
        let mut file = file.lock();
        if file.vote().is_none() {
            return Err(StoreError::Closed);
        }
        file.save(vote)
    }

    fn note_majority(&self, id: EntryId) {
        if let Ok(open) = self.core.open() {
            open.log.record_majority(id);
        }
    }

    fn apply_entries(&self, upto: u64) -> Result<(), StoreError> {
        self.core.wait_for_tables()?;
        let open = self.core.open()?;
        let progress = open.apply_upto(upto)?;
        if open.applied_index() < upto {
            return Err(StoreError::Corrupt(format!(
                "entry {upto} must be applied, and the log ends before it"
            )));
        }
        let overgrown = open.overgrown(&self.core.options).next().is_some();
        drop(open);
        if !progress.removed_logs.is_empty() {
            let mut removed = self.core.removed.lock();
            removed.dead.extend(&progress.removed_logs);
        }
        if overgrown {
            self.sealer.wake();
        }
        self.maintenance.applied(progress);
        Ok(())
    }

    fn kept_entries(&self) -> Result<(usize, u64), StoreError> {
        Ok(self.core.open()?.log.kept())
    }

    fn excess_upto(&self, keep_bytes: u64) -> Result<u64, StoreError> {
        Ok(self.core.open()?.log.excess_upto(keep_bytes))
    }

    fn snapshot(&self) -> Result<SnapshotSource, StoreError> {
        self.snapshot_now()
    }

    fn receive_snapshot(&self) -> Result<SnapshotTarget, StoreError> {
        self.begin_snapshot()
    }

    fn install_snapshot(&self, received: Received) -> Result<(), StoreError> {
        self.install(received)
    }
}

/// Makes a data directory that of a member. The identity is written last: a crash before it leaves a directory that
/// enters anew.
fn enter_set(dir: &Path, options: FjallOptions) -> Result<(), StoreError> {
    let core = Core::new(dir, options)?;
    core.end()?;
    {
        let open = core.open()?;
        // A crash before the identity was written may have left the rest.
        if open.vote.is_none() {
            // Others get what is here as a snapshot: what an earlier release has left is in no entry.
            let has_content = open.log.last() > 0 || !snapshot::is_empty(&open.spaces)?;
            if has_content {
                open.mark()?;
                open.apply()?;
            }
            let term = if has_content { open.log.term() } else { 0 };
            let vote = Vote {
                term,
                ..Vote::default()
            };
            let seed = open.spaces.log_seed()?.unwrap_or(0);
            // A database with a base needs a vote.
            VoteFile::create(&dir.join(LOG_DIR), seed, vote)?;
            let mut writes = open.spaces.batch(1);
            writes.insert(
                &open.spaces.meta,
                keys::BASE,
                two_numbers(term, open.log.last()),
            );
            writes.commit().map_err(failed("writing"))?;
        }
        open.checkpoint_whole()?;
    }
    core.close();
    let node = rand::random::<u64>().max(1);
    Identity { node, set: None }.write(dir)
}
