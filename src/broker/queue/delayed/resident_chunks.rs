//! The chunks that have resident messages: where each ends, and how many of its messages are resident. When
//! the last one leaves the log, the chunk can be removed from the store. Of other chunks nothing has to be
//! known.

use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Default)]
pub(super) struct ResidentChunks {
    by_first: BTreeMap<u64, ResidentChunk>,
}

struct ResidentChunk {
    end: u64,
    /// How many of its messages are resident.
    resident: u32,
    /// No batch has it yet, and it still grows.
    is_open: bool,
}

impl ResidentChunks {
    /// A chunk begins with a resident message at `first`.
    pub(super) fn begin(&mut self, first: u64) {
        let chunk = ResidentChunk {
            end: first + 1,
            resident: 1,
            is_open: true,
        };
        self.by_first.insert(first, chunk);
    }

    /// The chunk that began last goes on with a resident message.
    pub(super) fn extend(&mut self, offset: u64) {
        if let Some(mut last) = self.by_first.last_entry() {
            let chunk = last.get_mut();
            chunk.end = offset + 1;
            chunk.resident += 1;
        }
    }

    /// A chunk stops growing.
    pub(super) fn close(&mut self, first: u64) {
        if let Some(chunk) = self.by_first.get_mut(&first) {
            chunk.is_open = false;
            if chunk.resident == 0 {
                self.by_first.remove(&first);
            }
        }
    }

    /// A message of a stored chunk becomes resident.
    pub(super) fn add(&mut self, chunk: Range<u64>) {
        let chunk = self.by_first.entry(chunk.start).or_insert(ResidentChunk {
            end: chunk.end,
            resident: 0,
            is_open: false,
        });
        chunk.resident += 1;
    }

    /// A message is resident no more. Returns its chunk, if that is closed.
    pub(super) fn remove(&mut self, offset: u64) -> Option<Range<u64>> {
        let (&first, chunk) = self.by_first.range_mut(..=offset).next_back()?;
        chunk.resident = chunk.resident.saturating_sub(1);
        let range = first..chunk.end;
        if chunk.is_open {
            return None;
        }
        if chunk.resident == 0 {
            self.by_first.remove(&first);
        }
        Some(range)
    }

    /// Where the chunk of a resident message begins.
    pub(super) fn first_of(&self, offset: u64) -> Option<u64> {
        let chunk = self.by_first.range(..=offset).next_back();
        chunk.map(|(first, _)| *first)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_first.len()
    }
}
