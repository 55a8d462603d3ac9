//! Delayed messages on a store in memory, with a clock that the test sets: when each message leaves, how much
//! is read for it, and which messages are resident or on disk meanwhile.

use crate::store::Journal as _;
use proptest::prelude::*;

use crate::broker::queue::budget::QUEUE_RESIDENT_BYTES_MAX;
use crate::broker::queue::effects::{Effect, Effects};
use crate::broker::queue::reading::picks;
use crate::broker::queue::work_queue::tests::rig::{body, whole, with};
use crate::model::QueueId;
use crate::store::{MemoryStore, Store, StoredChunk, chunk};

use super::read_ahead::{SPARE, STORED_WAIT_MS};
use super::*;

const QUEUE: QueueId = QueueId(1);

/// Maximum bytes of memory for a million delayed messages.
const MILLION_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Maximum bytes that the queue may have in memory.
const QUEUE_BYTES: u64 = 4 * 1024 * 1024;

struct Rig {
    delayed: Delayed,
    store: MemoryStore,
    committed: u64,
    now_ms: u64,
    /// Number of chunks that picks have read.
    reads: std::cell::Cell<usize>,
    /// Bytes that the queue may have in memory.
    queue_bytes: u64,
}

impl Rig {
    fn new() -> Rig {
        Rig {
            delayed: Delayed::new(QUEUE.delayed_log(), Durability::Everything),
            store: MemoryStore::new(),
            committed: 0,
            now_ms: 1_000_000,
            reads: std::cell::Cell::new(0),
            queue_bytes: QUEUE_BYTES,
        }
    }

    fn push(&mut self, delay_ms: u64, text: &str) {
        let message = with(text, |message| message.delay_ms = Some(delay_ms));
        self.delayed.push(self.now_ms, &message);
        self.finish();
    }

    /// Does the shell's work after a command.
    fn finish(&mut self) {
        self.delayed.evict(self.queue_bytes, Ticket(self.committed));
    }

    fn commit(&mut self) {
        self.committed += 1;
        let mut batch = Batch {
            ticket: Ticket(self.committed),
            ..Batch::default()
        };
        self.delayed.collect(batch.ticket, &mut batch);
        self.store.append(&batch).expect("memory store");
    }

    fn read(&self, log: LogId, from: u64, max_bytes: usize) -> Vec<StoredChunk> {
        let chunks = self.store.read(log, from, max_bytes).expect("memory store");
        self.reads.set(self.reads.get() + chunks.len());
        chunks
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Read { log, from } => {
                let stored = self.store.read(log, from, 1_000).expect("memory store");
                let chunks = stored.into_iter().map(|stored| {
                    let messages = chunk::decode(stored.first, stored.data).expect("a chunk");
                    (stored.first, messages.map(Result::unwrap).collect())
                });
                self.delayed.scanned(chunks.collect());
            }
            Effect::Pick(pick) => {
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
            other => panic!("{other:?}"),
        }
    }

    /// Takes the messages that are due, each with its time. Answers all reads immediately.
    fn take(&mut self) -> Vec<(u64, String)> {
        let mut taken = Vec::new();
        let mut idle_turns = 0;
        for turn in 0.. {
            assert!(turn < 1_000, "reads again and again");
            let due = self.delayed.take_due(self.now_ms);
            let mut fx = Effects::default();
            self.delayed.read(self.now_ms, &mut fx);
            if due.is_empty() && fx.others.is_empty() {
                idle_turns += 1;
                assert!(idle_turns < 10, "looks again and again");
            }
            taken.extend(due.iter().map(|message| {
                assert_eq!(message.delay_ms, None);
                let text = String::from_utf8(body(message).to_vec()).expect("text");
                let due_ms = text.split(' ').next().and_then(|due| due.parse().ok());
                (due_ms.expect("when it is due"), text)
            }));
            for effect in fx.others {
                self.carry_out(effect);
            }
            self.finish();
            let next_ms = self.delayed.next_due_ms();
            if idle_turns == 0 || next_ms.is_some_and(|next_ms| next_ms <= self.now_ms) {
                continue;
            }
            let on_disk = self.delayed.next_on_disk();
            if on_disk.is_none_or(|due| due.at_ms > self.now_ms) {
                break;
            }
            // Memory stays full until the store has its messages.
            assert_eq!(next_ms, Some(self.now_ms + STORED_WAIT_MS));
            self.commit();
            self.finish();
            idle_turns = 0;
        }
        taken
    }

    fn restart(&mut self) {
        let (log, state) = self.store.logs().expect("memory store").remove(0);
        self.delayed = Delayed::recover(log, Durability::Everything, state, self.now_ms);
    }

    fn chunks(&self) -> usize {
        let log = QUEUE.delayed_log();
        self.store
            .read(log, 0, usize::MAX)
            .expect("memory store")
            .len()
    }

    /// Advances to the next deadline and takes the messages that are due then.
    fn next(&mut self) -> Vec<(u64, String)> {
        self.now_ms = self.delayed.next_due_ms().expect("a deadline");
        self.take()
    }
}

/// A pseudo-random number of `0..below`.
fn scramble(n: u64, below: u64) -> u64 {
    (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) % below
}

/// Publishes `count` messages in batches of `run`; `due` gives the delay of each in milliseconds.
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
    rig.finish();
}

/// Takes `count` messages as they become due. Each must come in its millisecond.
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
    assert_eq!(rig.delayed.resident_chunks.len(), 0);
}

/// More messages than fit into memory are due in no order. Reading chunks in the order of their publishes
/// would read every chunk thirty times.
#[test]
fn messages_in_no_order_come_on_time_and_few_chunks_are_read_twice() {
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
fn messages_in_order_are_written_once_and_read_once() {
    let mut rig = Rig::new();
    let count = 20_000;
    publish(&mut rig, count, 500, |n| 3_600_000 + n);
    assert_eq!(rig.delayed.next, count, "nothing was written twice");
    let chunks = rig.chunks();
    take_on_time(&mut rig, count);
    let reads = rig.reads.get();
    assert!(reads < 2 * chunks, "{reads} reads of {chunks} chunks");
}

#[test]
fn a_message_is_written_twice_at_most() {
    let mut rig = Rig::new();
    let count = 20_000;
    publish(&mut rig, count, 500, |n| 60_000 + scramble(n, 60_000));
    let written = rig.delayed.next;
    assert!((count..2 * count).contains(&written), "{written}");
    // This holds however often the messages are evicted and read.
    rig.now_ms += 55_000;
    for queue_bytes in [QUEUE_BYTES, 0, QUEUE_BYTES, 0, QUEUE_BYTES] {
        rig.queue_bytes = queue_bytes;
        assert_eq!(rig.take(), []);
        rig.commit();
    }
    assert!(rig.delayed.next < 2 * count);
    take_on_time(&mut rig, count);
}

#[test]
fn a_message_that_is_due_before_resident_ones_displaces_them() {
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
fn a_message_larger_than_the_allowed_memory_is_read() {
    let mut rig = Rig::new();
    for n in 0..5 {
        let delay_ms = 100_000 - n;
        let text = format!("{} {}", rig.now_ms + delay_ms, "x".repeat(3_000_000));
        rig.push(delay_ms, &text);
        rig.commit();
        rig.finish();
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
fn a_read_that_brings_nothing_is_repeated() {
    let mut rig = Rig::new();
    publish(&mut rig, 100, 10, |n| 20_000 + n);
    rig.restart();
    assert_eq!(rig.take(), []);
    assert_eq!(rig.delayed.resident_bytes(), 0);
    rig.now_ms += 18_500;
    let mut fx = Effects::default();
    rig.delayed.read(rig.now_ms, &mut fx);
    assert!(matches!(fx.others[..], [Effect::Pick(_)]));
    assert_eq!(
        rig.delayed.next_due_ms(),
        None,
        "the end of the read looks again"
    );
    rig.delayed.picked(Vec::new());
    rig.now_ms += 3_000;
    assert_eq!(rig.take().len(), 100);
}

#[test]
fn nothing_is_read_while_memory_is_full_of_unstored_messages() {
    let mut rig = Rig::new();
    rig.queue_bytes = 0;
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
        assert!(fx.others.is_empty(), "{:?}", fx.others);
        rig.finish();
    }
    let next_ms = rig.delayed.next_due_ms();
    assert_eq!(next_ms, Some(rig.now_ms + STORED_WAIT_MS));
    rig.commit();
    rig.finish();
    assert_eq!(rig.take().len(), 20);
}

#[test]
fn a_million_messages_take_little_memory_and_none_when_they_have_left() {
    let mut rig = Rig::new();
    rig.queue_bytes = QUEUE_RESIDENT_BYTES_MAX;
    let count = 100_000;
    publish(&mut rig, count, 1_000, |n| 60_000 + scramble(n, 60_000));
    let times = rig.delayed.on_disk.capacity() * size_of::<Reverse<Due>>();
    let chunks = rig.delayed.resident_chunks.len() * 64;
    let sets = 2 * rig.delayed.settled.range_count() * 32;
    let grows = (times + chunks + sets) * 10;
    let resident = usize::try_from(rig.delayed.resident_bytes()).expect("not much");
    assert!(grows + resident < MILLION_BYTES_MAX / 2, "{grows}");
    rig.now_ms += 120_000;
    assert_eq!(rig.take().len() as u64, count);
    assert!(rig.delayed.on_disk.capacity() <= 4 * SPARE);
    assert_eq!((rig.delayed.len(), rig.delayed.next_due_ms()), (0, None));
}

#[test]
fn a_restart_removes_the_chunks_of_transient_messages() {
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
    rig.delayed = Delayed::recover(log, Durability::Persistent, state, rig.now_ms);
    assert_eq!((rig.delayed.len(), rig.chunks()), (1, 2));
    rig.store.sweep_settled().expect("memory store");
    assert_eq!(rig.chunks(), 1);
    rig.now_ms += 500;
    assert_eq!(rig.take().len(), 1);
    rig.commit();
    assert_eq!(rig.chunks(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Push(u8, u64),
    Commit,
    Allow(u64),
    Wait(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1u8..120, prop_oneof![1u64..50, 1u64..3_000, 1u64..60_000]).prop_map(|(n, ms)| Step::Push(n, ms)),
        3 => Just(Step::Commit),
        2 => prop_oneof![Just(0u64), Just(20_000), Just(200_000), Just(QUEUE_BYTES)].prop_map(Step::Allow),
        3 => prop_oneof![1u64..100, 1u64..20_000].prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// With any memory and any batches, every message leaves once, at its time, in the order of times. A
    /// restart finds the committed messages that had not left. In the end nothing is on disk.
    #[test]
    fn delayed_messages_behave_like_a_sorted_list(steps in prop::collection::vec(step(), 1..60)) {
        let mut rig = Rig::new();
        // The messages now, and as the disk has them.
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
                    rig.finish();
                    disk = list.clone();
                }
                Step::Allow(queue_bytes) => {
                    rig.queue_bytes = queue_bytes;
                    rig.finish();
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
                        // A read had to wait for a batch.
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
        prop_assert_eq!(rig.delayed.resident_chunks.len(), 0);
        prop_assert_eq!(rig.delayed.resident_bytes(), 0);
    }
}

#[test]
fn lost_messages_hold_up_no_others() {
    let texts = |taken: Vec<(u64, String)>| {
        let texts = taken.into_iter().map(|(_, text)| text);
        let numbers = texts.filter_map(|text| text.rsplit(' ').next()?.parse::<u64>().ok());
        numbers.collect::<Vec<_>>()
    };
    let mut rig = Rig::new();
    publish(&mut rig, 60, 10, |n| 1_000 + n);
    let whole: Vec<u64> = (0..10).chain(20..60).collect();
    // The times of the messages are not known yet.
    rig.restart();
    assert_eq!(rig.delayed.lose(0..0), 0);
    assert_eq!(rig.delayed.lose(0..10), 10);
    assert_eq!((rig.delayed.len(), rig.delayed.damaged()), (50, 10));
    rig.now_ms += 2_000;
    assert_eq!(texts(rig.take()), (10..60).collect::<Vec<_>>());
    assert_eq!((rig.delayed.len(), rig.delayed.next_due_ms()), (0, None));
    // Their times are known, and the messages are cold.
    let mut rig = Rig::new();
    publish(&mut rig, 60, 10, |n| 10_000_000 + n);
    rig.restart();
    assert_eq!(rig.take(), []);
    assert_eq!(rig.delayed.lose(10..20), 10);
    assert!(!rig.delayed.expects(10) && rig.delayed.expects(20));
    rig.now_ms += 10_001_000;
    assert_eq!(texts(rig.take()), whole);
    rig.commit();
    assert_eq!(rig.chunks(), 1, "the chunk of the lost messages stays");
}
