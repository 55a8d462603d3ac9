//! Tests that sweeps remove everything they should, and nothing else.

use super::*;

#[test]
fn sweep_range_removes_only_its_range_in_steps() {
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
    disk.commit(&batch(13, vec![Op::RemoveLog { log: other }]));
    assert_eq!(disk.sweep_range(other, 0..48, 100).unwrap(), None);
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
fn sweeping_stops_at_the_floor() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    for n in 0..10 {
        store.commit(&batch(0, append(LOG, n * 3, chunk_of(n, 3, 10))));
    }
    assert!(store.sweep(LOG, 100, 10).unwrap());
    assert_eq!(chunks(&store, LOG).len(), 10, "nothing is settled yet");
    let record = LogRecord {
        next: 30,
        floor: 16,
        bytes: 0,
        ..LogRecord::default()
    };
    store.commit(&batch(0, vec![Op::PutLog { log: LOG, record }]));
    assert!(!store.sweep(LOG, 100, 2).unwrap());
    assert_eq!(chunks(&store, LOG)[0], 6);
    assert!(store.sweep(LOG, 14, 10).unwrap());
    assert_eq!(chunks(&store, LOG)[0], 12);
    assert!(store.sweep(LOG, 100, 10).unwrap());
    assert_eq!(chunks(&store, LOG)[0], 15, "message 16 is in it");
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
