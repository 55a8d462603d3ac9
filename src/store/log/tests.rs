//! Tests of the log on files: what a start finds after the end of the process, after a power loss that leaves any of
//! the unsynced pages, and after damage.

mod damaged_heads;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::damage::Damage;
use super::*;
use crate::model::LogId;
use crate::store::keys;
use crate::store::keys::KeyspaceName;

const SEED: u64 = 7;
const EXTENT_BYTES: u64 = 64 * 1024;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// A chunk of `len` bytes, with a header that makes sense.
fn chunk(len: usize, fill: u8) -> Bytes {
    let mut chunk = vec![1, 0, 3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    chunk.resize(len.max(14), fill);
    chunk.into()
}

/// The writes of a batch that puts these chunks.
fn batch(number: u64, lens: &[usize]) -> Vec<Write> {
    let log = LogId(number);
    let put = lens.iter().zip(0..).map(|(len, first)| Write {
        space: KeyspaceName::Msgs,
        key: Bytes::copy_from_slice(&keys::chunk(log, first)),
        change: Change::PutChunk(log, first, chunk(*len, number.to_le_bytes()[0])),
    });
    let mut writes: Vec<Write> = put.collect();
    writes.push(Write {
        space: KeyspaceName::State,
        key: Bytes::copy_from_slice(&number.to_be_bytes()),
        change: Change::Put(Bytes::from(vec![1; 30])),
    });
    writes
}

struct Found {
    log: Log,
    extents: Arc<Extents>,
    entries: Vec<Entry>,
    damages: Vec<Damage>,
}

impl Found {
    fn indexes(&self) -> Vec<u64> {
        self.entries.iter().map(|entry| entry.index).collect()
    }

    /// Whether each chunk that an entry puts can be read.
    fn are_chunks_whole(&self) -> bool {
        self.entries.iter().all(|entry| {
            let addresses: Vec<ChunkAddress> = entry
                .writes
                .iter()
                .filter_map(|write| match write {
                    EntryWrite::PutChunk { address, .. } => Some(*address),
                    _ => None,
                })
                .collect();
            !self.extents.read(&addresses).unwrap().contains(&None)
        })
    }
}

fn open_after(dir: &Path, applied: u64, limit: Option<u64>) -> Found {
    open_knowing(dir, applied, applied, limit)
}

/// The log as a start finds it whose database has everything up to `applied`, and some of it up to `durable`.
fn open_knowing(dir: &Path, applied: u64, durable: u64, limit: Option<u64>) -> Found {
    let extents = Arc::new(Extents::open(dir, EXTENT_BYTES, 0).unwrap());
    let start = LogStart::find(&extents, SEED, applied, durable, limit).unwrap();
    let entries = start.entries().map(Result::unwrap).collect();
    let damages = start.damages().to_vec();
    Found {
        log: start.open().unwrap(),
        extents,
        entries,
        damages,
    }
}

fn open(dir: &Path) -> Found {
    open_after(dir, 0, None)
}

/// The files of the log and their contents.
type Image = BTreeMap<String, Vec<u8>>;

fn image(dir: &Path) -> Image {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    files
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            (name, fs::read(file.path()).unwrap())
        })
        .collect()
}

fn restore(image: &Image) -> tempfile::TempDir {
    let dir = scratch();
    for (name, content) in image {
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

#[test]
fn the_index_of_an_entry_that_a_keyspace_has_is_not_given_out_again() {
    let dir = scratch();
    let found = open(dir.path());
    for number in 1..=6 {
        found.log.append(batch(number, &[20]), drop).unwrap();
    }
    found.log.sync().unwrap();
    drop(found);
    // The end of the log is lost, and what knew of it.
    let path = dir.path().join("0.log");
    let mut hurt = fs::read(&path).unwrap();
    hurt[3 * PAGE..6 * PAGE].fill(0);
    fs::write(&path, &hurt).unwrap();
    fs::remove_file(dir.path().join("synced")).unwrap();
    let found = open_knowing(dir.path(), 2, 5, None);
    assert_eq!(found.indexes(), [3]);
    let [lost] = &found.damages[..] else {
        panic!("{:?}", found.damages);
    };
    assert_eq!(lost.entries, 4..6);
    let mut seen = 0;
    let writes = batch(9, &[20]);
    found
        .log
        .append(writes, |entry| seen = entry.index)
        .unwrap();
    assert_eq!(seen, 6);
}

#[test]
fn a_start_finds_all_entries_in_order() {
    let dir = scratch();
    let found = open(dir.path());
    assert_eq!(found.indexes(), [0u64; 0]);
    let sizes: [&[usize]; 6] = [
        &[20],
        &[],
        &[5_000, 100],
        &[60_000],
        &[3 * IO_BYTES + 5, 14, IO_BYTES],
        &[4_000; 9],
    ];
    for (number, lens) in (1..).zip(sizes) {
        let mut seen = 0;
        let writes = batch(number, lens);
        found
            .log
            .append(writes, |entry| seen = entry.index)
            .unwrap();
        assert_eq!(seen, number);
    }
    assert_eq!((found.log.last(), found.log.durable()), (6, 0));
    drop(found); // the process ends without a sync
    let again = open(dir.path());
    assert_eq!(again.indexes(), [1, 2, 3, 4, 5, 6]);
    assert!(again.are_chunks_whole() && again.damages.is_empty());
    assert_eq!(again.log.durable(), 6, "the start has made them durable");
    again.log.append(batch(7, &[9]), drop).unwrap();
    again.log.sync().unwrap();
    drop(again);
    let third = open_after(dir.path(), 4, None);
    assert_eq!(third.indexes(), [5, 6, 7]);
    let limited = open_after(dir.path(), 4, Some(5));
    assert_eq!(limited.indexes(), [5]);
}

/// Appends, syncs and starts again; then the power goes, and any of the pages since the last sync are lost.
#[test]
fn a_power_loss_takes_only_what_was_not_synced() {
    for seed in 0..300 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut dir = scratch();
        let mut found = open(dir.path());
        let mut synced = image(dir.path());
        for step in 0..rng.random_range(1..40) {
            let lens: Vec<usize> = (0..rng.random_range(0..4))
                .map(|_| rng.random_range(14..9_000))
                .collect();
            let number = found.log.last() + 1;
            found.log.append(batch(number, &lens), drop).unwrap();
            match rng.random_range(0..8) {
                0..3 => {
                    found.log.sync().unwrap();
                    synced = image(dir.path());
                }
                3 => {
                    drop(found);
                    found = open(dir.path());
                    assert_eq!(found.log.last(), number, "seed {seed}, step {step}");
                    synced = image(dir.path());
                }
                4 => {
                    let durable = found.log.durable();
                    let mut now = image(dir.path());
                    for (name, content) in &mut now {
                        let before = synced.get(name).cloned().unwrap_or_default();
                        for (page, at) in content.chunks_mut(PAGE).zip((0..).step_by(PAGE)) {
                            if rng.random() {
                                let old = before.get(at..at + page.len());
                                match old {
                                    Some(old) => page.copy_from_slice(old),
                                    None => page.fill(0),
                                }
                            }
                        }
                    }
                    drop(found);
                    dir = restore(&now);
                    found = open(dir.path());
                    assert_eq!(found.damages, [], "seed {seed}, step {step}");
                    assert!(found.log.last() >= durable, "seed {seed}, step {step}");
                    let all: Vec<u64> = (1..=found.log.last()).collect();
                    assert_eq!(found.indexes(), all, "seed {seed}, step {step}");
                    assert!(found.are_chunks_whole(), "seed {seed}, step {step}");
                    synced = image(dir.path());
                }
                _ => {}
            }
        }
    }
}

/// Changes bytes of a file of the log.
fn hurt(path: &Path, at: usize, change: impl FnOnce(&mut [u8])) {
    let mut content = fs::read(path).unwrap();
    change(&mut content[at..]);
    fs::write(path, content).unwrap();
}

/// A power loss tears entry 3 in its chunk. Another entry 3 follows in the next extent, and then its heads are damaged: what
/// the power loss has left must not take its place.
#[test]
fn a_forgotten_entry_does_not_come_back_when_its_successor_is_damaged() {
    for both_heads in [false, true] {
        let dir = scratch();
        let found = open(dir.path());
        found.log.append(batch(1, &[20]), drop).unwrap();
        found.log.append(batch(2, &[20]), drop).unwrap();
        found.log.sync().unwrap();
        found.log.append(batch(3, &[3 * PAGE]), drop).unwrap();
        drop(found);
        hurt(&dir.path().join("0.log"), 4 * PAGE, |rest| {
            rest[..PAGE].fill(0)
        });
        fs::remove_file(dir.path().join("synced")).unwrap();
        let found = open(dir.path());
        assert_eq!(found.indexes(), [1, 2]);
        let mut lengths = Vec::new();
        for lens in [&[60_000][..], &[20], &[20]] {
            let appended = |entry: Entry| lengths.push(entry.bytes);
            found.log.append(batch(4, lens), appended).unwrap();
            found.log.sync().unwrap();
        }
        drop(found);
        let next = dir.path().join("1.log");
        hurt(&next, 0, |rest| rest[0] ^= 1);
        if both_heads {
            let end = usize::try_from(lengths[0]).unwrap();
            hurt(&next, end - 1, |rest| rest[0] ^= 1);
        }
        let again = open(dir.path());
        match both_heads {
            false => {
                assert_eq!(again.indexes(), [1, 2, 3, 4, 5]);
                assert!(again.are_chunks_whole() && again.damages.is_empty());
                assert!(again.entries[2].bytes > 60_000);
            }
            true => {
                assert_eq!(again.indexes(), [1, 2, 4, 5]);
                assert_eq!(again.damages[0].entries, 3..4);
            }
        }
    }
}

#[test]
fn a_start_makes_both_heads_of_an_unsynced_entry_whole() {
    let dir = scratch();
    let found = open(dir.path());
    found.log.append(batch(1, &[20]), drop).unwrap();
    found.log.sync().unwrap();
    found.log.append(batch(2, &[5_000]), drop).unwrap();
    drop(found);
    let path = dir.path().join("0.log");
    let whole = fs::read(&path).unwrap();
    // The power loss has left the first sectors of the last page, with all of the chunk.
    hurt(&path, 3 * PAGE - 512, |rest| rest[..512].fill(0));
    assert_eq!(open(dir.path()).indexes(), [1, 2]);
    assert!(fs::read(&path).unwrap() == whole);
}

#[test]
fn what_was_not_durable_is_written_anew_after_a_failure() {
    let dir = scratch();
    let found = open(dir.path());
    found.log.append(batch(1, &[30]), drop).unwrap();
    found.log.sync().unwrap();
    for number in 2..6 {
        found.log.append(batch(number, &[5_000]), drop).unwrap();
    }
    drop(found);
    let again = open_after(dir.path(), 0, Some(1));
    assert_eq!((again.indexes(), again.log.last()), (vec![1], 1));
    again.log.append(batch(20, &[5_000]), drop).unwrap();
    drop(again); // entry 3 of the first attempt still follows
    let third = open(dir.path());
    assert_eq!(third.indexes(), [1, 2]);
    let key = |entry: &Entry| match entry.writes.first() {
        Some(EntryWrite::PutChunk { log, .. }) => *log,
        other => panic!("{other:?}"),
    };
    assert_eq!(key(&third.entries[1]), LogId(20));
}

/// A power loss takes an entry and leaves the next one, which began an extent. Their indexes are given out again.
#[test]
fn a_start_does_not_begin_at_an_extent_behind_the_end() {
    let dir = scratch();
    let found = open(dir.path());
    for (number, len) in [(1, 100), (2, 100), (3, 60_000)] {
        found.log.append(batch(number, &[len]), drop).unwrap();
    }
    drop(found);
    let path = dir.path().join("0.log");
    let mut content = fs::read(&path).unwrap();
    content[PAGE..2 * PAGE].fill(0); // the second entry
    fs::write(&path, &content).unwrap();
    let found = open(dir.path());
    assert_eq!((found.indexes(), found.log.last()), (vec![1], 1));
    for number in 2..=6 {
        found.log.append(batch(20 + number, &[100]), drop).unwrap();
    }
    found.log.sync().unwrap();
    drop(found);
    let again = open_after(dir.path(), 3, None);
    assert_eq!((again.indexes(), again.damages), (vec![4, 5, 6], vec![]));
}

/// A forgotten entry still stands behind the end, with the index that the next one has.
#[test]
fn a_forgotten_entry_does_not_follow_on_what_the_database_holds() {
    let dir = scratch();
    let found = open(dir.path());
    for number in [1, 2] {
        found.log.append(batch(number, &[]), drop).unwrap();
    }
    found.log.sync().unwrap();
    drop(found);
    let found = open(dir.path());
    for (number, len) in [(3, 5_000), (4, 100)] {
        found.log.append(batch(number, &[len]), drop).unwrap();
    }
    drop(found);
    let path = dir.path().join("0.log");
    let mut content = fs::read(&path).unwrap();
    content[2 * PAGE..4 * PAGE].fill(0); // a power loss takes the third entry
    fs::write(&path, &content).unwrap();
    let found = open(dir.path());
    assert_eq!((found.indexes(), found.log.last()), (vec![1, 2], 2));
    found.log.append(Vec::new(), drop).unwrap();
    found.log.sync().unwrap();
    drop(found);
    let again = open_after(dir.path(), 3, None);
    assert_eq!((again.indexes(), again.log.last()), (vec![], 3));
}

/// Where its space is not preallocated, a file may end within an unfinished entry.
#[test]
fn an_entry_whose_file_ends_before_its_last_page_is_unfinished() {
    let dir = scratch();
    let found = open(dir.path());
    found.log.append(batch(1, &[]), drop).unwrap();
    found.log.append(batch(2, &[]), drop).unwrap();
    drop(found);
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).open(dir.path().join("0.log"));
    let file = file.unwrap();
    file.set_len(PAGE as u64 + 500).unwrap();
    let found = open(dir.path());
    assert_eq!((found.indexes(), found.damages), (vec![1], vec![]));
    found.log.append(batch(3, &[30]), drop).unwrap();
    found.log.sync().unwrap();
    assert_eq!(open(dir.path()).indexes(), [1, 2]);
}

#[test]
fn damage_is_told_from_an_unfinished_write() {
    let dir = scratch();
    let found = open(dir.path());
    let mut places = Vec::new();
    for number in 1..=30 {
        let place = |entry: Entry| match entry.writes.first() {
            Some(EntryWrite::PutChunk { address, .. }) => places.push(*address),
            other => panic!("{other:?}"),
        };
        found.log.append(batch(number, &[6_000]), place).unwrap();
        found.log.sync().unwrap();
    }
    drop(found);
    let whole = image(dir.path());
    assert!(whole.len() > 4, "several extents");
    for (hurt, place) in (1..).zip(&places) {
        for without_file in [false, true] {
            let mut now = whole.clone();
            if without_file {
                now.remove("synced");
            }
            let content = now.get_mut(&format!("{}.log", place.extent())).unwrap();
            let head = usize::try_from(place.end() - 6_000).unwrap() / PAGE * PAGE;
            content[head + 70] ^= 1;
            let dir = restore(&now);
            let found = open(dir.path());
            if hurt < 30 || !without_file {
                assert_eq!(found.entries.len(), 30, "the copy of the head is whole");
                assert!(found.damages.is_empty() && found.are_chunks_whole());
            }
            let content = now.get_mut(&format!("{}.log", place.extent())).unwrap();
            content[head + 2 * PAGE - 20] ^= 1;
            let dir = restore(&now);
            let found = open(dir.path());
            let others: Vec<u64> = (1..=30).filter(|index| *index != hurt).collect();
            if hurt == 30 && without_file {
                // Nothing knows that it was synced.
                assert_eq!(found.damages, []);
            } else {
                let damaged: Vec<u64> = found
                    .damages
                    .iter()
                    .flat_map(|it| it.entries.clone())
                    .collect();
                assert_eq!(damaged, [hurt], "entry {hurt}");
                assert_eq!(found.log.last(), 30);
            }
            assert_eq!(found.indexes(), others);
        }
    }
    // A file is missing.
    for name in whole.keys().filter(|name| name.ends_with(".log")) {
        let mut now = whole.clone();
        now.remove(name);
        let dir = restore(&now);
        let found = open(dir.path());
        let lost: u64 = found
            .damages
            .iter()
            .map(|it| it.entries.end - it.entries.start)
            .sum();
        assert!(lost > 0, "{name}");
        assert_eq!(found.entries.len() as u64 + lost, 30, "{name}");
        assert_eq!(found.log.last(), 30);
    }
}

/// What follows damage stays readable, and what the database holds is not asked for again.
#[test]
fn the_log_goes_on_behind_damage() {
    let dir = scratch();
    let found = open(dir.path());
    for number in 1..=5 {
        found.log.append(batch(number, &[100]), drop).unwrap();
    }
    found.log.sync().unwrap();
    found.log.append(Vec::new(), drop).unwrap();
    found.log.sync().unwrap();
    drop(found);
    let path = dir.path().join("0.log");
    let mut content = fs::read(&path).unwrap();
    content[5 * PAGE..6 * PAGE].fill(0); // the last entry
    content[2 * PAGE..3 * PAGE].fill(0); // the third
    fs::write(&path, &content).unwrap();
    let found = open(dir.path());
    assert_eq!(found.indexes(), [1, 2, 4, 5]);
    let damaged: Vec<_> = found.damages.iter().map(|it| it.entries.clone()).collect();
    assert_eq!(damaged, [3..4, 6..7]);
    found.log.append(batch(7, &[100]), drop).unwrap();
    found.log.sync().unwrap();
    drop(found);
    let again = open_after(dir.path(), 6, None);
    assert_eq!((again.indexes(), again.damages), (vec![7], vec![]));
}

#[test]
fn nothing_is_written_after_a_failure() {
    let dir = scratch();
    let found = open(dir.path());
    let huge = Write {
        space: KeyspaceName::Msgs,
        key: Bytes::copy_from_slice(&keys::chunk(LogId(1), 0)),
        change: Change::PutChunk(LogId(1), 0, Bytes::from_static(b"no chunk")),
    };
    let refused = found.log.append(vec![huge], drop);
    assert!(
        matches!(refused, Err(StoreError::Corrupt(_))),
        "{refused:?}"
    );
    let refused = found.log.append(batch(1, &[20]), drop);
    assert!(matches!(refused, Err(StoreError::Closed)), "{refused:?}");
    assert!(matches!(found.log.sync(), Err(StoreError::Closed)));
}
