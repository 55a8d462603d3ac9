//! Reads of entries: recent ones from memory, others from the store.

use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::entry::RaftEntry;

use super::shared::Shared;
use super::state::weight;
use crate::cluster::raft::types::{Entry, entry_of, store_index};
use crate::store::Replica;

impl<R: Replica> Shared<R> {
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
