//! Writes the parts of an entry: what must be copied into pages gathers there, and whole pages are written from where
//! they are, all in order and in few calls.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};

use super::layout::Part;
use crate::store::extents::{IO_BYTES, PAGE, Pages};

/// A write with so many pieces takes no more pages.
const PIECES_MAX: usize = 256;
/// A write with so many bytes takes no more pages. The disk works on them while the thread waits once.
const WRITE_BYTES: usize = 8 * IO_BYTES;

/// A piece of the next write.
#[derive(Clone, Copy, Debug)]
enum Piece<'a> {
    /// So many bytes of the gathered pages, after those of earlier pieces.
    Gathered(usize),
    Pages(&'a [u8]),
}

/// Gathers the parts of an entry for the next write.
#[derive(Debug)]
pub(super) struct PartsWriter<'a, 'b> {
    gathered: &'b mut Pages,
    pieces: Vec<Piece<'a>>,
    /// Bytes of the pieces.
    len: usize,
    /// Where the next write begins in the file.
    at: u64,
}

impl<'a, 'b> PartsWriter<'a, 'b> {
    /// Writes an entry that begins at this place in its file.
    pub(super) fn new(gathered: &'b mut Pages, at: u64) -> PartsWriter<'a, 'b> {
        gathered.clear();
        PartsWriter {
            gathered,
            pieces: Vec::new(),
            len: 0,
            at,
        }
    }

    /// Adds the next part. `write` gets whole pages, and their place in the file.
    pub(super) fn add<E>(
        &mut self,
        part: Part<'a>,
        write: &mut impl FnMut(&[IoSlice<'_>], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        match part {
            Part::Copied(mut bytes) => {
                while !bytes.is_empty() {
                    let taken = self.gathered.fill(bytes);
                    bytes = bytes.get(taken..).unwrap_or_default();
                    self.len += taken;
                    match self.pieces.last_mut() {
                        Some(Piece::Gathered(len)) => *len += taken,
                        Some(Piece::Pages(_)) | None => self.pieces.push(Piece::Gathered(taken)),
                    }
                    if self.gathered.is_full() {
                        self.finish(write)?;
                    }
                }
            }
            Part::Pages(mut pages) => {
                while !pages.is_empty() {
                    if self.len >= WRITE_BYTES || self.pieces.len() >= PIECES_MAX {
                        self.finish(write)?;
                    }
                    let (now, later) = pages.split_at(pages.len().min(IO_BYTES));
                    self.pieces.push(Piece::Pages(now));
                    self.len += now.len();
                    pages = later;
                }
            }
        }
        Ok(())
    }

    /// Writes what has gathered.
    pub(super) fn finish<E>(
        &mut self,
        write: &mut impl FnMut(&[IoSlice<'_>], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        debug_assert_eq!(self.len % PAGE, 0, "a write is whole pages");
        let mut gathered = self.gathered.filled();
        let slices: Vec<IoSlice<'_>> = self
            .pieces
            .drain(..)
            .map(|piece| match piece {
                Piece::Pages(pages) => IoSlice::new(pages),
                Piece::Gathered(len) => {
                    let (now, later) = gathered.split_at(len.min(gathered.len()));
                    gathered = later;
                    IoSlice::new(now)
                }
            })
            .collect();
        if !slices.is_empty() {
            write(&slices, self.at)?;
        }
        self.at += self.len as u64;
        self.len = 0;
        self.gathered.clear();
        Ok(())
    }
}

/// Writes all of this at a place of a file.
pub(super) fn write_all_at(file: &File, pages: &[IoSlice<'_>], mut at: u64) -> io::Result<()> {
    let mut left = pages.to_vec();
    let mut left = &mut left[..];
    while !left.is_empty() {
        match rustix::io::pwritev(file, left, at) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                IoSlice::advance_slices(&mut left, written);
                at += written as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_in_order_and_in_few_calls() {
        let memory = vec![3_u8; WRITE_BYTES + 2 * IO_BYTES];
        let start = memory.as_ptr().align_offset(PAGE);
        let pages = &memory[start..start + WRITE_BYTES + IO_BYTES + PAGE];
        let large = vec![1; IO_BYTES + 3 * PAGE];
        let parts = [
            Part::Copied(&large[..PAGE - 10]),
            Part::Copied(&[2; 10]),
            Part::Pages(&pages[..5 * PAGE]),
            Part::Copied(&large),
            Part::Pages(&[]),
            Part::Pages(pages),
            Part::Copied(&[4; PAGE]),
        ];
        let file = tempfile::tempfile().unwrap();
        let mut gathered = Pages::default();
        let mut writes = Vec::new();
        let mut write = |slices: &[IoSlice<'_>], at| {
            assert!(slices.len() <= PIECES_MAX + 1);
            for slice in slices {
                assert_eq!(
                    (slice.len() % PAGE, slice.as_ptr().align_offset(PAGE)),
                    (0, 0)
                );
            }
            writes.push(slices.iter().map(|slice| slice.len()).sum::<usize>());
            write_all_at(&file, slices, at)
        };
        let mut writer = PartsWriter::new(&mut gathered, PAGE as u64);
        for part in parts {
            writer.add(part, &mut write).unwrap();
        }
        writer.finish(&mut write).unwrap();
        let mut expected = vec![0; PAGE];
        for part in parts {
            match part {
                Part::Copied(bytes) | Part::Pages(bytes) => expected.extend_from_slice(bytes),
            }
        }
        let mut found = vec![0; expected.len()];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut found, 0).unwrap();
        assert!(found == expected);
        assert!(
            writes.iter().all(|len| *len < WRITE_BYTES + IO_BYTES),
            "{writes:?}"
        );
        assert!(writes.len() <= 4, "{writes:?}");
    }

    #[test]
    fn many_pieces_are_written_in_several_calls() {
        let memory = vec![3_u8; 3 * PAGE];
        let start = memory.as_ptr().align_offset(PAGE);
        let page = &memory[start..start + PAGE];
        let mut gathered = Pages::default();
        let mut writer = PartsWriter::new(&mut gathered, 0);
        let mut calls = 0;
        let mut write = |slices: &[IoSlice<'_>], _| {
            calls += 1;
            assert!(slices.len() <= PIECES_MAX + 1);
            Ok::<_, ()>(())
        };
        for _ in 0..2 * PIECES_MAX {
            writer.add(Part::Pages(page), &mut write).unwrap();
        }
        writer.finish(&mut write).unwrap();
        assert_eq!(calls, 2);
    }
}
