//! Reads entries for other members, with their chunks, and verifies them; and entries that are applied later.

use std::io::ErrorKind;

use bytes::Bytes;

use super::entry::{decode_whole, decode_writes};
use super::extent_file::{ExtentFile, Found};
use super::{Entry, EntryId, Log};
use crate::store::StoreError;
use crate::store::writes::Write;

impl Log {
    /// Reads entries from `from` on, up to `end` and up to `max_bytes`, but at least one. Ends before an entry that is
    /// not kept.
    pub(in crate::store) fn read(
        &self,
        from: u64,
        end: u64,
        max_bytes: u64,
    ) -> Result<Vec<(EntryId, Vec<Write>)>, StoreError> {
        let found: Vec<Found> = {
            let end_of_log = self.end.lock();
            let kept = end_of_log.kept.as_ref();
            let found = (from..end).map_while(|index| kept?.get(index).copied());
            let mut bytes = 0;
            found
                .take_while(|found| {
                    let is_first = bytes == 0;
                    bytes += found.end() - found.at;
                    is_first || bytes <= max_bytes
                })
                .collect()
        };
        let mut entries = Vec::with_capacity(found.len());
        let mut file: Option<ExtentFile> = None;
        for found in found {
            let file = match file.take() {
                Some(open) if open.number == found.extent => file.insert(open),
                _ => match ExtentFile::open(&self.extents, found.extent) {
                    // It was purged meanwhile, and its extent removed.
                    Err(StoreError::Io { source, .. })
                        if source.kind() == ErrorKind::NotFound
                            && self.unneeded() >= found.header.index =>
                    {
                        break;
                    }
                    opened => file.insert(opened?),
                },
            };
            let Some(writes) = self.read_entry(file, &found)? else {
                let index = found.header.index;
                if self.unneeded() >= index {
                    break; // it was purged meanwhile, and its extent is used again
                }
                return Err(StoreError::Corrupt(format!(
                    "entry {index} of the log ({}, from byte {}) cannot be read",
                    file.path.display(),
                    found.at
                )));
            };
            entries.push((found.id(), writes));
        }
        Ok(entries)
    }

    /// Reads an entry that is kept, as it is applied: without its chunks.
    pub(in crate::store) fn entry(&self, index: u64) -> Result<Entry, StoreError> {
        let found = {
            let end_of_log = self.end.lock();
            let kept = end_of_log.kept.as_ref();
            kept.and_then(|kept| kept.get(index)).copied()
        };
        let unreadable = || StoreError::Corrupt(format!("entry {index} of the log cannot be read"));
        let found = found.ok_or_else(unreadable)?;
        let file = ExtentFile::open(&self.extents, found.extent)?;
        let whole = file.whole_at(found.head_at, self.seed)?;
        let (_, head) = whole
            .filter(|(header, _)| *header == found.header)
            .ok_or_else(unreadable)?;
        let at = u32::try_from(found.at).ok();
        let writes = at.and_then(|at| decode_writes(&head, found.extent, at));
        Ok(Entry {
            index,
            term: found.header.term,
            writes: writes.ok_or_else(unreadable)?,
            bytes: found.end() - found.at,
        })
    }

    fn read_entry(
        &self,
        file: &ExtentFile,
        found: &Found,
    ) -> Result<Option<Vec<Write>>, StoreError> {
        let len = usize::try_from(found.end() - found.at).unwrap_or(usize::MAX);
        let bytes = Bytes::from(file.read(found.at, len)?);
        let Some((header, head)) = file.whole_at(found.head_at, self.seed)? else {
            return Ok(None);
        };
        if bytes.len() < len || header != found.header {
            return Ok(None);
        }
        let at = u32::try_from(found.at).ok();
        Ok(at.and_then(|at| decode_whole(&head, &bytes, found.extent, at)))
    }
}
