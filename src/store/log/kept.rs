//! The entries that a member of a set keeps for others, by index: where they stand and what they are.

use std::collections::VecDeque;

use super::extent_file::Found;
use super::id::{EntryId, Written};

/// The kept entries, from `base` on.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The entry before the first kept one.
    base: EntryId,
    /// Its checksum; `None` if it is not known.
    base_sum: Option<u64>,
    /// Its generation; `None` if it is not known.
    base_generation: Option<u64>,
    entries: VecDeque<Found>,
    bytes: u64,
}

impl Kept {
    /// Keeps nothing after this entry.
    pub(super) fn after(base: EntryId, base_sum: Option<u64>) -> Kept {
        Kept {
            base,
            base_sum,
            ..Kept::default()
        }
    }

    pub(super) fn base(&self) -> EntryId {
        self.base
    }

    /// The last entry, or `base`.
    pub(super) fn last(&self) -> EntryId {
        self.entries.back().map_or(self.base, Found::id)
    }

    /// When the last entry was written, if that is known.
    pub(super) fn last_written(&self) -> Option<Written> {
        match self.entries.back() {
            Some(last) => Some(last.written()),
            None => self.base_generation.map(|generation| Written {
                generation,
                id: self.base,
            }),
        }
    }

    /// The checksum of the last entry, if it is known.
    pub(super) fn last_sum(&self) -> Option<u64> {
        match self.entries.back() {
            Some(last) => Some(last.header.sum),
            None => self.base_sum,
        }
    }

    /// Bytes of the entries in the log.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The index up to which entries must be purged so that at most these bytes stay.
    pub(super) fn excess_upto(&self, keep_bytes: u64) -> u64 {
        let mut left = self.bytes;
        let mut upto = self.base.index;
        for found in &self.entries {
            if left <= keep_bytes {
                break;
            }
            left -= found.end() - found.at;
            upto = found.header.index;
        }
        upto
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, index: u64) -> Option<&Found> {
        let at = index.checked_sub(self.base.index + 1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// The term of a kept entry, or of `base`.
    pub(super) fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.get(index).map(|found| found.header.term)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Found> {
        self.entries.iter()
    }

    /// The checksum of the entry with this index: a kept one or `base`. `None` if it is not known.
    pub(super) fn sum_at(&self, index: u64) -> Option<u64> {
        if index == self.base.index {
            return self.base_sum;
        }
        self.get(index).map(|found| found.header.sum)
    }

    pub(super) fn push(&mut self, found: Found) {
        self.bytes += found.end() - found.at;
        self.entries.push_back(found);
    }

    /// Drops the entries after `last`.
    pub(super) fn truncate(&mut self, last: u64) {
        while self.last().index > last
            && let Some(found) = self.entries.pop_back()
        {
            self.bytes -= found.end() - found.at;
        }
    }

    /// Drops the entries up to `upto`.
    pub(super) fn purge(&mut self, upto: u64) {
        while self.base.index < upto
            && let Some(found) = self.entries.pop_front()
        {
            self.bytes -= found.end() - found.at;
            self.base = found.id();
            self.base_sum = Some(found.header.sum);
            self.base_generation = Some(found.header.generation);
        }
    }
}
