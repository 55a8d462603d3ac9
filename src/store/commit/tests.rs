//! Tests of the group commit: on a sound store, on one that fails at each call, and on one that loses power.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use parking_lot::Mutex;

use super::disk::DISK_CHECK_BYTES_MIN;
use super::shared::*;
use super::*;
use crate::clock;
use crate::store::faulty::{Call, Fault, FaultyStore, What, When};
use crate::store::{MemoryStore, Op, Store};

const DEADLINE: Duration = Duration::from_secs(10);

fn quick() -> Limits {
    Limits {
        retry_after: Duration::from_millis(2),
        disk_check_every: Duration::from_millis(2),
        ..Limits::default()
    }
}

/// A source as a queue is one: dirty at most once per batch, remembering its ticket.
#[derive(Default)]
struct Log {
    name: u64,
    state: Mutex<LogState>,
}

#[derive(Default)]
struct LogState {
    ticket: Option<Ticket>,
    pending: Vec<Vec<u8>>,
    next: u64,
}

impl Log {
    fn new(name: u64) -> Arc<Log> {
        Arc::new(Log {
            name,
            ..Log::default()
        })
    }

    /// Writes one definition; returns its key and ticket.
    fn put(self: &Arc<Self>, committer: &Committer) -> (Vec<u8>, Ticket) {
        let mut state = self.state.lock();
        let key = format!("{}/{}", self.name, state.next).into_bytes();
        state.next += 1;
        state.pending.push(key.clone());
        let ticket = match state.ticket {
            Some(ticket) => ticket,
            None => committer.mark_dirty(self.clone()),
        };
        state.ticket = Some(ticket);
        (key, ticket)
    }
}

impl Source for Log {
    fn collect(&self, batch: &mut Batch) {
        let mut state = self.state.lock();
        assert_eq!(
            state.ticket.take(),
            Some(batch.ticket),
            "collected by another batch than promised"
        );
        for key in state.pending.drain(..) {
            batch.push(Op::PutDefinition {
                key,
                value: Vec::new(),
            });
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(async {
            tokio::time::timeout(DEADLINE, future)
                .await
                .expect("in time")
        })
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = clock::monotonic() + DEADLINE;
    while !holds() {
        assert!(clock::monotonic() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_is_appended_becomes_durable() {
    let store = Arc::new(MemoryStore::new());
    let committer = Committer::start(store.clone(), quick()).unwrap();
    let put = |key: &str| Op::PutDefinition {
        key: key.into(),
        value: b"v".to_vec(),
    };
    let first = committer.append(vec![put("a")]);
    block_on(committer.wait(first)).unwrap();
    let second = committer.append(vec![put("b"), Op::RemoveDefinition { key: b"a".to_vec() }]);
    assert!(second > first);
    block_on(committer.wait(second)).unwrap();
    block_on(committer.wait_applied(second)).unwrap();
    assert!(committer.durable() >= second && committer.applied() >= second);
    assert_eq!(
        store.definitions(b"").unwrap(),
        [(b"b".to_vec(), b"v".to_vec())]
    );
    block_on(committer.wait(first)).unwrap(); // at once
    let nothing = committer.append(Vec::new());
    block_on(committer.wait(nothing)).unwrap();
}

#[test]
fn shutdown_writes_what_waits() {
    let store = Arc::new(FaultyStore::new(Vec::new()));
    let committer = Committer::start(store.clone(), quick()).unwrap();
    let log = Log::new(0);
    let keys: Vec<_> = (0..100).map(|_| log.put(&committer).0).collect();
    committer.shutdown();
    assert!(keys.iter().all(|key| store.has_synced_definition(key)));
    committer.shutdown(); // again is harmless
}

/// Threads publish to shared logs and wait; each wait that returns is checked against what a power loss would
/// leave. `Log::collect` checks that each batch is the promised one.
fn hammer(store: &Arc<FaultyStore>, threads: u64, rounds: u64) -> Arc<Committer> {
    let committer = Committer::start(store.clone(), quick()).unwrap();
    let logs: Vec<_> = (0..3).map(Log::new).collect();
    thread::scope(|scope| {
        for id in 0..threads {
            let (logs, committer, store) = (&logs, &committer, &store);
            scope.spawn(move || {
                for round in 0..rounds {
                    let log = &logs[((id + round) % 3) as usize];
                    let puts: Vec<_> = (0..=round % 4).map(|_| log.put(committer)).collect();
                    let (key, ticket) = puts.last().unwrap();
                    if round % 3 == 0 {
                        continue; // leaves its batch to the others
                    }
                    if block_on(committer.wait(*ticket)).is_err() {
                        return;
                    }
                    assert!(
                        store.has_synced_definition(key),
                        "reported durable but not synced"
                    );
                }
            });
        }
    });
    committer
}

#[test]
fn nothing_is_durable_before_its_sync() {
    let store = Arc::new(FaultyStore::new(Vec::new()));
    hammer(&store, 4, 300).shutdown();
    assert_eq!(store.unsynced(), 0);
}

/// Limits with which a batch is reported when it is committed.
fn lazy(sync_within: Duration) -> Limits {
    Limits {
        sync_within: Some(sync_within),
        ..quick()
    }
}

#[test]
fn what_is_reported_without_a_sync_outlives_the_process_but_no_power_loss() {
    let store = Arc::new(FaultyStore::new(Vec::new()));
    let committer = Committer::start(store.clone(), lazy(DEADLINE * 100)).unwrap();
    let log = Log::new(0);
    for _ in 0..3 {
        let (_, ticket) = log.put(&committer);
        block_on(committer.wait(ticket)).unwrap();
    }
    assert_eq!((store.syncs(), store.unsynced()), (0, 3));
    assert_eq!(store.after_power_loss(0).definitions(b"").unwrap().len(), 0);
    assert_eq!(store.after_kill().definitions(b"").unwrap().len(), 3);
    committer.shutdown();
    assert_eq!(store.unsynced(), 0, "an orderly end syncs");
}

#[test]
fn what_is_reported_without_a_sync_is_synced_in_time() {
    let store = Arc::new(FaultyStore::new(Vec::new()));
    let committer = Committer::start(store.clone(), lazy(Duration::from_millis(20))).unwrap();
    let log = Log::new(0);
    for _ in 0..3 {
        let (_, ticket) = log.put(&committer);
        block_on(committer.wait(ticket)).unwrap();
        eventually("a sync", || store.unsynced() == 0);
    }
}

#[test]
fn much_that_is_not_synced_does_not_wait_for_its_time() {
    let store = Arc::new(FaultyStore::new(Vec::new()));
    let committer = Committer::start(store.clone(), lazy(DEADLINE * 100)).unwrap();
    let log = Log::new(0);
    committer.note_pending(PENDING_BYTES_MAX + 1);
    let (_, ticket) = log.put(&committer);
    block_on(committer.wait(ticket)).unwrap();
    eventually("a sync of much", || store.unsynced() == 0);
    block_on(committer.room());
    for _ in 0..2000 {
        let (_, ticket) = log.put(&committer);
        block_on(committer.wait(ticket)).unwrap();
    }
    assert!(store.syncs() >= 2, "batches are many");
}

#[test]
fn after_a_failure_what_was_reported_without_a_sync_is_written_again() {
    for at in [Call::Append(7), Call::Sync(2)] {
        for when in [When::Before, When::After] {
            let what = What::Error;
            let store = Arc::new(FaultyStore::new(vec![Fault { at, when, what }]));
            let committer =
                Committer::start(store.clone(), lazy(Duration::from_millis(1))).unwrap();
            let log = Log::new(0);
            for _ in 0..50 {
                let (_, ticket) = log.put(&committer);
                block_on(committer.wait(ticket)).unwrap();
                thread::sleep(Duration::from_micros(200));
            }
            committer.shutdown();
            let survivors = store.after_power_loss(0).definitions(b"").unwrap();
            assert_eq!(survivors.len(), 50, "{at:?} {when:?}");
        }
    }
}

#[test]
fn after_each_failure_everything_is_written_again() {
    for n in 1..=5 {
        for at in [Call::Append(n), Call::Sync(n)] {
            for when in [When::Before, When::After] {
                let fault = Fault {
                    at,
                    when,
                    what: What::Error,
                };
                let store = Arc::new(FaultyStore::new(vec![fault]));
                let committer = hammer(&store, 2, 12);
                committer.shutdown();
                let survivors = store.after_power_loss(0).definitions(b"").unwrap();
                let expected: u64 = 2 * (0..12).map(|round| round % 4 + 1).sum::<u64>();
                assert_eq!(survivors.len() as u64, expected, "{fault:?}");
                assert_eq!(*committer.alarm().borrow(), None);
            }
        }
    }
}

#[test]
fn after_a_power_loss_nothing_more_is_durable() {
    for n in 1..=5 {
        for at in [Call::Append(n), Call::Sync(n)] {
            for when in [When::Before, When::After] {
                let fault = Fault {
                    at,
                    when,
                    what: What::PowerLoss,
                };
                let store = Arc::new(FaultyStore::new(vec![fault]));
                let committer = Committer::start(store.clone(), quick()).unwrap();
                let log = Log::new(0);
                let mut confirmed = Vec::new();
                loop {
                    let (key, ticket) = log.put(&committer);
                    eventually("an answer", || {
                        committer.durable() >= ticket || store.power_lost()
                    });
                    if committer.durable() < ticket {
                        break;
                    }
                    confirmed.push(key);
                }
                eventually("the alarm", || {
                    matches!(*committer.alarm().borrow(), Some(Alarm::DiskFailed(_)))
                });
                committer.shutdown();
                let survivors = store.after_power_loss(0);
                assert_eq!(confirmed.len() as u64, n - 1, "{fault:?}");
                assert!(
                    confirmed
                        .iter()
                        .all(|key| survivors.has_synced_definition(key)),
                    "{fault:?}"
                );
            }
        }
    }
}

#[test]
fn waiting_ends_with_an_error_when_the_store_is_closed_for_good() {
    let fault = Fault {
        at: Call::Sync(1),
        when: When::Before,
        what: What::PowerLoss,
    };
    let committer = Committer::start(Arc::new(FaultyStore::new(vec![fault])), quick()).unwrap();
    let ticket = committer.append(vec![Op::RemoveDefinition { key: b"x".to_vec() }]);
    thread::scope(|scope| {
        let waits = scope.spawn(|| block_on(committer.wait(ticket)));
        eventually("the alarm", || committer.alarm().borrow().is_some());
        committer.shutdown();
        assert_eq!(waits.join().unwrap(), Err(StoreFailed));
    });
    assert_eq!(block_on(committer.wait(ticket)), Err(StoreFailed));
}

#[test]
fn what_is_done_under_the_guard_is_in_one_batch() {
    let store = Arc::new(MemoryStore::new());
    let committer = Committer::start(store, quick()).unwrap();
    let (left, right) = (Log::new(0), Log::new(1));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for log in [&left, &right] {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    log.put(&committer);
                    thread::yield_now();
                }
            });
        }
        for _ in 0..2000 {
            let guard = committer.batch_guard();
            let (_, first) = left.put(&committer);
            thread::yield_now();
            let (_, second) = right.put(&committer);
            drop(guard);
            assert_eq!(first, second);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn many_guards_do_not_keep_the_committer_out() {
    let committer = Committer::start(Arc::new(MemoryStore::new()), quick()).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let outer = committer.batch_guard();
                    thread::yield_now();
                    let nested = committer.batch_guard();
                    thread::yield_now();
                    drop((nested, outer));
                }
            });
        }
        for _ in 0..20 {
            let ticket = committer.append(vec![Op::RemoveDefinition { key: b"x".to_vec() }]);
            block_on(committer.wait(ticket)).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn waiters_are_served_once_in_ticket_order() {
    struct One(Arc<Mutex<Vec<u64>>>, Ticket);
    impl Waiter for One {
        fn reached(&self, upto: Ticket) {
            assert!(upto >= self.1);
            self.0.lock().push(self.1.0);
        }
    }
    let committer = Committer::start(Arc::new(MemoryStore::new()), quick()).unwrap();
    let served = Arc::new(Mutex::new(Vec::new()));
    let guard = committer.batch_guard(); // nothing is committed meanwhile
    let ticket = committer.append(vec![Op::RemoveDefinition { key: b"x".to_vec() }]);
    for later in [2, 0, 1] {
        let ticket = Ticket(ticket.0 + later);
        committer.when_durable(ticket, Arc::new(One(served.clone(), ticket)));
    }
    drop(guard);
    while committer.durable() < Ticket(3) {
        let ticket = committer.append(vec![Op::RemoveDefinition { key: b"x".to_vec() }]);
        block_on(committer.wait(ticket)).unwrap();
    }
    eventually("all served", || served.lock().len() == 3);
    assert_eq!(*served.lock(), [1, 2, 3]);
}

#[test]
fn publishers_are_held_back_and_let_go() {
    let store = Arc::new(FaultyStore::new(Vec::new()));
    let limits = Limits {
        pending_bytes_max: 1000,
        ..quick()
    };
    let committer = Committer::start(store, limits).unwrap();
    let guard = committer.batch_guard();
    committer.note_pending(1000);
    assert!(committer.has_room());
    committer.note_pending(1);
    assert!(!committer.has_room());
    // A publisher with little on its way may add as much again.
    committer.note_pending(999);
    assert!(committer.has_reserve());
    committer.note_pending(1);
    assert!(!committer.has_reserve());
    drop(guard);
    // Nothing is dirty, and still the room comes back.
    block_on(committer.room());
    assert!(committer.has_room());
    committer.note_pending(5000);
    let ticket = committer.append(vec![Op::RemoveDefinition { key: b"x".to_vec() }]);
    block_on(committer.wait(ticket)).unwrap();
    block_on(committer.room());
}

#[test]
fn much_work_is_committed_while_a_sync_runs() {
    let store = Arc::new(FaultyStore::new(Vec::new()));
    let committer = Committer::start(store.clone(), quick()).unwrap();
    let log = Log::new(0);
    for _ in 0..200 {
        log.put(&committer);
        committer.note_pending(PIPELINE_BYTES / 3);
    }
    let (_, ticket) = log.put(&committer);
    block_on(committer.wait(ticket)).unwrap();
    block_on(committer.room());
    assert!(store.syncs() <= store.appends());
}

#[test]
fn the_alarm_follows_the_free_space() {
    let store = Arc::new(FaultyStore::new(Vec::new()));
    store.set_free_bytes(Some(DISK_FREE_MIN - 1));
    let committer = Committer::start(store.clone(), quick()).unwrap();
    let low = Some(Alarm::DiskLow {
        free: DISK_FREE_MIN - 1,
        limit: DISK_FREE_MIN,
    });
    assert_eq!(*committer.alarm().borrow(), low);
    store.set_free_bytes(Some(DISK_FREE_MIN));
    eventually("the alarm to clear", || {
        committer.alarm().borrow().is_none()
    });
}

#[test]
fn the_alarm_does_not_wait_for_the_next_look_when_much_is_written() {
    let store = Arc::new(FaultyStore::new(Vec::new()));
    store.set_free_bytes(Some(DISK_FREE_MIN + 1));
    let limits = Limits {
        disk_check_every: Duration::from_secs(3600),
        ..quick()
    };
    let committer = Committer::start(store.clone(), limits).unwrap();
    let write = || {
        let value = vec![0; usize::try_from(DISK_CHECK_BYTES_MIN).unwrap()];
        let key = b"k".to_vec();
        let ticket = committer.append(vec![Op::PutDefinition { key, value }]);
        block_on(committer.wait(ticket)).unwrap();
    };
    write();
    assert_eq!(*committer.alarm().borrow(), None);
    // What the store has yet to write counts as written.
    store.set_owed_bytes(2);
    write();
    let low = Alarm::DiskLow {
        free: DISK_FREE_MIN - 1,
        limit: DISK_FREE_MIN,
    };
    assert_eq!(*committer.alarm().borrow(), Some(low));
}

#[test]
fn a_failed_store_with_a_reserve_is_tried_on_a_full_disk() {
    let fault = Fault {
        at: Call::Append(1),
        when: When::Before,
        what: What::Error,
    };
    let store = Arc::new(FaultyStore::new(vec![fault]));
    store.set_free_bytes(Some(0));
    store.add_reserve();
    let committer = Committer::start(store.clone(), quick()).unwrap();
    let (_, ticket) = Log::new(0).put(&committer);
    block_on(committer.wait(ticket)).unwrap();
    assert_eq!(store.appends(), 2);
    // Publishers still wait.
    assert!(committer.alarm().borrow().is_some());
}

#[test]
fn a_failed_store_is_not_tried_before_there_is_room() {
    let fault = Fault {
        at: Call::Append(1),
        when: When::Before,
        what: What::Error,
    };
    let store = Arc::new(FaultyStore::new(vec![fault]));
    store.set_free_bytes(Some(1));
    let committer = Committer::start(store.clone(), quick()).unwrap();
    let (key, ticket) = Log::new(0).put(&committer);
    eventually("the alarm", || {
        matches!(*committer.alarm().borrow(), Some(Alarm::DiskFailed(_)))
    });
    thread::sleep(Duration::from_millis(20)); // several tries
    assert!(committer.durable() < ticket && committer.applied() < ticket);
    store.set_free_bytes(Some(DISK_FREE_MIN));
    block_on(committer.wait(ticket)).unwrap();
    assert!(store.has_synced_definition(&key));
    eventually("the alarm to clear", || {
        committer.alarm().borrow().is_none()
    });
}

#[test]
fn a_source_that_is_dirty_after_the_end_is_not_kept() {
    struct Keeper(Arc<Committer>);
    impl Source for Keeper {
        fn collect(&self, _batch: &mut Batch) {}
    }
    let committer = Committer::start(Arc::new(MemoryStore::new()), quick()).unwrap();
    committer.shutdown();
    let keeper = Arc::new(Keeper(committer.clone()));
    let ticket = committer.mark_dirty(keeper.clone());
    assert!(block_on(keeper.0.wait(ticket)).is_err());
    let shared = Arc::downgrade(&committer.shared);
    drop((keeper, committer));
    assert_eq!(shared.strong_count(), 0);
}

#[test]
fn the_last_handle_may_go_with_a_source() {
    struct Holder(Mutex<Option<Arc<Committer>>>, Arc<AtomicBool>);
    impl Source for Holder {
        fn collect(&self, _batch: &mut Batch) {
            drop(self.0.lock().take());
            self.1.store(true, Ordering::Release);
        }
    }
    let committer = Committer::start(Arc::new(MemoryStore::new()), quick()).unwrap();
    let shared = Arc::downgrade(&committer.shared);
    let collected = Arc::new(AtomicBool::new(false));
    let holder = Arc::new(Holder(
        Mutex::new(Some(committer.clone())),
        collected.clone(),
    ));
    let guard = committer.batch_guard();
    committer.mark_dirty(holder);
    drop(guard);
    drop(committer);
    eventually("the threads to end", || shared.strong_count() == 0);
    assert!(collected.load(Ordering::Acquire));
}

/// Not a test of its own: what [`a_thread_that_panics_ends_the_process`] runs as a process.
#[test]
#[ignore = "ends the process"]
fn panics_on_a_thread_of_the_committer() {
    struct Panics;
    impl Source for Panics {
        fn collect(&self, _batch: &mut Batch) {
            panic!("on purpose");
        }
    }
    let committer = Committer::start(Arc::new(MemoryStore::new()), quick()).unwrap();
    let ticket = committer.mark_dirty(Arc::new(Panics));
    block_on(committer.wait(ticket)).unwrap();
}

#[test]
fn a_thread_that_panics_ends_the_process() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact"])
        .arg("store::commit::tests::panics_on_a_thread_of_the_committer")
        .output()
        .unwrap();
    assert_eq!(child.status.code(), Some(70), "{child:?}");
}
