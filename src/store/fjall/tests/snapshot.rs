//! Tests of snapshots: what a member receives is what the other one held, and a crash in the swap leaves one of both.

use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::store::{EntryId, IncomingSnapshot, OutgoingSnapshot, Proposal, Replica, Vote};

const OTHER: LogId = LogId(257);
/// Its chunks may not be swept yet.
const REMOVED: LogId = LogId(300);
const VOTE: Vote = Vote {
    term: 9,
    node: Some(5),
    committed: false,
};

fn id(term: u64, index: u64) -> EntryId {
    EntryId { term, index }
}

/// Appends and applies a batch as the next entry of a term.
fn change(store: &FjallStore, term: u64, ops: Vec<Op>) {
    let next = store.replica_state().unwrap().last.index + 1;
    let proposal = store.propose(&batch(next, ops), &mut HashSet::new());
    store.append_entry(id(term, next), &proposal).unwrap();
    store.sync_log().unwrap();
    store.note_majority(id(term, next));
    store.apply_entries(next).unwrap();
}

fn keep(store: &FjallStore, ops: Vec<Op>) {
    change(store, 3, ops);
}

/// A store with chunks of two queues, of which some are removed and others moved.
fn filled(dir: &Path) -> FjallStore {
    let store = FjallStore::open_member(dir, small()).unwrap();
    for n in 0..120 {
        keep(&store, append(LOG, n, chunk_of(n, 1, 9_000)));
    }
    for first in (0..120).filter(|n| n % 3 != 0) {
        keep(&store, vec![Op::RemoveChunk { log: LOG, first }]);
    }
    let value = vec![7; 30];
    let key = b"queue".to_vec();
    keep(&store, vec![Op::PutDefinition { key, value }]);
    keep(&store, append(OTHER, 0, chunk_of(1000, 40, 10_000)));
    keep(&store, append(REMOVED, 0, chunk_of(1001, 1, 100)));
    keep(&store, vec![Op::RemoveLog { log: REMOVED }]);
    settle_down(&store);
    let all: Vec<u32> = (0..1000).collect();
    let open = store.core.open().unwrap();
    assert!(open.evacuate_extents(&all, || false).unwrap());
    drop(open);
    keep(&store, append(LOG, 120, chunk_of(120, 1, 10)));
    store
}

/// What the store holds.
fn contents(store: &FjallStore) -> impl PartialEq + std::fmt::Debug + use<> {
    let chunks = |log| -> Vec<(u64, u64)> {
        let found = store.read(log, 0, usize::MAX).unwrap().into_iter();
        found
            .map(|chunk| (chunk.first, xxh3_64(&chunk.data)))
            .collect()
    };
    (
        store.logs().unwrap(),
        store.definitions(b"").unwrap(),
        [LOG, OTHER].map(chunks),
    )
}

/// The blocks of a snapshot as another node receives them.
fn blocks(source: &mut impl OutgoingSnapshot) -> Vec<Proposal> {
    let mut blocks = Vec::new();
    while let Some(block) = source.next_block().unwrap() {
        let mut parts = crate::store::Parts::default();
        block.encode(&mut parts);
        let mut bytes = Bytes::from(parts.into_parts().concat());
        blocks.push(Proposal::decode(&mut bytes).unwrap());
    }
    blocks
}

/// A member that has old entries of its own.
fn behind(dir: &Path) -> FjallStore {
    let store = FjallStore::open_member(dir, small()).unwrap();
    for n in 0..5 {
        change(&store, 1, append(LOG, n, chunk_of(n + 500, 1, 2_000)));
    }
    store.save_vote(VOTE).unwrap();
    store
}

/// The log begins behind the snapshot, and the vote is the node's own.
fn check_installed(store: &FjallStore, snapshot: EntryId) {
    let state = store.replica_state().unwrap();
    assert_eq!(
        (state.purged, state.last, state.applied, state.vote),
        (snapshot, snapshot, snapshot, VOTE)
    );
}

#[test]
fn a_member_receives_what_another_one_held_when_the_snapshot_was_taken() {
    let (from, to) = (scratch(), scratch());
    let source = filled(from.path());
    let expected = contents(&source);
    let mut snapshot = source.snapshot().unwrap();
    let taken = snapshot.id();
    assert_eq!(taken, source.replica_state().unwrap().applied);
    // Everything changes meanwhile, and what it held would be used again.
    for first in (0..=120).filter(|n| n % 3 == 0) {
        keep(&source, vec![Op::RemoveChunk { log: LOG, first }]);
    }
    keep(&source, vec![Op::RemoveLog { log: OTHER }]);
    source.purge_log(taken.index + 40).unwrap();
    for n in 0..60 {
        settle_down(&source);
        keep(&source, append(LOG, 200 + n, chunk_of(n, 1, 60_000)));
    }
    let blocks = blocks(&mut snapshot);
    drop(snapshot);

    let store = behind(to.path());
    let identity = store.identity().unwrap();
    // One that was given up leaves nothing behind.
    let mut unfinished = store.receive_snapshot().unwrap();
    unfinished.take(&blocks[0]).unwrap();
    drop(unfinished);
    assert!(!to.path().join("incoming").exists());
    let mut target = store.receive_snapshot().unwrap();
    for block in &blocks {
        target.take(block).unwrap();
    }
    store
        .install_snapshot(target.finish(taken).unwrap())
        .unwrap();
    check_installed(&store, taken);
    assert_eq!(contents(&store), expected);
    let is_swept = || chunks(&store, REMOVED).is_empty();
    eventually("the removed log is swept here too", is_swept);
    change(&store, 9, append(OTHER, 40, chunk_of(3, 2, 500)));
    let later = contents(&store);
    store.core.close(); // as a kill does
    drop(store);
    let store = FjallStore::open_member(to.path(), small()).unwrap();
    assert_eq!(contents(&store), later);
    assert_eq!(store.identity().unwrap(), identity);
    assert_eq!(store.damage(), [""; 0]);
    let state = store.replica_state().unwrap();
    assert_eq!((state.last, state.vote), (id(9, taken.index + 1), VOTE));
}

#[test]
fn a_snapshot_of_entries_that_are_there_only_applies_them() {
    let (from, to) = (scratch(), scratch());
    let source = filled(from.path());
    let store = FjallStore::open_member(to.path(), small()).unwrap();
    let last = source.replica_state().unwrap().last;
    let entries = source.read_entries(1..last.index + 1, u64::MAX).unwrap();
    for (id, proposal) in &entries {
        store.append_entry(*id, proposal).unwrap();
    }
    // It may have been counted for a majority.
    let beyond = id(3, last.index + 1);
    let proposal = store.propose(
        &batch(1, append(OTHER, 40, chunk_of(9, 1, 10))),
        &mut HashSet::new(),
    );
    store.append_entry(beyond, &proposal).unwrap();
    store.sync_log().unwrap();
    let mut snapshot = source.snapshot().unwrap();
    let mut target = store.receive_snapshot().unwrap();
    for block in blocks(&mut snapshot) {
        target.take(&block).unwrap();
    }
    let received = target.finish(snapshot.id()).unwrap();
    store.install_snapshot(received).unwrap();
    assert_eq!(contents(&store), contents(&source));
    assert_eq!(store.replica_state().unwrap().last, beyond);
}

#[test]
fn a_crash_in_the_swap_leaves_the_snapshot() {
    let (from, to) = (scratch(), scratch());
    let source = filled(from.path());
    let expected = contents(&source);
    let mut snapshot = source.snapshot().unwrap();
    let store = behind(to.path());
    let before = contents(&store);
    let mut target = store.receive_snapshot().unwrap();
    for block in blocks(&mut snapshot) {
        target.take(&block).unwrap();
    }
    store.core.close();
    drop(store);
    let mut received = target.finish(snapshot.id()).unwrap();
    let copied = |steps: &[(&str, &str)]| {
        let copy = scratch();
        copy_dir(to.path(), copy.path());
        for (from, to) in steps {
            let to = copy.path().join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::rename(copy.path().join(from), to).unwrap();
        }
        copy
    };
    let unready = copied(&[]);
    let store = FjallStore::open_member(unready.path(), small()).unwrap();
    assert_eq!(contents(&store), before, "it was not ready");
    assert!(!unready.path().join("incoming").exists());
    received.make_ready(VOTE).unwrap();
    let renames = [
        ("db", "replaced/db"),
        ("incoming/db", "db"),
        ("log", "replaced/log"),
        ("incoming/log", "log"),
        ("incoming/ready", "gone"),
        ("incoming", "gone2"),
    ];
    for steps in 0..=renames.len() {
        let copy = copied(&renames[..steps]);
        if steps > 4 {
            manifest::forget_copy(copy.path()).unwrap(); // before `ready` goes
        }
        let store = FjallStore::open_member(copy.path(), small()).unwrap();
        assert_eq!(contents(&store), expected, "after {steps} steps");
        check_installed(&store, snapshot.id());
        assert!(!copy.path().join("incoming").exists());
        assert!(!copy.path().join("replaced").exists());
    }
}
