//! The entries of the log that are appended and not applied, in order. One that came from another node may hold all of the
//! message that brought it, so it counts with its bytes in the log.

use std::collections::VecDeque;

use crate::store::log::Entry;

/// The entries. Those beyond a number of bytes are left to the log, and read from it when they are applied.
#[derive(Debug)]
pub(super) struct Unapplied {
    entries: VecDeque<Waiting>,
    /// Of the entries in memory.
    bytes: u64,
    bytes_max: u64,
}

#[derive(Debug)]
pub(super) enum Waiting {
    InMemory(Entry),
    /// The index of an entry that the log has.
    InLog(u64),
}

impl Waiting {
    pub(super) fn index(&self) -> u64 {
        match self {
            Waiting::InMemory(entry) => entry.index,
            Waiting::InLog(index) => *index,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Waiting::InMemory(entry) => entry.bytes,
            Waiting::InLog(_) => 0,
        }
    }
}

impl Unapplied {
    pub(super) fn new(bytes_max: u64) -> Unapplied {
        Unapplied {
            entries: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds an entry that the log has.
    pub(super) fn push(&mut self, entry: Entry) {
        let waiting = match self.bytes + entry.bytes > self.bytes_max {
            true => Waiting::InLog(entry.index),
            false => Waiting::InMemory(entry),
        };
        self.bytes += waiting.bytes();
        self.entries.push_back(waiting);
    }

    /// Takes the first entry, if it is one of those up to `upto`.
    pub(super) fn take(&mut self, upto: u64) -> Option<Waiting> {
        let first = self.entries.pop_front_if(|first| first.index() <= upto)?;
        self.bytes -= first.bytes();
        Some(first)
    }

    /// Puts an entry back that was taken.
    pub(super) fn put_back(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes();
        self.entries.push_front(waiting);
    }

    /// Takes the entries after `last`.
    pub(super) fn cut(&mut self, last: u64) -> VecDeque<Waiting> {
        let kept = self.entries.partition_point(|it| it.index() <= last);
        let gone = self.entries.split_off(kept);
        self.bytes -= gone.iter().map(Waiting::bytes).sum::<u64>();
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64) -> Entry {
        Entry {
            index,
            term: 1,
            writes: Vec::new(),
            bytes: 4096,
        }
    }

    fn in_memory(unapplied: &Unapplied) -> Vec<u64> {
        let here = unapplied.entries.iter();
        here.filter(|it| matches!(it, Waiting::InMemory(_)))
            .map(Waiting::index)
            .collect()
    }

    #[test]
    fn what_does_not_fit_is_left_to_the_log() {
        let mut unapplied = Unapplied::new(2 * 4096);
        for index in 1..=5 {
            unapplied.push(entry(index));
        }
        assert_eq!(unapplied.len(), 5);
        assert_eq!(in_memory(&unapplied), [1, 2]);
        let first = unapplied.take(1).unwrap();
        assert!(unapplied.take(1).is_none());
        unapplied.push(entry(6));
        assert_eq!(in_memory(&unapplied), [2, 6]);
        unapplied.put_back(first);
        assert_eq!(in_memory(&unapplied), [1, 2, 6]);
        let gone: Vec<u64> = unapplied.cut(3).iter().map(Waiting::index).collect();
        assert_eq!(gone, [4, 5, 6]);
        assert_eq!(unapplied.bytes, 2 * 4096);
        while unapplied.take(9).is_some() {}
        assert_eq!((unapplied.len(), unapplied.bytes), (0, 0));
    }
}
