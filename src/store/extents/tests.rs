//! Tests of the removal of extents.

use std::sync::atomic::AtomicU32;

use super::*;
use crate::clock;

const EXTENT_BYTES: u64 = 8192;

fn extents(dir: &Path) -> Extents {
    Extents::open(dir, EXTENT_BYTES, 0).unwrap()
}

#[test]
fn a_file_that_cannot_be_removed_does_not_keep_others() {
    let dir = tempfile::tempdir().unwrap();
    let extents = extents(dir.path());
    for index in 0..3 {
        let (number, _) = extents.begin_log().unwrap();
        extents.seal_log(number, EXTENT_BYTES, index);
    }
    let emptied = extents.before_checkpoint(9);
    extents.after_checkpoint(emptied, true).unwrap();
    let path = |number| dir.path().join(format!("{number}.log"));
    std::fs::remove_file(path(0)).unwrap();
    std::fs::create_dir(path(0)).unwrap();
    let failure = extents.trim(0).unwrap_err().to_string();
    assert!(failure.contains("0.log"), "{failure}");
    let left = [0, 1, 2].map(|number| path(number).exists());
    assert_eq!(left, [true, false, false]);
}

/// Ends the reads when it is dropped.
struct Ends<'a>(&'a AtomicU32);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(u32::MAX, Ordering::Release);
    }
}

/// A file that stays open keeps its space.
#[test]
fn no_read_keeps_a_removed_file_open() {
    let dir = tempfile::tempdir().unwrap();
    let extents = extents(dir.path());
    let chunk = [1, 0, 3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    let current = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while let number @ 0..200 = current.load(Ordering::Acquire) {
                let address = ChunkAddress::new(number, 0, &chunk).unwrap();
                extents.read(&[address]).unwrap();
            }
        });
        let _ends = Ends(&current);
        for number in 0..200 {
            let path = extents.path(number);
            std::fs::write(&path, chunk).unwrap();
            current.store(number, Ordering::Release);
            let deadline = clock::monotonic() + std::time::Duration::from_secs(20);
            while !extents.reader.open_files().contains(&number) {
                assert!(clock::monotonic() < deadline, "nothing reads");
                std::thread::yield_now();
            }
            extents.remove(&[(number, path)]).unwrap();
            let open = extents.reader.open_files();
            assert!(!open.contains(&number), "{number} of {open:?} is removed");
        }
    });
}
