//! What is known of the log in memory: recent entries, how far it is written, and the work that waits.

use std::collections::VecDeque;
use std::io;
use std::task::Waker;

use openraft::EntryPayload;
use openraft::alias::VoteOf;
use openraft::entry::RaftEntry;
use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use crate::cluster::raft::types::{Changes, Entry, Group, LogId, log_id, raft_vote, store_index};
use crate::store::{EntryId, Proposal, ReplicaState, StoreError, Vote};

/// Bytes of recent entries in memory: what is on its way to the other members, and some more.
const CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Default)]
pub(super) struct State {
    pub(super) queue: VecDeque<Work>,
    /// The thread, while it waits for work.
    pub(super) idle: Option<Waker>,
    /// Recent entries without gaps, up to the last one.
    recent: VecDeque<Entry>,
    recent_bytes: usize,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
    pub(super) vote: Option<VoteOf<Group>>,
    /// Indexes of the store up to which entries are written and synced.
    pub(super) written: u64,
    pub(super) durable: u64,
    /// Counts truncations: what was written before the last one tells nothing of later entries.
    pub(super) epoch: u64,
    /// The epochs that truncations began, after entries of an earlier one were written, and what they left.
    truncations: VecDeque<(u64, u64)>,
    pub(super) failed: Option<String>,
    /// Bytes of the entries that wait for the disk.
    pub(super) waiting_bytes: usize,
    /// What turned out to be damaged.
    pub(super) damage: Option<String>,
    pub(super) ended: bool,
    /// The thread has ended.
    pub(super) is_over: bool,
}

/// What the thread is asked to do.
pub(super) enum Work {
    Append {
        entries: Vec<(EntryId, Proposal)>,
        bytes: usize,
        epoch: u64,
        flushed: IOFlushed<Group>,
    },
    Vote(Vote, oneshot::Sender<io::Result<()>>),
    Truncate(u64),
    Purge(u64),
    /// Replaces everything by a snapshot that was received.
    Install(Install, oneshot::Sender<io::Result<()>>),
}

pub(super) type Install = Box<dyn FnOnce() -> Result<(), StoreError> + Send>;

impl State {
    /// The log that this store holds, of the node `me`.
    pub(super) fn found(found: &ReplicaState, me: u64) -> State {
        State {
            purged: log_id(found.purged),
            last: log_id(found.last),
            vote: raft_vote(found.vote, me),
            written: found.last.index,
            durable: found.last.index,
            ..State::default()
        }
    }

    pub(super) fn failure(&self) -> Option<io::Error> {
        if self.ended {
            return Some(io::Error::other("the log is closed"));
        }
        self.failed.clone().map(io::Error::other)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.recent_bytes += weight(&entry);
        self.last = Some(entry.log_id());
        self.recent.push_back(entry);
    }

    /// Entries of this epoch are durable up to this index, as far as no later truncation has cut them off.
    pub(super) fn synced(&mut self, epoch: u64, last: u64) {
        self.truncations.retain(|(later, _)| *later > epoch);
        let left = self.truncations.iter().map(|(_, upto)| *upto);
        let last = left.fold(last, u64::min);
        self.written = self.written.max(last);
        self.durable = self.durable.max(last);
        self.shrink();
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

    pub(super) fn truncate(&mut self, last: Option<LogId>) {
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
    pub(super) fn begin_after(&mut self, id: Option<LogId>) {
        self.truncate(None);
        self.purged = id;
        self.last = id;
        self.written = store_index(id.as_ref());
        self.durable = self.written;
    }

    /// Entries up to this one are no longer kept.
    pub(super) fn purge(&mut self, upto: LogId) {
        self.purged = Some(upto);
        while let Some(entry) = self.recent.front()
            && entry.log_id() <= upto
        {
            self.recent_bytes -= weight(entry);
            self.recent.pop_front();
        }
    }

    /// Raft's index of the first kept entry.
    pub(super) fn first(&self) -> u64 {
        store_index(self.purged.as_ref())
    }

    /// Raft's index of the first recent entry.
    pub(super) fn first_recent(&self) -> Option<u64> {
        Some(self.recent.front()?.log_id().index())
    }

    /// Recent entries from this index on, if they reach back so far.
    pub(super) fn recent_from(&self, start: u64) -> Option<impl Iterator<Item = &Entry>> {
        let skip = usize::try_from(start.checked_sub(self.first_recent()?)?).ok()?;
        Some(self.recent.iter().skip(skip))
    }
}

/// Roughly the bytes of an entry.
pub(in super::super) fn weight(entry: &Entry) -> usize {
    const FIXED: usize = 512;
    FIXED
        + match &entry.payload {
            EntryPayload::Normal(Changes(proposal)) => proposal.weight(),
            EntryPayload::Blank | EntryPayload::Membership(_) => 0,
        }
}
