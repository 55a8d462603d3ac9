//! Sets of offsets as sorted disjoint ranges. Settling in order extends one range; settling at random costs a
//! tree search.
//!
//! Written by hand to have in one small type: the number of new offsets of each insertion, a total without
//! counting, removal below a floor in place, and pages of 4,096 offsets cut out as runs for the disk.

use std::collections::BTreeMap;
use std::ops::Range;

use super::page::{PAGE_OFFSETS, PageBits};

/// A set of offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// Start to end (exclusive); neighbours never touch.
    ranges: BTreeMap<u64, u64>,
    /// Offsets in all ranges.
    len: u64,
}

impl RangeSet {
    pub fn new() -> RangeSet {
        RangeSet::default()
    }

    /// Number of offsets in the set.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of separate ranges, which the set's memory is proportional to.
    pub fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// Adds one offset. False if the set has it already.
    pub fn insert(&mut self, offset: u64) -> bool {
        self.insert_range(offset..offset.saturating_add(1)) == 1
    }

    /// Adds a range. Returns the number of new offsets.
    pub fn insert_range(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        // The usual range lengthens the one before it, and no other follows.
        let mut added = range.end - range.start;
        let mut end = range.end;
        let before = self.ranges.range(..=range.start).next_back();
        let start = match before {
            Some((&start, &before_end)) if before_end >= range.start => {
                if before_end >= range.end {
                    return 0;
                }
                added -= before_end - range.start;
                start
            }
            _ => range.start,
        };
        while let Some((&next, &next_end)) = self.ranges.range(range.start + 1..=range.end).next() {
            added -= next_end.min(range.end) - next;
            end = end.max(next_end);
            self.ranges.remove(&next);
        }
        self.ranges.insert(start, end);
        self.len += added;
        added
    }

    pub fn contains(&self, offset: u64) -> bool {
        self.range_of(offset).is_some()
    }

    /// The range that holds the offset.
    pub fn range_of(&self, offset: u64) -> Option<Range<u64>> {
        let (&start, &end) = self.ranges.range(..=offset).next_back()?;
        (offset < end).then_some(start..end)
    }

    /// The first offset at or after `from` that is not in the set.
    pub fn first_gap(&self, from: u64) -> u64 {
        self.range_of(from).map_or(from, |range| range.end)
    }

    /// Number of offsets of `range` in the set.
    pub fn count_in(&self, range: Range<u64>) -> u64 {
        self.iter_in(range).map(|part| part.end - part.start).sum()
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }

    /// The parts of the set that lie in `range`, in order.
    pub fn iter_in(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = self
            .range_of(range.start)
            .map_or(range.start, |found| found.start);
        self.ranges
            .range(first..range.end.max(first))
            .map(move |(&start, &end)| start.max(range.start)..end.min(range.end))
    }

    /// The parts of `range` that are not in the set, in order.
    pub fn gaps_in(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut at = range.start;
        let tail = range.end..range.end;
        self.iter_in(range)
            .chain(std::iter::once(tail))
            .filter_map(move |part| {
                let gap = at..part.start;
                at = part.end;
                (!gap.is_empty()).then_some(gap)
            })
    }

    /// Removes every offset below `floor`.
    pub fn remove_below(&mut self, floor: u64) {
        while let Some(entry) = self.ranges.first_entry() {
            let (start, end) = (*entry.key(), *entry.get());
            if start >= floor {
                return;
            }
            entry.remove();
            self.len -= end - start;
            if end > floor {
                self.ranges.insert(floor, end);
                self.len += end - floor;
                return;
            }
        }
    }

    pub fn remove_range(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let hit: Vec<Range<u64>> = match self.range_of(range.start) {
            Some(first) => self.iter_in(first.start..range.end).collect(),
            None => self.iter_in(range.clone()).collect(),
        };
        for part in hit {
            let Some(end) = self.ranges.remove(&part.start) else {
                continue;
            };
            self.len -= end - part.start;
            for rest in [part.start..range.start, range.end..end] {
                if !rest.is_empty() {
                    self.len += rest.end - rest.start;
                    self.ranges.insert(rest.start, rest.end);
                }
            }
        }
    }

    /// The offsets of one page, for writing.
    pub fn page(&self, page: u64) -> PageBits {
        let first = page.saturating_mul(PAGE_OFFSETS);
        let within = |offset: u64| u16::try_from(offset - first).unwrap_or(u16::MAX);
        let runs = self
            .iter_in(first..first.saturating_add(PAGE_OFFSETS))
            .map(|part| (within(part.start), within(part.end)))
            .collect();
        PageBits::new(runs)
    }

    /// Adds the offsets of a page that was read back.
    pub fn insert_page(&mut self, page: u64, bits: &PageBits) {
        let Some(first) = page.checked_mul(PAGE_OFFSETS) else {
            return; // no message can have such an offset
        };
        for &(start, end) in bits.runs() {
            self.insert_range(
                first.saturating_add(u64::from(start))..first.saturating_add(u64::from(end)),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::page::page_of;
    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        InsertRange(u64, u64),
        RemoveBelow(u64),
        RemoveRange(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u64..300).prop_map(Step::Insert),
            2 => (0u64..300, 0u64..40).prop_map(|(at, len)| Step::InsertRange(at, at + len)),
            1 => (0u64..300).prop_map(Step::RemoveBelow),
            1 => (0u64..300, 0u64..40).prop_map(|(at, len)| Step::RemoveRange(at, at + len)),
        ]
    }

    /// Asserts that `set` agrees with a plain set of the same members.
    fn agree(set: &RangeSet, naive: &BTreeSet<u64>) {
        assert_eq!(set.len(), naive.len() as u64);
        assert_eq!(set.is_empty(), naive.is_empty());
        let members: Vec<u64> = set.iter().flatten().collect();
        assert_eq!(members, naive.iter().copied().collect::<Vec<_>>());
        let ranges: Vec<_> = set.iter().collect();
        assert!(
            ranges.windows(2).all(|pair| pair[0].end < pair[1].start),
            "{ranges:?}"
        );
        for at in (0..345).step_by(7) {
            assert_eq!(set.contains(at), naive.contains(&at));
            let gap = (at..).find(|offset| !naive.contains(offset)).unwrap();
            assert_eq!(set.first_gap(at), gap);
            assert_eq!(
                set.count_in(at..at + 50),
                naive.range(at..at + 50).count() as u64
            );
            let gaps: Vec<u64> = set.gaps_in(at..at + 50).flatten().collect();
            let expected: Vec<u64> = (at..at + 50).filter(|o| !naive.contains(o)).collect();
            assert_eq!(gaps, expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn behaves_as_a_plain_set(steps in prop::collection::vec(step(), 1..80)) {
            let (mut set, mut naive) = (RangeSet::new(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Insert(at) => prop_assert_eq!(set.insert(at), naive.insert(at)),
                    Step::InsertRange(start, end) => {
                        let added = (start..end).filter(|at| naive.insert(*at)).count() as u64;
                        prop_assert_eq!(set.insert_range(start..end), added);
                    }
                    Step::RemoveBelow(floor) => {
                        set.remove_below(floor);
                        naive.retain(|at| *at >= floor);
                    }
                    Step::RemoveRange(start, end) => {
                        set.remove_range(start..end);
                        naive.retain(|at| *at < start || *at >= end);
                    }
                }
            }
            agree(&set, &naive);
        }

        #[test]
        fn pages_restore_the_whole_set(ranges in prop::collection::vec((0u64..20_000, 1u64..3000), 0..20)) {
            let mut set = RangeSet::new();
            for (start, len) in ranges {
                set.insert_range(start..start + len);
            }
            let mut back = RangeSet::new();
            for page in (0..=page_of(23_000)).rev() {
                let bits = set.page(page);
                prop_assert_eq!(PageBits::from_runs(bits.runs().to_vec()), Some(bits.clone()));
                back.insert_page(page, &bits);
            }
            prop_assert_eq!(back, set);
        }
    }

    #[test]
    fn offsets_at_both_ends_of_u64_are_handled() {
        let mut set = RangeSet::new();
        assert!(set.insert(u64::MAX - 1));
        assert!(set.insert(0));
        assert_eq!(set.first_gap(u64::MAX - 1), u64::MAX);
        assert_eq!(set.page(page_of(u64::MAX)).len(), 1);
        set.insert_page(u64::MAX, &PageBits::from_runs(vec![(0, 4096)]).unwrap());
        assert_eq!(set.len(), 2);
    }
}
