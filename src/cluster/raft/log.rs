//! The log of a member as Raft sees it. One thread writes it: everything that has gathered goes to the disk before one
//! sync, and is then reported in order. Recent entries stay in memory, so that a live follower never makes this node
//! read its disk.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::thread;

use futures_util::{Stream, stream};
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::types::{
    Changes, Entry, Group, LogId, entry_id, entry_of, log_id, proposal_of, raft_vote, store_index,
    stored_vote,
};
use crate::store::{EntryId, Proposal, Replica, StoreError};

/// Bytes of recent entries in memory: what is on its way to the other members, and some more.
const CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of entries in one message to a follower, but at least one entry.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// The log of a member.
pub(super) struct LogStore<R> {
    shared: Arc<Shared<R>>,
    /// The log that Raft writes to ends its thread; readers do not.
    is_writer: bool,
}

struct Shared<R> {
    store: Arc<R>,
    state: Mutex<State>,
    /// The thread waits here.
    work: Condvar,
    /// Who waits for a sync waits here.
    synced: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    /// Recent entries without gaps, up to the last one.
    recent: VecDeque<Entry>,
    recent_bytes: usize,
    purged: Option<LogId>,
    last: Option<LogId>,
    vote: Option<VoteOf<Group>>,
    /// Indexes of the store up to which entries are written and synced.
    written: u64,
    durable: u64,
    /// Counts truncations: what was written before the last one tells nothing of later entries.
    epoch: u64,
    /// The epochs that truncations began, after entries of an earlier one were written, and what they left.
    truncations: VecDeque<(u64, u64)>,
    failed: Option<String>,
    /// What turned out to be damaged.
    damage: Option<String>,
    ended: bool,
    /// The thread has ended.
    is_over: bool,
}

enum Work {
    Append {
        entries: Vec<(EntryId, Proposal)>,
        epoch: u64,
        flushed: IOFlushed<Group>,
    },
    Vote(crate::store::Vote, oneshot::Sender<io::Result<()>>),
    Truncate(u64),
    Purge(u64),
    /// Replaces everything by a snapshot that was received.
    Install(Install, oneshot::Sender<io::Result<()>>),
}

type Install = Box<dyn FnOnce() -> Result<(), StoreError> + Send>;

impl<R: Replica> LogStore<R> {
    /// Opens the log and starts its thread.
    pub(super) fn open(store: Arc<R>, me: u64) -> Result<LogStore<R>, StoreError> {
        let found = store.replica_state()?;
        let state = State {
            purged: log_id(found.purged),
            last: log_id(found.last),
            vote: raft_vote(found.vote, me),
            written: found.last.index,
            durable: found.last.index,
            ..State::default()
        };
        let shared = Arc::new(Shared {
            store,
            state: Mutex::new(state),
            work: Condvar::new(),
            synced: Condvar::new(),
        });
        let thread = thread::Builder::new().name("leveret-raftlog".to_owned());
        let writer = shared.clone();
        let spawned = thread.spawn(move || writer.run());
        spawned.map_err(|source| StoreError::Io {
            doing: "starting the thread leveret-raftlog".to_owned(),
            source,
        })?;
        Ok(LogStore {
            shared,
            is_writer: true,
        })
    }

    /// Waits until everything up to this index of the store is durable here.
    pub(super) fn durability(&self) -> Durability<R> {
        Durability(self.shared.clone())
    }
}

/// Tells what is durable.
pub(super) struct Durability<R>(Arc<Shared<R>>);

impl<R: Replica> Durability<R> {
    /// Waits until everything up to this index of the store is durable here. Blocks.
    pub(super) fn wait(&self, upto: u64) -> io::Result<()> {
        let mut state = self.0.state.lock();
        while state.durable < upto {
            if let Some(failure) = state.failure() {
                return Err(failure);
            }
            self.0.synced.wait(&mut state);
        }
        Ok(())
    }

    /// Puts a snapshot in the place of everything, after what was written before.
    pub(super) async fn install(&self, received: R::Received) -> io::Result<()> {
        let (done, installed) = oneshot::channel();
        {
            let store = self.0.store.clone();
            let install: Install = Box::new(move || store.install_snapshot(received));
            let mut state = self.0.state.lock();
            self.0.submit(&mut state, Work::Install(install, done))?;
        }
        let ended = |_| io::Error::other("the log is closed");
        installed.await.map_err(ended)?
    }

    /// The last entry of the log, durable or not.
    pub(super) fn last(&self) -> Option<LogId> {
        self.0.state.lock().last
    }

    /// Waits until the thread of the log has ended: it writes nothing more to the store. Blocks.
    pub(super) fn wait_over(&self) {
        let mut state = self.0.state.lock();
        while !state.is_over {
            self.0.synced.wait(&mut state);
        }
    }

    /// Notes an error of the store, if it says that its files are damaged.
    pub(super) fn note_damage(&self, error: &StoreError) {
        self.0.note_damage(error);
    }

    /// What turned out to be damaged.
    pub(super) fn damage(&self) -> Option<String> {
        self.0.state.lock().damage.clone()
    }

    /// What is durable, and whether more waits.
    pub(super) fn progress(&self) -> (u64, bool) {
        let state = self.0.state.lock();
        let waits = store_index(state.last.as_ref()) > state.durable;
        (state.durable, waits)
    }
}

impl<R> Drop for LogStore<R> {
    fn drop(&mut self) {
        if self.is_writer {
            self.shared.state.lock().ended = true;
            self.shared.work.notify_all();
            self.shared.synced.notify_all();
        }
    }
}

impl State {
    fn failure(&self) -> Option<io::Error> {
        if self.ended {
            return Some(io::Error::other("the log is closed"));
        }
        self.failed.clone().map(io::Error::other)
    }

    fn push(&mut self, entry: Entry) {
        self.recent_bytes += weight(&entry);
        self.last = Some(entry.log_id());
        self.recent.push_back(entry);
    }

    /// Drops old entries that are on disk.
    fn shrink(&mut self) {
        while self.recent_bytes > CACHE_BYTES_MAX
            && let Some(first) = self.recent.front()
            && first.log_id().index() < self.written
        {
            self.recent_bytes -= weight(first);
            self.recent.pop_front();
        }
    }

    fn truncate(&mut self, last: Option<LogId>) {
        while let Some(entry) = self.recent.back()
            && Some(entry.log_id()) > last
        {
            self.recent_bytes -= weight(entry);
            self.recent.pop_back();
        }
        self.epoch += 1;
        let upto = store_index(last.as_ref());
        self.truncations.push_back((self.epoch, upto));
        self.written = self.written.min(upto);
        self.durable = self.durable.min(upto);
        self.last = last;
    }

    /// The log begins anew behind this entry.
    fn begin_after(&mut self, id: Option<LogId>) {
        self.truncate(None);
        self.purged = id;
        self.last = id;
        self.written = store_index(id.as_ref());
        self.durable = self.written;
    }

    fn first(&self) -> u64 {
        store_index(self.purged.as_ref())
    }

    /// Recent entries from this index on, if they reach back so far.
    fn recent_from(&self, start: u64) -> Option<impl Iterator<Item = &Entry>> {
        let first = self.recent.front()?.log_id().index();
        let skip = usize::try_from(start.checked_sub(first)?).ok()?;
        Some(self.recent.iter().skip(skip))
    }
}

/// Roughly the bytes of an entry.
pub(super) fn weight(entry: &Entry) -> usize {
    const FIXED: usize = 512;
    FIXED
        + match &entry.payload {
            openraft::EntryPayload::Normal(Changes(proposal)) => proposal.weight(),
            openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 0,
        }
}

impl<R: Replica> Shared<R> {
    /// The thread that writes.
    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            if state.queue.is_empty() {
                if state.ended {
                    state.is_over = true;
                    self.synced.notify_all();
                    return;
                }
                self.work.wait(&mut state);
                continue;
            }
            let works = std::mem::take(&mut state.queue);
            let failed = state.failed.clone();
            drop(state);
            let outcome = match failed {
                Some(failure) => Err(failure),
                None => Ok(()),
            };
            self.carry_out(works, outcome);
            state = self.state.lock();
        }
    }

    /// Carries out what has gathered, in order. After a failure nothing more is written.
    fn carry_out(&self, works: VecDeque<Work>, mut outcome: Result<(), String>) {
        let mut written = Vec::new();
        let mut last = None;
        for work in works {
            match work {
                Work::Append {
                    entries,
                    epoch,
                    flushed,
                } => {
                    for (id, proposal) in entries {
                        let append = || self.store.append_entry(id, &proposal);
                        outcome = outcome.and_then(|()| append().map_err(|e| e.to_string()));
                        last = Some((epoch, id.index));
                    }
                    written.push(flushed);
                }
                // What was appended before is durable before the vote is.
                Work::Vote(vote, done) => {
                    outcome = self.flush(outcome, &mut written, &mut last);
                    let save = || self.store.save_vote(vote);
                    outcome = outcome.and_then(|()| save().map_err(|e| e.to_string()));
                    // Who asked may have ended.
                    drop(done.send(outcome.clone().map_err(io::Error::other)));
                }
                Work::Truncate(upto) => {
                    outcome = self.flush(outcome, &mut written, &mut last);
                    let truncate = || self.store.truncate_log(upto);
                    outcome = outcome.and_then(|()| truncate().map_err(|e| e.to_string()));
                }
                Work::Purge(upto) => {
                    outcome = self.flush(outcome, &mut written, &mut last);
                    let purge = || self.store.purge_log(upto);
                    outcome = outcome.and_then(|()| purge().map_err(|e| e.to_string()));
                }
                Work::Install(install, done) => {
                    outcome = self.flush(outcome, &mut written, &mut last);
                    outcome = outcome.and_then(|()| self.install(install));
                    // Who asked may have ended.
                    drop(done.send(outcome.clone().map_err(io::Error::other)));
                }
            }
        }
        outcome = self.flush(outcome, &mut written, &mut last);
        if let Err(failure) = outcome {
            self.state.lock().failed.get_or_insert(failure);
            self.synced.notify_all();
        }
    }

    fn install(&self, install: Install) -> Result<(), String> {
        install().map_err(|e| e.to_string())?;
        let found = self.store.replica_state().map_err(|e| e.to_string())?;
        // Otherwise the log had the snapshot's entry, and stays.
        if found.purged == found.last {
            self.state.lock().begin_after(log_id(found.last));
            self.synced.notify_all();
        }
        Ok(())
    }

    /// Syncs, and reports what is durable.
    fn flush(
        &self,
        outcome: Result<(), String>,
        written: &mut Vec<IOFlushed<Group>>,
        last: &mut Option<(u64, u64)>,
    ) -> Result<(), String> {
        let outcome = match written.is_empty() {
            true => outcome,
            false => outcome.and_then(|()| self.store.sync_log().map_err(|e| e.to_string())),
        };
        if let (Some((epoch, last)), Ok(())) = (last.take(), &outcome) {
            let mut state = self.state.lock();
            state.truncations.retain(|(later, _)| *later > epoch);
            let left = state.truncations.iter().map(|(_, upto)| *upto);
            let last = left.fold(last, u64::min);
            state.written = state.written.max(last);
            state.durable = state.durable.max(last);
            state.shrink();
        }
        self.synced.notify_all();
        for flushed in written.drain(..) {
            flushed.io_completed(outcome.clone().map_err(io::Error::other));
        }
        outcome
    }

    fn submit(&self, state: &mut State, work: Work) -> io::Result<()> {
        if let Some(failure) = state.failure() {
            return Err(failure);
        }
        state.queue.push_back(work);
        self.work.notify_one();
        Ok(())
    }

    fn note_damage(&self, error: &StoreError) {
        if error.is_damage() {
            let mut state = self.state.lock();
            state.damage.get_or_insert_with(|| error.damage());
        }
    }

    /// Entries within `start..end`, up to `max_bytes` and at least one.
    fn entries(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let mut found: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let mut next = start;
        loop {
            let state = self.state.lock();
            next = next.max(state.first());
            let end = end.min(store_index(state.last.as_ref()));
            if next >= end || (bytes >= max_bytes && !found.is_empty()) {
                return Ok(found);
            }
            if let Some(recent) = state.recent_from(next) {
                for entry in recent {
                    if entry.log_id().index() >= end {
                        break;
                    }
                    bytes += weight(entry);
                    if bytes > max_bytes && !found.is_empty() {
                        break;
                    }
                    found.push(entry.clone());
                }
                return Ok(found);
            }
            let before = state
                .recent
                .front()
                .map_or(end, |entry| entry.log_id().index());
            drop(state);
            let range = next + 1..before.min(end) + 1;
            let left = (max_bytes - bytes) as u64;
            let read = self.store.read_entries(range, left);
            let read = read.map_err(|error| {
                self.note_damage(&error);
                io::Error::other(error)
            })?;
            if read.is_empty() {
                let first = self.state.lock().first();
                if first > next {
                    continue; // it was purged meanwhile
                }
                return Err(io::Error::other(format!(
                    "entry {next} of the log is missing"
                )));
            }
            for (id, proposal) in read {
                let entry = entry_of(id, proposal)?;
                bytes += weight(&entry);
                next = entry.log_id().index() + 1;
                found.push(entry);
            }
        }
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl<R: Replica> RaftLogReader<Group> for LogStore<R> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<EntryOf<Group>>, io::Error> {
        let (start, end) = bounds(&range);
        self.shared.entries(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<EntryOf<Group>>, io::Error> {
        self.shared.entries(start, end, MESSAGE_BYTES_MAX)
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<EntryOf<Group>, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let shared = self.shared.clone();
        // A piece at a time, so that a long way to catch up takes little memory.
        let pieces = stream::unfold((start, VecDeque::new()), move |(next, mut piece)| {
            let shared = shared.clone();
            async move {
                if piece.is_empty() && next < end {
                    match shared.entries(next, end, MESSAGE_BYTES_MAX) {
                        Ok(entries) => piece = entries.into(),
                        Err(failure) => return Some((Err(failure), (end, piece))),
                    }
                }
                let entry: Entry = piece.pop_front()?;
                let next = entry.log_id().index() + 1;
                Some((Ok(entry), (next, piece)))
            }
        });
        Box::pin(pieces)
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<Group>>, io::Error> {
        Ok(self.shared.state.lock().vote)
    }
}

impl<R: Replica> RaftLogStorage<Group> for LogStore<R> {
    type LogReader = LogStore<R>;

    async fn get_log_state(&mut self) -> Result<LogState<Group>, io::Error> {
        let state = self.shared.state.lock();
        Ok(LogState {
            last_purged_log_id: state.purged,
            last_log_id: state.last,
        })
    }

    async fn get_log_reader(&mut self) -> LogStore<R> {
        LogStore {
            shared: self.shared.clone(),
            is_writer: false,
        }
    }

    async fn save_vote(&mut self, vote: &VoteOf<Group>) -> Result<(), io::Error> {
        let (done, saved) = oneshot::channel();
        {
            let mut state = self.shared.state.lock();
            self.shared
                .submit(&mut state, Work::Vote(stored_vote(vote), done))?;
        }
        let ended = |_| io::Error::other("the log is closed");
        saved.await.map_err(ended)??;
        self.shared.state.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<Group>>) -> Result<(), io::Error> {
        if let Some(committed) = committed {
            self.shared.store.note_majority(entry_id(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<Group>>, io::Error> {
        let state = self.shared.store.replica_state();
        let index = state.map_err(io::Error::other)?.majority;
        let term = self.shared.store.term_of(index);
        Ok(term.and_then(|term| log_id(EntryId { term, index })))
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Group>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = EntryOf<Group>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut state = self.shared.state.lock();
        let mut written = Vec::new();
        for entry in entries {
            written.push((entry_id(&entry.log_id()), proposal_of(&entry)?));
            state.push(entry);
        }
        let work = Work::Append {
            entries: written,
            epoch: state.epoch,
            flushed,
        };
        self.shared.submit(&mut state, work)
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Group>>) -> Result<(), io::Error> {
        let mut state = self.shared.state.lock();
        if last >= state.last {
            return Ok(());
        }
        state.truncate(last);
        let upto = store_index(last.as_ref());
        self.shared.submit(&mut state, Work::Truncate(upto))
    }

    async fn purge(&mut self, upto: LogIdOf<Group>) -> Result<(), io::Error> {
        let mut state = self.shared.state.lock();
        if state.purged >= Some(upto) {
            return Ok(());
        }
        state.purged = Some(upto);
        while let Some(entry) = state.recent.front()
            && entry.log_id() <= upto
        {
            state.recent_bytes -= weight(entry);
            state.recent.pop_front();
        }
        if state.last < Some(upto) {
            // At a start: the database has more than the log.
            state.begin_after(Some(upto));
            return Ok(());
        }
        self.shared
            .submit(&mut state, Work::Purge(upto.index() + 1))
    }
}
