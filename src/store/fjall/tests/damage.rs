//! Tests with files that are damaged while no broker runs: the store starts, serves the whole chunks and reports the
//! others. No loss is silent, and nothing is lost that was not on the damaged bytes.

use std::ops::ControlFlow;

use super::*;
use crate::store::{Advice, DamageKind, Effect, OnDamage};

pub(super) const SMALL: LogId = LogId(512);
pub(super) const LARGE: LogId = LogId(1024);

/// The chunks that were put, by log and first offset.
pub(super) type Expected = BTreeMap<(LogId, u64), Bytes>;

/// Builds the directory of a killed broker: tables, and a log with further entries.
pub(super) fn built(image: &Path) -> Expected {
    let dir = scratch();
    // No memtable becomes a table while the files are copied.
    let unhurried = FjallOptions {
        msgs_memtable_bytes: 1 << 30,
        state_memtable_bytes: 1 << 30,
        ..small()
    };
    let store = FjallStore::open(dir.path(), unhurried).unwrap();
    let mut expected = Expected::new();
    for n in 0..40 {
        for (log, len) in [(SMALL, 300), (LOG, 3000), (LARGE, 20_000)] {
            let chunk = chunk_of(n, 2, len);
            store.commit(&batch(n + 1, append(log, 2 * n, chunk.clone())));
            expected.insert((log, 2 * n), chunk);
        }
        if n == 25 {
            settle_down(&store);
        }
    }
    eventually("the copy of the manifests", || {
        !store.core.are_manifests_stale()
    });
    store.core.copy_manifests();
    copy_dir(dir.path(), image);
    expected
}

#[test]
fn a_checkpoint_refreshes_the_copy_of_the_manifests() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    let copied = |what: &str| eventually(what, || !store.core.are_manifests_stale());
    copied("the copy of a new database");
    // By now the thread that copies them waits without a time.
    store.commit(&batch(1, append(LOG, 0, chunk_of(0, 2, 300))));
    store.core.checkpoint(|| false).unwrap();
    copied("the copy after a checkpoint");
}

pub(super) fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

pub(super) fn open(dir: &Path, on_damage: OnDamage) -> Result<FjallStore, StoreError> {
    FjallStore::open(
        dir,
        FjallOptions {
            on_damage,
            ..small()
        },
    )
}

/// The chunks that are missing without an error. Asserts that every chunk that is read is right.
fn silently_gone(store: &FjallStore, expected: &Expected) -> Vec<(LogId, u64)> {
    let mut missing: BTreeMap<(LogId, u64), ()> =
        expected.keys().map(|place| (*place, ())).collect();
    for log in [SMALL, LOG, LARGE] {
        let mut from = 0;
        while from < 80 {
            match store.read(log, from, 1) {
                Ok(found) if found.is_empty() => break,
                Ok(found) => {
                    for chunk in found {
                        assert_eq!(expected.get(&(log, chunk.first)), Some(&chunk.data));
                        missing.remove(&(log, chunk.first));
                        from = chunk.first + 2;
                    }
                }
                Err(StoreError::Unreadable { offsets, .. }) => {
                    assert!(offsets.end > from, "{offsets:?}");
                    missing.retain(|(of, first), ()| *of != log || !offsets.contains(first));
                    from = offsets.end;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    missing.into_keys().collect()
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Harm {
    Flip,
    Zero,
    Truncate,
    Remove,
}

impl Harm {
    pub(super) fn random(rng: &mut StdRng) -> Harm {
        match rng.random_range(0..6) {
            0..3 => Harm::Flip,
            3 => Harm::Zero,
            4 => Harm::Truncate,
            _ => Harm::Remove,
        }
    }

    pub(super) fn apply(self, path: &Path, rng: &mut StdRng) {
        let mut content = fs::read(path).unwrap();
        let len = content.len();
        match self {
            Harm::Remove => return fs::remove_file(path).unwrap(),
            _ if len == 0 => return,
            Harm::Flip => content[rng.random_range(0..len)] ^= 1 << rng.random_range(0..8),
            Harm::Zero => {
                let at = rng.random_range(0..len);
                let end = (at + rng.random_range(1..5000)).min(len);
                content[at..end].fill(0);
            }
            Harm::Truncate => content.truncate(rng.random_range(0..len)),
        }
        fs::write(path, content).unwrap();
    }
}

/// A file in a directory. Chooses each kind of file equally often. The kind is the folder, or the name in upper folders.
pub(super) fn any_file(dir: &Path, rng: &mut StdRng) -> std::path::PathBuf {
    let all = files(dir);
    let kind = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let parent = path.parent().unwrap();
        let folder = parent.file_name().unwrap().to_string_lossy().into_owned();
        match folder.parse::<u64>() {
            Ok(_) => name[..1].to_owned(),
            Err(_) if folder == "tables" || name.ends_with(".log") => folder,
            Err(_) => name,
        }
    };
    let kinds: std::collections::BTreeSet<String> = all.iter().map(|path| kind(path)).collect();
    let chosen = kinds.iter().nth(rng.random_range(0..kinds.len())).unwrap();
    let of_kind: Vec<_> = all.iter().filter(|path| kind(path) == *chosen).collect();
    of_kind[rng.random_range(0..of_kind.len())].clone()
}

/// Damages one file in each trial. The store must start, serve what is whole, and say what it lacks.
fn trials(seeds: std::ops::Range<u64>) {
    let image = scratch();
    let expected = built(image.path());
    for seed in seeds {
        let rng = &mut StdRng::seed_from_u64(seed);
        let hurt = scratch();
        copy_dir(image.path(), hurt.path());
        let path = &any_file(hurt.path(), rng);
        let harm = Harm::random(rng);
        harm.apply(path, rng);
        let what = format!("seed {seed}: {harm:?} {}", path.display());
        if let Err(StoreError::Damaged { advice, .. }) = open(hurt.path(), OnDamage::Refuse) {
            assert_eq!(advice, Advice::Recover, "{what}");
        }
        let store = open(hurt.path(), OnDamage::Recover);
        let store = store.unwrap_or_else(|error| panic!("{what}: {error}"));
        let gone = silently_gone(&store, &expected);
        assert!(
            gone.is_empty() || !store.damage().is_empty(),
            "{what}: {gone:?}"
        );
        let is_of_log = path.extension().is_some_and(|it| it == "log");
        let most = match harm {
            _ if !is_of_log => 0,
            Harm::Flip => 0,
            Harm::Zero => 3, // of the smallest chunks, which have a page each
            Harm::Truncate | Harm::Remove => 40,
        };
        assert!(gone.len() <= most, "{what}: {gone:?}");
        if gone.is_empty() {
            let logs = store.logs().unwrap();
            let nexts: Vec<u64> = logs.iter().map(|(_, it)| it.record.next).collect();
            assert_eq!(nexts, [80, 80, 80], "{what}");
        }
    }
}

#[test]
fn no_loss_is_silent_1() {
    trials(0..250);
}

#[test]
fn no_loss_is_silent_2() {
    trials(250..500);
}

#[test]
fn no_loss_is_silent_3() {
    trials(500..750);
}

#[test]
fn no_loss_is_silent_4() {
    trials(750..1000);
}

#[test]
fn a_manifest_is_restored() {
    let image = scratch();
    let expected = built(image.path());
    for keyspace in 0..4 {
        type Hurt = fn(&Path);
        let hurts: [Hurt; 4] = [
            |current| fs::remove_file(current).unwrap(),
            |current| {
                let mut content = fs::read(current).unwrap();
                content[0] ^= 1;
                fs::write(current, content).unwrap();
            },
            |current| fs::write(current, [0; 25]).unwrap(),
            |current| fs::write(current, b"").unwrap(),
        ];
        for with_copy in [true, false] {
            for hurt in hurts {
                let dir = scratch();
                copy_dir(image.path(), dir.path());
                if !with_copy {
                    fs::remove_file(dir.path().join("manifest")).unwrap();
                }
                let path = dir.path().join(format!("db/keyspaces/{keyspace}/current"));
                hurt(&path);
                match open(dir.path(), OnDamage::Refuse) {
                    Ok(store) => assert_eq!(silently_gone(&store, &expected), []),
                    // Without the copy, a version without tables cannot be verified.
                    Err(StoreError::Damaged { .. }) => assert!(!with_copy),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

#[test]
fn a_young_database_is_built_anew_from_the_log() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    store.commit(&batch(1, append(LOG, 0, chunk_of(0, 1, 10))));
    store.core.close(); // as a kill leaves it
    drop(store);
    for path in files(&dir.path().join("db/keyspaces/1/tables")) {
        fs::write(path, b"no table").unwrap();
    }
    let rebuilt = FjallStore::open(dir.path(), small()).unwrap();
    assert_eq!(chunks(&rebuilt, LOG), [0]);
    assert_eq!(rebuilt.damage().len(), 1, "{:?}", rebuilt.damage());
}

#[test]
fn a_database_stays_in_its_place_when_the_damage_is_elsewhere() {
    let member = scratch();
    drop(FjallStore::open_member(member.path(), small()).unwrap());
    fs::remove_file(member.path().join("log/vote")).unwrap();
    let alone = scratch();
    let store = FjallStore::open(alone.path(), small()).unwrap();
    store.commit(&batch(1, append(LOG, 0, chunk_of(0, 1, 10))));
    drop(store);
    let extent = alone.path().join("log/0.log");
    fs::remove_file(&extent).unwrap();
    std::os::unix::fs::symlink("nowhere", &extent).unwrap();
    for _ in 0..2 {
        let refused = FjallStore::open_member(member.path(), small()).map(drop);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("it must not vote"), "{refused}");
        let refused = FjallStore::open(alone.path(), small()).map(drop);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("0.log"), "{refused}");
        for dir in [&member, &alone] {
            assert!(!dir.path().join("damaged").exists());
        }
    }
}

#[test]
fn few_damaged_databases_are_kept() {
    let dir = scratch();
    drop(FjallStore::open(dir.path(), small()).unwrap());
    for _ in 0..5 {
        for path in files(&dir.path().join("db/keyspaces/1/tables")) {
            fs::write(path, b"no table").unwrap();
        }
        drop(FjallStore::open(dir.path(), small()).unwrap());
    }
    let kept = fs::read_dir(dir.path().join("damaged")).unwrap();
    let kept = kept.filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(kept.count(), 3);
}

#[test]
fn recovery_goes_on_behind_damage_and_keeps_it() {
    let image = scratch();
    let expected = built(image.path());
    // The head of an entry in the middle of what the tables lack.
    let mut logs: Vec<_> = files(&image.path().join("log"));
    logs.retain(|path| path.extension().is_some());
    logs.sort_by_key(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        name.parse::<u32>().unwrap()
    });
    let path = &logs[logs.len() - 3];
    let mut content = fs::read(path).unwrap();
    content.fill(0);
    fs::write(path, content).unwrap();
    let refused = open(image.path(), OnDamage::Refuse).map(drop).unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("of the log"), "{said}");
    assert!(said.contains("--on-damage recover"), "{said}");
    let store = open(image.path(), OnDamage::Recover).unwrap();
    let gone = silently_gone(&store, &expected);
    assert!((1..20).contains(&gone.len()), "{gone:?}");
    let damaged = image.path().join("damaged");
    let name = path.file_name().unwrap().to_string_lossy();
    let copy = fs::read(damaged.join(format!("{name}-0"))).unwrap();
    assert!(copy == fs::read(path).unwrap(), "all of the extent");
    assert!(damaged.join("report").exists(), "{:?}", files(&damaged));
    drop(store);
    // The log opens without recovery now.
    let store = open(image.path(), OnDamage::Refuse).unwrap();
    assert_eq!(silently_gone(&store, &expected), gone);
}

#[test]
fn reads_end_when_all_extents_are_missing() {
    let image = scratch();
    let expected = built(image.path());
    // A start has put everything into tables, so the log is needed for its chunks only.
    drop(open(image.path(), OnDamage::Refuse).unwrap());
    for path in files(&image.path().join("log")) {
        fs::remove_file(path).unwrap();
    }
    let store = open(image.path(), OnDamage::Refuse).unwrap();
    assert_eq!(silently_gone(&store, &expected), []);
    let refused = store.read(LARGE, 0, usize::MAX);
    assert!(matches!(refused, Err(StoreError::Unreadable { offsets, .. }) if offsets == (0..2)));
    // New extents do not reuse the numbers of missing ones.
    store.commit(&batch(99, append(LARGE, 80, chunk_of(99, 2, 20_000))));
    let numbers: Vec<String> = fs::read_dir(image.path().join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!numbers.contains(&"0.log".to_owned()), "{numbers:?}");
    assert_eq!(store.read(LARGE, 80, 1).unwrap().len(), 1);
}

/// Both heads of an entry are gone, so nothing of it can be read. The queue's record in a later entry tells what is missing.
#[test]
fn queues_learn_which_messages_went_with_an_entry() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    for n in 0..10 {
        store.commit(&batch(0, append(LOG, 2 * n, chunk_of(n, 2, 3000))));
        store.commit(&batch(0, append(SMALL, 2 * n, chunk_of(n, 2, 300))));
    }
    let address = store.core.open().unwrap().spaces.address_of(LOG, 8);
    let (_, address) = address.unwrap().unwrap();
    store.core.close();
    drop(store);
    let path = dir.path().join(format!("log/{}.log", address.extent()));
    let page = 4096;
    let from = (address.end() - address.bytes()) / page * page;
    let to = (address.end() + 170).next_multiple_of(page);
    let zeros = vec![0; usize::try_from(to - from).unwrap()];
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&zeros, from).unwrap();
    for _ in 0..2 {
        let store = FjallStore::open(dir.path(), small()).unwrap();
        assert_eq!(store.damage().len(), 1, "{:?}", store.damage());
        let logs: BTreeMap<_, _> = store.logs().unwrap().into_iter().collect();
        let missing = |log| logs[&log].missing.iter().flatten().collect::<Vec<u64>>();
        assert_eq!((missing(LOG), missing(SMALL)), (vec![8, 9], vec![]));
        let verified = store.verify(&mut |_| ControlFlow::Continue(())).unwrap();
        let Verified::Done(verification) = verified else {
            panic!("{verified:?}");
        };
        let findings = verification.findings.iter();
        let kinds: Vec<_> = findings.map(|it| (it.kind, it.effect)).collect();
        assert_eq!(
            kinds,
            [(DamageKind::Missing, Effect::Lost)],
            "no copy of it"
        );
    }
}
