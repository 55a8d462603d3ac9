//! Tests that sweeps remove everything they should, and nothing else.

use super::*;

fn sweep(log: LogId, offsets: Range<u64>) -> Op {
    Op::Sweep { log, offsets }
}

#[test]
fn a_sweep_removes_only_whole_chunks_of_its_range() {
    let dir = scratch();
    let disk = FjallStore::open(dir.path(), small()).unwrap();
    let model = MemoryStore::new();
    let (log, other) = (LogId(3), LogId(4));
    for nth in 0..12 {
        let ops = [log, other].map(|log| append(log, nth * 4, chunk_of(nth, 4, 50)));
        let batch = batch(nth + 1, ops.concat());
        disk.commit(&batch);
        model.commit(&batch);
    }
    for (offsets, left) in [
        (6..18, vec![0, 4, 16, 20, 24, 28, 32, 36, 40, 44]),
        (5..5, vec![0, 4, 16, 20, 24, 28, 32, 36, 40, 44]),
        (0..6, vec![4, 16, 20, 24, 28, 32, 36, 40, 44]),
        (15..35, vec![4, 32, 36, 40, 44]),
        (0..36, vec![36, 40, 44]),
        (0..47, vec![44]),
        (0..48, vec![]),
    ] {
        let batch = batch(0, vec![sweep(log, offsets.clone())]);
        disk.commit(&batch);
        model.commit(&batch);
        eventually("the sweep", || disk.has_swept());
        assert_eq!(chunks(&disk, log), left, "{offsets:?}");
        assert_eq!(chunks(&model, log), left, "{offsets:?}");
        assert_eq!(chunks(&disk, other).len(), 12);
    }
}

#[test]
fn a_sweep_goes_on_in_steps_where_the_last_one_ended() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    for n in 0..10 {
        store.commit(&batch(0, append(LOG, n * 3, chunk_of(n, 3, 10))));
    }
    let core = &store.core;
    assert_eq!(core.sweep(LOG, &(0..16), 2).unwrap(), (Some(6), 2));
    assert_eq!(core.sweep(LOG, &(6..16), 2).unwrap(), (Some(12), 2));
    assert_eq!(core.sweep(LOG, &(12..16), 2).unwrap(), (None, 1));
    assert_eq!(chunks(&store, LOG)[0], 15, "message 16 is in it");
    assert_eq!(core.sweep(LOG, &(0..16), 2).unwrap(), (None, 0));
    assert_eq!(
        core.sweep(LOG, &(19..25), 9).unwrap(),
        (None, 1),
        "another part"
    );
    assert_eq!(core.sweep(LOG, &(0..18), 9).unwrap(), (None, 1));
    assert_eq!(chunks(&store, LOG), [18, 24, 27]);
    store.commit(&batch(0, vec![Op::RemoveLog { log: LOG }]));
    assert_eq!(core.sweep(LOG, &(0..30), 9).unwrap(), (None, 0));
}

/// A store in which nothing but batches is known: no queue is in memory.
struct Follower {
    dir: tempfile::TempDir,
    store: FjallStore,
    next: u64,
}

impl Follower {
    fn new() -> Follower {
        let dir = scratch();
        let store = FjallStore::open(dir.path(), eager()).unwrap();
        Follower {
            dir,
            store,
            next: 0,
        }
    }

    /// A batch that puts a chunk of two messages, with what a queue wants written besides.
    fn put(&mut self, record: LogRecord, ops: impl IntoIterator<Item = Op>) {
        let first = self.next;
        self.next += 2;
        let record = LogRecord {
            next: self.next,
            ..record
        };
        let mut all = vec![
            Op::PutChunk {
                log: LOG,
                first,
                chunk: chunk_of(first, 2, 15_000),
            },
            Op::PutLog { log: LOG, record },
        ];
        all.extend(ops);
        self.store.commit(&batch(0, all));
    }

    /// Files of the log and of moved chunks.
    fn extents(&self) -> usize {
        let files = fs::read_dir(self.dir.path().join("log")).unwrap();
        files
            .filter(|file| file.as_ref().unwrap().path().extension().is_some())
            .count()
    }
}

#[test]
fn a_store_without_queues_does_not_grow_behind_a_stream() {
    let mut follower = Follower::new();
    for n in 0..400_u64 {
        let floor = (n * 2).saturating_sub(20) / 10 * 10;
        let record = LogRecord {
            floor,
            ..LogRecord::default()
        };
        follower.put(record, [sweep(LOG, 0..floor)]);
        if n % 40 == 0 {
            checkpoint(&follower.store);
        }
    }
    eventually("the sweep", || follower.store.has_swept());
    assert!(chunks(&follower.store, LOG).len() <= 16);
    eventually("the extents", || follower.extents() <= 16);
    let used = follower.store.disk_bytes().unwrap();
    assert!(used < 6_000_000, "{used} bytes of 12 MB are left");
}

#[test]
fn a_store_without_queues_follows_purges_and_histories() {
    let mut follower = Follower::new();
    for _ in 0..100 {
        follower.put(LogRecord::default(), []);
    }
    // A purge while messages 90 and 91 are out, and an end of their leases.
    let record = LogRecord {
        next: 200,
        floor: 90,
        ..LogRecord::default()
    };
    let page = Op::PutSettledPage {
        log: LOG,
        page: 0,
        settled: PageBits::from_runs(vec![(0, 90), (92, 200)]).unwrap(),
    };
    let purge = [sweep(LOG, 0..90), sweep(LOG, 92..200), page];
    let purge = purge.into_iter().chain([Op::PutLog { log: LOG, record }]);
    follower.store.commit(&batch(0, purge.collect()));
    eventually("the sweep", || follower.store.has_swept());
    assert_eq!(chunks(&follower.store, LOG), [90]);
    let last = Op::RemoveChunk {
        log: LOG,
        first: 90,
    };
    follower.store.commit(&batch(0, vec![last]));
    assert!(chunks(&follower.store, LOG).is_empty());
    // Settled messages of a log with history stay until they are gone.
    let record = LogRecord {
        floor: 240,
        history_from: Some(200),
        ..LogRecord::default()
    };
    for _ in 0..20 {
        follower.put(record, []);
    }
    let gone = Op::PutGonePage {
        log: LOG,
        page: 0,
        gone: PageBits::from_runs(vec![(210, 220)]).unwrap(),
    };
    follower
        .store
        .commit(&batch(0, vec![gone, sweep(LOG, 210..220)]));
    eventually("the sweep", || follower.store.has_swept());
    let left = (200..210).chain(220..240).step_by(2).collect::<Vec<_>>();
    assert_eq!(chunks(&follower.store, LOG), left);
}

#[test]
fn what_no_start_would_find_is_swept_at_a_start() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    let logs = [LogId(3), LogId(4), LogId(5)];
    for log in logs {
        for n in 0..10 {
            store.commit(&batch(0, append(log, n * 3, chunk_of(n, 3, 10))));
        }
    }
    let [settled, rewindable, untouched] = logs;
    let page = |log| Op::PutSettledPage {
        log,
        page: 0,
        settled: PageBits::from_runs(vec![(8, 15), (18, 30)]).unwrap(),
    };
    let record = |log, history_from| Op::PutLog {
        log,
        record: LogRecord {
            next: 30,
            floor: 7,
            history_from,
            ..LogRecord::default()
        },
    };
    store.commit(&batch(
        0,
        vec![
            page(settled),
            record(settled, None),
            page(rewindable),
            record(rewindable, Some(4)),
            Op::PutGonePage {
                log: rewindable,
                page: 0,
                gone: PageBits::from_runs(vec![(9, 12), (20, 23)]).unwrap(),
            },
        ],
    ));
    assert!(logs.iter().all(|log| chunks(&store, *log).len() == 10));
    drop(store);
    let store = FjallStore::open(dir.path(), small()).unwrap();
    eventually("the sweep", || store.has_swept());
    assert_eq!(chunks(&store, settled), [6, 15]);
    assert_eq!(chunks(&store, rewindable), [3, 6, 12, 15, 18, 21, 24, 27]);
    assert_eq!(chunks(&store, untouched).len(), 10);
    // A batch that settles messages of a queue in memory sweeps nothing by itself.
    store.commit(&batch(0, vec![record(untouched, None), page(untouched)]));
    assert_eq!(chunks(&store, untouched).len(), 10);
    store.sweep_settled().unwrap();
    eventually("the sweep", || store.has_swept());
    assert_eq!(chunks(&store, untouched), [6, 15]);
}

#[test]
fn a_sweep_that_a_kill_interrupts_goes_on_at_the_next_start() {
    let dir = scratch();
    let mut store = FjallStore::open(dir.path(), small()).unwrap();
    for n in 0..3_000 {
        let ops = append(LOG, n, chunk_of(n, 1, 10));
        store.append(&batch(0, ops)).unwrap();
    }
    // Its record is not kept up to date, as that of a transient queue, so it tells nothing.
    store.commit(&batch(0, vec![sweep(LOG, 0..2_990)]));
    store.core.close();
    drop(store);
    store = FjallStore::open(dir.path(), small()).unwrap();
    eventually("the sweep", || store.has_swept());
    assert_eq!(chunks(&store, LOG), (2_990..3_000).collect::<Vec<_>>());
}

#[test]
fn a_removed_log_leaves_nothing_even_after_a_restart() {
    let dir = scratch();
    let mut store = FjallStore::open(dir.path(), small()).unwrap();
    let other = LogId(512);
    for n in 0..600 {
        store.commit(&batch(0, append(LOG, n, chunk_of(n, 1, 10))));
    }
    let page = Op::PutSettledPage {
        log: LOG,
        page: 0,
        settled: RangeSet::new().page(0),
    };
    store.commit(&batch(
        0,
        vec![
            page,
            Op::PutReturnCount {
                log: LOG,
                offset: 1,
                count: ReturnCount::default(),
            },
        ],
    ));
    store.commit(&batch(0, append(other, 0, chunk_of(0, 1, 10))));
    store.commit(&batch(0, vec![Op::RemoveLog { log: LOG }]));
    assert_eq!(store.logs().unwrap().len(), 1);
    store.commit(&batch(0, append(LOG, 600, chunk_of(0, 1, 10))));
    drop(store); // most likely in the middle of the sweep
    store = FjallStore::open(dir.path(), small()).unwrap();
    eventually("the sweep", || store.core.unswept() == 0);
    checkpoint(&store); // the tombstone goes after it
    let open = store.core.open().unwrap();
    let of_log = |key: &[u8]| keys::parse_state(key).is_some_and(|(_, log, _)| log == LOG);
    assert!(
        !open
            .spaces
            .state
            .iter()
            .any(|entry| of_log(&entry.key().unwrap()))
    );
    assert!(chunks(&store, LOG).is_empty());
    assert_eq!(chunks(&store, other), [0]);
}

#[test]
fn disk_space_is_freed_after_a_drain() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), eager()).unwrap();
    let full = 200;
    for n in 0..full {
        store.commit(&batch(0, append(LOG, n, chunk_of(n, 1, 60_000))));
    }
    let used = || store.disk_bytes().unwrap();
    assert!(used() > 8_000_000);
    for first in 0..full {
        store.commit(&batch(0, vec![Op::RemoveChunk { log: LOG, first }]));
    }
    eventually("the space", || used() < 2_000_000);
    assert!(chunks(&store, LOG).is_empty());
}

#[test]
fn memtables_are_flushed_in_quiet_times() {
    let dir = scratch();
    let mut options = eager();
    options.maintenance.flush_min_bytes = 8 * 1024;
    let store = FjallStore::open(dir.path(), options).unwrap();
    for n in 0..4 {
        let ops = append(LOG, n, chunk_of(n, 1, 4_000));
        store.commit(&batch(n + 1, ops));
    }
    eventually("the flush", || store.core.memtable_bytes() < 4_000);
    assert_eq!(chunks(&store, LOG), [0, 1, 2, 3]);
}
