//! Tests of what directories hold, and of its comparison: members that have applied the same entries hold the same,
//! wherever they have it.

use super::damage::files;
use super::*;
use crate::store::{
    Contents, Difference, EntryId, IncomingSnapshot, OutgoingSnapshot, Presence, Proposal, Replica,
    StoreDigest,
};

fn id(index: u64) -> EntryId {
    EntryId { term: 1, index }
}

fn member(dir: &Path, options: FjallOptions) -> FjallStore {
    FjallStore::open_member(dir, options).unwrap()
}

/// Entries with chunks that are settled in part, settled pages, counts and definitions.
fn entries(store: &FjallStore) -> Vec<Proposal> {
    let numbers = 1..=30;
    let ops = numbers.map(|n| {
        let first = 2 * n - 2;
        let mut ops = append(LOG, first, chunk_of(n, 2, 3000));
        let mut settled = RangeSet::new();
        for offset in (0..first).step_by(3) {
            settled.insert_range(offset..offset + 1);
        }
        ops.push(Op::PutSettledPage {
            log: LOG,
            page: 0,
            settled: settled.page(0),
        });
        ops.push(Op::PutDefinition {
            key: vec![b'k', u8::try_from(n % 7).unwrap()],
            value: n.to_be_bytes().to_vec(),
        });
        if n > 20 {
            let record = LogRecord {
                next: first + 2,
                floor: first / 2,
                ..LogRecord::default()
            };
            ops.push(Op::PutLog { log: LOG, record });
            ops.push(Op::Sweep {
                log: LOG,
                offsets: 0..first / 2,
            });
        }
        ops
    });
    let batches: Vec<Batch> = ops.map(|ops| batch(0, ops)).collect();
    batches
        .iter()
        .map(|batch| store.propose(batch, &mut HashSet::new()))
        .collect()
}

fn contents(dir: &Path) -> Contents {
    StoppedStore::lock(dir).unwrap().into_contents().unwrap()
}

fn digest(contents: &Contents) -> StoreDigest {
    contents.digest(&mut |_| ()).unwrap()
}

/// A member that has all entries, and has applied those up to `applied`.
fn filled(dir: &Path, options: FjallOptions, applied: u64) {
    let store = member(dir, options);
    for (index, proposal) in (1..).zip(entries(&store)) {
        store.append_entry(id(index), &proposal).unwrap();
    }
    store.sync_log().unwrap();
    store.note_majority(id(applied));
    store.apply_entries(applied).unwrap();
    eventually("the sweeps", || store.has_swept());
    drop(store);
}

#[test]
fn members_hold_the_same_when_they_have_applied_the_same() {
    let (first, second) = (scratch(), scratch());
    filled(first.path(), small(), 30);
    let large = FjallOptions {
        extent_bytes: 1024 * 1024,
        ..small()
    };
    filled(second.path(), large, 24);
    let known = contents(first.path());
    let mut lags = contents(second.path());
    assert_eq!((known.entry(), lags.entry()), (Some(id(30)), Some(id(24))));
    assert_ne!(digest(&known).whole(), digest(&lags).whole());
    assert!(!lags.advance(EntryId { term: 2, index: 30 }).unwrap());
    assert!(!lags.advance(id(31)).unwrap());
    assert!(lags.advance(id(30)).unwrap());
    let (one, other) = (digest(&known), digest(&lags));
    assert_eq!(one, other);
    assert_eq!((one.definitions.len(), one.logs[&LOG].unreadable), (7, 0));
    // Offsets from 29 to 59, without every third one up to 57.
    assert_eq!(one.logs[&LOG].messages, 21);
    assert_eq!(known.first_difference(&lags, LOG).unwrap(), None);
    drop((known, lags));
    // A third one has it all from a snapshot.
    let third = scratch();
    let (sender, receiver) = (member(first.path(), small()), member(third.path(), small()));
    let mut source = sender.snapshot().unwrap();
    let mut target = receiver.receive_snapshot().unwrap();
    while let Some(block) = source.next_block().unwrap() {
        target.take(&block).unwrap();
    }
    let received = target.finish(source.id()).unwrap();
    receiver.install_snapshot(received).unwrap();
    drop((source, sender, receiver));
    assert_eq!(digest(&contents(third.path())), one);
}

#[test]
fn each_part_of_what_a_store_holds_counts() {
    let dir = scratch();
    filled(dir.path(), small(), 30);
    let before = digest(&contents(dir.path()));
    // A definition, a state, and a body.
    let put = Op::PutDefinition {
        key: vec![b'k', 1],
        value: vec![9],
    };
    let count = ReturnCount {
        turn: 1,
        ..ReturnCount::default()
    };
    let state = Op::PutReturnCount {
        log: LOG,
        offset: 50,
        count,
    };
    let mut index = 30;
    let mut differs = |op: Op| {
        let store = member(dir.path(), small());
        let proposal = store.propose(&batch(0, vec![op]), &mut HashSet::new());
        index += 1;
        store.append_entry(id(index), &proposal).unwrap();
        store.sync_log().unwrap();
        store.apply_entries(index).unwrap();
        drop(store);
        before.differences(&digest(&contents(dir.path())))
    };
    let definition = Difference::Definition(vec![b'k', 1], Presence::Both);
    assert_eq!(differs(put), [definition]);
    let differences = differs(state);
    let Difference::Log(LOG, of_log) = &differences[1] else {
        panic!("{differences:?}");
    };
    assert!(!of_log.is_of_bodies());
}

#[test]
fn one_flipped_body_differs() {
    let (image, hurt) = (scratch(), scratch());
    filled(image.path(), small(), 30);
    copy_dir(image.path(), hurt.path());
    let part = chunk_of(25, 2, 3000).slice(1000..1100);
    let mut flipped = 0;
    for path in files(&hurt.path().join("log")) {
        let mut content = fs::read(&path).unwrap();
        if let Some(at) = content.windows(100).position(|it| it == &part[..]) {
            content[at] ^= 1;
            fs::write(&path, content).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1);
    let (whole, hurt) = (contents(image.path()), contents(hurt.path()));
    let (one, other) = (digest(&whole), digest(&hurt));
    let differences = one.differences(&other);
    let [Difference::Log(LOG, of_log)] = &differences[..] else {
        panic!("{differences:?}");
    };
    assert!(of_log.is_of_bodies());
    assert_eq!(other.logs[&LOG].unreadable, 1, "offset 48 is settled");
    assert_eq!(whole.first_difference(&hurt, LOG).unwrap(), Some(48));
}
