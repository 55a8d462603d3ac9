//! Tests of memtables that become tables, or cannot, and of members that wait for it.

use ::fjall::AbstractTree;

use super::super::checkpoint_file;
use super::super::keyspaces::Keyspaces;
use super::*;
use crate::store::{EntryId, Replica};

/// Where the database puts its tables, and where a test hides them.
fn tables(dir: &Path) -> Vec<(std::path::PathBuf, std::path::PathBuf)> {
    let keyspaces = (0..4).map(|id| dir.join(format!("db/keyspaces/{id}")));
    keyspaces
        .map(|keyspace| (keyspace.join("tables"), keyspace.join("hidden")))
        .collect()
}

#[test]
fn a_checkpoint_fails_if_no_table_can_be_written() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    store.commit(&batch(1, append(LOG, 0, chunk_of(0, 1, 10))));
    for (place, hidden) in tables(dir.path()) {
        fs::rename(place, hidden).unwrap();
    }
    let deadline = clock::monotonic() + Duration::from_secs(20);
    let failed = store.core.checkpoint(|| clock::monotonic() > deadline);
    assert!(failed.is_err(), "{failed:?}");
    for (place, hidden) in tables(dir.path()) {
        fs::rename(hidden, place).unwrap();
    }
    store.reopen().unwrap();
    assert_eq!(chunks(&store, LOG), [0]);
    checkpoint(&store);
}

#[test]
fn building_a_database_anew_takes_little_memory() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    for n in 0..60_u8 {
        let (key, value) = (vec![n], vec![n; 100_000]);
        store.commit(&batch(1, vec![Op::PutDefinition { key, value }]));
    }
    store.core.open().unwrap().checkpoint_whole().unwrap();
    let new = Keyspaces::open(&dir.path().join("db.new"), &small()).unwrap();
    checkpoint_file::restore(&dir.path().join("log"), &new, &small()).unwrap();
    let bytes: u64 = new
        .all()
        .iter()
        .map(|it| it.tree.active_memtable().size())
        .sum();
    assert!(bytes < 2 << 20, "{bytes} bytes in memtables");
    assert_eq!(new.meta.prefix(keys::definition(b"")).count(), 60);
}

#[test]
fn nothing_is_applied_before_an_entry_that_cannot_be() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    store.commit(&batch(1, append(LOG, 0, chunk_of(0, 1, 10))));
    let key = keys::chunk_address(LOG, 0, keys::PUT);
    let put = |value: &[u8]| {
        let open = store.core.open().unwrap();
        let before = open.spaces.msgs.get(key).unwrap().unwrap();
        open.spaces.msgs.insert(key, value).unwrap();
        before.to_vec()
    };
    let address = put(b"nonsense");
    let definition = Op::PutDefinition {
        key: b"k".to_vec(),
        value: vec![1],
    };
    let removal = Op::RemoveChunk { log: LOG, first: 0 };
    for op in [removal, definition] {
        store.append(&batch(2, vec![op])).unwrap();
        store.sync().unwrap();
        assert!(store.apply().is_err());
    }
    assert_eq!(store.definitions(b"k").unwrap(), []);
    put(&address);
    store.apply().unwrap();
    assert_eq!(chunks(&store, LOG), [0; 0]);
    assert_eq!(store.definitions(b"k").unwrap().len(), 1);
}

fn id(index: u64) -> EntryId {
    EntryId { term: 1, index }
}

#[test]
fn a_member_applies_no_more_while_memtables_wait_for_the_worker() {
    let dir = scratch();
    let store = FjallStore::open_member(dir.path(), small()).unwrap();
    for index in 1..=4 {
        let value = vec![u8::try_from(index).unwrap()];
        let put = Op::PutDefinition {
            key: b"k".to_vec(),
            value,
        };
        let proposal = store.propose(&batch(0, vec![put]), &mut HashSet::new());
        store.append_entry(id(index), &proposal).unwrap();
    }
    store.sync_log().unwrap();
    let stored = || store.definitions(b"k").unwrap()[0].1[0];
    for index in 1..=3 {
        store.apply_entries(index).unwrap();
        // The database's worker does not hear of this one.
        let open = store.core.open().unwrap();
        assert!(open.spaces.meta.tree.rotate_memtable().is_some());
    }
    std::thread::scope(|scope| {
        let applying = scope.spawn(|| store.apply_entries(4));
        std::thread::sleep(Duration::from_millis(100));
        assert!(!applying.is_finished() && stored() == 3);
        let open = store.core.open().unwrap();
        open.spaces.meta.insert(b"!other", b"").unwrap();
        open.spaces.flush().unwrap();
        applying.join().unwrap().unwrap();
    });
    assert_eq!(stored(), 4);
}
