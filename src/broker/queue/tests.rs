//! The queue's state machine against a naive model that keeps every message in one list: the same commands
//! in, the same deliveries, counts and recovered messages out, whatever is in memory or on disk meanwhile.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use amq_protocol::types::FieldTable;
use bytes::Bytes;
use proptest::prelude::*;

use crate::model::arguments::{Overflow, QueueArguments};
use crate::model::{
    Body, ConnectionId, ConsumerId, Lease, LogId, Message, Origin, QueueId, QueueOverrides, Ticket,
};
use crate::store::{Batch, MemoryStore, Op, Store, StoreError, StoredChunk, StoredMessage, chunk};
use crate::wire::{AMQPValue, LongString, ShortString};

use super::budget::QUEUE_RESIDENT_BYTES_MIN;
use super::consumers::{ConsumeError, Credit, Delivery, DeliverySink, NewConsumer};
use super::effects::{Admission, Effects, Get, Oldest, Pick, Picked, Settle};
use super::hand::Received;
use super::state::QueueState;
use super::{ChannelLimiter, DeathReason, picks};

const QUEUE: QueueId = QueueId(7);

/// Collects what it is given.
#[derive(Default)]
pub(super) struct Collector(Mutex<Vec<Delivery>>);

impl DeliverySink for Collector {
    fn deliver(&self, run: &mut Vec<Delivery>) {
        self.0.lock().expect("not poisoned").append(run);
    }

    fn cancelled(&self, _consumer: ConsumerId) {}
}

/// A queue with its store, driven by hand.
pub(super) struct Rig {
    pub(super) state: QueueState,
    pub(super) store: MemoryStore,
    sink: Arc<Collector>,
    pub(super) fx: Effects,
    pub(super) arguments: Arc<QueueArguments>,
    committed: u64,
    sweeps: Vec<(LogId, Range<u64>)>,
    pub(super) now_ms: u64,
    pub(super) dead: Vec<(Bytes, DeathReason)>,
    /// Of what is dead: how often consumers failed that had it.
    pub(super) failures: Vec<u32>,
    rejected: usize,
    hands: Vec<Vec<Received>>,
    durable: bool,
    /// Nobody publishes dead letters.
    holds_letters: bool,
}

impl Rig {
    pub(super) fn new(arguments: &[(&str, AMQPValue)]) -> Rig {
        Rig::with_durability(true, arguments)
    }

    pub(super) fn with_durability(durable: bool, arguments: &[(&str, AMQPValue)]) -> Rig {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert(ShortString::from(*name), value.clone());
        }
        let arguments = QueueArguments::shared(&table).expect("valid arguments");
        Rig {
            state: QueueState::new(QUEUE, durable, arguments.clone(), Vec::new(), 0),
            store: MemoryStore::new(),
            sink: Arc::default(),
            fx: Effects::default(),
            arguments,
            committed: 0,
            now_ms: 1_000,
            sweeps: Vec::new(),
            dead: Vec::new(),
            failures: Vec::new(),
            rejected: 0,
            hands: Vec::new(),
            durable,
            holds_letters: false,
        }
    }

    pub(super) fn publish(&mut self, messages: &[Arc<Message>]) {
        self.publish_as(Admission::Each, messages);
    }

    fn publish_as(&mut self, admission: Admission, messages: &[Arc<Message>]) {
        let mut rejected = Vec::new();
        self.state.publish(
            self.now_ms,
            messages,
            admission,
            &mut rejected,
            &mut self.fx,
        );
        self.rejected += rejected.len();
        self.carry_out();
    }

    pub(super) fn consume(
        &mut self,
        id: u64,
        no_ack: bool,
        priority: i32,
        messages: u32,
    ) -> Result<ConsumerId, ConsumeError> {
        self.consume_for(None, id, no_ack, priority, messages)
    }

    pub(super) fn consume_for(
        &mut self,
        visibility_timeout_ms: Option<u64>,
        id: u64,
        no_ack: bool,
        priority: i32,
        messages: u32,
    ) -> Result<ConsumerId, ConsumeError> {
        let sink = Arc::clone(&self.sink) as Arc<dyn DeliverySink>;
        let id = ConsumerId(id);
        let new = NewConsumer {
            id,
            tag: "c".into(),
            sink,
            no_ack,
            exclusive: false,
            priority,
            credit: Credit {
                messages,
                bytes: 1 << 40,
            },
            visibility_timeout_ms,
            limiter: None,
            stream: None,
            prefetch_count: 0,
            arguments: FieldTable::default(),
            connection: ConnectionId(1),
            channel: 1,
        };
        let consumed = self.state.consume(self.now_ms, new, &mut self.fx);
        self.carry_out();
        consumed.map(|()| id)
    }

    pub(super) fn grant(&mut self, consumer: ConsumerId, messages: u32) {
        self.state.grant(
            self.now_ms,
            &[(consumer, Credit { messages, bytes: 0 })],
            &mut self.fx,
        );
        self.carry_out();
    }

    pub(super) fn settle(&mut self, how: Settle, ids: &[Lease]) {
        self.state.settle(self.now_ms, how, ids, &[], &mut self.fx);
        self.carry_out();
    }

    pub(super) fn get(&mut self) -> Option<(Lease, Bytes, bool)> {
        loop {
            let got = self.state.get(self.now_ms, false, &mut self.fx);
            self.carry_out();
            match got {
                Get::Empty => return None,
                Get::Loading => {}
                Get::Got(got) => return Some((got.lease, body(&got.message), got.redelivered)),
            }
        }
    }

    /// What can be received by handle at once.
    pub(super) fn receive(&mut self, max: usize) -> Vec<Received> {
        let (answer, _) = tokio::sync::oneshot::channel();
        self.state
            .receive(self.now_ms, max, true, answer, &mut self.fx);
        self.carry_out();
        self.hands.pop().expect("an answer")
    }

    pub(super) fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.state.tick(now_ms, &mut self.fx);
        self.carry_out();
    }

    /// What the shell does: deliver, bury, read, sweep, until nothing is left to do.
    pub(super) fn carry_out(&mut self) {
        loop {
            for id in self.fx.served.drain(..) {
                let consumer = self
                    .state
                    .served_consumer(id)
                    .expect("a served consumer is there");
                consumer.new.sink.deliver(&mut consumer.pending);
            }
            for (_, messages) in self.fx.hands.drain(..) {
                self.hands.push(messages);
            }
            self.fx.left = 0;
            while !self.holds_letters
                && let dead @ [_, ..] = &self.state.take_letters(2, 100)[..]
            {
                let letters = dead.iter().map(|dead| (body(&dead.message), dead.reason));
                self.dead.extend(letters);
                let failures = dead.iter().map(|dead| dead.message.failures);
                self.failures.extend(failures);
                let count = dead.len();
                self.state.bury(self.now_ms, count, &mut self.fx);
            }
            self.sweeps.append(&mut self.fx.sweeps);
            let loads = std::mem::take(&mut self.fx.loads);
            let picks = std::mem::take(&mut self.fx.picks);
            if loads.is_empty() && picks.is_empty() {
                return;
            }
            for pick in picks {
                let picked = self.pick(&pick);
                self.state.picked(self.now_ms, picked, &mut self.fx);
            }
            for (log, from) in loads {
                let mut chunks = self.store.read(log, from, 300).expect("memory store");
                if chunks.is_empty() {
                    self.commit(); // acked and rewound before it was written
                    chunks = self.store.read(log, from, 300).expect("memory store");
                }
                assert!(
                    !chunks.is_empty(),
                    "offset {from} of {log:?} is not in the store"
                );
                let chunks = decoded(chunks);
                self.state.loaded(self.now_ms, log, chunks, &mut self.fx);
            }
        }
    }

    fn pick(&mut self, pick: &Pick) -> Vec<Picked> {
        let read = |from, max_bytes| self.store.read(pick.log, from, max_bytes);
        let picked = whole(picks::pick(pick, read));
        if !picked.is_empty() {
            return picked;
        }
        self.commit(); // written anew and due before that was committed
        let read = |from, max_bytes| self.store.read(pick.log, from, max_bytes);
        whole(picks::pick(pick, read))
    }

    pub(super) fn commit(&mut self) {
        let mut batch = Batch {
            ticket: Ticket(self.committed + 1),
            ..Batch::default()
        };
        self.state.collect(batch.ticket, &mut batch);
        self.store.commit(&batch).expect("memory store");
        self.committed += 1;
        assert!(!self.state.is_dirty());
        for (log, range) in self.sweeps.drain(..) {
            let mut from = Some(range.start);
            while let Some(start) = from {
                from = super::reads::sweep_step(&self.store, log, start..range.end, self.durable)
                    .expect("memory store");
            }
        }
    }

    pub(super) fn shrink(&mut self, target: u64) {
        self.state.keep_within(target, Ticket(self.committed));
    }

    pub(super) fn restart(&mut self) {
        let logs: Vec<(LogId, _)> = self.store.logs().expect("memory store");
        self.state = QueueState::new(QUEUE, true, self.arguments.clone(), logs, self.now_ms);
        self.fx = Effects::default();
        self.sweeps.clear();
        let store = &self.store;
        self.state.restore_leases(self.now_ms, &mut |log, from| {
            decoded(store.read(log, from, 1).expect("memory store"))
        });
        self.tick(self.now_ms);
    }

    pub(super) fn take_deliveries(&self) -> Vec<Delivery> {
        std::mem::take(&mut *self.sink.0.lock().expect("not poisoned"))
    }

    fn bodies(&self) -> Vec<Bytes> {
        self.take_deliveries()
            .iter()
            .map(|delivery| body(&delivery.message))
            .collect()
    }
}

/// What a read of single messages has brought, which did not fail.
pub(super) fn whole((picked, failures): (Vec<Picked>, Vec<(u64, StoreError)>)) -> Vec<Picked> {
    assert!(failures.is_empty(), "{failures:?}");
    picked
}

fn decoded(chunks: Vec<StoredChunk>) -> Vec<(u64, Vec<StoredMessage>)> {
    let decode = |stored: StoredChunk| {
        let messages = chunk::decode(stored.first, stored.data).expect("a chunk");
        let messages = messages.map(|message| message.expect("a message"));
        (stored.first, messages.collect())
    };
    chunks.into_iter().map(decode).collect()
}

pub(super) fn body(message: &Message) -> Bytes {
    message.body.slices().concat().into()
}

pub(super) fn message(text: &str) -> Arc<Message> {
    with(text, |_| {})
}

pub(super) fn with(text: &str, change: impl FnOnce(&mut Message)) -> Arc<Message> {
    let mut message = Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "q".into(),
        }),
        properties: Bytes::from_static(&[0, 0]),
        body: Body::Whole(Bytes::copy_from_slice(text.as_bytes())),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
    };
    change(&mut message);
    Arc::new(message)
}

pub(super) fn long(value: i64) -> AMQPValue {
    AMQPValue::LongLongInt(value)
}

pub(super) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

#[test]
fn consumers_of_equal_priority_take_turns_and_higher_ones_go_first() {
    let mut rig = Rig::new(&[]);
    rig.consume(1, false, 0, 10).expect("a consumer");
    rig.consume(2, false, 0, 10).expect("a consumer");
    rig.consume(3, false, 5, 2).expect("a consumer");
    rig.publish(&["a", "b", "c", "d", "e"].map(message));
    let served: Vec<u64> = rig
        .take_deliveries()
        .iter()
        .map(|delivery| delivery.consumer.0)
        .collect();
    // Deliveries reach the sink consumer by consumer; counting is what matters.
    assert_eq!(served.iter().filter(|id| **id == 3).count(), 2);
    assert!(served.iter().filter(|id| **id == 1).count() >= 1);
    assert!(served.iter().filter(|id| **id == 2).count() >= 1);
}

#[test]
fn a_requeued_message_goes_back_to_its_place() {
    let mut rig = Rig::new(&[]);
    rig.publish(&["a", "b", "c", "d"].map(message));
    let a = rig.get().expect("a");
    let b = rig.get().expect("b");
    rig.settle(Settle::Requeue, &[b.0]);
    rig.settle(Settle::Requeue, &[a.0]);
    let order: Vec<_> = std::iter::from_fn(|| rig.get())
        .map(|(_, body, redelivered)| (body, redelivered))
        .collect();
    let expected = [("a", true), ("b", true), ("c", false), ("d", false)];
    assert_eq!(
        order,
        expected.map(|(body, redelivered)| (Bytes::from(body), redelivered))
    );
}

#[test]
fn length_limits_drop_the_head_or_refuse_the_newest() {
    let mut drop_head = Rig::new(&[("x-max-length", long(2))]);
    drop_head.publish(&["a", "b", "c"].map(message));
    assert_eq!(drop_head.get().expect("b").1, "b");
    let mut reject = Rig::new(&[
        ("x-max-length", long(2)),
        ("x-overflow", text("reject-publish")),
    ]);
    reject.publish(&["a", "b", "c"].map(message));
    assert_eq!(
        (reject.rejected, reject.get().expect("a").1),
        (1, Bytes::from("a"))
    );
}

#[test]
fn a_full_queue_takes_a_run_whole_or_not_at_all_or_whatever_comes() {
    for limit in [("x-max-length", long(3)), ("x-max-length-bytes", long(3))] {
        let mut rig = Rig::new(&[limit, ("x-overflow", text("reject-publish"))]);
        rig.publish(&["a", "b"].map(message));
        rig.publish_as(Admission::Whole, &["c", "d"].map(message));
        assert_eq!((rig.state.counts().ready, rig.rejected), (2, 2));
        rig.publish_as(Admission::Whole, &[message("c")]);
        assert_eq!((rig.state.counts().ready, rig.rejected), (3, 2));
        rig.publish_as(Admission::Always, &["e", "f"].map(message));
        assert_eq!((rig.state.counts().ready, rig.rejected), (5, 2));
    }
}

#[test]
fn messages_expire_at_the_head_and_are_dead_lettered_in_order() {
    let mut rig = Rig::new(&[
        ("x-message-ttl", long(100)),
        ("x-dead-letter-exchange", text("dlx")),
    ]);
    rig.publish(&["a", "b"].map(message));
    assert_eq!(rig.state.deadline_ms(rig.now_ms), Some(1_100));
    rig.now_ms = 1_050;
    rig.publish(&[message("c")]);
    rig.tick(1_100);
    assert_eq!(
        rig.dead,
        [
            ("a".into(), DeathReason::Expired),
            ("b".into(), DeathReason::Expired)
        ]
    );
    assert_eq!(rig.state.counts().ready, 1);
    assert_eq!(rig.state.counts().unacked, 0);
}

#[test]
fn a_message_behind_one_that_lives_longer_waits_with_it() {
    let mut rig = Rig::new(&[]);
    rig.publish(&[
        with("long", |m| m.expiration_ms = Some(500)),
        with("short", |m| m.expiration_ms = Some(10)),
    ]);
    rig.tick(1_100);
    assert_eq!(rig.state.counts().ready, 2);
    rig.tick(1_500);
    assert_eq!(rig.state.counts().ready, 0);
}

#[test]
fn what_is_too_old_is_dropped_and_not_dead_lettered() {
    let mut rig = Rig::new(&[("x-dead-letter-exchange", text("dlx"))]);
    rig.publish(&[message("a")]);
    rig.now_ms = 1_050;
    rig.publish(&[with("b", |m| m.expiration_ms = Some(30)), message("c")]);
    assert_eq!(rig.state.oldest(), [Oldest::Enqueued(1_000)]);
    let declared = rig.arguments.clone();
    let retention = QueueOverrides {
        retention_ms: Some(100),
        ..QueueOverrides::default()
    };
    rig.state
        .set_arguments(retention.apply(&declared), rig.now_ms);
    // Nobody takes from a message its time because somebody has it.
    let (lease, ..) = rig.get().expect("a");
    rig.tick(1_140);
    assert_eq!(rig.dead, [("b".into(), DeathReason::Expired)]);
    assert_eq!(rig.state.deadline_ms(rig.now_ms), Some(1_150));
    rig.settle(Settle::Requeue, &[lease]);
    assert_eq!((rig.state.counts().ready, rig.dead.len()), (1, 1));
    rig.tick(1_150);
    assert_eq!((rig.state.counts().ready, rig.dead.len()), (0, 1));
    assert_eq!(rig.state.oldest(), []);
}

#[test]
fn other_limits_hold_from_the_moment_they_are_set() {
    let mut rig = Rig::new(&[("x-queue-type", text("quorum"))]);
    rig.publish(&["a", "b", "c"].map(message));
    let declared = rig.arguments.clone();
    let overrides = QueueOverrides {
        visibility_timeout_ms: Some(10),
        max_length: Some(2),
        overflow: Some(Overflow::RejectPublish),
        delivery_limit: Some(0),
        dead_letter_exchange: Some("".into()),
        ..QueueOverrides::default()
    };
    rig.state
        .set_arguments(overrides.apply(&declared), rig.now_ms);
    rig.tick(1_000);
    // What is there stays; what comes is refused.
    rig.publish(&[message("d")]);
    assert_eq!((rig.state.counts().ready, rig.rejected), (3, 1));
    rig.get().expect("a");
    rig.tick(1_010);
    assert_eq!(rig.dead, [("a".into(), DeathReason::DeliveryLimit)]);
    rig.state.set_arguments(declared, rig.now_ms);
    rig.publish(&[message("e")]);
    assert_eq!((rig.state.counts().ready, rig.rejected), (3, 1));
}

#[test]
fn time_to_live_zero_delivers_at_once_or_never() {
    let mut rig = Rig::new(&[("x-message-ttl", long(0))]);
    rig.publish(&[message("nobody")]);
    assert_eq!(rig.state.counts().ready, 0);
    rig.consume(1, true, 0, 10).expect("a consumer");
    rig.publish(&[message("somebody")]);
    assert_eq!(rig.bodies(), ["somebody"]);
}

#[test]
fn expired_backlog_on_disk_is_dead_lettered_after_a_restart_without_consumers() {
    let mut rig = Rig::new(&[("x-dead-letter-exchange", text("dlx"))]);
    rig.publish(&[
        with("a", |m| m.expiration_ms = Some(10)),
        with("b", |m| m.expiration_ms = Some(10)),
    ]);
    rig.commit();
    rig.now_ms = 2_000;
    rig.restart();
    assert_eq!(rig.dead.len(), 2);
    assert_eq!(rig.state.counts().ready, 0);
}

#[test]
fn higher_priorities_come_first_and_requeue_into_their_own_lane() {
    let mut rig = Rig::new(&[("x-max-priority", long(5))]);
    let prioritised = [("low", 1), ("high", 9), ("none", 0), ("high2", 5)];
    rig.publish(&prioritised.map(|(text, priority)| with(text, |m| m.priority = priority)));
    let high = rig.get().expect("a message");
    assert_eq!(high.1, "high");
    rig.settle(Settle::Requeue, &[high.0]);
    rig.commit();
    rig.restart();
    let order: Vec<_> = std::iter::from_fn(|| rig.get())
        .map(|(_, body, _)| body)
        .collect();
    assert_eq!(order, ["high", "high2", "low", "none"]);
}

#[test]
fn quorum_queues_serve_two_of_high_priority_for_one_of_normal() {
    let mut rig = Rig::new(&[("x-queue-type", text("quorum"))]);
    let prioritised = [("a", 1), ("b", 4), ("C", 5), ("D", 9), ("E", 6), ("f", 0)];
    rig.publish(&prioritised.map(|(text, priority)| with(text, |m| m.priority = priority)));
    let order: Vec<_> = std::iter::from_fn(|| rig.get()).map(|got| got.1).collect();
    assert_eq!(order, ["C", "D", "a", "E", "b", "f"]);
}

#[test]
fn quorum_queues_keep_transient_messages_too() {
    let mut rig = Rig::new(&[("x-queue-type", text("quorum"))]);
    rig.publish(&[with("t", |m| m.persistent = false)]);
    assert!(rig.fx.persisted);
    rig.commit();
    rig.restart();
    assert_eq!(rig.get().expect("still there").1, "t");
}

#[test]
fn the_delivery_limit_counts_returns_and_survives_a_restart() {
    let arguments = [
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", long(2)),
        ("x-dead-letter-exchange", text("dlx")),
    ];
    let mut rig = Rig::new(&arguments);
    rig.publish(&[message("poison")]);
    for _ in 0..2 {
        let (id, _, _) = rig.get().expect("still there");
        rig.settle(Settle::Requeue, &[id]);
    }
    rig.commit();
    rig.restart();
    let (id, _, redelivered) = rig.get().expect("still there");
    assert!(redelivered);
    rig.settle(Settle::Requeue, &[id]);
    assert_eq!(rig.dead, [("poison".into(), DeathReason::DeliveryLimit)]);
    assert!(rig.get().is_none());
}

#[test]
fn a_rejected_message_whose_body_is_on_disk_is_read_before_it_dies() {
    let mut rig = Rig::new(&[("x-dead-letter-exchange", text("dlx"))]);
    rig.publish(&["a", "b"].map(message));
    rig.commit();
    rig.publish(&["c"].map(message));
    rig.commit();
    let ids: Vec<_> = std::iter::from_fn(|| rig.get())
        .map(|(id, _, _)| id)
        .collect();
    rig.shrink(0);
    rig.settle(Settle::Reject, &ids);
    let dead: Vec<_> = rig.dead.iter().map(|(body, _)| body.clone()).collect();
    assert_eq!(dead.len(), 3);
    assert_eq!(rig.state.counts().unacked, 0);
}

#[test]
fn a_purge_takes_everything_from_the_disk_but_what_somebody_has() {
    for durable in [true, false] {
        let mut rig = Rig::with_durability(durable, &[]);
        for n in 0..100 {
            rig.publish(&[message(&format!("{n:400}"))]);
            rig.commit();
        }
        rig.shrink(0);
        let held = rig.get().expect("a message").0;
        let purged = rig.state.purge(rig.now_ms, &mut rig.fx);
        assert_eq!(purged, 99);
        rig.carry_out();
        rig.commit();
        assert_eq!(rig.chunks_on_disk(), 1, "durable: {durable}");
        rig.settle(Settle::Ack, &[held]);
        rig.commit();
        assert_eq!(rig.chunks_on_disk(), 0, "durable: {durable}");
    }
}

#[test]
fn a_purge_forgets_delivery_counts() {
    let mut rig = Rig::new(&[("x-queue-type", text("quorum"))]);
    for restarted in [false, true] {
        rig.publish(&["a", "b"].map(message));
        let leases = [(); 2].map(|()| rig.get().expect("a message").0);
        rig.settle(Settle::Requeue, &leases);
        rig.commit();
        let counts = |rig: &Rig| {
            let logs = rig.store.logs().expect("memory store");
            logs.iter().map(|(_, log)| log.counts.len()).sum::<usize>()
        };
        assert_eq!(counts(&rig), 2);
        if restarted {
            rig.restart();
        }
        // One stays unsettled, so that the floor does not hide what is left.
        rig.publish(&[message("c")]);
        let first = rig.get().expect("a message").0;
        rig.state.purge(rig.now_ms, &mut rig.fx);
        rig.carry_out();
        rig.commit();
        assert_eq!(counts(&rig), 1, "of the one that is held");
        rig.settle(Settle::Ack, &[first]);
        rig.commit();
        assert_eq!(counts(&rig), 0);
    }
}

#[test]
fn nothing_is_expected_on_disk_of_what_has_left_the_queue() {
    let mut rig = Rig::new(&[]);
    rig.publish(&["a", "b"].map(message));
    rig.publish(&[with("c", |message| message.delay_ms = Some(500))]);
    let held = rig.get().expect("a message").0;
    let (log, delayed) = (QUEUE.log(0), QUEUE.delayed_log());
    let expects = |rig: &Rig| {
        [(log, 0), (log, 1), (delayed, 0)].map(|(log, offset)| rig.state.expects(log, offset))
    };
    assert_eq!(expects(&rig), [true, true, true]);
    rig.state.purge(rig.now_ms, &mut rig.fx);
    rig.carry_out();
    assert_eq!(expects(&rig), [true, false, false]);
    rig.settle(Settle::Ack, &[held]);
    rig.tick(rig.now_ms + 500);
    assert_eq!(expects(&rig), [false, false, false]);
}

#[test]
fn an_unused_queue_expires_once() {
    let mut rig = Rig::new(&[("x-expires", long(100))]);
    rig.state.touch(1_000);
    assert_eq!(rig.state.deadline_ms(1_000), Some(1_100));
    assert!(!rig.state.is_expired(1_099));
    assert!(rig.state.is_expired(1_100));
    assert_eq!(rig.state.deadline_ms(1_100), None);
    rig.consume(1, false, 0, 1).expect("a consumer");
    assert!(!rig.state.is_expired(9_999));
}

#[test]
fn only_one_consumer_is_active_and_the_next_takes_over() {
    let mut rig = Rig::new(&[("x-single-active-consumer", AMQPValue::Boolean(true))]);
    let first = rig.consume(1, false, 0, 10).expect("a consumer");
    rig.consume(2, false, 0, 10).expect("a consumer");
    rig.publish(&["a", "b"].map(message));
    assert!(
        rig.take_deliveries()
            .iter()
            .all(|delivery| delivery.consumer == ConsumerId(1))
    );
    rig.state.cancel(rig.now_ms, first, &mut rig.fx);
    rig.publish(&[message("c")]);
    assert!(
        rig.take_deliveries()
            .iter()
            .all(|delivery| delivery.consumer == ConsumerId(2))
    );
}

#[test]
fn consumers_that_register_in_another_order_than_that_of_their_ids_are_found() {
    let mut rig = Rig::new(&[]);
    for id in [7, 3, 5] {
        rig.consume(id, true, 0, 10).expect("a consumer");
    }
    rig.publish(&["a", "b", "c", "d"].map(message));
    let served = |rig: &mut Rig| {
        let deliveries = rig.take_deliveries();
        deliveries.iter().map(|d| d.consumer.0).collect::<Vec<_>>()
    };
    let mut first = served(&mut rig);
    first.sort_unstable();
    assert_eq!(first, [3, 5, 7, 7], "in turn, beginning with the first");
    rig.state.cancel(rig.now_ms, ConsumerId(5), &mut rig.fx);
    rig.publish(&["e", "f"].map(message));
    let mut second = served(&mut rig);
    second.sort_unstable();
    assert_eq!(second, [3, 7]);
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let mut consumers = super::consumers::Consumers::new(QUEUE, false, false);
    let new = |id, exclusive| NewConsumer {
        id: ConsumerId(id),
        tag: "c".into(),
        sink: Arc::new(Collector::default()),
        no_ack: true,
        exclusive,
        priority: 0,
        credit: Credit::default(),
        visibility_timeout_ms: None,
        limiter: Some(Arc::new(ChannelLimiter::new(1))),
        stream: None,
        prefetch_count: 0,
        arguments: FieldTable::default(),
        connection: ConnectionId(1),
        channel: 1,
    };
    consumers.add(new(1, true)).expect("the first");
    let refused = Err(ConsumeError::ExclusiveUse);
    assert_eq!(consumers.add(new(2, false)), refused);
    consumers.remove(&[ConsumerId(1)]);
    consumers.add(new(3, false)).expect("now free");
    assert_eq!(consumers.add(new(4, true)), refused);
}

#[test]
fn transient_messages_are_gone_after_a_restart_and_persistent_ones_are_not() {
    let mut rig = Rig::new(&[]);
    rig.publish(&[
        message("p1"),
        with("t", |m| m.persistent = false),
        message("p2"),
    ]);
    rig.commit();
    rig.restart();
    assert_eq!(rig.state.counts().ready, 2);
    let order: Vec<_> = std::iter::from_fn(|| rig.get())
        .map(|(_, body, _)| body)
        .collect();
    assert_eq!(order, ["p1", "p2"]);
}

#[test]
fn delayed_messages_are_not_ready_before_their_time_and_come_in_its_order() {
    let mut rig = Rig::new(&[]);
    let delayed = [("c", 300), ("a", 100), ("now", 0), ("b", 200)];
    rig.publish(&delayed.map(|(text, delay_ms)| with(text, |m| m.delay_ms = Some(delay_ms))));
    assert_eq!(
        (rig.state.counts().ready, rig.state.counts().delayed),
        (1, 3)
    );
    assert_eq!(rig.state.deadline_ms(rig.now_ms), Some(1_100));
    assert_eq!(rig.get().expect("no delay").1, "now");
    rig.tick(1_099);
    assert!(rig.get().is_none());
    rig.tick(1_200);
    let order: Vec<_> = std::iter::from_fn(|| rig.get()).map(|got| got.1).collect();
    assert_eq!(order, ["a", "b"]);
    assert_eq!(rig.state.deadline_ms(rig.now_ms), Some(1_300));
}

#[test]
fn delayed_messages_survive_a_restart_and_cost_little_memory() {
    let mut rig = Rig::new(&[]);
    for n in (0..5_000_u64).rev() {
        rig.publish(&[with(&format!("{n:04}"), |m| m.delay_ms = Some(10 + n))]);
        if n % 7 == 0 {
            rig.commit();
        }
    }
    rig.shrink(0);
    rig.tick(1_000);
    rig.shrink(0);
    let resident = rig.state.resident_bytes();
    assert!(resident < QUEUE_RESIDENT_BYTES_MIN, "{resident}");
    rig.tick(1_109);
    assert_eq!(rig.state.counts().ready, 100);
    rig.commit();
    rig.restart();
    assert_eq!(
        (rig.state.counts().ready, rig.state.counts().delayed),
        (100, 4_900)
    );
    rig.tick(9_999);
    let order: Vec<_> = std::iter::from_fn(|| rig.get()).map(|got| got.1).collect();
    assert_eq!(order.len(), 5_000);
    assert!(order.is_sorted());
    assert_eq!(rig.state.counts().delayed, 0);
}

#[test]
fn memory_does_not_grow_with_the_backlog() {
    let mut rig = Rig::new(&[]);
    let mut published = 0;
    for round in 0..200 {
        let run: Vec<_> = (0..50)
            .map(|n| message(&format!("{round:04}-{n:03} {}", "x".repeat(1000))))
            .collect();
        published += run.len();
        rig.publish(&run);
        rig.commit();
        rig.shrink(200_000);
        assert!(
            rig.state.resident_bytes() < 400_000,
            "{} bytes resident",
            rig.state.resident_bytes()
        );
    }
    let consumer = rig.consume(1, true, 0, 100).expect("a consumer");
    let mut seen: Vec<Bytes> = rig.bodies();
    while seen.len() < published {
        rig.grant(consumer, 100);
        let more = rig.bodies();
        assert!(!more.is_empty(), "stuck after {} messages", seen.len());
        seen.extend(more);
        rig.commit();
        rig.shrink(200_000);
    }
    assert!(seen.is_sorted(), "out of order");
    assert_eq!(rig.state.counts().ready, 0);
    assert_eq!(rig.state.resident_bytes(), 0);
    assert_eq!(
        rig.store
            .read(QUEUE.log(0), 0, 1 << 30)
            .expect("memory store")
            .len(),
        0,
        "chunks are left behind"
    );
}

#[test]
fn dead_letters_that_wait_cost_no_memory_and_are_not_purged() {
    let mut rig = Rig::new(&[
        ("x-max-length", long(10)),
        ("x-dead-letter-exchange", text("dlx")),
    ]);
    rig.holds_letters = true;
    for round in 0..40 {
        let run: Vec<_> = (0..50)
            .map(|n| message(&format!("{:04} {}", round * 50 + n, "x".repeat(1000))))
            .collect();
        rig.publish(&run);
        rig.commit();
        rig.shrink(200_000);
    }
    let counts = rig.state.counts();
    assert_eq!((counts.ready, counts.unacked), (10, 0));
    assert_eq!(rig.state.deaths(), (1990, 0));
    assert!(counts.resident_bytes < 300_000, "{}", counts.resident_bytes);
    // What waits is neither ready nor gone.
    assert_eq!(rig.state.purge(rig.now_ms, &mut rig.fx), 10);
    rig.carry_out();
    rig.commit();
    assert_eq!(rig.get(), None);
    rig.holds_letters = false;
    rig.tick(rig.now_ms);
    let dead: Vec<_> = rig.dead.iter().map(|(body, _)| body.clone()).collect();
    assert_eq!(dead.len(), 1990);
    assert!(dead.is_sorted() && dead[0].starts_with(b"0000"));
    rig.commit();
    let left = rig.store.read(QUEUE.log(0), 0, 1 << 30);
    assert_eq!(left.expect("memory store").len(), 0);
    assert_eq!(rig.state.resident_bytes(), 0);
}

#[test]
fn what_dies_at_once_leaves_in_steps() {
    let mut rig = Rig::new(&[]);
    let run: Vec<_> = (0..10_000)
        .map(|_| with("x", |message| message.expiration_ms = Some(1)))
        .collect();
    rig.publish(&run);
    rig.now_ms += 10;
    let mut steps = 0;
    while rig.state.counts().ready > 0 {
        assert_eq!(
            rig.state.deadline_ms(rig.now_ms),
            Some(rig.now_ms)
                .filter(|_| steps > 0)
                .or(Some(rig.now_ms - 9))
        );
        let before = rig.state.counts().ready;
        rig.tick(rig.now_ms);
        assert!(before - rig.state.counts().ready <= 4_096);
        steps += 1;
    }
    assert_eq!(steps, 3);
    assert_eq!(rig.state.deadline_ms(rig.now_ms), None);
}

#[test]
fn where_memory_is_short_nothing_is_read_ahead() {
    let mut rig = Rig::new(&[]);
    let run: Vec<_> = (0..2_000).map(|_| message(&"x".repeat(1000))).collect();
    rig.publish(&run);
    rig.commit();
    rig.shrink(QUEUE_RESIDENT_BYTES_MIN);
    let before = rig.state.resident_bytes();
    rig.consume(1, false, 0, 1).expect("a consumer");
    for _ in 0..10 {
        rig.tick(rig.now_ms);
        rig.shrink(QUEUE_RESIDENT_BYTES_MIN);
    }
    assert!(rig.state.resident_bytes() <= before);
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        count: usize,
        size: usize,
        persistent: bool,
    },
    Get,
    Settle {
        how: Settle,
        which: usize,
    },
    Purge,
    Commit,
    Shrink(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let how =
        prop_oneof![3 => Just(Settle::Ack), 2 => Just(Settle::Requeue), 1 => Just(Settle::Reject)];
    prop_oneof![
        5 => (1..6usize, prop_oneof![Just(10usize), Just(100), Just(40_000)], prop::bool::weighted(0.8))
            .prop_map(|(count, size, persistent)| Step::Publish { count, size, persistent }),
        6 => Just(Step::Get),
        5 => (how, 0..50usize).prop_map(|(how, which)| Step::Settle { how, which }),
        1 => Just(Step::Purge),
        4 => Just(Step::Commit),
        3 => (0..100_000u64).prop_map(Step::Shrink),
        1 => Just(Step::Restart),
    ]
}

/// What the queue should hold: every unsettled message by offset.
#[derive(Default)]
struct Model {
    messages: BTreeMap<u64, Known>,
    next: u64,
}

#[derive(Clone)]
struct Known {
    body: Bytes,
    leased: bool,
    redelivered: bool,
    persistent: bool,
    turn: u32,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_queue_does_what_a_list_would(steps in prop::collection::vec(step(), 1..120)) {
        let mut rig = Rig::new(&[]);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Publish { count, size, persistent } => {
                    let run: Vec<_> = (0..count).map(|n| {
                        let text = format!("{:06}{}", model.next + n as u64, "x".repeat(size));
                        with(&text, |m| m.persistent = persistent)
                    }).collect();
                    for message in &run {
                        let known = Known { body: body(message), leased: false, redelivered: false, persistent, turn: 0 };
                        model.messages.insert(model.next, known);
                        model.next += 1;
                    }
                    rig.publish(&run);
                }
                Step::Get => {
                    let expected = model.messages.iter_mut().find(|(_, known)| !known.leased);
                    match (rig.get(), expected) {
                        (None, None) => {}
                        (Some((id, body, redelivered)), Some((offset, known))) => {
                            prop_assert_eq!(id, Lease { offset: *offset, turn: known.turn, lane: 0 });
                            prop_assert_eq!(&body, &known.body);
                            prop_assert_eq!(redelivered, known.redelivered);
                            known.leased = true;
                        }
                        (got, expected) => prop_assert!(false, "got {got:?}, expected one: {}", expected.is_some()),
                    }
                }
                Step::Settle { how, which } => {
                    let leased: Vec<u64> = model.messages.iter().filter(|(_, known)| known.leased).map(|(offset, _)| *offset).collect();
                    if let Some(offset) = leased.get(which % leased.len().max(1)) {
                        let turn = model.messages[offset].turn;
                        rig.settle(how, &[Lease { offset: *offset, turn, lane: 0 }]);
                        if how == Settle::Requeue {
                            let known = model.messages.get_mut(offset).expect("leased");
                            known.leased = false;
                            known.redelivered = true;
                            known.turn += 1;
                        } else {
                            model.messages.remove(offset);
                        }
                    }
                }
                Step::Purge => {
                    let purged = rig.state.purge(rig.now_ms, &mut rig.fx);
                    rig.carry_out();
                    prop_assert_eq!(purged, model.messages.values().filter(|known| !known.leased).count() as u64);
                    model.messages.retain(|_, known| known.leased);
                }
                Step::Commit => rig.commit(),
                Step::Shrink(target) => rig.shrink(target),
                Step::Restart => {
                    rig.commit();
                    rig.restart();
                    model.messages.retain(|_, known| known.persistent);
                    for known in model.messages.values_mut() {
                        known.leased = false;
                        known.redelivered = true;
                        known.turn = 0;
                    }
                }
            }
            let counts = rig.state.counts();
            let leased = model.messages.values().filter(|known| known.leased).count() as u64;
            prop_assert_eq!((counts.ready, counts.unacked), (model.messages.len() as u64 - leased, leased));
            let ready_bytes: usize = model.messages.values().filter(|known| !known.leased).map(|known| known.body.len()).sum();
            prop_assert_eq!(counts.ready_bytes, ready_bytes as u64);
        }
        // Whatever happened, everything can be drained in order, and then nothing is left on disk.
        let rest: Vec<Bytes> = model.messages.values().filter(|known| !known.leased).map(|known| known.body.clone()).collect();
        let mut drained = Vec::new();
        while let Some((id, body, _)) = rig.get() {
            drained.push(body);
            rig.settle(Settle::Ack, &[id]);
        }
        prop_assert_eq!(drained, rest);
        let leased: Vec<Lease> = model.messages.iter().filter(|(_, known)| known.leased)
            .map(|(offset, known)| Lease { offset: *offset, turn: known.turn, lane: 0 }).collect();
        rig.settle(Settle::Ack, &leased);
        rig.commit();
        prop_assert_eq!(rig.state.resident_bytes(), 0);
    }
}

/// Messages of ten chunks of ten, of which the fourth cannot be read; none is in memory.
fn damaged_rig(arguments: &[(&str, AMQPValue)]) -> Rig {
    let mut rig = Rig::new(arguments);
    for chunk in 0..10 {
        let run: Vec<_> = (10 * chunk..10 * chunk + 10)
            .map(|n| message(&n.to_string()))
            .collect();
        rig.publish(&run);
        rig.commit();
    }
    let log = QUEUE.log(0);
    let unreadable = Op::RemoveChunk { log, first: 30 };
    let batch = [unreadable].into_iter().collect();
    rig.store.commit(&batch).expect("memory store");
    rig.restart();
    let lost = rig.state.lose(rig.now_ms, log, 30..40, &mut rig.fx);
    assert_eq!(lost, 10);
    rig.carry_out();
    rig
}

#[test]
fn the_queue_goes_on_behind_what_cannot_be_read() {
    let mut rig = damaged_rig(&[]);
    let counts = rig.state.counts();
    assert_eq!((counts.ready, counts.damaged), (90, 10));
    for n in (0..30).chain(40..100) {
        let (lease, body, _) = rig.get().expect("a message");
        assert_eq!(body, n.to_string());
        rig.settle(Settle::Ack, &[lease]);
    }
    assert_eq!(rig.get(), None);
    let counts = rig.state.counts();
    assert_eq!((counts.ready, counts.ready_bytes), (0, 0));
    let told = rig.state.lost();
    assert_eq!((told[0].0, &told[0].1[0]), (QUEUE.log(0), &(30..40)));
    rig.commit();
    // The next start tries again.
    rig.restart();
    assert_eq!(rig.state.counts().ready, 10);
    assert!(rig.state.expects(QUEUE.log(0), 30));
}

#[test]
fn purging_takes_what_can_be_read_and_leaves_the_rest() {
    let mut rig = damaged_rig(&[]);
    let leased = rig.get().expect("a message").0;
    assert_eq!(rig.state.purge(rig.now_ms, &mut rig.fx), 89);
    rig.carry_out();
    rig.commit();
    let counts = rig.state.counts();
    assert_eq!((counts.ready, counts.unacked, counts.damaged), (0, 1, 10));
    rig.settle(Settle::Ack, &[leased]);
    rig.publish(&[message("later")]);
    let (lease, body, _) = rig.get().expect("a message");
    assert_eq!(body, "later");
    rig.settle(Settle::Ack, &[lease]);
    rig.commit();
    rig.restart();
    assert_eq!(
        rig.state.counts().ready,
        10,
        "only what cannot be read is left"
    );
}

#[test]
fn a_body_that_was_let_go_of_may_be_lost_too() {
    let mut rig = Rig::new(&[]);
    for run in [&["0"][..], &["1", "2", "3", "4"], &["5"]] {
        let run: Vec<_> = run.iter().map(|body| message(body)).collect();
        rig.publish(&run);
        rig.commit();
    }
    let leases: Vec<Lease> = (0..5).map(|_| rig.get().expect("a message").0).collect();
    rig.shrink(0);
    rig.state
        .settle(rig.now_ms, Settle::Requeue, &leases[2..4], &[], &mut rig.fx);
    rig.fx.loads.clear();
    let log = QUEUE.log(0);
    let lost = rig.state.lose(rig.now_ms, log, 0..5, &mut rig.fx);
    let counts = rig.state.counts();
    assert_eq!((lost, counts.damaged, counts.unacked), (2, 2, 3));
    let told = rig.state.lost();
    assert_eq!((told[0].0, &told[0].1[0]), (log, &(2..4)));
    // An answer to a lease that has ended, and to those that have not.
    rig.settle(Settle::Ack, &leases);
    let counts = rig.state.counts();
    assert_eq!((counts.ready, counts.unacked, counts.damaged), (1, 0, 2));
    assert_eq!(rig.get().expect("a message").1, "5");
}
