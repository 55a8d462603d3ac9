//! Tests which directories the store opens.

use super::*;

#[test]
fn a_second_store_and_a_newer_format_are_refused() {
    let dir = scratch();
    let store = FjallStore::open(dir.path(), small()).unwrap();
    assert!(matches!(
        FjallStore::open(dir.path(), small()),
        Err(StoreError::InUse { .. })
    ));
    store
        .core
        .open()
        .unwrap()
        .spaces
        .meta
        .insert(keys::FORMAT, 9u32.to_le_bytes())
        .unwrap();
    store.commit(&batch(1, append(LOG, 0, chunk_of(0, 1, 10)))); // so that the end makes a checkpoint
    drop(store);
    let refused = FjallStore::open(dir.path(), small());
    assert!(matches!(
        refused,
        Err(StoreError::NewerFormat {
            found: 9,
            known: 3,
            ..
        })
    ));
}

#[test]
fn an_unfinished_database_is_replaced() {
    let dir = scratch();
    fs::create_dir_all(dir.path().join("db/keyspaces")).unwrap();
    fs::write(dir.path().join("db/0.jnl"), [0; 100]).unwrap();
    drop(FjallStore::open(dir.path(), small()).unwrap());
    // A database with data is kept.
    let store = FjallStore::open(dir.path(), small()).unwrap();
    let ops = append(LOG, 0, chunk_of(0, 1, 10));
    store.commit(&batch(1, ops));
    drop(store);
    for copy_too in [false, true] {
        fs::remove_file(dir.path().join("db/version")).unwrap();
        if copy_too {
            fs::remove_file(dir.path().join("manifest")).unwrap();
        }
        let store = FjallStore::open(dir.path(), small()).unwrap();
        assert_eq!(chunks(&store, LOG), [0]);
    }
}
