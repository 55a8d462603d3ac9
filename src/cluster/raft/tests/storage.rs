//! Raft's own tests of a log, over ours. The state machine is in memory: these tests apply entries that they never append.

use std::ops::{Bound, RangeBounds};
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{Stream, StreamExt};
use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, IOFlushed, LogState, RaftLogStorage, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, OptionalSend, RaftLogReader, RaftSnapshotBuilder, StorageError};

use super::super::log::LogStore;
use super::super::types::{Entry, Group};
use super::*;

/// The log of a member, which begins with the entry 0. Raft's tests begin theirs anywhere: blank entries fill the gap,
/// and are not shown.
struct Filled {
    log: LogStore<FjallStore>,
    /// Entries before this index fill a gap.
    shown_from: Arc<AtomicU64>,
}

impl Filled {
    async fn fill(&mut self, upto: u64, like: LogIdOf<Group>) -> std::io::Result<()> {
        let last = self.log.get_log_state().await?.last_log_id;
        let begin = last.map_or(0, |last| last.index() + 1);
        let missing = (begin..upto).map(|index| {
            let id = LogIdOf::<Group>::new(*like.committed_leader_id(), index);
            Entry::new_blank(id)
        });
        let missing: Vec<Entry> = missing.collect();
        if last.is_none() {
            self.shown_from.store(upto, Ordering::Relaxed);
        }
        match missing.is_empty() {
            true => Ok(()),
            false => self.log.append(missing, IOFlushed::noop()).await,
        }
    }

    fn shown(&self, range: &impl RangeBounds<u64>) -> (Bound<u64>, Bound<u64>) {
        let from = self.shown_from.load(Ordering::Relaxed);
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        (Bound::Included(start.max(from)), range.end_bound().cloned())
    }
}

impl RaftLogReader<Group> for Filled {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + std::fmt::Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> std::io::Result<Vec<EntryOf<Group>>> {
        let shown = self.shown(&range);
        self.log.try_get_log_entries(shown).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> std::io::Result<Vec<EntryOf<Group>>> {
        let from = self.shown_from.load(Ordering::Relaxed);
        self.log.limited_get_log_entries(start.max(from), end).await
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = std::io::Result<EntryOf<Group>>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + std::fmt::Debug + OptionalSend,
    {
        let shown = self.shown(&range);
        self.log.entries_stream(shown).await
    }

    async fn read_vote(&mut self) -> std::io::Result<Option<VoteOf<Group>>> {
        self.log.read_vote().await
    }
}

impl RaftLogStorage<Group> for Filled {
    type LogReader = Filled;

    async fn get_log_state(&mut self) -> std::io::Result<LogState<Group>> {
        self.log.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Filled {
        Filled {
            log: self.log.get_log_reader().await,
            shown_from: self.shown_from.clone(),
        }
    }

    async fn save_vote(&mut self, vote: &VoteOf<Group>) -> std::io::Result<()> {
        self.log.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<Group>>) -> std::io::Result<()> {
        self.log.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> std::io::Result<Option<LogIdOf<Group>>> {
        self.log.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Group>) -> std::io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<Group>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        if let Some(first) = entries.first() {
            self.fill(first.log_id().index(), first.log_id()).await?;
        }
        self.log.append(entries, flushed).await
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Group>>) -> std::io::Result<()> {
        self.log.truncate_after(last).await
    }

    async fn purge(&mut self, upto: LogIdOf<Group>) -> std::io::Result<()> {
        self.fill(upto.index() + 1, upto).await?;
        self.log.purge(upto).await
    }
}

/// What is applied, without its data.
#[derive(Clone, Default)]
struct Applied {
    last: Option<LogIdOf<Group>>,
    members: StoredMembershipOf<Group>,
    snapshot: Arc<Mutex<Option<SnapshotMetaOf<Group>>>>,
}

impl Applied {
    fn meta(&self) -> SnapshotMetaOf<Group> {
        SnapshotMetaOf::<Group> {
            last_log_id: self.last,
            last_membership: self.members.clone(),
        }
    }
}

impl RaftStateMachine<Group> for Applied {
    type SnapshotData = ();
    type SnapshotBuilder = Applied;

    async fn applied_state(
        &mut self,
    ) -> std::io::Result<(Option<LogIdOf<Group>>, StoredMembershipOf<Group>)> {
        Ok((self.last, self.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> std::io::Result<()>
    where
        S: Stream<Item = std::io::Result<EntryResponder<Group>>> + Unpin + OptionalSend,
    {
        while let Some(item) = entries.next().await {
            let (entry, _) = item?;
            self.last = Some(entry.log_id());
            if let EntryPayload::Membership(members) = entry.payload {
                self.members = StoredMembershipOf::<Group>::new(self.last, members);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Applied {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Group>,
        (): (),
    ) -> std::io::Result<()> {
        self.last = meta.last_log_id;
        self.members = meta.last_membership.clone();
        *self.snapshot.lock() = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> std::io::Result<Option<SnapshotOf<Group, ()>>> {
        let meta = self.snapshot.lock().clone();
        Ok(meta.map(|meta| SnapshotOf::<Group, ()> { meta, snapshot: () }))
    }
}

impl RaftSnapshotBuilder<Group> for Applied {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> std::io::Result<SnapshotOf<Group, ()>> {
        let meta = self.meta();
        *self.snapshot.lock() = Some(meta.clone());
        Ok(SnapshotOf::<Group, ()> { meta, snapshot: () })
    }
}

struct Builder;

impl StoreBuilder<Group, Filled, Applied, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, Filled, Applied), StorageError<Group>> {
        let dir = scratch();
        let store = Arc::new(FjallStore::open_member(dir.path(), small()).unwrap());
        let log = Filled {
            log: LogStore::open(store, 0).unwrap(),
            shown_from: Arc::default(),
        };
        Ok((dir, log, Applied::default()))
    }
}

#[test]
fn rafts_own_tests_of_a_log_pass() {
    type Tests = Suite<Group, Filled, Applied, Builder, tempfile::TempDir>;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(Tests::test_store(&Builder)).unwrap();
}
