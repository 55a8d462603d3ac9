//! Reads chunks back: neighbouring chunks in one read, and past the page cache, as they were written. A
//! second read of a chunk goes to the disk again; that is rare, since a queue reads each of its chunks once.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::address::ChunkAddress;
use super::pages::{IO_BYTES, PAGE, Pages, open_direct};

/// Maximum number of files held open for reading.
const OPEN_FILES_MAX: usize = 32;
/// Bytes between two chunks up to which one read covers both: the head of an entry lies between.
const GAP_MAX: u64 = 16 * 1024;
/// Maximum number of idle buffers.
const BUFFERS_MAX: usize = 2;

/// Open files and buffers, shared by all reads.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The most recently read files, the latest at the end.
    files: Mutex<VecDeque<(u32, Arc<File>)>>,
    buffers: Mutex<Vec<Pages>>,
}

impl Reader {
    /// Reads neighbouring chunks of one extent, see [`neighbours`]. `None` stands for a chunk that is missing
    /// or damaged.
    pub(super) fn read(
        &self,
        path: &Path,
        addresses: &[ChunkAddress],
    ) -> io::Result<Vec<Option<Bytes>>> {
        let (Some(first), Some(last)) = (addresses.first(), addresses.last()) else {
            return Ok(Vec::new());
        };
        let mut file = match self.file(first.extent, path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(vec![None; addresses.len()]),
            Err(e) => return Err(e),
        };
        let mut chunks: Vec<Vec<u8>> = addresses.iter().map(|_| Vec::new()).collect();
        let mut pages = self.buffers.lock().pop().unwrap_or_default();
        let mut at = floor(u64::from(first.at));
        let end = last.end();
        while at < end {
            let wanted = usize::try_from(end.next_multiple_of(PAGE as u64) - at)
                .map_or(IO_BYTES, |wanted| wanted.min(IO_BYTES));
            pages.read(wanted, |room| match file.read_at(room, at) {
                // Some file systems report only here that they lack direct I/O.
                Err(e) if e.kind() == ErrorKind::InvalidInput => {
                    file = self.reopen_cached(first.extent, path)?;
                    file.read_at(room, at)
                }
                outcome => outcome,
            })?;
            for (address, chunk) in addresses.iter().zip(&mut chunks) {
                address.take(at, pages.filled(), chunk);
            }
            let read = pages.filled().len() as u64;
            let next = floor(at + read); // direct reads begin at a page
            if next == at {
                break; // the file ends here
            }
            at = next;
        }
        let mut buffers = self.buffers.lock();
        if buffers.len() < BUFFERS_MAX {
            buffers.push(pages);
        }
        drop(buffers);
        let checked = addresses
            .iter()
            .zip(chunks)
            .map(|(address, chunk)| address.holds(&chunk).then(|| Bytes::from(chunk)));
        Ok(checked.collect())
    }

    /// Closes the file of an extent that was removed.
    pub(super) fn forget(&self, number: u32) {
        self.files.lock().retain(|(open, _)| *open != number);
    }

    /// The extents whose files are open.
    #[cfg(test)]
    pub(super) fn open_files(&self) -> Vec<u32> {
        self.files
            .lock()
            .iter()
            .map(|(number, _)| *number)
            .collect()
    }

    /// Frees the idle buffers.
    pub(super) fn trim(&self) {
        self.buffers.lock().clear();
    }

    fn file(&self, number: u32, path: &Path) -> io::Result<Arc<File>> {
        let mut files = self.files.lock();
        let found = files.iter().position(|(open, _)| *open == number);
        let file = match found.and_then(|index| files.remove(index)) {
            Some((_, file)) => file,
            None => Arc::new(open_direct(OpenOptions::new().read(true), path)?.0),
        };
        files.push_back((number, file.clone()));
        if files.len() > OPEN_FILES_MAX {
            files.pop_front();
        }
        Ok(file)
    }

    /// Opens a file again, for reads through the page cache.
    fn reopen_cached(&self, number: u32, path: &Path) -> io::Result<Arc<File>> {
        let mut files = self.files.lock();
        files.retain(|(open, _)| *open != number);
        let file = Arc::new(File::open(path)?);
        files.push_back((number, file.clone()));
        Ok(file)
    }
}

/// Number of leading addresses that one read can cover: in one extent, ascending, not far apart. At
/// least one, unless there are no addresses.
pub(super) fn neighbours(addresses: &[ChunkAddress]) -> usize {
    let Some(first) = addresses.first() else {
        return 0;
    };
    let follows = |pair: &[ChunkAddress]| match pair {
        [before, after] => {
            after.extent == before.extent
                && u64::from(after.at) >= before.end()
                && u64::from(after.at) - before.end() < GAP_MAX
                && after.end() - u64::from(first.at) <= (IO_BYTES - PAGE) as u64
        }
        _ => false,
    };
    1 + addresses
        .windows(2)
        .take_while(|pair| follows(pair))
        .count()
}

fn floor(at: u64) -> u64 {
    at - at % PAGE as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(len: usize, fill: u8) -> Vec<u8> {
        let mut chunk = vec![1, 0, 3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        chunk.resize(len, fill);
        chunk
    }

    #[test]
    fn chunks_are_read_from_any_position() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("5.ext");
        let mut content = Vec::new();
        let mut addresses = Vec::new();
        let mut chunks = Vec::new();
        for (len, gap) in [
            (100, 0),
            (9000, 0),
            (4096, 50),
            (3 * IO_BYTES, 0),
            (77, 5000),
        ] {
            content.resize(content.len() + gap, 0);
            let chunk = chunk(len, u8::try_from(len % 251).unwrap());
            let at = u32::try_from(content.len()).unwrap();
            addresses.push(ChunkAddress::new(5, at, &chunk).unwrap());
            content.extend_from_slice(&chunk);
            chunks.push(Some(Bytes::from(chunk)));
        }
        content.resize(content.len().next_multiple_of(PAGE), 0);
        std::fs::write(&path, &content).unwrap();
        let reader = Reader::default();
        assert_eq!(reader.read(&path, &addresses).unwrap(), chunks);
        for (address, chunk) in addresses.iter().zip(&chunks) {
            let read = reader.read(&path, &[*address]).unwrap();
            assert_eq!(read.first(), Some(chunk));
        }
        // The second chunk is damaged; the last two are cut off.
        content[150] ^= 1;
        content.truncate(20_000);
        std::fs::write(&path, &content).unwrap();
        let expected = [chunks[0].clone(), None, chunks[2].clone(), None, None];
        assert_eq!(reader.read(&path, &addresses).unwrap(), expected);
        std::fs::remove_file(&path).unwrap();
        reader.forget(5);
        assert_eq!(reader.read(&path, &addresses[..1]).unwrap(), [None]);
    }

    #[test]
    fn reads_go_through_the_page_cache_without_direct_io() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("5.ext");
        let chunk = chunk(9000, 7);
        let address = ChunkAddress::new(5, 0, &chunk).unwrap();
        std::fs::write(&path, &chunk).unwrap();
        let reader = Reader::default();
        reader.buffers.lock().push(Pages::misaligned());
        for _ in 0..2 {
            let read = reader.read(&path, &[address]).unwrap();
            assert_eq!(read, [Some(Bytes::from(chunk.clone()))]);
        }
        assert_eq!(reader.files.lock().len(), 1);
    }

    #[test]
    fn neighbours_are_read_together() {
        let address = |extent, at, len| ChunkAddress::new(extent, at, &chunk(len, 0)).unwrap();
        let addresses = [
            address(1, 0, 5000),
            address(1, 8192, 100),
            address(1, 8292, 100),
        ];
        assert_eq!(neighbours(&addresses), 3);
        assert_eq!(neighbours(&[address(1, 0, 100), address(2, 100, 100)]), 1);
        assert_eq!(
            neighbours(&[address(1, 0, 100), address(1, 16_484, 100)]),
            1
        );
        assert_eq!(neighbours(&[address(1, 100, 100), address(1, 0, 100)]), 1);
        assert_eq!(
            neighbours(&[address(1, 0, 100), address(1, 100, IO_BYTES)]),
            1
        );
        assert_eq!(neighbours(&[]), 0);
    }
}
