//! Extent usage: how many bytes of each extent hold live chunks, and which extents can be reused, removed or
//! moved. Pure; touches no file.
//!
//! An extent is *active* while something is appended to it, then *sealed*. A sealed extent without live chunks
//! is *emptied*. It is reused or removed only after a checkpoint has made the removal of its last chunk durable,
//! and that covers every log entry in the extent.
//! After a start a background thread counts the live chunks of earlier runs. Until then only the changes
//! since the start are known.

use std::collections::BTreeMap;

/// Maximum number of emptied extents to reuse: writing over them is faster than allocating new ones. A checkpoint
/// under load empties about this many.
const SPARE_MAX: usize = 16;
/// Live share of an extent, in percent, below which its chunks are worth moving.
const SPARSE_PERCENT: i64 = 50;

/// What an extent holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Entries of the log.
    Entries,
    /// Moved chunks alone.
    Chunks,
}

#[derive(Debug)]
pub(super) struct ExtentUsage {
    extents: BTreeMap<u32, Extent>,
    /// Sealed extents without live chunks that no checkpoint covers yet.
    emptied: Vec<u32>,
    spare: Vec<u32>,
    /// Bytes of live chunks in extents whose files are missing.
    missing: BTreeMap<u32, i64>,
    next: u32,
    /// Whether the chunks of earlier runs are counted.
    counted: bool,
}

#[derive(Debug)]
struct Extent {
    content: Content,
    /// Bytes of live chunks. Negative for an extent of an earlier run with removals before it is counted.
    live: i64,
    /// Length of the file.
    size: i64,
    sealed: bool,
    /// Index of its last log entry; 0 without one.
    last_index: u64,
    /// All of its space has been written before, so that a sync of new entries writes no metadata.
    is_written: bool,
    /// The chunks in it could not be moved.
    is_stuck: bool,
}

/// Whether an emptied extent is reused or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Spare,
    Remove,
}

impl ExtentUsage {
    /// Starts with the extents of earlier runs and the lengths of their files.
    /// Numbers below `used` were given out before.
    pub(super) fn new(
        found: impl IntoIterator<Item = (u32, Content, u64)>,
        used: u32,
    ) -> ExtentUsage {
        let extents: BTreeMap<_, _> = found
            .into_iter()
            .map(|(number, content, size)| {
                let extent = Extent {
                    content,
                    live: 0,
                    size: signed(size),
                    sealed: true,
                    last_index: 0,
                    is_written: true,
                    is_stuck: false,
                };
                (number, extent)
            })
            .collect();
        ExtentUsage {
            next: extents
                .last_key_value()
                .map_or(0, |(last, _)| last.saturating_add(1))
                .max(used),
            counted: extents.is_empty() && used == 0,
            extents,
            missing: BTreeMap::new(),
            emptied: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Makes an extent active. Returns its number and whether its file exists.
    pub(super) fn take(&mut self, content: Content) -> (u32, bool) {
        let spare = match content {
            Content::Entries => self.spare.pop(),
            Content::Chunks => None,
        };
        let (number, exists) = match spare {
            Some(spare) => (spare, true),
            None => (self.new_number(), false),
        };
        let extent = Extent {
            content,
            live: 0,
            size: 0,
            sealed: false,
            last_index: 0,
            is_written: exists,
            is_stuck: false,
        };
        self.extents.insert(number, extent);
        (number, exists)
    }

    /// What an extent holds, if its file exists.
    pub(super) fn content(&self, number: u32) -> Option<Content> {
        let spare = || self.spare.contains(&number).then_some(Content::Entries);
        let extent = self.extents.get(&number);
        extent.map(|extent| extent.content).or_else(spare)
    }

    /// Makes an extent of an earlier run active again.
    pub(super) fn resume(&mut self, number: u32) {
        if let Some(extent) = self.extents.get_mut(&number) {
            extent.sealed = false;
        }
    }

    /// Records the last log entry in an extent of an earlier run.
    pub(super) fn ends_with(&mut self, number: u32, last_index: u64) {
        if let Some(extent) = self.extents.get_mut(&number) {
            extent.last_index = last_index;
        }
    }

    /// Ends the appends to an extent whose file has `size` bytes, and whose last log entry has this index. `filled` tells
    /// whether the appends have written about all of it.
    pub(super) fn seal(&mut self, number: u32, size: u64, last_index: u64, filled: bool) {
        if let Some(extent) = self.extents.get_mut(&number) {
            extent.sealed = true;
            extent.is_written |= filled;
            extent.size = signed(size);
            extent.last_index = last_index;
            if extent.live == 0 {
                self.emptied.push(number);
            }
        }
    }

    /// Counts an appended chunk.
    pub(super) fn added(&mut self, number: u32, len: u32) {
        if let Some(extent) = self.extents.get_mut(&number) {
            extent.live += i64::from(len);
        }
    }

    /// Counts a removed chunk.
    pub(super) fn released(&mut self, number: u32, len: u32) {
        if let Some(extent) = self.extents.get_mut(&number) {
            extent.live -= i64::from(len);
            if extent.live == 0 && extent.sealed {
                self.emptied.push(number);
            }
        } else if let Some(live) = self.missing.get_mut(&number) {
            *live -= i64::from(len);
            if *live <= 0 {
                self.missing.remove(&number);
            }
        }
    }

    /// Adds the bytes of live chunks that each extent of earlier runs held when the database was opened.
    /// Returns the extents whose files are missing.
    pub(super) fn count(&mut self, found: &BTreeMap<u32, u64>) -> Vec<(u32, u64)> {
        self.counted = true;
        let missing = found
            .iter()
            .filter(|(number, _)| !self.extents.contains_key(number));
        let missing: Vec<(u32, u64)> = missing.map(|(number, bytes)| (*number, *bytes)).collect();
        self.missing.extend(
            missing
                .iter()
                .map(|(number, bytes)| (*number, signed(*bytes))),
        );
        for (number, extent) in &mut self.extents {
            if let Some(bytes) = found.get(number) {
                extent.live += signed(*bytes);
            }
        }
        // An extent may have passed through zero before it was counted.
        self.emptied = self
            .extents
            .iter()
            .filter(|(_, extent)| extent.sealed && extent.live == 0)
            .map(|(number, _)| *number)
            .collect();
        missing
    }

    /// Number of extents that [`ExtentUsage::take_emptied`] would take.
    pub(super) fn emptied(&self, upto: u64) -> usize {
        match self.counted {
            true => self
                .emptied
                .iter()
                .filter(|number| self.is_covered(**number, upto))
                .count(),
            false => 0,
        }
    }

    /// Whether an extent has no log entry after `upto`.
    fn is_covered(&self, number: u32, upto: u64) -> bool {
        let extent = self.extents.get(&number);
        extent.is_none_or(|extent| extent.last_index <= upto)
    }

    /// Takes the emptied extents without log entries after `upto`. The next checkpoint makes the removal of their
    /// chunks durable.
    pub(super) fn take_emptied(&mut self, upto: u64) -> Vec<u32> {
        if !self.counted {
            return Vec::new();
        }
        let emptied = std::mem::take(&mut self.emptied);
        let (covered, rest) = emptied
            .into_iter()
            .partition(|number| self.is_covered(*number, upto));
        self.emptied = rest;
        covered
    }

    /// The number of the next new extent. Lower numbers were given out.
    pub(super) fn next_number(&self) -> u32 {
        self.next
    }

    /// Returns extents of [`ExtentUsage::take_emptied`] after a failed checkpoint.
    pub(super) fn put_back(&mut self, emptied: Vec<u32>) {
        self.emptied.extend(emptied);
    }

    /// Decides about an emptied extent after the checkpoint. Only those of the log, of the usual size, are reused.
    pub(super) fn finish(&mut self, number: u32, usual_size: u64) -> Fate {
        let extent = self.extents.remove(&number);
        let usual = extent.is_some_and(|extent| {
            extent.content == Content::Entries
                && extent.is_written
                && extent.size <= signed(usual_size)
        });
        if usual && self.spare.len() < SPARE_MAX {
            self.spare.push(number);
            Fate::Spare
        } else {
            Fate::Remove
        }
    }

    /// Whether an extent is ready for the log.
    pub(super) fn has_spare(&self) -> bool {
        !self.spare.is_empty()
    }

    /// The number of an extent that is made ready; [`ExtentUsage::add_spare`] follows.
    pub(super) fn new_number(&mut self) -> u32 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        number
    }

    /// Adds an extent that is ready for the log.
    pub(super) fn add_spare(&mut self, number: u32) {
        self.spare.push(number);
    }

    /// Takes the spare extents beyond `keep`, for removal.
    pub(super) fn take_spare(&mut self, keep: usize) -> Vec<u32> {
        self.spare.split_off(self.spare.len().min(keep))
    }

    /// Sealed extents whose chunks are worth moving, those with the fewest live bytes first, and at most `live_max` bytes in
    /// all. None until the unused bytes of all sealed extents with live chunks exceed `slack` and half of their size. Those
    /// without wait for a checkpoint, and moving frees none of them; nor does it those with log entries after `upto`, which
    /// are needed.
    pub(super) fn sparse(&self, slack: u64, upto: u64, live_max: u64) -> Vec<u32> {
        if !self.counted {
            return Vec::new();
        }
        let holds = |extent: &Extent| {
            extent.sealed && extent.live > 0 && extent.last_index <= upto && !extent.is_stuck
        };
        let sealed = || self.extents.iter().filter(|(_, extent)| holds(extent));
        let live: i64 = sealed().map(|(_, extent)| extent.live).sum();
        let size: i64 = sealed().map(|(_, extent)| extent.size).sum();
        if size - live <= live.max(signed(slack)) {
            return Vec::new();
        }
        let sparse =
            sealed().filter(|(_, extent)| extent.live * 100 < extent.size * SPARSE_PERCENT);
        let mut sparse: Vec<(i64, u32)> = sparse.map(|(number, it)| (it.live, *number)).collect();
        sparse.sort_unstable();
        let mut left = signed(live_max);
        let fits = |(live, _): &(i64, u32)| {
            left -= live;
            left >= 0
        };
        let chosen = sparse.into_iter().take_while(fits);
        chosen.map(|(_, number)| number).collect()
    }

    /// Notes that what these extents still hold cannot be moved: it is damaged.
    pub(super) fn stuck(&mut self, numbers: &[u32]) {
        for number in numbers {
            if let Some(extent) = self.extents.get_mut(number) {
                extent.is_stuck = extent.live > 0;
            }
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 100;

    fn filled(usage: &mut ExtentUsage, live: u32) -> u32 {
        let (number, _) = usage.take(Content::Entries);
        usage.added(number, 100);
        usage.released(number, 100 - live);
        usage.seal(number, SIZE, 0, true);
        number
    }

    #[test]
    fn an_emptied_extent_is_reused_after_the_checkpoint() {
        let mut usage = ExtentUsage::new([], 0);
        assert_eq!(usage.take(Content::Entries), (0, false));
        usage.added(0, 60);
        usage.released(0, 60);
        assert_eq!(usage.take_emptied(9), [0u32; 0], "it is active");
        usage.added(0, 40);
        usage.seal(0, SIZE, 9, true);
        assert_eq!(usage.take_emptied(9), [0u32; 0]);
        usage.released(0, 40);
        assert_eq!(usage.take_emptied(8), [0u32; 0], "its last entry is needed");
        let emptied = usage.take_emptied(9);
        assert_eq!(emptied, [0]);
        assert_eq!(
            usage.take(Content::Entries),
            (1, false),
            "not before the checkpoint"
        );
        usage.put_back(emptied);
        assert_eq!(usage.take_emptied(9), [0]);
        assert_eq!(usage.finish(0, SIZE), Fate::Spare);
        assert_eq!(usage.take(Content::Entries), (0, true));
    }

    #[test]
    fn some_extents_of_usual_size_are_spared() {
        let mut usage = ExtentUsage::new([], 0);
        let most = u32::try_from(SPARE_MAX).unwrap();
        let full: Vec<u32> = (0..most + 2).map(|_| filled(&mut usage, 0)).collect();
        assert_eq!(usage.take_emptied(9), full);
        assert_eq!(usage.finish(0, SIZE - 1), Fate::Remove);
        let fates: Vec<_> = (1..most + 2).map(|n| usage.finish(n, SIZE)).collect();
        let (last, spared) = fates.split_last().unwrap();
        assert!(spared.iter().all(|fate| *fate == Fate::Spare));
        assert_eq!(*last, Fate::Remove);
        assert_eq!(usage.take_spare(1).len(), SPARE_MAX - 1);
        assert_eq!(usage.take_spare(0), [1]);
        assert_eq!(usage.take_spare(0), [0u32; 0]);
    }

    #[test]
    fn extents_of_earlier_runs_are_reused_only_once_counted() {
        let mut usage = ExtentUsage::new([3, 4, 5].map(|n| (n, Content::Entries, SIZE)), 0);
        assert_eq!(usage.take(Content::Entries), (6, false));
        usage.released(4, 30);
        let sparse = usage.sparse(0, 9, u64::MAX);
        assert_eq!((usage.take_emptied(9), sparse), (vec![], vec![]));
        usage.count(&BTreeMap::from([(3, 20), (4, 30)]));
        assert_eq!(usage.take_emptied(9), [4, 5]);
        usage.released(3, 20);
        assert_eq!(usage.take_emptied(9), [3]);
    }

    #[test]
    fn missing_extents_are_reported_and_their_numbers_never_reused() {
        let mut usage = ExtentUsage::new([(1, Content::Chunks, SIZE)], 4);
        assert_eq!(usage.take(Content::Entries), (4, false));
        let found = BTreeMap::from([(1, 10), (2, 20), (3, 30)]);
        assert_eq!(usage.count(&found), [(2, 20), (3, 30)]);
        usage.released(1, 10);
        usage.released(3, 30);
        usage.released(2, 20);
    }

    #[test]
    fn sparse_extents_are_listed_once_half_of_all_bytes_are_unused() {
        let mut usage = ExtentUsage::new([], 0);
        let sparse = |usage: &ExtentUsage, slack| usage.sparse(slack, 9, u64::MAX);
        let (a, b) = (filled(&mut usage, 30), filled(&mut usage, 80));
        assert_eq!(sparse(&usage, 0), [0u32; 0], "90 of 200 are unused");
        let c = filled(&mut usage, 10);
        assert_eq!(sparse(&usage, 180), [0u32; 0]);
        assert_eq!(sparse(&usage, 179), [c, a]);
        usage.released(b, 40);
        assert_eq!(sparse(&usage, 0), [c, a, b]);
        usage.stuck(&[c]);
        assert_eq!(sparse(&usage, 0), [a, b]);
        let mut usage = ExtentUsage::new([], 0);
        filled(&mut usage, 40);
        for _ in 0..9 {
            filled(&mut usage, 0);
        }
        assert_eq!(sparse(&usage, 100), [0u32; 0], "nine need no move");
    }

    #[test]
    fn no_more_sparse_extents_are_listed_than_may_be_moved() {
        let mut usage = ExtentUsage::new([], 0);
        let (a, b, c) = (
            filled(&mut usage, 30),
            filled(&mut usage, 10),
            filled(&mut usage, 20),
        );
        let (needed, _) = usage.take(Content::Entries);
        usage.added(needed, 5);
        usage.seal(needed, SIZE, 9, true);
        let sparse = |live_max| usage.sparse(0, 8, live_max);
        assert_eq!(sparse(60), [b, c, a]);
        assert_eq!(sparse(59), [b, c]);
        assert_eq!(sparse(10), [b]);
        assert_eq!(sparse(9), [0u32; 0]);
        assert_eq!(usage.sparse(0, 9, 5), [needed], "no one needs its entries");
    }
}
