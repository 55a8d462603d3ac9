//! Delayed messages against a store in memory and a clock that is set: when each leaves, what is read for that, what is
//! in memory and on disk meanwhile.

use proptest::prelude::*;

use crate::broker::queue::reading::picks;
use crate::broker::queue::work::tests::rig::{body, whole, with};
use crate::model::QueueId;
use crate::store::{MemoryStore, Store, StoredChunk, chunk};

use super::*;

const QUEUE: QueueId = QueueId(1);

/// Bytes of memory that a million delayed messages may cost.
const MILLION_BYTES_MAX: usize = 100 * 1024 * 1024;

/// What a queue may have in memory here.
const QUEUE_BYTES: u64 = 4 * 1024 * 1024;

struct Rig {
    delayed: Delayed,
    store: MemoryStore,
    committed: u64,
    now_ms: u64,
    /// Chunks that were read for their messages.
    reads: std::cell::Cell<usize>,
    /// What may be in memory.
    room: u64,
}

impl Rig {
    fn new() -> Rig {
        Rig {
            delayed: Delayed::new(QUEUE.delayed_log(), Durability::Everything),
            store: MemoryStore::new(),
            committed: 0,
            now_ms: 1_000_000,
            reads: std::cell::Cell::new(0),
            room: QUEUE_BYTES,
        }
    }

    fn push(&mut self, delay_ms: u64, text: &str) {
        let message = with(text, |message| message.delay_ms = Some(delay_ms));
        self.delayed.push(self.now_ms, &message);
        self.settle_down();
    }

    /// What the shell does after every command.
    fn settle_down(&mut self) {
        self.delayed.evict(self.room, Ticket(self.committed));
    }

    fn commit(&mut self) {
        self.committed += 1;
        let mut batch = Batch {
            ticket: Ticket(self.committed),
            ..Batch::default()
        };
        self.delayed.collect(batch.ticket, &mut batch);
        self.store.commit(&batch).expect("memory store");
    }

    fn read(&self, log: LogId, from: u64, max_bytes: usize) -> Vec<StoredChunk> {
        let chunks = self.store.read(log, from, max_bytes).expect("memory store");
        self.reads.set(self.reads.get() + chunks.len());
        chunks
    }

    /// What leaves by now, with all reads answered at once.
    fn take(&mut self) -> Vec<(u64, String)> {
        let mut taken = Vec::new();
        let mut idle_turns = 0;
        for turn in 0.. {
            assert!(turn < 1_000, "reads again and again");
            let due = self.delayed.take_due(self.now_ms);
            let mut fx = Effects::default();
            self.delayed.read(self.now_ms, &mut fx);
            if due.is_empty() && fx.loads.is_empty() && fx.picks.is_empty() {
                idle_turns += 1;
                assert!(idle_turns < 10, "looks again and again");
            }
            taken.extend(due.iter().map(|message| {
                assert_eq!(message.delay_ms, None);
                let text = String::from_utf8(body(message).to_vec()).expect("text");
                let due_ms = text.split(' ').next().and_then(|due| due.parse().ok());
                (due_ms.expect("when it is due"), text)
            }));
            for (log, from) in fx.loads {
                let stored = self.store.read(log, from, 1_000).expect("memory store");
                let chunks = stored.into_iter().map(|stored| {
                    let messages = chunk::decode(stored.first, stored.data).expect("a chunk");
                    (stored.first, messages.map(Result::unwrap).collect())
                });
                self.delayed.scanned(chunks.collect());
            }
            for pick in fx.picks {
                let read = |from, max_bytes| Ok(self.read(pick.log, from, max_bytes));
                let mut picked = whole(picks::pick(&pick, read));
                if picked.is_empty() {
                    self.commit();
                    let read = |from, max_bytes| Ok(self.read(pick.log, from, max_bytes));
                    picked = whole(picks::pick(&pick, read));
                    assert!(!picked.is_empty(), "{pick:?}");
                }
                self.delayed.picked(picked);
            }
            self.settle_down();
            let next_ms = self.delayed.next_due_ms();
            if idle_turns == 0 || next_ms.is_some_and(|next_ms| next_ms <= self.now_ms) {
                continue;
            }
            let far = self.delayed.first_far();
            if far.is_none_or(|due| due.at_ms > self.now_ms) {
                break;
            }
            // It waits until what fills the memory is in the store.
            assert_eq!(next_ms, Some(self.now_ms + STORED_WAIT_MS));
            self.commit();
            self.settle_down();
            idle_turns = 0;
        }
        taken
    }

    fn restart(&mut self) {
        let (log, state) = self.store.logs().expect("memory store").remove(0);
        self.delayed = Delayed::recover(log, Durability::Everything, state);
    }

    fn chunks(&self) -> usize {
        let log = QUEUE.delayed_log();
        self.store
            .read(log, 0, usize::MAX)
            .expect("memory store")
            .len()
    }

    /// Goes on to the time at which the queue wants to look, and takes what is due then.
    fn next(&mut self) -> Vec<(u64, String)> {
        self.now_ms = self.delayed.next_due_ms().expect("something to come");
        self.take()
    }
}

/// A number that looks like any of `0..below`.
fn scramble(n: u64, below: u64) -> u64 {
    (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) % below
}

/// `count` messages, published in batches of `run`, due at times of `spread_ms` that begin after an hour.
fn publish(rig: &mut Rig, count: u64, run: u64, due: impl Fn(u64) -> u64) {
    for n in 0..count {
        let delay_ms = due(n);
        let text = format!("{} {n:>1000}", rig.now_ms + delay_ms);
        rig.push(delay_ms, &text);
        if n % run == run - 1 {
            rig.commit();
        }
    }
    rig.commit();
    rig.settle_down();
}

/// Takes `count` messages as they become due; each has to come at its millisecond.
fn take_on_time(rig: &mut Rig, count: u64) {
    let mut last_ms = 0;
    let mut taken = std::collections::BTreeSet::new();
    let mut most = 0;
    while (taken.len() as u64) < count {
        for (due_ms, text) in rig.next() {
            assert!(due_ms >= last_ms, "in the order of their times");
            assert_eq!(due_ms, rig.now_ms, "on time");
            assert!(taken.insert(text), "once");
            last_ms = due_ms;
        }
        most = most.max(rig.delayed.resident_bytes());
        if scramble(rig.now_ms, 16) == 0 {
            rig.commit();
        }
    }
    assert!(most <= QUEUE_BYTES, "{most}");
    rig.commit();
    assert_eq!((rig.delayed.len(), rig.delayed.next_due_ms()), (0, None));
    assert_eq!(rig.chunks(), 0);
    assert_eq!(rig.delayed.spans.len(), 0);
}

/// More than fits into memory, due in no order. As they were published, every chunk would be read thirty times.
#[test]
fn times_in_no_order_are_kept_and_little_is_read_twice() {
    for restarted in [false, true] {
        let mut rig = Rig::new();
        let count = 20_000;
        publish(&mut rig, count, 500, |n| 3_600_000 + scramble(n, 300_000));
        assert!(rig.delayed.resident_bytes() < QUEUE_BYTES);
        let chunks = rig.chunks();
        if restarted {
            rig.restart();
            assert_eq!(rig.take(), []);
        }
        rig.reads.set(0);
        take_on_time(&mut rig, count);
        let reads = rig.reads.get();
        assert!(reads < 6 * chunks, "{reads} reads of {chunks} chunks");
    }
}

#[test]
fn times_in_order_are_written_once_and_read_once() {
    let mut rig = Rig::new();
    let count = 20_000;
    publish(&mut rig, count, 500, |n| 3_600_000 + n);
    assert_eq!(rig.delayed.next, count, "nothing was written anew");
    let chunks = rig.chunks();
    take_on_time(&mut rig, count);
    let reads = rig.reads.get();
    assert!(reads < 2 * chunks, "{reads} reads of {chunks} chunks");
}

#[test]
fn a_message_is_written_anew_once_at_most() {
    let mut rig = Rig::new();
    let count = 20_000;
    publish(&mut rig, count, 500, |n| 60_000 + scramble(n, 60_000));
    let written = rig.delayed.next;
    assert!((count..2 * count).contains(&written), "{written}");
    // However often they come and go.
    rig.now_ms += 55_000;
    for room in [QUEUE_BYTES, 0, QUEUE_BYTES, 0, QUEUE_BYTES] {
        rig.room = room;
        assert_eq!(rig.take(), []);
        rig.commit();
    }
    assert!(rig.delayed.next < 2 * count);
    take_on_time(&mut rig, count);
}

#[test]
fn one_that_is_due_before_those_in_memory_has_their_room() {
    let mut rig = Rig::new();
    publish(&mut rig, 2_000, 100, |n| 9_000 + n % 900);
    rig.restart();
    rig.now_ms += 7_500;
    assert_eq!(rig.take(), []);
    let full = rig.delayed.resident_bytes();
    assert!(full > QUEUE_BYTES / 4, "{full}");
    publish(&mut rig, 3_000, 100, |n| 100 + n % 900);
    take_on_time(&mut rig, 5_000);
}

#[test]
fn a_large_message_is_read_even_if_it_takes_all_the_room() {
    let mut rig = Rig::new();
    for n in 0..5 {
        let delay_ms = 100_000 - n;
        let text = format!("{} {}", rig.now_ms + delay_ms, "x".repeat(3_000_000));
        rig.push(delay_ms, &text);
        rig.commit();
        rig.settle_down();
    }
    assert!(rig.delayed.resident_bytes() < 4_000_000);
    let mut times = Vec::new();
    while rig.delayed.len() > 0 {
        times.extend(rig.next().iter().map(|(due_ms, _)| *due_ms));
        assert!(rig.delayed.resident_bytes() < 4_000_000);
    }
    assert_eq!(times.len(), 5);
    assert!(times.is_sorted());
}

#[test]
fn a_read_that_brings_nothing_is_tried_again() {
    let mut rig = Rig::new();
    publish(&mut rig, 100, 10, |n| 20_000 + n);
    rig.restart();
    assert_eq!(rig.take(), []);
    assert_eq!(rig.delayed.resident_bytes(), 0);
    rig.now_ms += 18_500;
    let mut fx = Effects::default();
    rig.delayed.read(rig.now_ms, &mut fx);
    assert_eq!(fx.picks.len(), 1);
    assert_eq!(rig.delayed.next_due_ms(), None, "the end of the read looks");
    rig.delayed.picked(Vec::new());
    rig.now_ms += 3_000;
    assert_eq!(rig.take().len(), 100);
}

#[test]
fn nothing_is_read_into_memory_that_is_full_of_what_the_store_has_not_yet() {
    let mut rig = Rig::new();
    rig.room = 0;
    publish(&mut rig, 20, 20, |n| 3_000 + n);
    rig.restart();
    assert_eq!(rig.take(), []);
    for n in 0..200 {
        let text = format!("{} {n:>1000}", rig.now_ms + 10_000);
        rig.push(10_000, &text);
    }
    rig.now_ms += 3_100;
    let mut fx = Effects::default();
    for _ in 0..5 {
        rig.delayed.read(rig.now_ms, &mut fx);
        assert_eq!(fx.picks.len(), 0);
        rig.settle_down();
    }
    let next_ms = rig.delayed.next_due_ms();
    assert_eq!(next_ms, Some(rig.now_ms + STORED_WAIT_MS));
    rig.commit();
    rig.settle_down();
    assert_eq!(rig.take().len(), 20);
}

#[test]
fn a_million_of_them_cost_little_memory_and_none_when_they_are_gone() {
    let mut rig = Rig::new();
    rig.room = QUEUE_RESIDENT_BYTES_MAX;
    let count = 100_000;
    publish(&mut rig, count, 1_000, |n| 60_000 + scramble(n, 60_000));
    let times = rig.delayed.far.capacity() * size_of::<Reverse<Due>>();
    let spans = rig.delayed.spans.len() * 64;
    let sets = 2 * rig.delayed.settled.range_count() * 32;
    let grows = (times + spans + sets) * 10;
    let resident = usize::try_from(rig.delayed.resident_bytes()).expect("not much");
    assert!(grows + resident < MILLION_BYTES_MAX / 2, "{grows}");
    rig.now_ms += 120_000;
    assert_eq!(rig.take().len() as u64, count);
    assert!(rig.delayed.far.capacity() <= 4 * SPARE);
    assert_eq!((rig.delayed.len(), rig.delayed.next_due_ms()), (0, None));
}

#[test]
fn chunks_of_transient_messages_go_after_a_restart() {
    let mut rig = Rig::new();
    rig.delayed = Delayed::new(QUEUE.delayed_log(), Durability::Persistent);
    for (n, persistent) in [(0, true), (1, false), (2, false)] {
        let message = with(&format!("{}", rig.now_ms + 500), |message| {
            message.delay_ms = Some(500);
            message.persistent = persistent;
        });
        rig.delayed.push(rig.now_ms, &message);
        if n != 1 {
            rig.commit();
        }
    }
    let (log, state) = rig.store.logs().expect("memory store").remove(0);
    rig.delayed = Delayed::recover(log, Durability::Persistent, state);
    assert_eq!((rig.delayed.len(), rig.chunks()), (1, 2));
    rig.now_ms += 500;
    assert_eq!(rig.delayed.take_sweep(), None);
    assert_eq!(rig.take().len(), 1);
    rig.commit();
    let below = rig.delayed.take_sweep().expect("all is gone");
    while !rig.store.sweep(log, below, 10).expect("memory store") {}
    assert_eq!(rig.chunks(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Push(u8, u64),
    Commit,
    Room(u64),
    Wait(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1u8..120, prop_oneof![1u64..50, 1u64..3_000, 1u64..60_000]).prop_map(|(n, ms)| Step::Push(n, ms)),
        3 => Just(Step::Commit),
        2 => prop_oneof![Just(0u64), Just(20_000), Just(200_000), Just(QUEUE_BYTES)].prop_map(Step::Room),
        3 => prop_oneof![1u64..100, 1u64..20_000].prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever fits into memory and whenever batches end: every message leaves once, at its time, in the order of the
    /// times; what was committed is there after a restart, unless it had left; and nothing stays on disk.
    #[test]
    fn as_a_naive_list(steps in prop::collection::vec(step(), 1..60)) {
        let mut rig = Rig::new();
        // As it is, and as the disk has it.
        let mut list: Vec<(u64, String)> = Vec::new();
        let mut disk = list.clone();
        let mut number = 0;
        for step in steps {
            match step {
                Step::Push(count, most_ms) => {
                    for _ in 0..count {
                        number += 1;
                        let delay_ms = 1 + scramble(number, most_ms);
                        let due_ms = rig.now_ms + delay_ms;
                        let text = format!("{due_ms} {number} {}", "x".repeat(700));
                        rig.push(delay_ms, &text);
                        list.push((due_ms, text));
                    }
                }
                Step::Commit => {
                    rig.commit();
                    rig.settle_down();
                    disk = list.clone();
                }
                Step::Room(room) => {
                    rig.room = room;
                    rig.settle_down();
                }
                Step::Wait(ms) => {
                    rig.now_ms += ms;
                    let before = rig.committed;
                    let taken = rig.take();
                    let (mut due, rest): (Vec<_>, Vec<_>) =
                        list.into_iter().partition(|(due_ms, _)| *due_ms <= rig.now_ms);
                    list = rest;
                    prop_assert!(taken.is_sorted_by_key(|(due_ms, _)| *due_ms));
                    let mut taken = taken;
                    taken.sort();
                    due.sort();
                    prop_assert_eq!(taken, due);
                    if rig.committed > before {
                        // A read had to wait for a batch, in the middle of that.
                        rig.commit();
                        disk = list.clone();
                    }
                }
                Step::Restart => {
                    if rig.committed == 0 {
                        rig.commit();
                        disk = list.clone();
                    }
                    rig.restart();
                    list = disk.clone();
                    let taken = rig.take();
                    let (due, rest): (Vec<_>, Vec<_>) =
                        list.into_iter().partition(|(due_ms, _)| *due_ms <= rig.now_ms);
                    list = rest;
                    prop_assert_eq!(taken.len(), due.len());
                }
            }
            prop_assert_eq!(rig.delayed.len(), list.len() as u64);
        }
        rig.now_ms += 100_000;
        prop_assert_eq!(rig.take().len(), list.len());
        rig.commit();
        prop_assert_eq!(rig.chunks(), 0);
        prop_assert_eq!(rig.delayed.spans.len(), 0);
        prop_assert_eq!(rig.delayed.resident_bytes(), 0);
    }
}

#[test]
fn what_cannot_be_read_holds_up_nothing_else() {
    let texts = |taken: Vec<(u64, String)>| {
        let texts = taken.into_iter().map(|(_, text)| text);
        let numbers = texts.filter_map(|text| text.rsplit(' ').next()?.parse::<u64>().ok());
        numbers.collect::<Vec<_>>()
    };
    let mut rig = Rig::new();
    publish(&mut rig, 60, 10, |n| 1_000 + n);
    let whole: Vec<u64> = (0..10).chain(20..60).collect();
    // Its time is not known yet.
    rig.restart();
    assert_eq!(rig.delayed.lose(0..0), 0);
    assert_eq!(rig.delayed.lose(0..10), 10);
    assert_eq!((rig.delayed.len(), rig.delayed.damaged()), (50, 10));
    rig.now_ms += 2_000;
    assert_eq!(texts(rig.take()), (10..60).collect::<Vec<_>>());
    assert_eq!((rig.delayed.len(), rig.delayed.next_due_ms()), (0, None));
    // Its time is known, and it is not in memory.
    let mut rig = Rig::new();
    publish(&mut rig, 60, 10, |n| 10_000_000 + n);
    rig.restart();
    assert_eq!(rig.take(), []);
    assert_eq!(rig.delayed.lose(10..20), 10);
    assert!(!rig.delayed.expects(10) && rig.delayed.expects(20));
    rig.now_ms += 10_001_000;
    assert_eq!(texts(rig.take()), whole);
    rig.commit();
    assert_eq!(rig.chunks(), 1, "it stays where it is");
}
