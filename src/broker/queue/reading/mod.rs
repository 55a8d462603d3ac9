//! Reads of queues, on threads that may block: reads chunks of a backlog, finds a time in a stream. The state
//! machines make all decisions.

pub(super) mod damage; // unreadable messages
pub(super) mod picks; // single messages
pub(super) mod seek; // a time in a log
pub(super) mod threads; // the threads for reads
pub(super) mod tries; // how often a read has failed

use std::cell::Cell;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Moment;
use crate::model::{ConsumerId, LogId, Ticket};
use crate::pool::PoolError;
use crate::store::commit::Waiter;
use crate::store::{ChunkError, StoreError, StoredChunk, StoredMessage, chunk};

use super::effects::{Oldest, Pick, Picked, Seek};
use super::shell::Queue;

use damage::guarded;

/// Pause before another attempt when the threads have too many reads waiting.
const READ_RETRY: Duration = Duration::from_secs(1);

/// Whether the store may still lack the wanted messages of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    First,
    /// Everything that was enqueued before the first one is in the store.
    Written,
}

impl Queue {
    /// Reads chunks from the store on a thread that may block, and gives them to the state machine.
    pub(in crate::broker::queue) fn start_load(&self, log: LogId, from: u64, max_bytes: usize) {
        self.load_later(log, from, max_bytes, Attempt::First);
    }

    fn load_later(&self, log: LogId, from: u64, max_bytes: usize, attempt: Attempt) {
        let submitted = self.on_reader(move |queue| queue.load(log, from, max_bytes, attempt));
        if submitted.is_err() {
            self.after(READ_RETRY, move |queue| {
                queue.load_ended(log, from, Vec::new());
            });
        }
    }

    fn load(&self, log: LogId, from: u64, max_bytes: usize, attempt: Attempt) {
        let store = self.services.committer.store();
        let mut behind = u64::MAX;
        let read = guarded(from, || {
            let stored = store.read(log, from, max_bytes)?;
            if self.misses(log, from, &stored) {
                behind = stored.first().map_or(u64::MAX, |chunk| chunk.first);
                return Ok(None);
            }
            self.decode(log, stored).map(Some)
        });
        match read {
            Ok(Some(chunks)) => self.load_ended(log, from, chunks),
            // A message that was acked and rewound soon after may still be on its way to the store.
            Ok(None) if attempt == Attempt::First => self.when_written(move |queue| {
                queue.load_later(log, from, max_bytes, Attempt::Written);
            }),
            Ok(None) => self.load_failed(log, from, missing(from..behind)),
            Err(error) => self.load_failed(log, from, error),
        }
    }

    fn load_ended(&self, log: LogId, from: u64, chunks: Vec<(u64, Vec<StoredMessage>)>) {
        let mut cell = self.lock();
        self.count_reads(&mut cell, &chunks);
        // A deleted queue still publishes its dead letters.
        if !cell.deleted || cell.machine.is_dying() {
            let loaded = self.apply(cell, |machine, now_ms, fx| {
                machine.loaded(now_ms, log, from, chunks, fx);
            });
            if loaded.letters {
                self.send_letters();
            }
        }
        self.loaded.notify_waiters();
    }

    fn load_failed(&self, log: LogId, from: u64, error: StoreError) {
        match self.cannot_read(log, from, error) {
            Some(pause) => self.after(pause, move |queue| {
                queue.load_ended(log, from, Vec::new());
            }),
            None => self.load_ended(log, from, Vec::new()),
        }
    }

    /// Searches for a consumer's place on a thread that may block.
    pub(in crate::broker::queue) fn start_seek(&self, seek: Seek) {
        let (log, consumer, offsets, ms) = (seek.log, seek.consumer, seek.offsets, seek.ms);
        let from = offsets.start;
        let submitted = self.on_reader(move |queue| {
            let store = queue.services.committer.store();
            let found = seek::first_at(&**store, log, offsets, ms);
            let found = found.unwrap_or_else(|error| {
                // The consumer starts at the beginning of the range, whose reads are tried until they succeed.
                tracing::error!(queue = %queue.name(), %error, "cannot look for a time in the stream");
                from
            });
            queue.sought(consumer, found);
        });
        if submitted.is_err() {
            self.after(READ_RETRY, move |queue| queue.sought(consumer, from));
        }
    }

    fn sought(&self, consumer: ConsumerId, found: u64) {
        self.run(|machine, now_ms, fx| machine.sought(now_ms, consumer, found, fx));
    }

    /// Reads single messages on a thread that may block, and gives them to the state machine.
    pub(in crate::broker::queue) fn start_pick(&self, pick: Pick) {
        let submitted = self.on_reader(move |queue| {
            let log = pick.log;
            let store = queue.services.committer.store();
            let unwritten = Cell::new(None);
            let read = |from, max_bytes| {
                guarded(from, || {
                    let chunks = store.read(log, from, max_bytes)?;
                    if !queue.misses(log, from, &chunks) {
                        return Ok(chunks);
                    }
                    if !queue.is_written(log, from) {
                        unwritten.set(Some(from));
                        return Err(StoreError::Corrupt(format!("no message at {from}")));
                    }
                    let behind = chunks.first().map_or(u64::MAX, |chunk| chunk.first);
                    Err(missing(from..behind))
                })
            };
            let (picked, failures) = picks::pick(&pick, read);
            if let Some(from) = unwritten.get() {
                // The message was written anew, and may still be on its way to the store.
                return queue.when_written(move |queue| {
                    queue.note_written(log, from);
                    queue.pick_ended(picked);
                });
            }
            let pauses = failures
                .into_iter()
                .filter_map(|(from, error)| queue.cannot_read(log, from, error));
            match pauses.max().filter(|_| picked.is_empty()) {
                Some(pause) => queue.after(pause, |queue| queue.pick_ended(Vec::new())),
                None => queue.pick_ended(picked),
            }
        });
        if submitted.is_err() {
            self.after(READ_RETRY, |queue| queue.pick_ended(Vec::new()));
        }
    }

    fn pick_ended(&self, picked: Vec<Picked>) {
        self.run(|machine, now_ms, fx| machine.picked(now_ms, picked, fx));
    }

    /// Does `work` on a thread for reads, in this queue's next round.
    fn on_reader(&self, work: impl FnOnce(&Queue) + Send + 'static) -> Result<(), PoolError> {
        let queue = Weak::clone(&self.me);
        self.services.threads.reads.submit(self.spec.id, move || {
            if let Some(queue) = queue.upgrade() {
                work(&queue);
            }
        })
    }

    /// Calls `act` when everything that was enqueued by now can be read.
    fn when_written(&self, act: impl FnOnce(&Queue) + Send + 'static) {
        let committer = &self.services.committer;
        let waiter = WhenWritten {
            queue: Weak::clone(&self.me),
            act: Mutex::new(Some(Box::new(act))),
        };
        committer.when_applied(committer.append(Vec::new()), Arc::new(waiter));
    }

    /// Calls `act` after a pause. No thread waits meanwhile, so that a broken disk delays no other queue.
    fn after(&self, pause: Duration, act: impl FnOnce(&Queue) + Send + 'static) {
        let queue = Weak::clone(&self.me);
        self.services.threads.runtime.spawn(async move {
            tokio::time::sleep(pause).await;
            if let Some(queue) = queue.upgrade() {
                act(&queue);
            }
        });
    }

    /// Whether `chunks` lack the message at `from`, although the disk must have it.
    fn misses(&self, log: LogId, from: u64, chunks: &[StoredChunk]) -> bool {
        let found = chunks.first().is_some_and(|chunk| chunk.first <= from);
        !found && self.expects(log, from)
    }

    /// Reads the chunk that holds `from` and the chunks that follow, up to `max_bytes`. Skips unreadable
    /// chunks.
    pub(in crate::broker::queue) fn read_chunks(
        &self,
        log: LogId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Vec<StoredMessage>)>, StoreError> {
        let store = self.services.committer.store();
        self.decode(log, store.read_past(log, from, max_bytes)?)
    }

    fn decode(
        &self,
        log: LogId,
        stored: Vec<StoredChunk>,
    ) -> Result<Vec<(u64, Vec<StoredMessage>)>, StoreError> {
        let mut decoded = Vec::with_capacity(stored.len());
        for StoredChunk { first, data } in stored {
            let count = chunk::count(&data).unwrap_or(1).max(1);
            let messages = chunk::decode(first, data)
                .and_then(|messages| messages.collect::<Result<_, ChunkError>>());
            match messages {
                Ok(messages) => decoded.push((first, messages)),
                Err(_) if !decoded.is_empty() => break, // the next read begins there
                Err(error) => {
                    return Err(StoreError::Unreadable {
                        offsets: first..first.saturating_add(u64::from(count)),
                        reason: format!("queue {}, {log:?}: {error}", self.name()),
                    });
                }
            }
        }
        Ok(decoded)
    }

    /// Whether the disk must have a message at `from`. Not if, since the read began, the queue was deleted,
    /// the message has left it, or a stream's retention has dropped it.
    fn expects(&self, log: LogId, from: u64) -> bool {
        let cell = self.lock();
        (!cell.deleted || cell.machine.is_dying()) && cell.machine.expects(log, from)
    }

    /// The enqueue time of the oldest message that is neither settled nor delayed; `None` without such a
    /// message.
    ///
    /// # Errors
    /// When it is on disk and cannot be read.
    pub async fn oldest(&self) -> Result<Option<Moment>, StoreError> {
        let oldest = self.lock_unless_deleted();
        let oldest = oldest.map(|cell| cell.machine.oldest());
        let mut first_ms = None;
        for oldest in oldest.unwrap_or_default() {
            let enqueued_ms = match oldest {
                Oldest::Enqueued(enqueued_ms) => Some(enqueued_ms),
                // `None`: the message has left meanwhile, and the others are younger.
                Oldest::OnDisk(log, offset) => self.enqueued_ms(log, offset).await?,
            };
            first_ms = [first_ms, enqueued_ms].into_iter().flatten().min();
        }
        Ok(first_ms.map(Moment::from_ms))
    }

    async fn enqueued_ms(&self, log: LogId, offset: u64) -> Result<Option<u64>, StoreError> {
        let Some(queue) = self.me.upgrade() else {
            return Ok(None);
        };
        let reads = &self.services.threads.reads;
        let read = reads.run(self.spec.id, move || queue.read_chunks(log, offset, 1));
        let chunks = read.await.map_err(not_read)??;
        let mut messages = chunks.into_iter().flat_map(|(_, messages)| messages);
        let found = messages.find(|stored| stored.offset == offset);
        Ok(found.map(|stored| stored.enqueued_ms))
    }
}

/// The error of a read that the threads refused.
pub(in crate::broker::queue) fn not_read(error: PoolError) -> StoreError {
    StoreError::Io {
        doing: "reading for a queue".to_owned(),
        source: std::io::Error::other(error),
    }
}

type Act = Box<dyn FnOnce(&Queue) + Send>;

/// Resumes a queue when a batch is written.
struct WhenWritten {
    queue: Weak<Queue>,
    act: Mutex<Option<Act>>,
}

impl Waiter for WhenWritten {
    fn reached(&self, _upto: Ticket) {
        let act = self.act.lock().take();
        if let (Some(queue), Some(act)) = (self.queue.upgrade(), act) {
            act(&queue);
        }
    }
}

/// The store lacks messages that must be at these offsets.
fn missing(offsets: Range<u64>) -> StoreError {
    StoreError::Unreadable {
        offsets,
        reason: "it is not there".to_owned(),
    }
}
