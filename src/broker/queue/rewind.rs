//! Reading again what was acked: the search in the store for the place to which a queue is rewound, and the command
//! itself. What is kept, and what becomes of it, is decided elsewhere (`retention`, `lane`).
//!
//! The search reads little: the marks of what is kept lead to one stretch of the log, and only that is looked at, so
//! a rewind takes as long for ten messages as for ten million. The rewind is one turn of the queue and is written in
//! one batch: a crash leaves all of it or nothing.

use std::ops::Range;
use std::sync::Arc;

use crate::model::{LogId, Ticket};
use crate::store::{Store, StoreError, StoredMessage, chunk};

use super::machine::Machine;
use super::reads::not_read;
use super::retention::{STRETCH_MESSAGES, Sized};
use super::{Queue, RewindTo, seek};

/// How much one read brings.
const READ_BYTES: usize = 1024 * 1024;

/// No more messages are looked at one by one: those of a stretch and of the chunks at its ends.
const SCAN_MESSAGES: u64 = 2 * STRETCH_MESSAGES;

/// No more bytes of bodies are read for their sizes: several stretches. More there is only where keeping began on a
/// long backlog.
const SCAN_BYTES: u64 = 64 * 1024 * 1024;

/// What a rewind has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewound {
    /// The first offset that came back; none if nothing did, or if the queue has several lanes.
    pub from_offset: Option<u64>,
    /// How many messages came back.
    pub messages: u64,
    /// When it is durable; `None` if there is nothing to write.
    pub ticket: Option<Ticket>,
}

/// Why a queue was not rewound.
#[derive(Debug, thiserror::Error)]
pub enum RewindError {
    /// The queue has been deleted.
    #[error("the queue is gone")]
    Gone,
    /// The queue does not keep what was acked.
    #[error("the queue does not keep acked messages (x-rewind-seconds)")]
    NotEnabled,
    /// The time has not come yet.
    #[error("the time to rewind to is in the future")]
    InFuture,
    /// No message had that offset yet.
    #[error("no message has that offset yet: the next one will be {next}")]
    NoSuchOffset {
        /// The offset of the next message.
        next: u64,
    },
    /// An offset means nothing in a queue that has a log for each priority.
    #[error("a queue with priorities can be rewound to a time only")]
    SeveralLanes,
    /// The store cannot be read, or was closed.
    #[error("the messages cannot be read: {0}")]
    Store(#[from] StoreError),
}

/// Where to look for the place to which one lane is rewound.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) log: LogId,
    pub(super) to: RewindTo,
    /// The place is in here or at its end.
    pub(super) within: Range<u64>,
}

/// The place, and the messages from there to the end of the searched range if they are not too many.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) log: LogId,
    pub(super) from: u64,
    pub(super) messages: Vec<Sized>,
}

impl Queue {
    /// Makes acked messages ready again that are still kept, from `to` on, at their old places; those that wait or are
    /// with a consumer stay as they are. A place before the oldest that is kept means that one.
    ///
    /// # Errors
    /// See [`RewindError`]; then nothing has changed.
    pub async fn rewind(&self, to: RewindTo) -> Result<Rewound, RewindError> {
        let to = match to {
            RewindTo::Time(wall_ms) => RewindTo::Time(self.services.clock.moment_of(wall_ms).ms()),
            RewindTo::Offset(_) => to,
        };
        let searches = self
            .run(|state, now_ms, _| {
                let state = state.work().ok_or(RewindError::NotEnabled)?;
                state.plan_rewind(now_ms, to)
            })
            .ok_or(RewindError::Gone)??;
        let committer = &self.services.committer;
        if searches.iter().any(|search| !search.within.is_empty()) {
            // What was enqueued so far can be read when this is durable.
            let written = committer.wait(committer.append(Vec::new())).await;
            written.map_err(|_| StoreError::Closed)?;
        }
        let mut found = Vec::with_capacity(searches.len());
        for search in searches {
            let store = Arc::clone(committer.store());
            let keeps = self.keeps_messages();
            let reads = &self.services.threads.reads;
            let look = reads.run(self.spec.id, move || {
                look(&*store, &search, |m| keeps.message(m))
            });
            found.push(look.await.map_err(not_read)??);
        }
        let rewind = |state: &mut Machine, now_ms, fx: &mut _| {
            let state = state.work().ok_or(RewindError::NotEnabled)?;
            state.rewind(now_ms, &found, fx)
        };
        let (rewound, ticket) = self.act(rewind).ok_or(RewindError::Gone)?;
        let (from_offset, messages) = rewound?;
        Ok(Rewound {
            from_offset,
            messages,
            ticket,
        })
    }
}

/// Finds the place in the store. Blocks.
pub(super) fn look(
    store: &dyn Store,
    search: &Search,
    is_persistent: impl Fn(&crate::model::Message) -> bool,
) -> Result<Found, StoreError> {
    let (log, within) = (search.log, search.within.clone());
    let mut from = match search.to {
        RewindTo::Offset(offset) => offset.clamp(within.start, within.end.max(within.start)),
        RewindTo::Time(ms) => seek::first_at(store, log, within.clone(), ms)?,
    };
    let mut messages = Vec::new();
    let mut is_found = matches!(search.to, RewindTo::Offset(_));
    let (mut seen, mut measured) = (0, 0);
    scan(store, log, from..within.end, |stored| {
        if let RewindTo::Time(ms) = search.to
            && !is_found
            && stored.enqueued_ms >= ms
        {
            is_found = true;
            from = stored.offset;
        }
        if is_found {
            let size = stored.message.body.len();
            measured += size as u64;
            messages.push(Sized {
                offset: stored.offset,
                size: u32::try_from(size).unwrap_or(u32::MAX),
                persistent: is_persistent(&stored.message),
            });
        }
        seen += 1;
        seen < SCAN_MESSAGES && measured < SCAN_BYTES
    })?;
    if !is_found {
        from = within.end;
    }
    Ok(Found {
        log,
        from,
        messages,
    })
}

/// Shows `visit` the messages that the store has of `range`, in order, until it has had enough.
fn scan(
    store: &dyn Store,
    log: LogId,
    range: Range<u64>,
    mut visit: impl FnMut(&StoredMessage) -> bool,
) -> Result<(), StoreError> {
    let mut from = range.start;
    while from < range.end {
        let before = from;
        for found in store.read_past(log, from, READ_BYTES)? {
            let first = found.first;
            let messages = chunk::decode(first, found.data).map_err(|e| corrupt(log, first, &e))?;
            for stored in messages {
                let stored = stored.map_err(|error| corrupt(log, first, &error))?;
                if stored.offset >= range.end {
                    return Ok(());
                }
                if stored.offset >= from {
                    from = stored.offset + 1;
                    if !visit(&stored) {
                        return Ok(());
                    }
                }
            }
        }
        if from == before {
            return Ok(()); // nothing is left
        }
    }
    Ok(())
}

fn corrupt(log: LogId, first: u64, error: &chunk::ChunkError) -> StoreError {
    StoreError::Corrupt(format!("chunk {first} of {log:?}: {error}"))
}
