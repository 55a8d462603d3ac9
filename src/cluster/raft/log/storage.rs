//! The log of a member as Raft's storage.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use futures_util::{Stream, stream};
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::durability::Durability;
use super::entries::bounds;
use super::shared::Shared;
use super::state::{State, Work, weight};
use super::writer::Writer;
use crate::cluster::raft::records::proposal_of;
use crate::cluster::raft::runtime;
use crate::cluster::raft::types::{Entry, Group, entry_id, log_id, store_index, stored_vote};
use crate::store::{EntryId, Replica, StoreError};

/// Bytes of entries in one message to a follower, but at least one entry.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// The log of a member.
pub(in super::super) struct LogStore<R> {
    shared: Arc<Shared<R>>,
    /// The log that Raft writes to ends its thread; readers do not.
    is_writer: bool,
}

impl<R: Replica> LogStore<R> {
    /// Opens the log and starts its thread.
    pub(in super::super) fn open(store: Arc<R>, me: u64) -> Result<LogStore<R>, StoreError> {
        let state = State::found(&store.replica_state()?, me);
        let shared = Arc::new(Shared {
            store,
            state: Mutex::new(state),
            changed: Notify::new(),
        });
        let mut writer = Writer::new(shared.clone());
        let started =
            runtime::on_own_thread("leveret-raftlog", move |context| writer.poll_step(context));
        started.map_err(|source| StoreError::Io {
            doing: "starting the thread leveret-raftlog".to_owned(),
            source,
        })?;
        Ok(LogStore {
            shared,
            is_writer: true,
        })
    }

    /// Tells what is durable.
    pub(in super::super) fn durability(&self) -> Durability<R> {
        Durability::new(self.shared.clone())
    }
}

impl<R> Drop for LogStore<R> {
    fn drop(&mut self) {
        if self.is_writer {
            self.shared.end();
        }
    }
}

impl<R: Replica> RaftLogReader<Group> for LogStore<R> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<EntryOf<Group>>, io::Error> {
        let (start, end) = bounds(&range);
        self.shared.clone().read(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<EntryOf<Group>>, io::Error> {
        let shared = self.shared.clone();
        shared.read(start, end, MESSAGE_BYTES_MAX).await
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
                    match shared.read(next, end, MESSAGE_BYTES_MAX).await {
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
        let mut bytes = 0;
        for entry in entries {
            written.push((entry_id(&entry.log_id()), proposal_of(&entry)?));
            bytes += weight(&entry);
            state.push(entry);
        }
        state.waiting_bytes += bytes;
        let work = Work::Append {
            entries: written,
            bytes,
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
        state.purge(upto);
        if state.last < Some(upto) {
            // At a start: the database has more than the log.
            state.begin_after(Some(upto));
            return Ok(());
        }
        self.shared
            .submit(&mut state, Work::Purge(upto.index() + 1))
    }
}
