//! Tests of the store of a member of a set: replacing, keeping and purging entries, and what a start finds.

use super::*;
use crate::store::{EntryId, Identity, Parts, Proposal, Replica, Vote};

fn id(term: u64, index: u64) -> EntryId {
    EntryId { term, index }
}

fn member(dir: &Path) -> FjallStore {
    FjallStore::open_member(dir, small()).unwrap()
}

fn definition(store: &FjallStore, value: u8) -> Proposal {
    let key = b"k".to_vec();
    let batch: Batch = [Op::PutDefinition {
        key,
        value: vec![value; 3],
    }]
    .into_iter()
    .collect();
    store.propose(&batch, &mut HashSet::new())
}

fn read(store: &FjallStore) -> Vec<(EntryId, Proposal)> {
    let state = store.replica_state().unwrap();
    let mut found = Vec::new();
    let mut next = state.purged.index + 1;
    while next <= state.last.index {
        let more = store
            .read_entries(next..state.last.index + 1, 20_000)
            .unwrap();
        next += more.len() as u64;
        assert!(!more.is_empty());
        found.extend(more);
    }
    found
}

fn stored(store: &FjallStore) -> Option<u8> {
    let found = store.definitions(b"k").unwrap();
    found.first().map(|(_, value)| value[0])
}

#[test]
fn entries_are_replaced_read_and_applied_in_order() {
    let dir = scratch();
    let store = member(dir.path());
    let first = Identity::read(dir.path()).unwrap().unwrap();
    assert_eq!(store.replica_state().unwrap().last, id(0, 0));
    assert!(store.is_empty().unwrap());
    let mut expected = Vec::new();
    for index in 1..=40 {
        let proposal = definition(&store, 1);
        store.append_entry(id(1, index), &proposal).unwrap();
        assert!(!store.is_empty().unwrap());
        expected.push((id(1, index), proposal));
    }
    store.sync_log().unwrap();
    store.apply_entries(20).unwrap();
    // Another leader replaces the end, twice.
    for (term, from) in [(2, 31), (4, 26)] {
        store.truncate_log(from - 1).unwrap();
        expected.truncate(usize::try_from(from - 1).unwrap());
        for index in from..from + 3 {
            let proposal = definition(&store, u8::try_from(term).unwrap());
            store.append_entry(id(term, index), &proposal).unwrap();
            expected.push((id(term, index), proposal));
        }
    }
    assert!(
        store.append_entry(id(4, 30), &Proposal::default()).is_err(),
        "a gap"
    );
    assert!(store.truncate_log(10).is_err(), "it is applied");
    store.sync_log().unwrap();
    store.note_majority(id(4, 27));
    store
        .save_vote(Vote {
            term: 4,
            node: Some(9),
            committed: true,
        })
        .unwrap();
    assert_eq!(read(&store), expected);
    assert_eq!(stored(&store), Some(1));
    drop(store);
    assert!(matches!(
        FjallStore::open(dir.path(), small()),
        Err(StoreError::InSet { .. })
    ));
    for _ in 0..2 {
        let store = member(dir.path());
        let state = store.replica_state().unwrap();
        assert_eq!((state.last, state.applied), (id(4, 28), id(4, 27)));
        assert_eq!(
            state.vote,
            Vote {
                term: 4,
                node: Some(9),
                committed: true
            }
        );
        assert_eq!(read(&store), expected);
        assert_eq!(stored(&store), Some(4));
        assert_eq!(store.identity().unwrap(), Some(first));
        assert_eq!(store.damage(), [""; 0]);
    }
}

#[test]
fn a_purged_log_begins_later_and_its_extents_are_used_again() {
    let dir = scratch();
    let store = member(dir.path());
    for index in 1..=200 {
        let proposal = definition(&store, 1);
        store.append_entry(id(3, index), &proposal).unwrap();
    }
    store.sync_log().unwrap();
    store.apply_entries(150).unwrap();
    let files = || fs::read_dir(dir.path().join("log")).unwrap().count();
    let before = files();
    store.purge_log(180).unwrap();
    let state = store.replica_state().unwrap();
    assert_eq!(state.purged, id(3, 150), "what is not applied is kept");
    assert_eq!(read(&store).len(), 50);
    drop(store);
    let store = member(dir.path());
    assert!(files() <= before);
    let state = store.replica_state().unwrap();
    assert_eq!((state.last, state.applied), (id(3, 200), id(3, 150)));
    assert_eq!(read(&store).last().unwrap().0, id(3, 200));
}

#[test]
fn a_broker_that_ran_alone_becomes_a_member_with_what_it_has() {
    let dir = scratch();
    let alone = FjallStore::open(dir.path(), small()).unwrap();
    for value in 1..=3 {
        let key = b"k".to_vec();
        let op = Op::PutDefinition {
            key,
            value: vec![value],
        };
        alone.append(&[op].into_iter().collect()).unwrap();
        alone.sync().unwrap();
        alone.apply().unwrap();
    }
    drop(alone);
    let store = member(dir.path());
    assert_eq!(stored(&store), Some(3));
    let state = store.replica_state().unwrap();
    assert_eq!(state.applied, state.last);
    assert!(state.vote.term >= state.last.term && state.last.term > 0);
    assert_eq!(state.members, None);
    store.begin_set(b"me").unwrap();
    let next = id(state.vote.term + 1, state.last.index + 1);
    store.append_entry(next, &definition(&store, 9)).unwrap();
    store.sync_log().unwrap();
    store.apply_entries(next.index).unwrap();
    drop(store);
    let store = member(dir.path());
    assert_eq!(stored(&store), Some(9));
    let state = store.replica_state().unwrap();
    assert_eq!((state.applied, state.members), (next, Some(b"me".to_vec())));
}

#[test]
fn damage_in_what_a_member_needs_is_refused() {
    let dir = scratch();
    let store = member(dir.path());
    for index in 1..=10 {
        let proposal = definition(&store, 1);
        store.append_entry(id(1, index), &proposal).unwrap();
        store.sync_log().unwrap();
    }
    drop(store);
    let path = dir.path().join("log/0.log");
    let whole = fs::read(&path).unwrap();
    // Both copies of the head of an entry in the middle, and the last entry.
    for entry in [5, 9] {
        let mut hurt = whole.clone();
        hurt[entry * 4096..(entry + 1) * 4096].fill(7);
        fs::write(&path, &hurt).unwrap();
        let refused = FjallStore::open_member(dir.path(), small());
        assert!(
            matches!(refused, Err(StoreError::Damaged { .. })),
            "{entry}"
        );
    }
    // The copy of the head stands in.
    let mut hurt = whole.clone();
    hurt[5 * 4096] ^= 1;
    fs::write(&path, &hurt).unwrap();
    assert_eq!(read(&member(dir.path())).len(), 10);
    // What no sync has covered is forgotten.
    fs::write(&path, &whole).unwrap();
    let store = member(dir.path());
    let proposal = definition(&store, 2);
    store.append_entry(id(1, 11), &proposal).unwrap();
    store.append_entry(id(1, 12), &proposal).unwrap();
    store.core.close(); // as a kill does
    drop(store);
    let mut hurt = fs::read(&path).unwrap();
    hurt[10 * 4096..11 * 4096].fill(7);
    fs::write(&path, &hurt).unwrap();
    assert_eq!(read(&member(dir.path())).len(), 10);
}

#[test]
fn parts_are_joined_in_order() {
    let mut parts = Parts::default();
    parts.put_slice(b"a");
    parts.put(&Bytes::from(vec![7; 5000]));
    parts.put(&Bytes::from_static(b"b"));
    let joined = parts.into_parts().concat();
    assert_eq!((joined.len(), joined[0], joined[5001]), (5002, b'a', b'b'));
}

#[test]
fn a_crash_on_the_way_into_a_set_is_made_good() {
    let dir = scratch();
    let alone = FjallStore::open(dir.path(), small()).unwrap();
    alone.commit(&batch(1, append(LOG, 0, chunk_of(1, 1, 300))));
    drop(alone);
    let store = member(dir.path());
    let vote = store.replica_state().unwrap().vote;
    assert!(vote.term > 0);
    drop(store);
    // The identity is written last. Without it no broker may run alone on what has entered.
    fs::remove_file(dir.path().join("node")).unwrap();
    assert!(matches!(
        FjallStore::open(dir.path(), small()),
        Err(StoreError::InSet { .. })
    ));
    let store = member(dir.path());
    assert_eq!(store.replica_state().unwrap().vote, vote);
    let next = store.replica_state().unwrap().last.index + 1;
    store
        .append_entry(id(vote.term + 1, next), &definition(&store, 1))
        .unwrap();
}

#[test]
fn a_vote_without_a_base_is_replaced_on_the_way_into_a_set() {
    let dir = scratch();
    drop(FjallStore::open(dir.path(), small()).unwrap());
    fs::write(dir.path().join("log/vote"), b"of an earlier attempt").unwrap();
    drop(FjallStore::open(dir.path(), small()).unwrap());
    assert_eq!(
        member(dir.path()).replica_state().unwrap().vote,
        Vote::default()
    );
}

#[test]
fn a_damaged_first_entry_of_the_last_extent_does_not_hide_those_behind_it() {
    let dir = scratch();
    let store = member(dir.path());
    for index in 1..=60 {
        let proposal = definition(&store, 1);
        store.append_entry(id(1, index), &proposal).unwrap();
        store.sync_log().unwrap();
    }
    store.core.close(); // as a kill does
    drop(store);
    let path = dir.path().join("log/1.log");
    assert!(!dir.path().join("log/2.log").exists());
    // A power loss may have taken the file `synced`.
    fs::remove_file(dir.path().join("log/synced")).unwrap();
    for byte in [0, 7] {
        let mut hurt = fs::read(&path).unwrap();
        hurt[..4096].fill(byte);
        fs::write(&path, &hurt).unwrap();
        let refused = FjallStore::open_member(dir.path(), small());
        assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{byte}");
    }
}

#[test]
fn a_removal_that_is_proposed_and_never_applied_is_forgotten_with_its_leadership() {
    let dir = scratch();
    let store = member(dir.path());
    let put = batch(1, append(LOG, 0, chunk_of(0, 1, 10)));
    let mut removals = HashSet::new();
    assert!(!store.propose(&put, &mut removals).is_empty());
    let removal = batch(0, vec![Op::RemoveLog { log: LOG }]);
    assert!(!store.propose(&removal, &mut removals).is_empty());
    let dropped = store.propose(&put, &mut removals);
    assert!(dropped.is_empty(), "nothing is written to a removed log");
    // The entry was cut off with its leadership, and the log lives.
    let kept = store.propose(&put, &mut HashSet::new());
    assert!(!kept.is_empty());
}

#[test]
fn a_member_begins_anew_and_keeps_what_it_had() {
    let dir = scratch();
    let fill = || {
        let store = member(dir.path());
        store
            .append_entry(id(1, 1), &definition(&store, 7))
            .unwrap();
        store.sync_log().unwrap();
        store.apply_entries(1).unwrap();
        let node = store.identity().unwrap().unwrap().node;
        assert!(
            FjallStore::begin_anew(dir.path(), "in use").is_err(),
            "it is open"
        );
        node
    };
    let first = fill();
    let kept = |name: &str| dir.path().join("damaged").join(name);
    FjallStore::begin_anew(dir.path(), "a bit has flipped").unwrap();
    assert!(FjallStore::has_begun_anew(dir.path()).unwrap());
    let store = member(dir.path());
    assert_eq!(stored(&store), None);
    assert_ne!(store.identity().unwrap().unwrap().node, first);
    let report = store.damage().join("\n");
    assert!(report.contains("a bit has flipped") && report.contains("member-1"));
    drop(store);
    FjallStore::is_whole_again(dir.path()).unwrap();
    assert!(!FjallStore::has_begun_anew(dir.path()).unwrap());
    assert_eq!(
        Identity::read(&kept("member-1")).unwrap().unwrap().node,
        first
    );
    // A crash in between leaves the rest to the next start.
    let second = fill();
    fs::create_dir(kept("member-2.part")).unwrap();
    fs::rename(dir.path().join("db"), kept("member-2.part").join("db")).unwrap();
    fs::write(dir.path().join("begins-anew"), "member-2").unwrap();
    let store = member(dir.path());
    assert_eq!(stored(&store), None);
    let whole = member(&kept("member-2"));
    assert_eq!(whole.identity().unwrap().unwrap().node, second);
    assert_eq!(stored(&whole), Some(7));
    drop((store, whole));
    // And nothing is moved again.
    let store = member(dir.path());
    assert_ne!(store.identity().unwrap().unwrap().node, second);
    assert!(!kept("member-2.part").exists());
}
