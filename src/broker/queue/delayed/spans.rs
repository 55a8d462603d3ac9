//! The chunks of which messages are in memory: where each ends, and how many of its messages are held. So it is known
//! when a chunk may go from the store, and nothing has to be known of the others.

use std::collections::BTreeMap;
use std::ops::Range;

/// Chunks by their first offset.
#[derive(Default)]
pub(super) struct Spans {
    by_first: BTreeMap<u64, Span>,
}

struct Span {
    end: u64,
    /// Messages of it that are in memory.
    held: u32,
    /// It still grows, and is in no batch yet.
    open: bool,
}

impl Spans {
    /// A chunk begins with a message at `first`, which is held.
    pub(super) fn begin(&mut self, first: u64) {
        let span = Span {
            end: first + 1,
            held: 1,
            open: true,
        };
        self.by_first.insert(first, span);
    }

    /// The chunk that began last goes on with a message that is held.
    pub(super) fn extend(&mut self, offset: u64) {
        if let Some(mut last) = self.by_first.last_entry() {
            let span = last.get_mut();
            span.end = offset + 1;
            span.held += 1;
        }
    }

    /// A chunk grows no more.
    pub(super) fn close(&mut self, first: u64) {
        if let Some(span) = self.by_first.get_mut(&first) {
            span.open = false;
            if span.held == 0 {
                self.by_first.remove(&first);
            }
        }
    }

    /// A message of a chunk in the store is held.
    pub(super) fn hold(&mut self, chunk: Range<u64>) {
        let span = self.by_first.entry(chunk.start).or_insert(Span {
            end: chunk.end,
            held: 0,
            open: false,
        });
        span.held += 1;
    }

    /// A message is no longer held. Returns its chunk, if that is closed.
    pub(super) fn release(&mut self, offset: u64) -> Option<Range<u64>> {
        let (&first, span) = self.by_first.range_mut(..=offset).next_back()?;
        span.held = span.held.saturating_sub(1);
        let chunk = first..span.end;
        if span.open {
            return None;
        }
        if span.held == 0 {
            self.by_first.remove(&first);
        }
        Some(chunk)
    }

    /// Where the chunk of a held message begins.
    pub(super) fn first_of(&self, offset: u64) -> Option<u64> {
        let held = self.by_first.range(..=offset).next_back();
        held.map(|(first, _)| *first)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_first.len()
    }
}
