//! Reads of entries: recent ones from memory, others from the store.

use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::entry::RaftEntry;

use super::shared::Shared;
use super::state::weight;
use crate::cluster::raft::records::entry_of;
use crate::cluster::raft::runtime;
use crate::cluster::raft::types::{Entry, store_index};
use crate::store::Replica;

impl<R: Replica> Shared<R> {
    /// As [`Shared::entries`]. What is not in memory is read on a thread that may block.
    pub(super) async fn read(
        self: Arc<Self>,
        start: u64,
        end: u64,
        max_bytes: usize,
    ) -> io::Result<Vec<Entry>> {
        if let Some(recent) = self.recent(start, end, max_bytes) {
            return Ok(recent);
        }
        runtime::blocking(move || self.entries(start, end, max_bytes)).await?
    }

    /// The entries that [`Shared::entries`] finds, if they are in memory.
    fn recent(&self, start: u64, end: u64, max_bytes: usize) -> Option<Vec<Entry>> {
        let state = self.state.lock();
        let start = start.max(state.first());
        let end = end.min(store_index(state.last.as_ref()));
        let mut found = Vec::new();
        if start < end {
            take_until(state.recent_from(start)?, end, max_bytes, (&mut found, 0));
        }
        Some(found)
    }

    /// Entries within `start..end`, up to `max_bytes` and at least one.
    pub(super) fn entries(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
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
                take_until(recent, end, max_bytes, (&mut found, bytes));
                return Ok(found);
            }
            let before = state.first_recent().unwrap_or(end);
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

/// Adds entries before `end` to those that were found, which have some bytes already, up to `max_bytes` and at least one.
fn take_until<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    end: u64,
    max_bytes: usize,
    (found, mut bytes): (&mut Vec<Entry>, usize),
) {
    for entry in entries {
        bytes += weight(entry);
        let is_full = bytes > max_bytes && !found.is_empty();
        if is_full || entry.log_id().index() >= end {
            return;
        }
        found.push(entry.clone());
    }
}

/// The first index of a range, and the one after its last.
pub(super) fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
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
