//! A set of offsets that the disk has in pages. Offsets below the set's floor (its first gap) need no page,
//! since the log's record has the floor. Does not know what the offsets mean.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::store::{PageBits, RangeSet, page_of};

/// How a page changes on disk.
pub(super) enum PageChange {
    Put(PageBits),
    Remove,
}

/// A set of offsets, and how far the disk has it.
#[derive(Default)]
pub(super) struct PagedSet {
    set: RangeSet,
    /// Pages that may differ from those on disk.
    dirty: BTreeSet<u64>,
    /// Pages on disk.
    written: BTreeSet<u64>,
}

impl PagedSet {
    /// The set as the disk has it: pages at and above `floor`, and everything below.
    pub(super) fn recover(set: RangeSet, floor: u64, next: u64) -> PagedSet {
        // The page that holds the floor may be left from when the floor was lower.
        let mut written = BTreeSet::from([page_of(floor)]);
        for range in set.iter_in(floor..next) {
            written.extend(pages_of(&range));
        }
        PagedSet {
            set,
            dirty: BTreeSet::new(),
            written,
        }
    }

    pub(super) fn set(&self) -> &RangeSet {
        &self.set
    }

    /// Every offset below is in the set.
    pub(super) fn floor(&self) -> u64 {
        self.set.first_gap(0)
    }

    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        self.set.insert_range(range.clone());
        let floor = self.floor();
        if range.end > floor {
            self.dirty
                .extend(pages_of(&(range.start.max(floor)..range.end)));
        }
    }

    /// Removes the offsets from `from` on that are not in `but`. The floor may fall, and then offsets of
    /// `but` that were below it need pages again.
    pub(super) fn remove_from(&mut self, from: u64, but: &RangeSet) {
        let stays: Vec<Range<u64>> = but.iter_in(from..u64::MAX).collect();
        self.set.remove_range(from..u64::MAX);
        self.dirty.extend(self.written.range(page_of(from)..));
        for range in stays {
            self.set.insert_range(range.clone());
            self.dirty.extend(pages_of(&range));
        }
    }

    pub(super) fn replace(&mut self, set: RangeSet) {
        self.set = set;
        self.dirty.extend(&self.written);
        let floor = self.floor();
        for range in self.set.iter_in(floor..u64::MAX) {
            self.dirty.extend(pages_of(&range));
        }
    }

    /// Calls `write` for each page that changes on disk.
    pub(super) fn collect(&mut self, mut write: impl FnMut(u64, PageChange)) {
        let floor_page = page_of(self.floor());
        for page in std::mem::take(&mut self.dirty) {
            if page < floor_page {
                continue; // the loop below removes it, if the disk has it
            }
            let bits = self.set.page(page);
            if !bits.is_empty() {
                self.written.insert(page);
                write(page, PageChange::Put(bits));
            } else if self.written.remove(&page) {
                write(page, PageChange::Remove);
            }
        }
        while let Some(page) = self.written.first().copied()
            && page < floor_page
        {
            self.written.remove(&page);
            write(page, PageChange::Remove);
        }
    }
}

fn pages_of(range: &Range<u64>) -> std::ops::RangeInclusive<u64> {
    page_of(range.start)..=page_of(range.end.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The disk: pages by number, and the floor that the record would hold.
    #[derive(Default)]
    struct Disk {
        pages: BTreeMap<u64, PageBits>,
        floor: u64,
    }

    impl Disk {
        fn collect(&mut self, pages: &mut PagedSet) {
            pages.collect(|page, change| match change {
                PageChange::Put(bits) => {
                    self.pages.insert(page, bits);
                }
                PageChange::Remove => {
                    self.pages.remove(&page);
                }
            });
            self.floor = pages.floor();
        }

        fn set(&self) -> RangeSet {
            let mut set = RangeSet::new();
            for (page, bits) in &self.pages {
                set.insert_page(*page, bits);
            }
            set.remove_below(self.floor);
            set.insert_range(0..self.floor);
            set
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u64),
        RemoveFrom(u64, Vec<(u64, u64)>),
        Collect,
        Restart,
    }

    const NEXT: u64 = 30_000;

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..NEXT, 1u64..6000).prop_map(|(at, len)| Step::Insert(at, len)),
            3 => (0..9u64, 1u64..9).prop_map(|(at, len)| Step::Insert(at * 100, len * 100)),
            2 => (0..NEXT, prop::collection::vec((0..NEXT, 1u64..3000), 0..4)).prop_map(|(at, but)| Step::RemoveFrom(at, but)),
            3 => Just(Step::Collect),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn the_disk_has_the_set_after_every_batch(steps in prop::collection::vec(step(), 1..40)) {
            let (mut pages, mut disk) = (PagedSet::default(), Disk::default());
            for step in steps {
                match step {
                    Step::Insert(at, len) => pages.insert(at..(at + len).min(NEXT)),
                    Step::RemoveFrom(at, but) => {
                        // The offsets that stay are always part of the set.
                        let mut stays = RangeSet::new();
                        for (start, len) in but {
                            for range in pages.set().iter_in(start..start + len) {
                                stays.insert_range(range);
                            }
                        }
                        pages.remove_from(at, &stays);
                    }
                    Step::Collect => {
                        disk.collect(&mut pages);
                        prop_assert_eq!(&disk.set(), pages.set());
                    }
                    Step::Restart => {
                        disk.collect(&mut pages);
                        pages = PagedSet::recover(disk.set(), disk.floor, NEXT);
                        prop_assert!(disk.pages.keys().all(|page| pages.written.contains(page)));
                    }
                }
            }
            disk.collect(&mut pages);
            prop_assert_eq!(&disk.set(), pages.set());
            pages.replace(RangeSet::new());
            disk.collect(&mut pages);
            prop_assert!(disk.pages.is_empty());
        }
    }
}
