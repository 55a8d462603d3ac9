//! The walk over the log at a start: finds the entries after the last one that the database holds, the end, and damage.

use std::collections::BTreeMap;
use std::ops::Range;

use tracing::warn;

use super::damage::Damage;
use super::entry::Header;
use super::extent_file::{ExtentFile, Found};
use crate::store::StoreError;
use crate::store::extents::{Extents, SPARE_MARK};

/// The walk over the entries.
pub(super) struct Scan {
    seed: u64,
    files: BTreeMap<u32, ExtentFile>,
    /// The first entries of the extents.
    pub(super) heads: Vec<Found>,
    /// Extents without a first entry.
    headless: Vec<u32>,
    pub(super) entries: Vec<Found>,
    pub(super) damages: Vec<Damage>,
    pub(super) end: Option<(u32, u64)>,
    pub(super) last: u64,
    pub(super) last_sum: u64,
    pub(super) term: u64,
    pub(super) durable: u64,
    pub(super) last_in: BTreeMap<u32, u64>,
    /// Whole entries behind the position that was looked at last.
    pub(super) behind: Vec<Found>,
}

impl Scan {
    pub(super) fn open(extents: &Extents, seed: u64, synced: u64) -> Result<Scan, StoreError> {
        let mut scan = Scan {
            seed,
            files: BTreeMap::new(),
            heads: Vec::new(),
            headless: Vec::new(),
            entries: Vec::new(),
            damages: Vec::new(),
            end: None,
            last: 0,
            last_sum: 0,
            term: 0,
            durable: synced,
            last_in: BTreeMap::new(),
            behind: Vec::new(),
        };
        for number in extents.found_log() {
            let file = ExtentFile::open(extents, number)?;
            let is_spare = || Ok::<_, StoreError>(file.read(0, SPARE_MARK.len())? == SPARE_MARK);
            let head = match file.found_at(0, seed)? {
                Some(head) => Some(head),
                None if is_spare()? => None,
                None => {
                    // Copies behind a whole entry are of others, maybe of an earlier use of the extent.
                    let whole = file.entries_from(0, 1, seed)?.into_iter().next();
                    let end = whole.map_or(file.len, |whole| whole.at);
                    let copied = file.copied_at(0, end, seed)?;
                    if copied.is_none() {
                        scan.headless.push(number);
                    }
                    copied
                }
            };
            if let Some(head) = head {
                scan.term = scan.term.max(head.header.term);
                scan.heads.push(head);
            }
            scan.files.insert(number, file);
        }
        scan.heads
            .sort_unstable_by_key(|head| (head.header.index, head.header.term));
        Ok(scan)
    }

    /// Walks from the last applied entry to the end, or to `limit`.
    pub(super) fn walk(&mut self, applied: u64, limit: u64) -> Result<(), StoreError> {
        let before = self
            .heads
            .partition_point(|head| head.header.index <= applied + 1);
        let start = before.checked_sub(1).and_then(|at| self.heads.get(at));
        let mut position = start.map(|head| (head.extent, 0));
        let mut expected = start.map_or(applied + 1, |head| head.header.index);
        let mut previous = None;
        let mut term = 0;
        while expected <= limit {
            let mut follows = self.follows(position, expected, previous, term)?;
            let mut later = Vec::new();
            if follows.is_none() {
                later = self.later(position, expected, term)?;
                let knows = later.iter().map(|found| found.header.durable).max();
                self.durable = self.durable.max(knows.unwrap_or(0));
                if self.durable >= expected {
                    let fits = fits(expected, previous, term);
                    follows = self.copied(position, fits, &later)?;
                }
            }
            if let Some(found) = follows {
                self.term = self.term.max(found.header.term);
                term = found.header.term;
                self.durable = self.durable.max(found.header.durable);
                self.last_in.insert(found.extent, expected);
                if expected > applied {
                    self.entries.push(found);
                }
                previous = Some(found.header.sum);
                position = Some((found.extent, found.end()));
                expected += 1;
                continue;
            }
            let next = later
                .iter()
                .min_by_key(|found| (found.header.index, u64::MAX - found.header.term));
            let is_needed = self.durable >= expected && self.durable > applied;
            // The database holds what is missing before `next`. Otherwise an entry that does not follow is a forgotten one.
            let is_bridged = |next: &Found| expected <= applied && next.header.index <= applied + 1;
            let Some(next) = next.filter(|next| is_needed || is_bridged(next)) else {
                if is_needed {
                    let lost = expected.max(applied + 1)..self.durable + 1;
                    self.damaged(lost.clone(), position, None);
                    expected = lost.end;
                    position = None;
                } else if expected <= applied {
                    position = None; // the database holds what is missing
                    expected = applied + 1;
                }
                break;
            };
            let lost = expected.max(applied + 1)..next.header.index;
            if !lost.is_empty() {
                self.damaged(lost, position, Some(next));
            }
            expected = next.header.index;
            previous = None;
            position = Some((next.extent, next.at));
        }
        if expected > limit {
            self.later(position, expected, term)?; // for the terms of what is forgotten
        }
        self.last = (expected - 1).max(applied);
        self.last_sum = previous.unwrap_or(0);
        self.end = position;
        Ok(())
    }

    /// The entry with this index that follows on what was found: at this position, or at the beginning of an extent.
    fn follows(
        &self,
        position: Option<(u32, u64)>,
        index: u64,
        previous: Option<u64>,
        term: u64,
    ) -> Result<Option<Found>, StoreError> {
        let fits = fits(index, previous, term);
        let mut found = None;
        if let Some((extent, at)) = position
            && let Some(file) = self.files.get(&extent)
            && let Some((header, _)) = file.whole_at(at, self.seed)?
            && fits(&header)
        {
            found = Some(Found {
                header,
                extent,
                at,
                head_at: at,
            });
        }
        // An entry that was cut off may still stand here while its successor began a new extent.
        let heads = self.heads.iter().filter(|head| fits(&head.header)).copied();
        Ok(found
            .into_iter()
            .chain(heads)
            .max_by_key(|found| found.header.term))
    }

    /// Whole entries that may come after what was found, from this index on. The next term will be above those of all
    /// others from there on, which are forgotten.
    fn later(
        &mut self,
        position: Option<(u32, u64)>,
        index: u64,
        term: u64,
    ) -> Result<Vec<Found>, StoreError> {
        let mut later: Vec<Found> = self
            .heads
            .iter()
            .filter(|head| head.header.index >= index)
            .copied()
            .collect();
        for number in &self.headless {
            if let Some(file) = self.files.get(number) {
                later.extend(file.entries_from(0, index, self.seed)?);
            }
        }
        self.behind.clear();
        if let Some((extent, at)) = position
            && let Some(file) = self.files.get(&extent)
        {
            self.behind = file.entries_from(at, index, self.seed)?;
            later.extend_from_slice(&self.behind);
        }
        let terms = later.iter().map(|found| found.header.term);
        self.term = self.term.max(terms.max().unwrap_or(0));
        later.retain(|found| found.header.term >= term);
        Ok(later)
    }

    /// The entry that fits, by the copy of its head: at this position, or at the beginning of an extent whose first head is
    /// damaged.
    fn copied(
        &self,
        position: Option<(u32, u64)>,
        fits: impl Fn(&Header) -> bool,
        later: &[Found],
    ) -> Result<Option<Found>, StoreError> {
        let firsts = self.headless.iter().map(|number| (*number, 0));
        for (extent, at) in position.into_iter().chain(firsts) {
            let Some(file) = self.files.get(&extent) else {
                continue;
            };
            let behind = later
                .iter()
                .filter(|found| found.extent == extent && found.at > at);
            let end = behind.map(|found| found.at).min().unwrap_or(file.len);
            if let Some(found) = file.copied_if(at, end, self.seed, &fits)? {
                warn!(entry = found.header.index, file = %file.path.display(), "a head is damaged; its copy is whole");
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn damaged(&mut self, entries: Range<u64>, from: Option<(u32, u64)>, next: Option<&Found>) {
        let mut damage = Damage::between(entries, &self.files, from, next);
        let goes_on = |next: &Found| from.is_some_and(|(extent, _)| extent == next.extent);
        if !next.is_some_and(goes_on) {
            // Extents between may have held only entries that are damaged.
            let others = self.headless.iter();
            let others = others.filter(|number| next.is_none_or(|next| next.extent != **number));
            let files = others.filter_map(|number| self.files.get(number));
            let written = files.filter(|file| file.has_data());
            let places = written.map(|file| (file.path.clone(), 0..file.len));
            damage.places.extend(places);
        }
        self.damages.push(damage);
    }
}

/// Whether a header is that of the entry with this index that follows on an entry with this checksum and term.
fn fits(index: u64, previous: Option<u64>, term: u64) -> impl Fn(&Header) -> bool {
    move |header| {
        header.index == index
            && header.term >= term
            && previous.is_none_or(|sum| header.previous == sum)
    }
}
