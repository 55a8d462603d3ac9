//! What queues read and remove on threads that may block: chunks of a backlog, a time in a stream, what nobody reads
//! again. Decides nothing: the state machines ask for it.

use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle as Runtime;

use crate::model::{LogId, Ticket};
use crate::store::{ChunkError, Store, StoreError, StoredChunk, StoredMessage, chunk};

use super::effects::{Oldest, Pick, Seek};
use super::keeps::Keeps;
use super::{Queue, picks, seek};

/// How long to wait after a read that failed.
const READ_RETRY: Duration = Duration::from_secs(1);

/// How many chunks one step of a sweep removes.
const SWEEP_CHUNKS: usize = 1024;

impl Queue {
    /// Reads chunks from the store on a thread that may block, and gives them to the state machine.
    pub(super) fn start_load(&self, log: LogId, from: u64, max_bytes: usize) {
        let Some(queue) = self.me.upgrade() else {
            return;
        };
        tokio::task::spawn_blocking(move || {
            let read = queue.read(log, from, max_bytes);
            let chunks = match read.and_then(|stored| queue.decode(log, stored)) {
                Ok(chunks) => chunks,
                Err(error) => {
                    tracing::error!(queue = %queue.name(), ?log, from, %error, "cannot read messages; trying again");
                    // Not a wait for something: it keeps a broken disk from being read in a loop.
                    std::thread::sleep(READ_RETRY);
                    Vec::new()
                }
            };
            queue.run(|state, now_ms, fx| state.loaded(now_ms, log, from, chunks, fx));
            queue.loaded.notify_waiters();
        });
    }

    /// Looks for a consumer's place on a thread that may block.
    pub(super) fn start_seek(&self, seek: Seek) {
        let Some(queue) = self.me.upgrade() else {
            return;
        };
        tokio::task::spawn_blocking(move || {
            let store = queue.services.committer.store();
            let from = seek.offsets.start;
            let found = seek::first_at(&**store, seek.log, seek.offsets, seek.ms);
            let found = found.unwrap_or_else(|error| {
                // It walks from there; if the disk does not answer then either, it tries until it does.
                tracing::error!(queue = %queue.name(), %error, "cannot look for a time in the stream");
                from
            });
            queue.run(|state, now_ms, fx| {
                if let Some(stream) = state.stream() {
                    stream.sought(now_ms, seek.consumer, found, fx);
                }
            });
        });
    }

    /// Reads single messages on a thread that may block, and gives them to the state machine.
    pub(super) fn start_pick(&self, pick: Pick) {
        let Some(queue) = self.me.upgrade() else {
            return;
        };
        tokio::task::spawn_blocking(move || {
            let log = pick.log;
            let read = |from, max_bytes| queue.read(log, from, max_bytes);
            let (picked, failure) = picks::pick(&pick, read);
            if let Some(error) = failure {
                tracing::error!(queue = %queue.name(), ?log, %error, "cannot read delayed messages; trying again");
                if picked.is_empty() {
                    std::thread::sleep(READ_RETRY);
                }
            }
            queue.run(|state, now_ms, fx| state.picked(now_ms, picked, fx));
        });
    }

    /// Reads what is there when everything that was enqueued by now is written: a message that was acked and rewound
    /// at once, or a delayed one, may still be on its way to the store.
    fn read(
        &self,
        log: LogId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<StoredChunk>, StoreError> {
        let store = self.services.committer.store();
        let is_missing = |chunks: &[StoredChunk]| {
            let found = chunks.first().is_some_and(|chunk| chunk.first <= from);
            !found && self.expects(log, from)
        };
        let mut chunks = store.read(log, from, max_bytes)?;
        if is_missing(&chunks) {
            let committer = &self.services.committer;
            let written = committer.wait(committer.append(Vec::new()));
            if Runtime::current().block_on(written).is_ok() {
                chunks = store.read(log, from, max_bytes)?;
            }
        }
        if is_missing(&chunks) {
            return Err(StoreError::Corrupt(format!(
                "queue {}: no message at {from} of {log:?}",
                self.name()
            )));
        }
        Ok(chunks)
    }

    /// Reads the chunk that holds `from` and those that follow, until there are `max_bytes`.
    pub(super) fn read_chunks(
        &self,
        log: LogId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Vec<StoredMessage>)>, StoreError> {
        let store = self.services.committer.store();
        self.decode(log, store.read(log, from, max_bytes)?)
    }

    fn decode(
        &self,
        log: LogId,
        stored: Vec<StoredChunk>,
    ) -> Result<Vec<(u64, Vec<StoredMessage>)>, StoreError> {
        let decode = |stored: StoredChunk| {
            let messages =
                chunk::decode(stored.first, stored.data)?.collect::<Result<_, ChunkError>>()?;
            Ok((stored.first, messages))
        };
        let decoded: Result<_, ChunkError> = stored.into_iter().map(decode).collect();
        decoded.map_err(|error| {
            StoreError::Corrupt(format!("queue {}, {log:?}: {error}", self.name()))
        })
    }

    /// Whether something must be on disk at `from`, where a read was started: not if the queue has been deleted since,
    /// if the message has left it, or if a stream's retention has passed it.
    fn expects(&self, log: LogId, from: u64) -> bool {
        let cell = self.lock();
        !cell.deleted && cell.state.expects(log, from)
    }

    /// When the oldest message was enqueued that is neither settled nor delayed, Unix ms; `None` if there is none.
    ///
    /// # Errors
    /// When it is on disk and cannot be read.
    pub async fn oldest_ms(&self) -> Result<Option<u64>, StoreError> {
        let oldest = self.run_work(|state, _, _| state.oldest());
        let mut first_ms = None;
        for oldest in oldest.unwrap_or_default() {
            let enqueued_ms = match oldest {
                Oldest::Enqueued(enqueued_ms) => Some(enqueued_ms),
                // `None`: it has gone meanwhile, and those that are left are younger.
                Oldest::OnDisk(log, offset) => self.enqueued_ms(log, offset).await?,
            };
            first_ms = [first_ms, enqueued_ms].into_iter().flatten().min();
        }
        Ok(first_ms)
    }

    async fn enqueued_ms(&self, log: LogId, offset: u64) -> Result<Option<u64>, StoreError> {
        let Some(queue) = self.me.upgrade() else {
            return Ok(None);
        };
        let read = tokio::task::spawn_blocking(move || queue.read_chunks(log, offset, 1)).await;
        let chunks = read.map_err(|error| StoreError::Corrupt(error.to_string()))??;
        let mut messages = chunks.into_iter().flat_map(|(_, messages)| messages);
        let found = messages.find(|stored| stored.offset == offset);
        Ok(found.map(|stored| stored.enqueued_ms))
    }

    /// Removes chunks that nobody reads again, step by step, once what says so is durable.
    pub(super) fn start_sweeps(&self, sweeps: Vec<(LogId, Range<u64>)>, ticket: Option<Ticket>) {
        let committer = Arc::clone(&self.services.committer);
        let queue = Weak::clone(&self.me);
        let is_durable = self.keeps_messages() != Keeps::Nothing;
        tokio::spawn(async move {
            if let Some(ticket) = ticket
                && committer.wait(ticket).await.is_err()
            {
                return;
            }
            let store = Arc::clone(committer.store());
            tokio::task::spawn_blocking(move || {
                for (log, range) in sweeps {
                    sweep(&*store, log, range, is_durable);
                }
                if let Some(queue) = queue.upgrade() {
                    queue.run(|state, _, fx| {
                        if let Some(stream) = state.stream() {
                            stream.swept(fx);
                        }
                    });
                }
            });
        });
    }
}

/// Removes the chunks of a log in `range`. The record of a log that is not durable does not tell how far it may go.
pub(super) fn sweep(store: &dyn Store, log: LogId, range: Range<u64>, is_durable: bool) {
    let mut from = range.start;
    loop {
        let step = match from {
            0 if is_durable => store
                .sweep(log, range.end, SWEEP_CHUNKS)
                .map(|done| (!done).then_some(0)),
            _ => store.sweep_range(log, from..range.end, SWEEP_CHUNKS),
        };
        match step {
            Ok(Some(next)) => from = next,
            Ok(None) => return,
            // What is left is swept after the next start.
            Err(error) => return tracing::warn!(?log, %error, "cannot remove messages"),
        }
    }
}
