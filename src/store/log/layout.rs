//! Where the parts of an entry stand. Pure.
//!
//! A large chunk that begins at a page in memory begins at one in the entry too: then it is written from where it is,
//! without a copy. All other parts follow each other.

use super::entry::FOOTER_LEN;
use crate::store::extents::PAGE;

/// Padding.
static ZEROS: [u8; PAGE] = [0; PAGE];
/// Minimum length of a chunk that is worth its padding.
const UNCOPIED_MIN: usize = 16 * 1024;

/// Positions in an entry.
#[derive(Debug)]
pub(super) struct Layout {
    /// Where each chunk begins.
    pub(super) chunks_at: Vec<usize>,
    /// Length of the entry.
    pub(super) total: usize,
    /// Where the last chunk ends.
    end: usize,
}

/// A part of an entry, in order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    /// Bytes to copy into pages.
    Copied(&'a [u8]),
    /// Whole pages in memory, which begin at a page in the entry.
    Pages(&'a [u8]),
}

impl Layout {
    /// The layout of an entry whose head has this length.
    pub(super) fn new<'a>(head: usize, chunks: impl Iterator<Item = &'a [u8]>) -> Layout {
        let mut end = head;
        let chunks_at = chunks.map(|chunk| {
            if begins_at_page(chunk) {
                end = end.next_multiple_of(PAGE);
            }
            let at = end;
            end += chunk.len();
            at
        });
        let chunks_at = chunks_at.collect();
        Layout {
            chunks_at,
            total: (end + head + FOOTER_LEN).next_multiple_of(PAGE),
            end,
        }
    }

    /// The parts of the entry with this head and these chunks.
    pub(super) fn parts<'a>(
        &'a self,
        head: &'a [u8],
        chunks: impl Iterator<Item = &'a [u8]>,
        footer: &'a [u8],
    ) -> impl Iterator<Item = Part<'a>> {
        let mut end = head.len();
        let bodies = chunks.zip(&self.chunks_at).flat_map(move |(chunk, at)| {
            let padding = ZEROS.get(..at - end).unwrap_or_default();
            end = at + chunk.len();
            let whole = match begins_at_page(chunk) {
                true => chunk.len() / PAGE * PAGE,
                false => 0,
            };
            let (pages, rest) = chunk.split_at(whole);
            [
                Part::Copied(padding),
                Part::Pages(pages),
                Part::Copied(rest),
            ]
        });
        let padding = self.total - self.end - head.len() - footer.len();
        let copy = [ZEROS.get(..padding).unwrap_or_default(), head, footer];
        std::iter::once(Part::Copied(head))
            .chain(bodies)
            .chain(copy.map(Part::Copied))
    }
}

fn begins_at_page(chunk: &[u8]) -> bool {
    chunk.len() >= UNCOPIED_MIN && chunk.as_ptr().align_offset(PAGE) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_page(len: usize) -> Vec<u8> {
        let mut memory = vec![1; len + PAGE];
        let start = memory.as_ptr().align_offset(PAGE);
        memory.truncate(start + len);
        memory
    }

    #[test]
    fn a_large_chunk_at_a_page_in_memory_begins_at_a_page_of_the_entry() {
        let memory = at_page(UNCOPIED_MIN + PAGE + 5);
        let start = memory.as_ptr().align_offset(PAGE);
        let chunk = &memory[start..];
        let shifted = &chunk[1..];
        let small = &chunk[..UNCOPIED_MIN - 1];
        for (chunks, expected) in [
            (vec![], vec![]),
            (vec![small, small], vec![100, 100 + small.len()]),
            (vec![shifted, small], vec![100, 100 + shifted.len()]),
            (vec![chunk], vec![PAGE]),
            (
                vec![small, chunk, small, chunk],
                vec![
                    100,
                    5 * PAGE,
                    5 * PAGE + chunk.len(),
                    (5 * PAGE + chunk.len() + small.len()).next_multiple_of(PAGE),
                ],
            ),
        ] {
            let head = [7; 100];
            let layout = Layout::new(head.len(), chunks.iter().copied());
            assert_eq!(layout.chunks_at, expected);
            let mut entry = Vec::new();
            for part in layout.parts(&head, chunks.iter().copied(), &[9; FOOTER_LEN]) {
                match part {
                    Part::Copied(bytes) => entry.extend_from_slice(bytes),
                    Part::Pages(pages) => {
                        assert_eq!(
                            (
                                pages.len() % PAGE,
                                pages.is_empty() || entry.len() % PAGE == 0
                            ),
                            (0, true)
                        );
                        entry.extend_from_slice(pages);
                    }
                }
            }
            assert_eq!(entry.len(), layout.total);
            assert_eq!(entry.len() % PAGE, 0);
            for (at, chunk) in expected.iter().zip(&chunks) {
                assert_eq!(&&entry[*at..at + chunk.len()], chunk);
            }
            assert!(entry.starts_with(&head) && entry.ends_with(&[9; FOOTER_LEN]));
        }
    }
}
