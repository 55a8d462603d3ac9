//! Tests of journals that are torn, damaged or cut off, and of their number.

use super::*;

/// Commits chunks of about 20 KB one by one: `synced` chunks with a sync, then `unsynced` without. Copies the
/// files to `image`, as if the process ended there. Returns the journal's length after the last sync.
fn cut_off(dir: &Path, image: &Path, synced: u64, unsynced: u64) -> u64 {
    let store = FjallStore::open(dir, FjallOptions::default()).unwrap();
    let journal = dir.join("db/0.jnl");
    for n in 0..synced {
        store
            .commit(&batch(n + 1, append(LOG, n, chunk_of(n, 1, 20_000))))
            .unwrap();
    }
    store.sync().unwrap();
    let safe = journal_scan::whole_bytes(&journal).unwrap();
    for n in synced..synced + unsynced {
        store
            .commit(&batch(n + 1, append(LOG, n, chunk_of(n, 1, 20_000))))
            .unwrap();
    }
    copy_dir(dir, image);
    safe
}

#[test]
fn a_torn_journal_loses_no_synced_batch() {
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
            // The database alone refuses this journal.
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
        // The repaired journal accepts writes.
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
fn any_unsynced_pages_may_be_lost() {
    let (dir, image) = (scratch(), scratch());
    let safe = cut_off(dir.path(), image.path(), 4, 6);
    let journal = fs::read(image.path().join("db/0.jnl")).unwrap();
    let end = journal_scan::whole_bytes(&image.path().join("db/0.jnl")).unwrap();
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
fn damage_in_synced_data_is_reported() {
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
    // If the first chunk were written twice, the removal would cancel one put and the other would come back.
    settle_down(&store);
    store
        .commit(&batch(3, vec![Op::RemoveChunk { log: LOG, first: 0 }]))
        .unwrap();
    settle_down(&store);
    settle_down(&store);
    assert_eq!(chunks(&store, LOG), [1]);
    // Tickets of earlier runs have no effect.
    drop(store);
    let store = FjallStore::open(dir.path(), small()).unwrap();
    store
        .commit(&batch(1, append(LOG, 2, chunk_of(3, 1, 10))))
        .unwrap();
    assert_eq!(chunks(&store, LOG), [1, 2]);
}

/// A start after a crash reads all journals again, so their number must stay small.
#[test]
#[ignore = "writes 400 MB"]
fn journals_stay_few_under_load() {
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
