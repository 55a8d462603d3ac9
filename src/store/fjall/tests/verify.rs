//! Tests of the verification: what it reports about a damaged directory is what the store then cannot read, and a whole
//! directory is reported whole, also while the store writes, moves and removes.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use super::damage::{Expected, Harm, LARGE, SMALL, any_file, built, files, open};
use super::*;
use crate::store::verify::{DamageKind, Effect, Verification, VerifyProgress};
use crate::store::{OnDamage, StoppedStore};

fn done(verified: Verified) -> Verification {
    match verified {
        Verified::Done(verification) => verification,
        Verified::Interrupted | Verified::NothingOnDisk => panic!("{verified:?}"),
    }
}

fn verified(dir: &Path) -> Verification {
    let mut store = StoppedStore::lock(dir).unwrap();
    let mut last = VerifyProgress::default();
    let verification = done(
        store
            .verify(&mut |progress| {
                assert!(progress.done <= progress.total && progress.done >= last.done);
                last = progress;
                ControlFlow::Continue(())
            })
            .unwrap(),
    );
    if verification.is_whole() {
        assert_eq!(last.done, last.total);
    }
    verification
}

/// The contents of all files but the lock's, which has the process id of the last one.
fn contents(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut all = files(dir);
    all.retain(|path| path.file_name().unwrap() != "leveret.lock");
    all.into_iter()
        .map(|path| {
            let content = fs::read(&path).unwrap();
            (path, content)
        })
        .collect()
}

/// The chunks that the store returns, by log and first offset.
fn readable(store: &FjallStore) -> BTreeSet<(LogId, u64)> {
    let mut found = BTreeSet::new();
    for log in [SMALL, LOG, LARGE] {
        let chunks = store.read_past(log, 0, usize::MAX).unwrap();
        let mut at = 0;
        let mut rest = chunks;
        while let Some(last) = rest.last() {
            at = last.first + 2;
            found.extend(rest.iter().map(|chunk| (log, chunk.first)));
            rest = store.read_past(log, at, usize::MAX).unwrap();
        }
        assert!(at <= 80);
    }
    found
}

/// The chunks that a verification says are unreadable. Each chunk of the test has two messages.
fn reported(verification: &Verification) -> BTreeSet<(LogId, u64)> {
    let hurt = verification.findings.iter();
    hurt.filter_map(|finding| finding.messages.as_ref())
        .flat_map(|it| it.offsets.clone().step_by(2).map(|first| (it.log, first)))
        .collect()
}

/// Damages one file in each trial, and compares what the verification says with what the store does.
fn trials(seeds: std::ops::Range<u64>) {
    let image = scratch();
    let expected = built(image.path());
    let mut damaged = 0;
    for seed in seeds {
        let rng = &mut StdRng::seed_from_u64(seed);
        let hurt = scratch();
        copy_dir(image.path(), hurt.path());
        let path = any_file(hurt.path(), rng);
        let harm = Harm::random(rng);
        harm.apply(&path, rng);
        let what = format!("seed {seed}: {harm:?} {}", path.display());
        let before = contents(hurt.path());
        let found = verified(hurt.path());
        assert!(
            contents(hurt.path()) == before,
            "{what}: something has changed"
        );
        damaged += u64::from(!found.is_whole());
        check(&what, hurt.path(), &expected, &found);
    }
    assert!(damaged > 0);
}

fn check(what: &str, dir: &Path, expected: &Expected, found: &Verification) {
    let what = format!("{what}: {:?}", found.findings);
    let all: BTreeSet<(LogId, u64)> = expected.keys().copied().collect();
    if found.is_whole() {
        let store = open(dir, OnDamage::Refuse).expect(&what);
        assert_eq!(readable(&store), all, "{what}");
        return;
    }
    let has = |effect| {
        found
            .findings
            .iter()
            .any(|finding| finding.effect == effect)
    };
    match open(dir, OnDamage::Recover) {
        Err(_) => assert!(has(Effect::Refused), "{what}"),
        Ok(store) => {
            assert!(!has(Effect::Refused), "{what}");
            let lost: BTreeSet<_> = all.difference(&readable(&store)).copied().collect();
            let reported = reported(found);
            assert!(reported.is_subset(&lost), "{what}: {lost:?}");
            let has_entries = found
                .findings
                .iter()
                .any(|it| it.kind == DamageKind::Entry && it.effect == Effect::Lost);
            // At the end of a log nothing says what lost entries held.
            assert!(reported == lost || has_entries, "{what}: {lost:?}");
        }
    }
}

#[test]
fn what_is_reported_is_what_the_store_cannot_read_1() {
    trials(0..150);
}

#[test]
fn what_is_reported_is_what_the_store_cannot_read_2() {
    trials(1000..1150);
}

#[test]
fn a_directory_without_damage_is_whole_and_stays_as_it_is() {
    let image = scratch();
    let expected = built(image.path());
    let before = contents(image.path());
    let found = verified(image.path());
    assert_eq!(found.findings, []);
    assert_eq!(found.chunks, expected.len() as u64);
    assert!(found.entries > 0 && found.files > 0 && found.records >= 3);
    assert!(contents(image.path()) == before);
    // After an orderly stop as well.
    drop(open(image.path(), OnDamage::Refuse).unwrap());
    let found = verified(image.path());
    assert_eq!(found.findings, []);
    assert_eq!(found.chunks, expected.len() as u64);
}

#[test]
fn a_directory_in_use_and_a_missing_one_are_not_verified() {
    let dir = scratch();
    let missing = dir.path().join("none");
    assert!(StoppedStore::lock(&missing).is_err());
    assert!(!missing.exists());
    let store = open(dir.path(), OnDamage::Refuse).unwrap();
    let refused = StoppedStore::lock(dir.path()).map(drop).unwrap_err();
    assert!(refused.to_string().contains("is in use"), "{refused}");
    drop(store);
    assert!(verified(dir.path()).is_whole());
}

#[test]
fn an_open_store_is_verified_while_it_writes_moves_and_removes() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), eager()).unwrap();
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !ends.load(Ordering::Relaxed) {
                let record = LogRecord {
                    next: 2 * n + 2,
                    floor: (2 * n).saturating_sub(100),
                    ..LogRecord::default()
                };
                let chunk = chunk_of(n, 2, 3000);
                let first = 2 * n;
                store.commit(&batch(
                    n + 1,
                    vec![
                        Op::PutChunk {
                            log: LOG,
                            first,
                            chunk,
                        },
                        Op::PutLog { log: LOG, record },
                        Op::Sweep {
                            log: LOG,
                            offsets: 0..record.floor,
                        },
                    ],
                ));
                n += 1;
            }
        });
        for _ in 0..12 {
            let found = done(store.verify(&mut |_| ControlFlow::Continue(())).unwrap());
            assert_eq!(found.findings, []);
        }
        ends.store(true, Ordering::Relaxed);
    });
}

#[test]
fn an_open_store_reports_a_damaged_chunk_and_can_be_interrupted() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    for n in 0..20 {
        store.commit(&batch(n + 1, append(LOG, 2 * n, chunk_of(n, 2, 3000))));
    }
    let hurt = chunk_of(7, 2, 3000);
    let part = hurt.slice(1000..1100);
    for path in files(&dir.path().join("log")) {
        let content = fs::read(&path).unwrap();
        if let Some(at) = content.windows(100).position(|it| it == &part[..]) {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(b"damage", at as u64).unwrap();
        }
    }
    let found = done(store.verify(&mut |_| ControlFlow::Continue(())).unwrap());
    let found: Vec<_> = found
        .findings
        .iter()
        .map(|it| (it.kind, it.messages.clone()))
        .collect();
    let [(DamageKind::Chunk, Some(messages))] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (messages.log, messages.offsets.clone(), messages.count),
        (LOG, 14..16, 2)
    );
    let verified = store.verify(&mut |_| ControlFlow::Break(())).unwrap();
    assert!(matches!(verified, Verified::Interrupted));
    let nothing = MemoryStore::new()
        .verify(&mut |_| ControlFlow::Continue(()))
        .unwrap();
    assert!(matches!(nothing, Verified::NothingOnDisk));
}

#[test]
fn what_a_member_needs_is_verified() {
    use crate::store::{EntryId, Proposal, Replica};
    let image = scratch();
    let store = FjallStore::open_member(image.path(), small()).unwrap();
    for index in 1..=6 {
        let id = EntryId { term: 1, index };
        store.append_entry(id, &Proposal::default()).unwrap();
    }
    store.sync_log().unwrap();
    drop(store);
    let verified = |dir: &Path| {
        let mut stopped = StoppedStore::lock(dir).unwrap();
        done(stopped.verify(&mut |_| ControlFlow::Continue(())).unwrap())
    };
    assert!(verified(image.path()).is_whole());
    let flip = |path: &Path, places: &[usize]| {
        let mut content = fs::read(path).unwrap();
        places.iter().for_each(|at| content[*at] ^= 1);
        fs::write(path, content).unwrap();
    };
    type Hurt = (&'static str, &'static [usize], DamageKind, Effect);
    let hurts: [Hurt; 4] = [
        ("node", &[10], DamageKind::Node, Effect::Refused),
        ("log/vote", &[8], DamageKind::Node, Effect::Mended),
        ("log/vote", &[8, 4104], DamageKind::Node, Effect::Refused),
        (
            "log/0.log",
            &[8200, 12284],
            DamageKind::Entry,
            Effect::Refused,
        ),
    ];
    for (file, places, kind, effect) in hurts {
        let dir = scratch();
        copy_dir(image.path(), dir.path());
        flip(&dir.path().join(file), places);
        let before = contents(dir.path());
        let found = verified(dir.path()).findings;
        assert_eq!((found.len(), found[0].kind), (1, kind), "{file}: {found:?}");
        assert_eq!(found[0].effect, effect, "{file}: {found:?}");
        assert!(contents(dir.path()) == before, "{file} has changed");
        let opened = FjallStore::open_member(dir.path(), small());
        assert_eq!(opened.is_err(), effect == Effect::Refused, "{file}");
    }
}

#[test]
fn a_store_can_be_opened_anew_while_it_is_verified() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    for n in 0..40 {
        let mut ops = append(LOG, 2 * n, chunk_of(n, 2, 300));
        if n == 39 {
            let record = LogRecord {
                next: 80,
                floor: 71, // within a chunk
                ..LogRecord::default()
            };
            ops.push(Op::PutLog { log: LOG, record });
        }
        ops.push(Op::PutDefinition {
            key: vec![u8::try_from(n).unwrap()],
            value: vec![1],
        });
        store.commit(&batch(n + 1, ops));
    }
    let mut steps = 0;
    let verified = store.verify(&mut |_| {
        steps += 1;
        if steps % 3 == 0 {
            store.reopen().unwrap(); // nothing keeps the database open meanwhile
        }
        ControlFlow::Continue(())
    });
    let found = done(verified.unwrap());
    assert_eq!((found.findings, found.chunks), (Vec::new(), 40));
    // Records and addresses are read in pieces, and it can be stopped after each of them.
    assert!(steps > 20, "{steps}");
    let mut left = steps / 2;
    let verified = store.verify(&mut |_| {
        left -= 1;
        match left {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    assert!(matches!(verified.unwrap(), Verified::Interrupted));
    assert_eq!(left, 0);
}
