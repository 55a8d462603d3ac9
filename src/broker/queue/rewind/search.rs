//! Finds the position of a rewind in the store. Reads, so it runs on threads that may block.

use std::ops::Range;

use crate::broker::queue::lane::history::{STRETCH_MESSAGES, SizedMessage};
use crate::broker::queue::reading::seek;
use crate::model::LogId;
use crate::store::{Store, StoreError, StoredMessage, chunk};

use super::plan::{RewindPosition, RewindSearch};
use super::rewind_to::RewindTo;

/// Bytes of one read.
const READ_BYTES: usize = 1024 * 1024;

/// Maximum number of messages to read: a stretch, and the chunks at its ends.
const SCAN_MESSAGES: u64 = 2 * STRETCH_MESSAGES;

/// Maximum bytes of bodies that are read for their sizes: several stretches. A stretch is larger only if the
/// history began on a long backlog.
const SCAN_BYTES: u64 = 64 * 1024 * 1024;

/// Finds the position, and the sizes of the messages from there on. Blocks.
pub(in crate::broker::queue) fn find_position(
    store: &dyn Store,
    search: &RewindSearch,
    is_persistent: impl Fn(&crate::model::Message) -> bool,
) -> Result<RewindPosition, StoreError> {
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
            messages.push(SizedMessage {
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
    Ok(RewindPosition {
        log,
        from,
        messages,
    })
}

/// Calls `visit` with the messages that the store has of `range`, in order, until it returns false.
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
            return Ok(()); // the store has no more
        }
    }
    Ok(())
}

fn corrupt(log: LogId, first: u64, error: &chunk::ChunkError) -> StoreError {
    StoreError::Corrupt(format!("chunk {first} of {log:?}: {error}"))
}
