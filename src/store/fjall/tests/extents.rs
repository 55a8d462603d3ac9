//! Tests of extents: their reuse, emptying and removal, and the effects of damage.

use super::*;
use crate::store::{EntryId, Replica};

/// Number of files of the log and of moved chunks.
fn extents(dir: &Path) -> usize {
    let files = fs::read_dir(dir.join("log")).unwrap();
    let is_extent = |path: std::path::PathBuf| path.extension().is_some();
    files
        .filter(|file| is_extent(file.as_ref().unwrap().path()))
        .count()
}

/// A chunk that fills an extent of [`small`] alone.
fn large(n: u64) -> Bytes {
    chunk_of(n, 1, 100_000)
}

#[test]
fn an_extent_is_reused_only_after_a_checkpoint() {
    let (dir, image) = (scratch(), scratch());
    let store = FjallStore::open(dir.path(), small()).unwrap();
    for n in 0..3 {
        store.commit(&batch(n + 1, append(LOG, n, large(n))));
    }
    settle_down(&store); // nothing is left to do in the background while the files are copied
    let gone = (0..3).map(|first| Op::RemoveChunk { log: LOG, first });
    store.commit(&batch(4, gone.collect()));
    for n in 3..8 {
        store.commit(&batch(n + 2, append(LOG, n, large(n))));
    }
    assert_eq!(extents(dir.path()), 8);
    // The tables still have the chunks, and the log has what happened since.
    copy_dir(dir.path(), image.path());
    let after = FjallStore::open(image.path(), small()).unwrap();
    assert_eq!(chunks(&after, LOG), (3..8).collect::<Vec<_>>());
    checkpoint(&store);
    for n in 8..11 {
        store.commit(&batch(n + 2, append(LOG, n, large(n))));
    }
    assert_eq!(extents(dir.path()), 8);
    assert_eq!(chunks(&store, LOG), (3..11).collect::<Vec<_>>());
}

#[test]
fn extents_of_earlier_runs_are_counted_and_reused() {
    let dir = scratch();
    for run in 0..5 {
        let store = FjallStore::open(dir.path(), small()).unwrap();
        assert_eq!(chunks(&store, LOG).len(), if run == 0 { 0 } else { 2 });
        for n in run * 10..run * 10 + 10 {
            let mut ops = append(LOG, n, large(n));
            if let Some(first) = n.checked_sub(2) {
                ops.push(Op::RemoveChunk { log: LOG, first });
            }
            store.commit(&batch(n + 1, ops));
        }
        eventually("the count", || {
            checkpoint(&store);
            store.core.trim_extents(false).unwrap();
            extents(dir.path()) <= 6
        });
    }
}

#[test]
fn chunks_are_moved_out_of_sparse_extents() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    let chunk = |n| chunk_of(n, 1, 10_000);
    let mut keep = Vec::new();
    for n in 0..300 {
        store.commit(&batch(n + 1, append(LOG, n, chunk(n))));
        if n % 20 == 0 {
            keep.push(n);
        }
    }
    let full = store.disk_bytes().unwrap();
    for first in (0..300).filter(|n| n % 20 != 0) {
        store.commit(&batch(0, vec![Op::RemoveChunk { log: LOG, first }]));
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
    assert!(store.core.evacuate(0, || false).unwrap());
    check(&store);
    checkpoint(&store);
    store.core.trim_extents(true).unwrap();
    check(&store);
    let after = extents(dir.path());
    assert!(before >= 24 && after <= 4, "{before} files, then {after}");
    assert!(store.disk_bytes().unwrap() < full);
    // Further moves, also after a restart.
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
        store.commit(&batch(
            0,
            vec![Op::RemoveChunk {
                log: LOG,
                first: *first,
            }],
        ));
    }
    settle_down(&store);
    settle_down(&store);
    assert!(
        chunks(&store, LOG).is_empty(),
        "no older address comes back"
    );
}

#[test]
fn the_background_thread_removes_sparse_extents() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), eager()).unwrap();
    let other = fill_interleaved(&store, 200);
    let before = extents(dir.path());
    assert!(before >= 100, "{before} files");
    // There is room for few chunks at a time.
    fill_disk(&store, 800_000);
    store.commit(&batch(0, vec![Op::RemoveLog { log: LOG }]));
    // They are moved until more than half of the space is used.
    eventually("the space", || extents(dir.path()) <= 70);
    assert_eq!(chunks(&store, other).len(), 200);
}

/// Puts chunks of two logs into each extent, so that it is sparse without those of [`LOG`]. Returns the other log.
fn fill_interleaved(store: &FjallStore, batches: u64) -> LogId {
    let other = LogId(LOG.0 + 512);
    for n in 0..batches {
        let both = [
            append(LOG, n, chunk_of(n, 1, 30_000)),
            append(other, n, chunk_of(n, 1, 20_000)),
        ];
        store.commit(&batch(n + 1, both.concat()));
    }
    other
}

/// Bytes of the log's files.
fn used(store: &FjallStore) -> u64 {
    store.core.open().unwrap().extents.disk_bytes().unwrap()
}

/// Lets the disk have these bytes free.
fn fill_disk(store: &FjallStore, free: u64) {
    *store.core.disk.lock() = Some(used(store) + free);
}

/// Two queues share the log, and one of them is removed. The other's chunks are ten times what is free.
#[test]
fn chunks_are_moved_a_part_at_a_time_on_a_full_disk() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    let other = fill_interleaved(&store, 400);
    store.commit(&batch(0, vec![Op::RemoveLog { log: LOG }]));
    eventually("the sweep", || store.core.unswept() == 0);
    settle_down(&store);
    let before = used(&store);
    fill_disk(&store, 800_000);
    let disk = store.core.disk.lock().unwrap();
    let mut rounds = 0;
    while store.core.evacuate(0, || false).unwrap() {
        rounds += 1;
        let used = used(&store);
        assert!(used < disk - 400_000, "round {rounds}: {used} of {disk}");
        checkpoint(&store);
        store.core.trim_extents(true).unwrap();
    }
    let after = used(&store);
    assert!(rounds > 3, "{rounds} rounds");
    assert!(after < before * 3 / 4, "{before} bytes, then {after}");
    assert_eq!(chunks(&store, other).len(), 400);
    // Without room nothing moves.
    for first in (0..400).filter(|n| n % 5 != 0) {
        store.commit(&batch(0, vec![Op::RemoveChunk { log: other, first }]));
    }
    settle_down(&store);
    store.core.trim_extents(true).unwrap();
    fill_disk(&store, 50_000);
    let before = extents(dir.path());
    assert!(!store.core.evacuate(0, || false).unwrap());
    assert_eq!(extents(dir.path()), before);
}

#[test]
fn chunks_that_cannot_be_written_stay_where_they_are() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    for n in 0..50 {
        store.commit(&batch(n + 1, append(LOG, n, chunk_of(n, 1, 30_000))));
    }
    for first in (0..50).filter(|n| n % 10 != 0) {
        store.commit(&batch(0, vec![Op::RemoveChunk { log: LOG, first }]));
    }
    settle_down(&store);
    let next = store.core.open().unwrap().extents.used();
    let path = dir.path().join(format!("log/{next}.ext"));
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let failure = store.core.evacuate(0, || false).unwrap_err();
    assert!(failure.to_string().contains(".ext"), "{failure}");
    assert_eq!(chunks(&store, LOG), [0, 10, 20, 30, 40]);
    // The extent of the failure is empty.
    store.core.hasten_freeing().unwrap();
    checkpoint(&store);
    assert!(path.symlink_metadata().is_err(), "it is removed");
    assert!(store.core.evacuate(0, || false).unwrap());
    assert_eq!(chunks(&store, LOG), [0, 10, 20, 30, 40]);
}

/// What cannot be read cannot be moved. It must not hold up the others.
#[test]
fn a_damaged_chunk_is_not_tried_again() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    for n in 0..50 {
        store.commit(&batch(n + 1, append(LOG, n, chunk_of(n, 1, 30_000))));
    }
    for first in (0..50).filter(|n| n % 10 != 0) {
        store.commit(&batch(0, vec![Op::RemoveChunk { log: LOG, first }]));
    }
    settle_down(&store);
    let address = store.core.open().unwrap().spaces.address_of(LOG, 20);
    let (_, address) = address.unwrap().unwrap();
    let path = dir.path().join(format!("log/{}.log", address.extent()));
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0; 10], address.start() + 1000).unwrap();
    assert!(store.core.evacuate(0, || false).unwrap());
    checkpoint(&store);
    assert!(!store.core.evacuate(0, || false).unwrap(), "none is left");
}

/// Calls `hold`, which must end because the store is opened again. It gets what it must ask whether to stop.
fn reopens_while(store: &FjallStore, hold: impl FnOnce(&dyn Fn() -> bool)) {
    let begun = std::sync::Once::new();
    std::thread::scope(|scope| {
        hold(&|| {
            begun.call_once(|| {
                scope.spawn(|| store.reopen().unwrap());
                eventually("the reopening", || store.core.is_awaited());
            });
            false
        });
    });
    assert!(begun.is_completed() && !store.core.is_awaited());
}

#[test]
fn a_reopening_waits_for_no_long_work() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    for n in 0..100 {
        store.commit(&batch(n + 1, append(LOG, n, chunk_of(n, 1, 60_000))));
    }
    for first in (0..100).filter(|n| n % 3 != 0) {
        store.commit(&batch(0, vec![Op::RemoveChunk { log: LOG, first }]));
    }
    eventually("the count", || store.has_swept());
    reopens_while(&store, |stop| {
        assert!(!store.core.evacuate(0, stop).unwrap());
    });
    eventually("the count", || store.has_swept());
    reopens_while(&store, |stop| {
        store.core.hasten_freeing().unwrap();
        assert!(!store.core.checkpoint(stop).unwrap());
    });
    let left: Vec<u64> = (0..100).filter(|n| n % 3 == 0).collect();
    assert_eq!(chunks(&store, LOG), left);
}

/// As the disk of a follower, which runs no committer.
#[test]
fn a_member_gives_its_spare_extents_back() {
    let dir = scratch();
    let store = FjallStore::open_member(dir.path(), eager()).unwrap();
    let id = |index| EntryId { term: 1, index };
    for n in 0..12 {
        let ops = append(LOG, n, large(n));
        let proposal = store.propose(&batch(n, ops), &mut HashSet::new());
        store.append_entry(id(n + 1), &proposal).unwrap();
    }
    let gone = (0..12).map(|first| Op::RemoveChunk { log: LOG, first });
    let proposal = store.propose(&batch(13, gone.collect()), &mut HashSet::new());
    store.append_entry(id(13), &proposal).unwrap();
    store.sync_log().unwrap();
    store.note_majority(id(13));
    store.apply_entries(13).unwrap();
    store.purge_log(12).unwrap();
    eventually("the spare extents", || {
        checkpoint(&store);
        store.core.open().unwrap().extents.has_spare()
    });
    store.spare();
    eventually("the space", || {
        !store.core.open().unwrap().extents.has_spare()
    });
}

#[test]
fn damage_in_an_extent_is_reported_and_affects_no_other_chunk() {
    let dir = scratch();
    let small_extents = FjallOptions {
        extent_bytes: 1 << 20,
        ..small()
    };
    let store = FjallStore::open(dir.path(), small_extents).unwrap();
    let logs = [LOG, LogId(LOG.0 + 512), LogId(LOG.0 + 1024)];
    let all = logs.iter().flat_map(|log| append(*log, 0, large(log.0)));
    store.commit(&batch(1, all.collect()));
    drop(store);
    // Overwrites the middle of the first chunk, and cuts off the last one in its middle.
    let extent = fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("log/0.log"))
        .unwrap();
    extent.write_all_at(&[0; 10], 50_000).unwrap();
    extent.set_len(250_000).unwrap();
    let store = FjallStore::open(dir.path(), small_extents).unwrap();
    let [overwritten, sound, torn] = logs;
    for log in [overwritten, torn] {
        let refused = store.read(log, 0, 1).unwrap_err();
        assert!(
            matches!(&refused, StoreError::Unreadable { offsets, .. } if *offsets == (0..1)),
            "{refused}"
        );
        let refused = refused.to_string();
        assert!(refused.contains("its extent does not hold it"), "{refused}");
    }
    let found = store.read(sound, 0, usize::MAX).unwrap();
    assert_eq!(found[0].data, large(sound.0));
    // All three logs accept further chunks.
    let more = logs.iter().flat_map(|log| append(*log, 1, large(log.0)));
    store.commit(&batch(2, more.collect()));
    for log in logs {
        let found = store.read(log, 1, usize::MAX).unwrap();
        assert_eq!(found[0].data, large(log.0));
    }
}
