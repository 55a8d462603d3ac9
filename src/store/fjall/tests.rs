//! Tests of the store on disk: against the store in memory as its model, against torn journals, and of what its
//! background thread promises.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::{
    ChunkEncoder, LogRecord, Mark, MemoryStore, Op, RangeSet, ReceiveRecord, ReturnCount, Segment,
    chunk, page_of,
};
use super::*;
use crate::clock;
use crate::model::{Body, Message, Origin, Ticket};

/// A directory in memory where there is one: these tests are about logic, and syncs of a busy disk take long.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn small() -> FjallOptions {
    FjallOptions {
        msgs_memtable_bytes: 64 * 1024,
        state_memtable_bytes: 16 * 1024,
        blob_file_bytes: 256 * 1024,
        extent_batch_bytes: 8 * 1024,
        extent_bytes: 128 * 1024,
        ..FjallOptions::default()
    }
}

fn eager() -> FjallOptions {
    let upkeep = UpkeepOptions {
        reclaim_after_chunks: 1,
        reclaim_min_bytes: 0,
        extent_slack_bytes: 0,
        quiet: Duration::from_millis(30),
    };
    FjallOptions { upkeep, ..small() }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = clock::monotonic() + Duration::from_secs(20);
    while !holds() {
        assert!(clock::monotonic() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A chunk of `count` messages of `len` bytes that `seed` makes unlike others.
fn chunk_of(seed: u64, count: u32, len: usize) -> Bytes {
    let mut encoder = ChunkEncoder::new();
    let mut body = vec![0; len];
    StdRng::seed_from_u64(seed).fill(&mut body[..]);
    let message = Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "q".into(),
        }),
        properties: Bytes::from_static(b"\0\0"),
        body: Body::Whole(body.into()),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
    };
    (0..count).for_each(|_| encoder.push(1, &message));
    encoder.finish()
}

fn batch(ticket: u64, ops: Vec<Op>) -> Batch {
    Batch {
        ticket: Ticket(ticket),
        ..ops.into_iter().collect()
    }
}

fn append(log: LogId, first: u64, chunk: Bytes) -> Vec<Op> {
    let next = first + u64::from(chunk::count(&chunk).unwrap());
    let record = LogRecord {
        next,
        floor: 0,
        bytes: 0,
        ..LogRecord::default()
    };
    vec![
        Op::PutChunk { log, first, chunk },
        Op::PutLog { log, record },
    ]
}

fn chunks(store: &dyn Store, log: LogId) -> Vec<u64> {
    let found = store.read(log, 0, usize::MAX).unwrap();
    found.into_iter().map(|chunk| chunk.first).collect()
}

/// Writes what is in memory to tables and merges them all.
fn settle_down(store: &FjallStore) {
    store.core.touch().unwrap();
    let open = store.core.open().unwrap();
    for space in [&open.msgs, &open.state] {
        space.rotate_memtable_and_wait().unwrap();
        space.major_compact().unwrap();
    }
}

/// One queue's log as a broker would keep it.
#[derive(Default)]
struct ModelLog {
    next: u64,
    floor: u64,
    chunks: BTreeMap<u64, u64>,
    settled: RangeSet,
}

impl ModelLog {
    fn step(&mut self, log: LogId, rng: &mut StdRng, batch: &mut Batch) {
        if rng.random_bool(0.7) {
            let count = rng.random_range(1..5u32);
            let len = if rng.random_bool(0.1) { 20_000 } else { 300 };
            let chunk = chunk_of(rng.random(), count, len);
            batch.push(Op::PutChunk {
                log,
                first: self.next,
                chunk,
            });
            self.chunks.insert(self.next, self.next + u64::from(count));
            self.next += u64::from(count);
        }
        for _ in 0..rng.random_range(0..6) {
            if self.floor < self.next {
                let offset = rng.random_range(self.floor..self.next.min(self.floor + 12));
                self.settled.insert(offset);
            }
        }
        let page = page_of(self.floor);
        let floor = self.settled.first_gap(self.floor);
        let kept = rng.random_bool(0.2); // chunks left for a sweep
        self.chunks.retain(|&first, &mut end| {
            let gone = end <= floor && !kept;
            if gone {
                batch.push(Op::RemoveChunk { log, first });
            }
            !gone
        });
        self.floor = floor;
        self.settled.remove_below(floor);
        if page_of(floor) > page {
            batch.push(Op::RemovePage { log, page });
        }
        let page = page_of(floor);
        batch.push(Op::PutPage {
            log,
            page,
            settled: self.settled.page(page),
        });
        let offset = floor + rng.random_range(0..5);
        batch.push(if rng.random() {
            Op::PutCount {
                log,
                offset,
                count: ReturnCount {
                    turn: rng.random(),
                    uncounted: rng.random_range(0..2),
                },
            }
        } else {
            Op::RemoveCount { log, offset }
        });
        let first = rng.random_range(0..8);
        batch.push(if rng.random() {
            let segment = Segment {
                first,
                first_ms: rng.random(),
                last_ms: rng.random(),
                bytes: rng.random(),
            };
            Op::PutSegment { log, segment }
        } else {
            Op::RemoveSegment { log, first }
        });
        let number = rng.random_range(0..8);
        batch.push(if rng.random() {
            let receive = ReceiveRecord {
                number,
                until_ms: rng.random(),
                leases: Vec::new(),
            };
            Op::PutReceive { log, receive }
        } else {
            Op::RemoveReceive { log, number }
        });
        let part = floor + rng.random_range(0..5);
        let mark = Mark {
            first_ms: rng.random(),
            last_ms: rng.random(),
            bytes: rng.random(),
        };
        batch.push(match rng.random_range(0..4) {
            0 => Op::PutGone {
                log,
                page,
                gone: self.settled.page(page),
            },
            1 => Op::RemoveGone { log, page },
            2 => Op::PutMark {
                log,
                first: part,
                mark,
            },
            _ => Op::RemoveMark { log, first: part },
        });
        let kept_from = rng.random::<bool>().then_some(floor / 2);
        let record = LogRecord {
            kept_from,
            rewinds: rng.random_range(0..3),
            next: self.next,
            floor,
            bytes: rng.random(),
        };
        batch.push(Op::PutLog { log, record });
    }
}

fn compare(disk: &dyn Store, model: &MemoryStore, logs: &BTreeMap<LogId, ModelLog>) {
    assert_eq!(disk.logs().unwrap(), model.logs().unwrap());
    assert_eq!(disk.meta(b"").unwrap(), model.meta(b"").unwrap());
    assert_eq!(disk.meta(b"b").unwrap(), model.meta(b"b").unwrap());
    for (&log, state) in logs {
        for from in [state.floor, (state.floor + state.next) / 2, state.next] {
            for max_bytes in [1, 5000, usize::MAX] {
                let plain = |store: &dyn Store| -> Vec<(u64, Bytes)> {
                    let found = store.read(log, from, max_bytes).unwrap();
                    found
                        .into_iter()
                        .map(|chunk| (chunk.first, chunk.data))
                        .collect()
                };
                assert_eq!(plain(disk), plain(model), "log {log:?} from {from}");
            }
        }
    }
}

#[test]
fn a_part_of_a_log_is_swept_in_steps_and_nothing_else() {
    let dir = scratch();
    let disk = FjallStore::open(dir.path(), small()).unwrap();
    let model = MemoryStore::new();
    let (log, other) = (LogId(3), LogId(4));
    for nth in 0..12 {
        let ops = [log, other].map(|log| append(log, nth * 4, chunk_of(nth, 4, 50)));
        let batch = batch(nth + 1, ops.concat());
        disk.commit(&batch).unwrap();
        model.commit(&batch).unwrap();
    }
    let sweep = |store: &dyn Store, range: Range<u64>, max| {
        let (mut next, mut steps) = (Some(range.start), 0);
        while let Some(from) = next {
            next = store.sweep_range(log, from..range.end, max).unwrap();
            steps += 1;
        }
        steps
    };
    for (range, max, left) in [
        (6..18, 1, vec![0, 4, 16, 20, 24, 28, 32, 36, 40, 44]),
        (5..5, 9, vec![0, 4, 16, 20, 24, 28, 32, 36, 40, 44]),
        (15..35, 3, vec![0, 4, 32, 36, 40, 44]),
        (0..48, 100, vec![]),
    ] {
        assert!(sweep(&disk, range.clone(), max) <= 5);
        sweep(&model, range.clone(), max);
        assert_eq!(chunks(&disk, log), left, "{range:?}");
        assert_eq!(chunks(&model, log), left, "{range:?}");
        assert_eq!(chunks(&disk, other).len(), 12);
    }
    disk.commit(&batch(13, vec![Op::RemoveLog { log: other }]))
        .unwrap();
    assert_eq!(disk.sweep_range(other, 0..48, 100).unwrap(), None);
}

#[test]
fn behaves_as_the_store_in_memory() {
    for seed in 0..4 {
        let dir = scratch();
        let rng = &mut StdRng::seed_from_u64(seed);
        let model = MemoryStore::new();
        let mut logs = BTreeMap::<LogId, ModelLog>::new();
        let mut disk = FjallStore::open(dir.path(), small()).unwrap();
        let mut born = 1;
        for ticket in 1..=150 {
            let mut batch = Batch {
                ticket: Ticket(ticket),
                ..Batch::default()
            };
            for _ in 0..rng.random_range(1..4) {
                let log = LogId(rng.random_range(born..born + 5));
                logs.entry(log).or_default();
            }
            for (&log, state) in &mut logs {
                if rng.random() {
                    state.step(log, rng, &mut batch);
                }
            }
            let key = vec![rng.random_range(b'a'..=b'c'), rng.random_range(0..3)];
            batch.push(Op::PutMeta {
                key: key.clone(),
                value: vec![1, 2],
            });
            if rng.random() {
                batch.push(Op::RemoveMeta { key });
            }
            disk.commit(&batch).unwrap();
            model.commit(&batch).unwrap();
            match rng.random_range(0..40) {
                0 => disk.reopen().unwrap(),
                1 => {
                    drop(disk);
                    disk = FjallStore::open(dir.path(), small()).unwrap();
                }
                2 => settle_down(&disk),
                11 | 12 => disk.core.evacuate(0, || false).unwrap(),
                3..6 => disk.sync().unwrap(),
                6..10 => {
                    for (&log, state) in &mut logs {
                        let max = rng.random_range(1..4);
                        for store in [&disk as &dyn Store, &model] {
                            while !store.sweep(log, state.floor, max).unwrap() {}
                        }
                        let floor = state.floor;
                        state.chunks.retain(|_, end| *end > floor);
                    }
                }
                10 => {
                    let Some((log, _)) = logs.pop_first() else {
                        continue;
                    };
                    let remove = self::batch(0, vec![Op::RemoveLog { log }]);
                    disk.commit(&remove).unwrap();
                    model.commit(&remove).unwrap();
                    born = log.0 + 1; // its id is never used again
                }
                _ => {}
            }
            if ticket % 10 == 0 {
                compare(&disk, &model, &logs);
            }
        }
        compare(&disk, &model, &logs);
    }
}

#[test]
fn a_second_store_and_a_newer_format_are_refused() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    assert!(matches!(
        FjallStore::open(dir.path(), small()),
        Err(StoreError::InUse { .. })
    ));
    store
        .core
        .open()
        .unwrap()
        .meta
        .insert(keys::FORMAT, 9u32.to_le_bytes())
        .unwrap();
    drop(store);
    let refused = FjallStore::open(dir.path(), small());
    assert!(matches!(
        refused,
        Err(StoreError::NewerFormat {
            found: 9,
            known: 2,
            ..
        })
    ));
}

#[test]
fn a_database_that_was_never_finished_is_made_anew() {
    let dir = scratch();
    fs::create_dir_all(dir.path().join("db/keyspaces")).unwrap();
    fs::write(dir.path().join("db/0.jnl"), [0; 100]).unwrap();
    drop(FjallStore::open(dir.path(), small()).unwrap());
    // But one that has data is not thrown away.
    fs::remove_file(dir.path().join("db/version")).unwrap();
    assert!(matches!(
        FjallStore::open(dir.path(), small()),
        Err(StoreError::Corrupt(_))
    ));
}

const LOG: LogId = LogId(256);

/// Commits chunks of about 20 KB one by one, syncing the first `synced` of them. Returns the journal's length at
/// that point; the process is then "cut off" by copying the files as they are.
fn cut_off(dir: &Path, image: &Path, synced: u64, unsynced: u64) -> u64 {
    let store = FjallStore::open(dir, FjallOptions::default()).unwrap();
    let journal = dir.join("db/0.jnl");
    for n in 0..synced {
        store
            .commit(&batch(n + 1, append(LOG, n, chunk_of(n, 1, 20_000))))
            .unwrap();
    }
    store.sync().unwrap();
    let safe = scrub::whole_bytes(&journal).unwrap();
    for n in synced..synced + unsynced {
        store
            .commit(&batch(n + 1, append(LOG, n, chunk_of(n, 1, 20_000))))
            .unwrap();
    }
    copy_dir(dir, image);
    safe
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn what_is_torn_off_the_journal_costs_nothing_that_was_synced() {
    type Damage = fn(&fs::File, u64);
    let cases: [(&str, bool, Damage); 6] = [
        ("nothing", true, |_, _| {}),
        ("a cut in the value", true, |file, safe| {
            file.set_len(safe + 5000).unwrap()
        }),
        ("a cut in the first bytes", true, |file, safe| {
            file.set_len(safe + 5).unwrap()
        }),
        ("a lost page in the value", false, |file, safe| {
            file.write_all_at(&[0; 4096], (safe / 4096 + 2) * 4096)
                .unwrap();
        }),
        ("an endless value", true, |file, safe| {
            file.write_all_at(&[0xff; 30], safe + 13 + 13).unwrap();
        }),
        ("a flipped bit", false, |file, safe| {
            file.write_all_at(&[1, 2, 3], safe + 3000).unwrap()
        }),
    ];
    for (what, opens_anyway, damage) in cases {
        let (dir, image) = (scratch(), scratch());
        let safe = cut_off(dir.path(), image.path(), 3, 1);
        let journal = image.path().join("db/0.jnl");
        damage(
            &fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&journal)
                .unwrap(),
            safe,
        );
        if !opens_anyway {
            // Why scrubbing is needed at all.
            let copy = scratch();
            copy_dir(image.path(), copy.path());
            let refused = Database::builder(copy.path().join("db")).open();
            assert!(refused.is_err(), "{what}");
        }
        let store = FjallStore::open(image.path(), small()).unwrap();
        let survivors = chunks(&store, LOG);
        let expected = if what == "nothing" {
            vec![0, 1, 2, 3]
        } else {
            vec![0, 1, 2]
        };
        assert_eq!(survivors, expected, "{what}");
        assert_eq!(
            store.logs().unwrap()[0].1.record.next,
            expected.len() as u64,
            "{what}"
        );
        assert_eq!(
            journal.with_extension("jnl.torn").exists(),
            what != "nothing",
            "{what}"
        );
        for found in store.read(LOG, 0, usize::MAX).unwrap() {
            assert_eq!(found.data, chunk_of(found.first, 1, 20_000), "{what}");
        }
        // And it can be written to again.
        let next = expected.len() as u64;
        store
            .commit(&batch(1, append(LOG, next, chunk_of(9, 1, 10))))
            .unwrap();
        store.sync().unwrap();
        drop(store);
        let store = FjallStore::open(image.path(), small()).unwrap();
        assert_eq!(chunks(&store, LOG).len() as u64, next + 1, "{what}");
    }
}

#[test]
fn any_pages_may_be_lost_of_what_was_not_synced() {
    let (dir, image) = (scratch(), scratch());
    let safe = cut_off(dir.path(), image.path(), 4, 6);
    let journal = fs::read(image.path().join("db/0.jnl")).unwrap();
    let end = scrub::whole_bytes(&image.path().join("db/0.jnl")).unwrap();
    for seed in 0..12 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let hurt = scratch();
        copy_dir(image.path(), hurt.path());
        let mut journal = journal.clone();
        let pages = safe.div_ceil(4096)..end.div_ceil(4096);
        for page in pages.filter(|_| rng.random_bool(0.1)) {
            let at = usize::try_from(page * 4096).unwrap();
            journal[at..at + 4096].fill(0);
        }
        fs::write(hurt.path().join("db/0.jnl"), journal).unwrap();
        let store = FjallStore::open(hurt.path(), small()).unwrap();
        let found = chunks(&store, LOG);
        assert!(found.len() >= 4, "{found:?}");
        assert!(found.iter().copied().eq(0..found.len() as u64), "{found:?}");
        assert_eq!(store.logs().unwrap()[0].1.record.next, found.len() as u64);
    }
}

#[test]
fn damage_in_what_was_synced_is_not_hidden() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    store
        .commit(&batch(1, append(LOG, 0, chunk_of(0, 1, 7000))))
        .unwrap();
    drop(store);
    let journal = dir.path().join("db/0.jnl");
    fs::copy(&journal, dir.path().join("db/1.jnl")).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&journal).unwrap();
    file.write_all_at(&[0; 100], 4096).unwrap();
    let refused = FjallStore::open(dir.path(), small())
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("0.jnl is damaged at byte"), "{refused}");
}

#[test]
fn a_batch_that_survived_a_failure_is_not_written_twice() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    let (first, second) = (chunk_of(1, 1, 2000), chunk_of(2, 1, 2000));
    store
        .commit(&batch(1, append(LOG, 0, first.clone())))
        .unwrap();
    store.reopen().unwrap();
    for (ticket, at, chunk) in [(1, 0, first), (2, 1, second)] {
        store
            .commit(&batch(ticket, append(LOG, at, chunk)))
            .unwrap();
    }
    assert_eq!(chunks(&store, LOG), [0, 1]);
    // Written twice, the first would come back when one removal meets one of the two.
    settle_down(&store);
    store
        .commit(&batch(3, vec![Op::RemoveChunk { log: LOG, first: 0 }]))
        .unwrap();
    settle_down(&store);
    settle_down(&store);
    assert_eq!(chunks(&store, LOG), [1]);
    // Tickets of another run mean nothing.
    drop(store);
    let store = FjallStore::open(dir.path(), small()).unwrap();
    store
        .commit(&batch(1, append(LOG, 2, chunk_of(3, 1, 10))))
        .unwrap();
    assert_eq!(chunks(&store, LOG), [1, 2]);
}

#[test]
fn a_removed_log_leaves_nothing_even_over_a_restart() {
    let dir = scratch();
    let mut store = FjallStore::open(dir.path(), small()).unwrap();
    let other = LogId(512);
    for n in 0..600 {
        store
            .commit(&batch(0, append(LOG, n, chunk_of(n, 1, 10))))
            .unwrap();
    }
    let page = Op::PutPage {
        log: LOG,
        page: 0,
        settled: RangeSet::new().page(0),
    };
    store
        .commit(&batch(
            0,
            vec![
                page,
                Op::PutCount {
                    log: LOG,
                    offset: 1,
                    count: ReturnCount::default(),
                },
            ],
        ))
        .unwrap();
    store
        .commit(&batch(0, append(other, 0, chunk_of(0, 1, 10))))
        .unwrap();
    store
        .commit(&batch(0, vec![Op::RemoveLog { log: LOG }]))
        .unwrap();
    assert_eq!(store.logs().unwrap().len(), 1);
    store
        .commit(&batch(0, append(LOG, 600, chunk_of(0, 1, 10))))
        .unwrap();
    drop(store); // most likely in the middle of the sweep
    store = FjallStore::open(dir.path(), small()).unwrap();
    eventually("the sweep", || store.core.unswept() == 0);
    let open = store.core.open().unwrap();
    let of_log = |key: &[u8]| keys::parse_state(key).is_some_and(|(_, log, _)| log == LOG);
    assert!(!open.state.iter().any(|entry| of_log(&entry.key().unwrap())));
    assert!(chunks(&store, LOG).is_empty());
    assert_eq!(chunks(&store, other), [0]);
}

#[test]
fn sweeping_stops_at_the_floor() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    for n in 0..10 {
        store
            .commit(&batch(0, append(LOG, n * 3, chunk_of(n, 3, 10))))
            .unwrap();
    }
    assert!(store.sweep(LOG, 100, 10).unwrap());
    assert_eq!(chunks(&store, LOG).len(), 10, "nothing is settled yet");
    let record = LogRecord {
        next: 30,
        floor: 16,
        bytes: 0,
        ..LogRecord::default()
    };
    store
        .commit(&batch(0, vec![Op::PutLog { log: LOG, record }]))
        .unwrap();
    assert!(!store.sweep(LOG, 100, 2).unwrap());
    assert_eq!(chunks(&store, LOG)[0], 6);
    assert!(store.sweep(LOG, 14, 10).unwrap());
    assert_eq!(chunks(&store, LOG)[0], 12);
    assert!(store.sweep(LOG, 100, 10).unwrap());
    assert_eq!(chunks(&store, LOG)[0], 15, "message 16 is in it");
}

#[test]
fn space_comes_back_after_a_drain() {
    let dir = scratch();
    let options = FjallOptions {
        extent_batch_bytes: usize::MAX,
        ..eager()
    };
    let store = FjallStore::open(dir.path(), options).unwrap();
    let full = 200;
    for n in 0..full {
        store
            .commit(&batch(0, append(LOG, n, chunk_of(n, 1, 60_000))))
            .unwrap();
    }
    let used = || store.core.open().unwrap().msgs.disk_space();
    eventually("the chunks to reach the disk", || used() > 8_000_000);
    for first in 0..full {
        store
            .commit(&batch(0, vec![Op::RemoveChunk { log: LOG, first }]))
            .unwrap();
    }
    eventually("the space", || used() < 200_000);
    assert!(chunks(&store, LOG).is_empty());
}

fn extents(dir: &Path) -> usize {
    fs::read_dir(dir.join("extents")).unwrap().count()
}

/// A chunk for an extent of its own, as `small` has them.
fn large(n: u64) -> Bytes {
    chunk_of(n, 1, 100_000)
}

#[test]
fn an_extent_is_not_used_again_before_its_emptying_is_durable() {
    let (dir, image) = (scratch(), scratch());
    let store = FjallStore::open(dir.path(), small()).unwrap();
    for n in 0..3 {
        store
            .commit(&batch(n + 1, append(LOG, n, large(n))))
            .unwrap();
    }
    store.sync().unwrap();
    let safe = scrub::whole_bytes(&dir.path().join("db/0.jnl")).unwrap();
    let gone = (0..3).map(|first| Op::RemoveChunk { log: LOG, first });
    store.commit(&batch(4, gone.collect())).unwrap();
    for n in 3..8 {
        store
            .commit(&batch(n + 2, append(LOG, n, large(n))))
            .unwrap();
    }
    assert_eq!(extents(dir.path()), 8);
    // A power loss now may undo everything since the sync: the chunks must still be there.
    copy_dir(dir.path(), image.path());
    let journal = image.path().join("db/0.jnl");
    let file = fs::OpenOptions::new().write(true).open(journal).unwrap();
    file.set_len(safe).unwrap();
    let after = FjallStore::open(image.path(), small()).unwrap();
    let found = after.read(LOG, 0, usize::MAX).unwrap();
    let found: Vec<_> = found.into_iter().map(|chunk| chunk.data).collect();
    assert_eq!(found, [large(0), large(1), large(2)]);
    // After a sync they are used again.
    store.sync().unwrap();
    for n in 8..11 {
        store
            .commit(&batch(n + 2, append(LOG, n, large(n))))
            .unwrap();
    }
    assert!(extents(dir.path()) <= 9, "{}", extents(dir.path()));
    assert_eq!(chunks(&store, LOG), (3..11).collect::<Vec<_>>());
}

#[test]
fn extents_of_earlier_runs_are_counted_and_used_again() {
    let dir = scratch();
    for run in 0..5 {
        let store = FjallStore::open(dir.path(), small()).unwrap();
        assert_eq!(chunks(&store, LOG).len(), if run == 0 { 0 } else { 2 });
        for n in run * 10..run * 10 + 10 {
            let mut ops = append(LOG, n, large(n));
            if let Some(first) = n.checked_sub(2) {
                ops.push(Op::RemoveChunk { log: LOG, first });
            }
            store.commit(&batch(n + 1, ops)).unwrap();
            store.sync().unwrap();
        }
        eventually("the count", || {
            store.sync().unwrap();
            extents(dir.path()) <= 6
        });
    }
}

#[test]
fn what_is_left_in_sparse_extents_is_moved() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    let chunk = |n| chunk_of(n, 1, 10_000);
    let mut keep = Vec::new();
    for n in 0..300 {
        store
            .commit(&batch(n + 1, append(LOG, n, chunk(n))))
            .unwrap();
        if n % 20 == 0 {
            keep.push(n);
        }
    }
    let full = store.disk_bytes().unwrap();
    for first in (0..300).filter(|n| n % 20 != 0) {
        store
            .commit(&batch(0, vec![Op::RemoveChunk { log: LOG, first }]))
            .unwrap();
    }
    let check = |store: &FjallStore| {
        let found = store.read(LOG, 0, usize::MAX).unwrap();
        let found: Vec<_> = found.into_iter().map(|c| (c.first, c.data)).collect();
        let expected: Vec<_> = keep.iter().map(|&n| (n, chunk(n))).collect();
        assert_eq!(found, expected);
    };
    check(&store);
    let before = extents(dir.path());
    settle_down(&store);
    store.core.evacuate(0, || false).unwrap();
    check(&store);
    store.core.trim_extents(true).unwrap();
    check(&store);
    assert!(before >= 24 && extents(dir.path()) <= 3);
    assert!(store.disk_bytes().unwrap() < full);
    // Moved again and again, and over a restart.
    drop(store);
    let store = FjallStore::open(dir.path(), small()).unwrap();
    for round in 0..3 {
        let open = store.core.open().unwrap();
        let all: Vec<u32> = (0..1000).collect();
        open.evacuate_extents(&all, || false).unwrap();
        drop(open);
        check(&store);
        if round != 1 {
            settle_down(&store);
        }
    }
    for first in &keep {
        store
            .commit(&batch(
                0,
                vec![Op::RemoveChunk {
                    log: LOG,
                    first: *first,
                }],
            ))
            .unwrap();
    }
    settle_down(&store);
    settle_down(&store);
    assert!(chunks(&store, LOG).is_empty(), "no older place comes back");
}

#[test]
fn the_background_gives_extents_back() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), eager()).unwrap();
    for n in 0..100 {
        let ops = append(LOG, n, chunk_of(n, 1, 60_000));
        store.commit(&batch(n + 1, ops)).unwrap();
    }
    assert!(extents(dir.path()) >= 50);
    for first in (0..100).filter(|n| n % 10 != 0) {
        store
            .commit(&batch(0, vec![Op::RemoveChunk { log: LOG, first }]))
            .unwrap();
    }
    // Ten of 60 KB are left: two in each extent.
    eventually("the space", || extents(dir.path()) <= 7);
    assert_eq!(chunks(&store, LOG).len(), 10);
}

#[test]
fn a_damaged_extent_is_not_hidden_and_harms_nobody_else() {
    let dir = scratch();
    let small_extents = FjallOptions {
        extent_bytes: 1 << 20,
        ..small()
    };
    let store = FjallStore::open(dir.path(), small_extents).unwrap();
    let logs = [LOG, LogId(LOG.0 + 512), LogId(LOG.0 + 1024)];
    let all = logs.iter().flat_map(|log| append(*log, 0, large(log.0)));
    store.commit(&batch(1, all.collect())).unwrap();
    store.sync().unwrap();
    drop(store);
    // Overwritten in the middle of the first chunk, and torn in the middle of the last.
    let extent = fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("extents/0.ext"))
        .unwrap();
    extent.write_all_at(&[0; 10], 50_000).unwrap();
    extent.set_len(250_000).unwrap();
    let store = FjallStore::open(dir.path(), small_extents).unwrap();
    let [overwritten, sound, torn] = logs;
    for log in [overwritten, torn] {
        let refused = store.read(log, 0, 1).unwrap_err();
        assert!(matches!(refused, StoreError::Corrupt(_)), "{refused}");
        let refused = refused.to_string();
        assert!(refused.contains("its extent does not hold it"), "{refused}");
        assert!(refused.contains(&format!("log {}", log.0)), "{refused}");
    }
    let found = store.read(sound, 0, usize::MAX).unwrap();
    assert_eq!(found[0].data, large(sound.0));
    // All three go on.
    let more = logs.iter().flat_map(|log| append(*log, 1, large(log.0)));
    store.commit(&batch(2, more.collect())).unwrap();
    for log in logs {
        let found = store.read(log, 1, usize::MAX).unwrap();
        assert_eq!(found[0].data, large(log.0));
    }
}

/// The journals are what a start after a crash reads again.
#[test]
#[ignore = "writes 400 MB"]
fn journals_stay_few_whatever_is_written() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), FjallOptions::default()).unwrap();
    let chunk = chunk_of(1, 60, 1000);
    let mut most = 0;
    for n in 0..7000 {
        let mut ops = append(LOG, n * 60, chunk.clone());
        if let Some(first) = n.checked_sub(100) {
            ops.push(Op::RemoveChunk {
                log: LOG,
                first: first * 60,
            });
        }
        while store.throttled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        store.commit(&batch(0, ops)).unwrap();
        most = most.max(store.core.open().unwrap().db.journal_count());
    }
    assert!((2..=5).contains(&most), "{most} journals");
}
