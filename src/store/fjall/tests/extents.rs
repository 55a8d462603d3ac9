//! Tests of extents: their reuse, emptying and removal, and the effects of damage.

use super::*;

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
    store.core.evacuate(0, || false).unwrap();
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
    for n in 0..100 {
        let ops = append(LOG, n, chunk_of(n, 1, 60_000));
        store.commit(&batch(n + 1, ops));
    }
    assert!(extents(dir.path()) >= 50);
    for first in (0..100).filter(|n| n % 10 != 0) {
        store.commit(&batch(0, vec![Op::RemoveChunk { log: LOG, first }]));
    }
    // Ten chunks of 60 KB are left: two in each extent. The log has one active extent.
    eventually("the space", || extents(dir.path()) <= 8);
    assert_eq!(chunks(&store, LOG).len(), 10);
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
