//! The walk over the log of a member of a set at a start: finds all entries that are kept, the end, and damage.
//!
//! In a set, entries are replaced: one that no majority has may give way to one with the same index and another term, which
//! stands behind it and is of a later generation. A later entry that follows on an earlier one replaces what stands between
//! them. What was written before the entry before it was left behind by an earlier use of the extent.

use std::collections::BTreeMap;
use std::ops::Range;

use tracing::warn;

use super::damage::Damage;
use super::entry::Header;
use super::extent_file::{ExtentFile, Found};
use super::id::{EntryId, Written};
use super::kept::Kept;
use crate::store::StoreError;
use crate::store::extents::{Extents, PAGE, SPARE_MARK};

/// What the database of a member tells of the log.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Known {
    /// All keyspaces hold everything up to here, so entries up to here are only for others.
    pub(in crate::store) applied: u64,
    /// No other member gets entries up to here: their extents may have been used again since, in part.
    pub(in crate::store) purged: u64,
    /// Entries whose terms are known. The log may begin behind one of them.
    pub(in crate::store) entries: Vec<EntryId>,
}

/// The walk over the entries.
pub(super) struct Chain<'a> {
    seed: u64,
    known: &'a Known,
    files: BTreeMap<u32, ExtentFile>,
    pub(super) kept: Kept,
    has_begun: bool,
    /// The last entry that the walk has taken.
    last: Written,
    /// The last generation of all entries that were seen.
    pub(super) generation: u64,
    pub(super) damages: Vec<Damage>,
    /// Where the next entry goes.
    pub(super) end: Option<(u32, u64)>,
    /// The last entry that is on disk for certain.
    pub(super) durable: u64,
    /// The greatest index in each extent that the walk has passed.
    pub(super) last_in: BTreeMap<u32, u64>,
    /// The first entries of the extents.
    pub(super) heads: Vec<Found>,
}

impl<'a> Chain<'a> {
    /// Walks over all entries. `synced` is what the file says.
    pub(super) fn find(
        extents: &Extents,
        seed: u64,
        known: &'a Known,
        synced: Written,
    ) -> Result<Chain<'a>, StoreError> {
        let mut chain = Chain {
            seed,
            known,
            files: BTreeMap::new(),
            kept: Kept::default(),
            has_begun: false,
            last: Written::default(),
            generation: synced.generation,
            damages: Vec::new(),
            end: None,
            durable: 0,
            last_in: BTreeMap::new(),
            heads: Vec::new(),
        };
        let heads = chain.open(extents)?;
        let in_order = heads
            .iter()
            .map(|head| ((head.written(), head.extent), *head));
        let mut ahead: BTreeMap<_, Found> = in_order.collect();
        while let Some((_, head)) = ahead.pop_first() {
            if chain.has_begun && head.written() <= chain.last {
                continue; // from an earlier use of the extent
            }
            let Some(first) = chain.first_of(head)? else {
                continue;
            };
            let end = chain.walk(first)?;
            let next = ahead.values().find(|it| it.written() > chain.last).copied();
            if next.is_none_or(|next| !chain.fits(&next)) {
                let of_later_use = chain.look_behind(head.extent, end, next)?;
                ahead.extend(of_later_use.map(|it| ((it.written(), it.extent), it)));
            }
        }
        if !chain.has_begun {
            let base = known.entries.iter().max_by_key(|id| id.index);
            chain.kept = Kept::after(base.copied().unwrap_or_default(), None);
        }
        chain.heads = heads;
        chain.drop_replaced();
        chain.finish(synced);
        Ok(chain)
    }

    /// Opens the files. Returns the first entries of the extents, in the order of writing.
    fn open(&mut self, extents: &Extents) -> Result<Vec<Found>, StoreError> {
        let mut heads = Vec::new();
        for number in extents.found_log() {
            let file = ExtentFile::open(extents, number)?;
            heads.extend(self.head_of(&file)?);
            self.files.insert(number, file);
        }
        heads.sort_unstable_by_key(Found::written);
        self.generation = newest(self.generation, &heads);
        Ok(heads)
    }

    /// The first entry of an extent, by its head or by the copy of it. If neither is whole: the first entry that is, so
    /// that what stands behind a damaged one is found.
    fn head_of(&self, file: &ExtentFile) -> Result<Option<Found>, StoreError> {
        if let Some(found) = file.found_at(0, self.seed)? {
            return Ok(Some(found));
        }
        let first = file.read(0, PAGE)?;
        if first.starts_with(SPARE_MARK) {
            return Ok(None);
        }
        let whole = file.entries_from(0, 1, self.seed)?.into_iter().next();
        if whole.is_none() && first.iter().all(|byte| *byte == 0) {
            return Ok(None); // nothing was written
        }
        let end = whole.map_or(file.len, |whole| whole.at);
        Ok(file.copied_at(0, end, self.seed)?.or(whole))
    }

    /// Where the walk goes on in an extent with this head: at the head, or at a later entry that replaces what is missing
    /// before it. `None` if the extent holds only entries that follow on an unfinished one.
    fn first_of(&mut self, head: Found) -> Result<Option<Found>, StoreError> {
        if self.has_begun && self.fits(&head) {
            return Ok(Some(head));
        }
        let Some(file) = self.files.get(&head.extent).filter(|_| self.has_begun) else {
            return Ok(Some(head).filter(|head| self.is_needed(head)));
        };
        let entries = file.entries_from(head.at, 1, self.seed)?;
        self.generation = newest(self.generation, &entries);
        // Those of an earlier use of the extent were written before its head.
        let mut entries = entries.into_iter();
        let fitting = entries.find(|it| it.written() > head.written() && self.fits(it));
        Ok(fitting.or(Some(head).filter(|head| self.is_needed(head))))
    }

    /// Whether the walk goes on at this entry, which does not fit: the database holds what is missing, or that is damaged.
    fn is_needed(&self, head: &Found) -> bool {
        head.header.index <= self.known.applied + 1 || self.knows(head)
    }

    /// Takes the entries of an extent from this one on. Returns the position behind the last one.
    fn walk(&mut self, first: Found) -> Result<u64, StoreError> {
        let mut next = Some(first);
        let mut end = first.at;
        while let Some(found) = next {
            self.take(found);
            end = found.end();
            self.end = Some((found.extent, end));
            let Some(file) = self.files.get(&found.extent) else {
                break;
            };
            let behind = file.found_at(end, self.seed)?;
            next = behind.filter(|next| self.fits(next));
        }
        Ok(end)
    }

    /// Whether this entry was written later than the last one, and follows on what was found, or replaces the end of it.
    fn fits(&self, found: &Found) -> bool {
        let before = found.header.index - 1;
        let term_before = self.kept.term_of(before);
        let sum_before = self.kept.sum_at(before);
        found.written() > self.last
            && term_before.is_some_and(|term| term <= found.header.term)
            && sum_before.is_none_or(|sum| sum == found.header.previous)
    }

    /// Whether this later entry, which does not fit, knows that one before it was on disk that is missing.
    fn knows(&self, found: &Found) -> bool {
        let Written { generation, id } = self.last;
        let durable = found.header.durable;
        let is_later = (found.header.generation, found.header.term) > (generation, id.term);
        durable > id.index.max(self.known.applied)
            || (is_later && durable + 1 >= found.header.index)
    }

    /// Adds an entry. Before it some may be missing.
    fn take(&mut self, found: Found) {
        let last_in = self.last_in.entry(found.extent).or_default();
        *last_in = found.header.index.max(*last_in);
        self.generation = newest(self.generation, &[found]);
        if self.has_begun && self.fits(&found) {
            self.kept.truncate(found.header.index - 1);
            self.durable = self.durable.min(found.header.index - 1);
        } else if !self.begin(&found) {
            self.last = found.written();
            return;
        }
        self.last = found.written();
        self.durable = self.durable.max(found.header.durable);
        self.kept.push(found);
    }

    /// Begins anew with this entry. What the database does not hold before it is damaged. Returns whether the entry
    /// itself can be kept: the term of the entry before it must be known.
    fn begin(&mut self, found: &Found) -> bool {
        let index = found.header.index;
        let last = self.kept.last().index;
        let from = (last + 1).min(index - 1).max(self.known.applied + 1);
        if from < index {
            self.damaged(from..index, Some(found));
        }
        self.has_begun = true;
        self.durable = self.durable.max(found.header.durable);
        let mut known = self.known.entries.iter();
        let before = match known.find(|id| id.index + 1 == index) {
            Some(id) => Some(*id),
            None if index == 1 => Some(EntryId::default()),
            // Only a directory that has just come into a set does not know it. No other member does.
            None if index > self.known.applied => Some(EntryId {
                term: found.header.term,
                index: index - 1,
            }),
            None => None,
        };
        self.kept = match before {
            Some(before) => Kept::after(before, Some(found.header.previous)),
            None => Kept::after(found.id(), Some(found.header.sum)),
        };
        before.is_some()
    }

    /// Looks behind an entry that cannot be read, at `at`, for the copy of its head and for whole entries. An extent is full
    /// before the one with `next` is begun: returns the first entry that was written after that, when this extent was used
    /// again.
    fn look_behind(
        &mut self,
        extent: u32,
        mut at: u64,
        next: Option<Found>,
    ) -> Result<Option<Found>, StoreError> {
        loop {
            let last = self.last;
            let Some(file) = self.files.get(&extent) else {
                return Ok(None);
            };
            let mut later = file.entries_from(at, 1, self.seed)?;
            later.retain(|it| it.written() > last);
            self.generation = newest(self.generation, &later);
            let is_of_later_use =
                |it: &Found| next.is_some_and(|next| it.written() > next.written());
            let of_later_use = later.iter().copied().find(is_of_later_use);
            later.retain(|it| !is_of_later_use(it));
            let is_needed = later.iter().chain(&next).any(|found| self.knows(found));
            if !is_needed {
                return Ok(of_later_use); // the last entry was never finished
            }
            // What follows on what is whole has replaced what is not.
            let fitting = later.iter().find(|found| self.fits(found)).copied();
            let end = later.first().map_or(file.len, |found| found.at);
            let copied = file
                .copied_at(at, end, self.seed)?
                .filter(|found| self.fits(found));
            if let Some(found) = &copied {
                let (entry, file) = (found.header.index, file.path.display());
                warn!(entry, %file, "a head is damaged; its copy is whole");
            }
            let Some(found) = copied.or(fitting).or(later.first().copied()) else {
                return Ok(of_later_use);
            };
            at = self.walk(found)?;
        }
    }

    fn damaged(&mut self, entries: Range<u64>, next: Option<&Found>) {
        let damage = Damage::between(entries, &self.files, self.end, next);
        self.damages.push(damage);
    }

    /// Drops what was found if the database holds another entry: the log has lost what replaced it.
    fn drop_replaced(&mut self) {
        let mut known = self.known.entries.iter();
        let applied = known.find(|id| id.index == self.known.applied);
        if let Some(applied) = applied
            && let Some(term) = self.kept.term_of(applied.index)
            && term != applied.term
        {
            self.kept = Kept::after(*applied, None);
        }
    }

    /// Compares the end with what the file `synced` says.
    fn finish(&mut self, synced: Written) {
        let (last, EntryId { term, index }) = (self.kept.last(), synced.id);
        let is_there = match self.has_begun {
            true => self.last >= synced,
            false => last >= synced.id,
        };
        if is_there || (term == 0 && last.index >= index) {
            // Later entries may have replaced some that were synced.
            let is_later = |header: &Header| {
                (header.generation, header.term) > (synced.generation, term) && term > 0
            };
            let mut kept = self.kept.iter();
            let later = kept.find(|found| is_later(&found.header));
            let upto = later.map_or(index, |found| found.header.index - 1);
            self.durable = self.durable.max(upto.min(index));
        } else if index > self.known.applied {
            let from = (last.index + 1).min(index);
            self.damaged(from.max(self.known.applied + 1)..index + 1, None);
        }
        self.durable = self.durable.min(self.kept.last().index);
    }
}

/// The last generation of these entries, or this one if it is later.
fn newest(generation: u64, entries: &[Found]) -> u64 {
    let generations = entries.iter().map(|found| found.header.generation);
    generations.fold(generation, u64::max)
}
