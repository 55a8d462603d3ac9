//! Tests of applying entries when it fails on the way.

use super::*;
use crate::store::{EntryId, Replica};

/// The first entry is applied, and the second cannot be read from the log. What the first one has removed is swept.
#[test]
fn what_was_applied_before_a_failure_counts() {
    let dir = scratch();
    let all_in_log = FjallOptions {
        unapplied_bytes_max: 0,
        ..small()
    };
    let store = FjallStore::open_member(dir.path(), all_in_log).unwrap();
    let write = |index, ops| {
        let proposal = store.propose(&batch(index, ops), &mut HashSet::new());
        store
            .append_entry(EntryId { term: 1, index }, &proposal)
            .unwrap();
        store.sync_log().unwrap();
    };
    write(1, append(LOG, 0, chunk_of(0, 1, 10)));
    store.apply_entries(1).unwrap();
    write(2, vec![Op::RemoveLog { log: LOG }]);
    write(3, append(LogId(1024), 0, chunk_of(1, 1, 10)));
    let path = dir.path().join("log/0.log");
    let whole = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 4096], 2 * 4096).unwrap();
    assert!(store.apply_entries(3).is_err());
    assert_eq!(store.replica_state().unwrap().applied.index, 2);
    file.write_all_at(&whole[2 * 4096..3 * 4096], 2 * 4096)
        .unwrap();
    store.apply_entries(3).unwrap();
    assert!(store.core.removed.lock().dead.contains(&LOG));
    eventually("the sweep", || {
        store.has_swept() && store.core.unswept() == 0
    });
    let open = store.core.open().unwrap();
    assert!(open.spaces.address_of(LOG, 0).unwrap().is_none());
}
