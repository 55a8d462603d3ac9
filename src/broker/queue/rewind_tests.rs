//! Reading acked messages again: what comes back, what does not, and what is left on disk; against a model that keeps
//! every message in one list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use crate::clock::Moment;
use crate::model::arguments::QueueArguments;
use crate::model::{Lease, QueueId};
use crate::store::Store;
use crate::wire::AMQPValue;

use super::RewindTo;
use super::effects::{Get, Settle};
use super::handle::Handle;
use super::rewind::{RewindError, look};
use super::tests::{Rig, body, long, message, text, with};

/// The log of the queue that [`Rig`] drives.
fn log(lane: u8) -> crate::model::LogId {
    QueueId(7).log(lane)
}

impl Rig {
    /// As `Queue::rewind`, with `meanwhile` between the search and the rewind.
    fn rewind_while(
        &mut self,
        to: RewindTo,
        meanwhile: impl FnOnce(&mut Rig),
    ) -> Result<(Option<u64>, u64), RewindError> {
        let searches = self.state.plan_rewind(self.now_ms, to)?;
        self.commit();
        let persistent = |message: &crate::model::Message| message.persistent;
        let found: Vec<_> = searches
            .iter()
            .map(|search| look(&self.store, search, persistent).expect("memory store"))
            .collect();
        meanwhile(self);
        let rewound = self.state.rewind(self.now_ms, &found, &mut self.fx);
        self.carry_out();
        rewound
    }

    fn rewind(&mut self, to: RewindTo) -> Result<(Option<u64>, u64), RewindError> {
        self.rewind_while(to, |_| {})
    }

    /// Gets everything that is ready and acks it: the bodies.
    fn drain(&mut self) -> Vec<Bytes> {
        let mut bodies = Vec::new();
        while let Some((lease, body, _)) = self.get() {
            bodies.push(body);
            self.settle(Settle::Ack, &[lease]);
        }
        bodies
    }

    fn get_with_time(&mut self) -> Option<(Lease, Bytes, bool, u64)> {
        loop {
            let got = self.state.get(self.now_ms, false, &mut self.fx);
            self.carry_out();
            match got {
                Get::Empty => return None,
                Get::Loading => {}
                Get::Got(got) => {
                    let enqueued_ms = got.enqueued.expect("told by a queue that keeps").ms();
                    return Some((got.lease, body(&got.message), got.redelivered, enqueued_ms));
                }
            }
        }
    }

    fn delete(&mut self, handle: Handle) -> Vec<bool> {
        let handles = [handle];
        let valid = self
            .state
            .delete_received(self.now_ms, &handles, &mut self.fx);
        self.carry_out();
        valid
    }

    fn keep(&mut self, rewind_ms: Option<u64>) {
        let arguments = QueueArguments {
            rewind_ms,
            ..QueueArguments::clone(&self.arguments)
        };
        self.arguments = Arc::new(arguments);
        self.state
            .set_arguments(Arc::clone(&self.arguments), self.now_ms);
        self.tick(self.now_ms);
    }

    pub(super) fn chunks_on_disk(&self) -> usize {
        let chunks = self.store.read(log(0), 0, usize::MAX);
        chunks.expect("memory store").len()
    }
}

fn rig(more: &[(&str, AMQPValue)]) -> Rig {
    let mut arguments = vec![("x-rewind-seconds", long(60))];
    arguments.extend(more.iter().cloned());
    Rig::new(&arguments)
}

#[test]
fn acked_messages_come_back_from_a_time_or_an_offset_in_order() {
    let mut rig = rig(&[]);
    for text in ["a", "b", "c", "d"] {
        rig.publish(&[message(text)]);
        rig.now_ms += 10;
    }
    assert_eq!(rig.drain(), ["a", "b", "c", "d"]);
    assert_eq!(rig.state.counts().rewindable, 4);
    assert_eq!(rig.state.counts().rewindable_bytes, 4);
    for (to, expected) in [
        (RewindTo::Time(1_020), vec!["c", "d"]),
        (RewindTo::Time(1_011), vec!["c", "d"]),
        (RewindTo::Time(1_010), vec!["b", "c", "d"]),
        (RewindTo::Time(0), vec!["a", "b", "c", "d"]),
        (RewindTo::Time(1_031), vec![]),
        (RewindTo::Offset(3), vec!["d"]),
        (RewindTo::Offset(0), vec!["a", "b", "c", "d"]),
    ] {
        let rewound = rig.rewind(to).expect("rewound");
        let first = (4 - expected.len()) as u64;
        let from = (first < 4).then_some(first);
        assert_eq!(rewound, (from, expected.len() as u64), "{to:?}");
        assert_eq!(rig.state.counts().ready, expected.len() as u64);
        assert_eq!(rig.state.counts().ready_bytes, expected.len() as u64);
        assert_eq!(rig.drain(), expected, "{to:?}");
        assert_eq!(rig.state.counts().rewindable, 4);
    }
}

#[test]
fn what_cannot_be_rewound_is_refused() {
    let mut plain = Rig::new(&[("x-rewind-seconds", long(0))]);
    let refused = plain.rewind(RewindTo::Time(0));
    assert!(matches!(refused, Err(RewindError::NotEnabled)));
    let mut rig = rig(&[("x-max-priority", long(5))]);
    rig.publish(&[message("a")]);
    let refused = rig.rewind(RewindTo::Time(rig.now_ms + 1));
    assert!(matches!(refused, Err(RewindError::InFuture)));
    let refused = rig.rewind(RewindTo::Offset(1));
    assert!(matches!(
        refused,
        Err(RewindError::NoSuchOffset { next: 1 })
    ));
    rig.publish(&[with("b", |m| m.priority = 3)]);
    assert_eq!(
        rig.drain(),
        ["a", "b"]
            .map(Bytes::from)
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
    let refused = rig.rewind(RewindTo::Offset(0));
    assert!(matches!(refused, Err(RewindError::SeveralLanes)));
    assert_eq!(
        rig.rewind(RewindTo::Time(0)).expect("both lanes"),
        (None, 2)
    );
    assert_eq!(rig.drain(), ["b", "a"]);
}

#[test]
fn what_left_otherwise_than_by_an_ack_does_not_come_back() {
    let mut rig = rig(&[("x-max-length", long(4))]);
    rig.publish(&["dropped", "acked", "rejected", "requeued"].map(message));
    rig.publish(&[message("purged")]); // drops the first
    let acked = rig.get().expect("a message").0;
    rig.settle(Settle::Ack, &[acked]);
    let rejected = rig.get().expect("a message").0;
    rig.settle(Settle::Reject, &[rejected]);
    let held = rig.get().expect("a message").0;
    rig.state.purge(rig.now_ms, &mut rig.fx);
    rig.carry_out();
    rig.settle(Settle::Requeue, &[held]);
    rig.publish(&[with("expired", |m| m.expiration_ms = Some(5))]);
    let requeued = rig.get().expect("a message").0;
    rig.settle(Settle::Ack, &[requeued]);
    rig.tick(2_000);
    for _ in 0..2 {
        assert_eq!(
            rig.rewind(RewindTo::Time(0)).expect("rewound"),
            (Some(1), 2)
        );
        assert_eq!(rig.drain(), ["acked", "requeued"]);
        rig.commit();
        rig.restart();
    }
}

#[test]
fn leased_and_waiting_messages_are_left_alone() {
    let mut rig = rig(&[]);
    rig.publish(&["a", "b", "c", "d"].map(message));
    let leases: Vec<Lease> = (0..3).map(|_| rig.get().expect("a message").0).collect();
    rig.settle(Settle::Ack, &[leases[0], leases[2]]);
    assert_eq!(
        rig.rewind(RewindTo::Time(0)).expect("rewound"),
        (Some(0), 2)
    );
    assert_eq!(
        (rig.state.counts().ready, rig.state.counts().unacked),
        (3, 1)
    );
    rig.settle(Settle::Ack, &[leases[0]]); // ended long ago
    assert_eq!(rig.state.counts().ready, 3);
    let again: Vec<_> = std::iter::from_fn(|| rig.get()).collect();
    rig.settle(Settle::Ack, &[leases[0], leases[2]]);
    assert_eq!(
        rig.state.counts().unacked,
        4,
        "an old answer settles no new lease"
    );
    let told: Vec<_> = again
        .iter()
        .map(|(_, body, redelivered)| (&body[..], *redelivered))
        .collect();
    assert_eq!(told, [(&b"a"[..], true), (b"c", true), (b"d", false)]);
    rig.settle(Settle::Ack, &leases[1..2]);
    assert_eq!(rig.state.counts().unacked, 3);
}

#[test]
fn a_handle_from_before_a_rewind_fits_nothing_after_it() {
    let mut rig = rig(&[("x-queue-type", text("quorum"))]);
    rig.publish(&["a", "b"].map(message));
    let received = rig.receive(2);
    let delete = |rig: &mut Rig, handle| {
        let deleted = rig
            .state
            .delete_received(rig.now_ms, &[handle], &mut rig.fx);
        rig.carry_out();
        deleted
    };
    assert_eq!(delete(&mut rig, received[0].handle), [true]);
    rig.commit();
    assert_eq!(rig.rewind(RewindTo::Time(0)).expect("rewound").1, 1);
    for restarts in 0..3 {
        let counts = rig.state.counts();
        assert_eq!(
            (counts.ready, counts.unacked),
            (1, 1),
            "{restarts} restarts"
        );
        rig.commit();
        rig.restart();
    }
    let again = rig.receive(2);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].count, 1, "it starts over");
    assert_eq!(delete(&mut rig, received[0].handle), [false]);
    assert_eq!(delete(&mut rig, received[1].handle), [true]);
    assert_eq!(delete(&mut rig, again[0].handle), [true]);
}

#[test]
fn what_was_acked_without_being_asked_for_an_ack_comes_back_too() {
    let mut rig = rig(&[]);
    rig.consume(1, true, 0, 10).expect("a consumer");
    rig.publish(&["a", "b"].map(message));
    assert_eq!(rig.take_deliveries().len(), 2);
    assert_eq!(rig.rewind(RewindTo::Time(0)).expect("rewound").1, 2);
    let again = rig.take_deliveries();
    assert!(
        again
            .iter()
            .all(|delivery| delivery.enqueued == Some(Moment::from_ms(1_000)))
    );
    assert_eq!(again.len(), 2, "consumers that are there get it at once");
}

#[test]
fn what_is_too_old_goes_from_the_disk() {
    let mut rig = rig(&[]);
    rig.publish(&[message("old")]);
    rig.commit();
    let stuck = rig.get().expect("a message").0;
    rig.now_ms += 50_000;
    rig.publish(&[message("young")]);
    rig.commit();
    assert_eq!(
        rig.get()
            .map(|(lease, ..)| rig.settle(Settle::Ack, &[lease])),
        Some(())
    );
    rig.commit();
    assert_eq!(rig.chunks_on_disk(), 2);
    let due = rig.state.deadline_ms(rig.now_ms).expect("a deadline");
    rig.tick(due);
    rig.settle(Settle::Ack, &[stuck]); // too late to be kept
    rig.commit();
    assert_eq!(
        (rig.chunks_on_disk(), rig.state.counts().rewindable),
        (1, 1)
    );
    let due = rig.state.deadline_ms(rig.now_ms).expect("a deadline");
    assert_eq!(due, 51_000 + 60_001);
    rig.tick(due - 1);
    assert_eq!(rig.state.counts().rewindable, 1);
    rig.tick(due);
    rig.commit();
    assert_eq!(
        (rig.chunks_on_disk(), rig.state.counts().rewindable),
        (0, 0)
    );
    assert_eq!(rig.rewind(RewindTo::Time(0)).expect("rewound"), (None, 0));
}

#[test]
fn no_more_bytes_are_kept_than_the_queue_may_have() {
    let mut rig = rig(&[("x-max-length-bytes", long(10_000))]);
    for _ in 0..500 {
        rig.publish(&[message(&"x".repeat(100))]);
        assert_eq!(rig.drain().len(), 1);
        rig.commit();
        assert!(rig.state.counts().rewindable_bytes <= 10_000);
    }
    let kept = rig.state.counts().rewindable;
    assert!((95..=100).contains(&kept), "{kept}");
    assert_eq!(rig.chunks_on_disk() as u64, kept);
    let rewound = rig.rewind(RewindTo::Offset(0)).expect("rewound");
    assert_eq!(rewound, (Some(500 - kept), kept), "from the oldest kept");
}

#[test]
fn switching_off_lets_go_at_once_and_switching_on_keeps_from_then() {
    let mut rig = rig(&[]);
    rig.publish(&["a", "b", "c"].map(message));
    let lease = rig.get().expect("a message").0;
    rig.settle(Settle::Ack, &[lease]);
    rig.commit();
    rig.keep(None);
    let refused = rig.rewind(RewindTo::Time(0));
    assert!(matches!(refused, Err(RewindError::NotEnabled)));
    let lease = rig.get().expect("a message").0;
    rig.settle(Settle::Ack, &[lease]);
    rig.commit();
    rig.keep(Some(5_000));
    rig.now_ms += 10;
    assert_eq!(rig.drain(), ["c"]);
    assert_eq!(
        rig.rewind(RewindTo::Time(0)).expect("rewound"),
        (Some(2), 1)
    );
    assert_eq!(rig.drain(), ["c"]);
    rig.commit();
    rig.restart();
    assert_eq!(
        rig.rewind(RewindTo::Time(0)).expect("rewound"),
        (Some(2), 1)
    );
    assert_eq!(rig.drain(), ["c"]);
    rig.keep(None);
    rig.commit();
    assert_eq!(rig.chunks_on_disk(), 0);
}

#[test]
fn a_long_rewind_neither_loads_nor_rewrites_what_comes_back() {
    let mut rig = rig(&[]);
    let run: Vec<_> = (0..200).map(|n| message(&format!("{n:100}"))).collect();
    for _ in 0..200 {
        rig.publish(&run);
        rig.commit();
        rig.drain();
        rig.now_ms += 1;
    }
    rig.commit();
    assert_eq!(rig.state.resident_bytes(), 0);
    assert_eq!(
        rig.rewind(RewindTo::Time(1_050)).expect("rewound").1,
        150 * 200
    );
    assert_eq!(rig.state.resident_bytes(), 0);
    assert_eq!(rig.state.counts().ready_bytes, 150 * 200 * 100);
    let mut batch = crate::store::Batch::default();
    rig.state.collect(crate::model::Ticket(9_999), &mut batch);
    assert!(batch.bytes < 4_000, "{} bytes", batch.bytes);
    rig.store.commit(&batch).expect("memory store");
    rig.shrink(0);
    assert_eq!(rig.drain().len(), 150 * 200);
}

#[test]
fn a_queue_without_messages_has_no_bytes_whatever_was_measured_by_an_average() {
    let mut rig = rig(&[]);
    rig.keep(None);
    // More than is looked at one by one, large ones first.
    let run: Vec<_> = (0..12_000)
        .map(|n| message(&"x".repeat(if n < 6_000 { 40 } else { 4 })))
        .collect();
    rig.publish(&run);
    rig.commit();
    rig.keep(Some(60_000));
    rig.drain();
    for _ in 0..3 {
        let rewound = rig.rewind(RewindTo::Offset(1)).expect("rewound");
        assert_eq!(rewound.1, 11_999);
        rig.drain();
        assert_eq!(rig.state.counts().ready_bytes, 0);
        rig.commit();
        let (_, state) = rig.store.logs().expect("memory store").remove(0);
        assert_eq!(state.record.bytes, 0);
    }
    rig.publish(&[message("abc")]);
    assert_eq!(rig.state.counts().ready_bytes, 3);
}

/// Offsets around the ends of stretches, pages and chunks, and the times there, before and after a restart.
#[test]
fn the_place_is_exact_at_every_border() {
    const COUNT: u64 = 2 * 4096 + 10;
    /// Messages that come in one millisecond.
    const PER_MS: u64 = 3;
    let mut rig = rig(&[]);
    // Bodies of 0 to 4 bytes, so that the bytes that come back tell which messages did.
    let size = |offset: u64| offset * 7 % 5;
    let mut published = 0;
    while published < COUNT {
        let run: Vec<_> = (published..COUNT.min(published + PER_MS))
            .map(|offset| message(&"x".repeat(usize::try_from(size(offset)).unwrap())))
            .collect();
        rig.publish(&run);
        published += run.len() as u64;
        rig.now_ms += 1;
        if published % 1000 < PER_MS {
            rig.commit();
        }
    }
    let take_all = |rig: &mut Rig| {
        let id = rig.consume(1, true, 0, u32::MAX).expect("a consumer");
        rig.state.cancel(rig.now_ms, id, &mut rig.fx);
        let offsets = rig.take_deliveries().into_iter();
        offsets.map(|delivery| delivery.lease.offset).collect()
    };
    let taken: Vec<u64> = take_all(&mut rig);
    assert!(taken.into_iter().eq(0..COUNT));
    let chunks = rig.store.read(log(0), 0, usize::MAX).expect("chunks");
    let borders = chunks.iter().skip(1).map(|chunk| chunk.first).take(2);
    let offsets: BTreeSet<u64> = borders
        .chain([4096, 8192, COUNT])
        .flat_map(|offset| [offset - 1, offset, offset + 1])
        .filter(|offset| *offset < COUNT)
        .collect();
    for restarted in [false, true] {
        if restarted {
            rig.commit();
            rig.restart();
        }
        for offset in &offsets {
            // All of one millisecond have one time.
            let of_time = offset - offset % PER_MS;
            let ms = 1_000 + offset / PER_MS;
            for (to, from) in [
                (RewindTo::Offset(*offset), *offset),
                (RewindTo::Time(ms), of_time),
                (RewindTo::Time(ms + 1), of_time + PER_MS),
            ] {
                let rewound = rig.rewind(to).expect("rewound");
                let expected = (from < COUNT).then_some(from);
                assert_eq!(rewound, (expected, COUNT.saturating_sub(from)), "{to:?}");
                let bytes: u64 = (from..COUNT).map(size).sum();
                assert_eq!(rig.state.counts().ready_bytes, bytes, "{to:?}");
                let taken: Vec<u64> = take_all(&mut rig);
                assert!(taken.into_iter().eq(from..COUNT), "{to:?}");
            }
        }
    }
}

#[test]
fn an_expired_lifetime_wins_over_a_rewind() {
    let mut rig = rig(&[
        ("x-message-ttl", long(1_000)),
        ("x-dead-letter-exchange", text("dlx")),
    ]);
    rig.publish(&[message("a")]);
    rig.drain();
    rig.now_ms += 500;
    rig.publish(&[message("b")]);
    rig.drain();
    rig.now_ms += 700;
    assert_eq!(rig.rewind(RewindTo::Time(0)).expect("rewound").1, 2);
    assert_eq!(rig.drain(), ["b"]);
    assert_eq!(rig.dead.len(), 1);
    assert_eq!(rig.rewind(RewindTo::Time(0)).expect("rewound").1, 1);
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
    SettleAgain {
        which: usize,
    },
    Receive,
    Delete {
        which: usize,
    },
    DeleteAgain {
        which: usize,
    },
    Advance(u64),
    Purge,
    Rewind {
        to: To,
        meanwhile: usize,
    },
    Commit,
    Shrink,
    Restart,
    Keep(Option<u64>),
}

#[derive(Clone, Copy, Debug)]
enum To {
    /// So many milliseconds ago.
    Ago(u64),
    /// So many hundredths of the way to the next offset.
    Share(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let how =
        prop_oneof![4 => Just(Settle::Ack), 1 => Just(Settle::Requeue), 1 => Just(Settle::Reject)];
    let to = prop_oneof![
        (0u64..4_000).prop_map(To::Ago),
        (0u64..100).prop_map(To::Share)
    ];
    prop_oneof![
        6 => (1usize..6, 1usize..60, prop::bool::weighted(0.8)).prop_map(|(count, size, persistent)| Step::Publish { count, size, persistent }),
        8 => Just(Step::Get),
        8 => (how, any::<usize>()).prop_map(|(how, which)| Step::Settle { how, which }),
        1 => any::<usize>().prop_map(|which| Step::SettleAgain { which }),
        4 => Just(Step::Receive),
        4 => any::<usize>().prop_map(|which| Step::Delete { which }),
        1 => any::<usize>().prop_map(|which| Step::DeleteAgain { which }),
        4 => (0u64..400).prop_map(Step::Advance),
        1 => Just(Step::Purge),
        3 => (to, 0usize..4).prop_map(|(to, meanwhile)| Step::Rewind { to, meanwhile }),
        3 => Just(Step::Commit),
        2 => Just(Step::Shrink),
        1 => Just(Step::Restart),
        1 => prop_oneof![Just(None), (500u64..4_000).prop_map(Some)].prop_map(Step::Keep),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Being {
    Ready,
    Leased(Lease),
    /// By handle, for longer than all this takes.
    Received(Lease, Handle),
    Acked,
    Gone,
}

#[derive(Clone, Debug)]
struct Known {
    body: Bytes,
    enqueued_ms: u64,
    persistent: bool,
    redelivered: bool,
    being: Being,
}

/// Every message there ever was.
#[derive(Default)]
struct Model {
    messages: BTreeMap<u64, Known>,
    keeps_ms: Option<u64>,
    ended: Vec<Lease>,
    used: Vec<Handle>,
    /// What was enqueued before may have gone, because so little was kept once.
    since: u64,
}

impl Model {
    fn publish(&mut self, rig: &mut Rig, count: usize, size: usize, persistent: bool) {
        let mut run = Vec::new();
        for _ in 0..count {
            let offset = self.messages.len() as u64;
            let text = format!("{offset:size$}");
            let message = with(&text, |m| m.persistent = persistent);
            let known = Known {
                body: body(&message),
                enqueued_ms: rig.now_ms,
                persistent,
                redelivered: false,
                being: Being::Ready,
            };
            self.messages.insert(offset, known);
            run.push(message);
        }
        rig.publish(&run);
    }

    fn get(&mut self, rig: &mut Rig) {
        let expected = self
            .messages
            .iter_mut()
            .find(|(_, known)| known.being == Being::Ready);
        match (rig.get(), expected) {
            (None, None) => {}
            (Some((lease, body, redelivered)), Some((offset, known))) => {
                assert_eq!(
                    (lease.offset, &body, redelivered),
                    (*offset, &known.body, known.redelivered)
                );
                known.being = Being::Leased(lease);
            }
            (got, expected) => panic!("got {got:?}, expected {expected:?}"),
        }
    }

    fn settle(&mut self, rig: &mut Rig, how: Settle, which: usize) {
        let leased: Vec<u64> = self
            .messages
            .iter()
            .filter(|(_, known)| matches!(known.being, Being::Leased(_)))
            .map(|(offset, _)| *offset)
            .collect();
        let Some(offset) = leased.get(which % leased.len().max(1)) else {
            return;
        };
        let known = self.messages.get_mut(offset).expect("leased");
        let Being::Leased(lease) = known.being else {
            return;
        };
        rig.settle(how, &[lease]);
        self.ended.push(lease);
        known.redelivered |= how == Settle::Requeue;
        known.being = match how {
            Settle::Ack if self.keeps_ms.is_some() => Being::Acked,
            Settle::Requeue => Being::Ready,
            Settle::Ack | Settle::Reject => Being::Gone,
        };
    }

    fn receive(&mut self, rig: &mut Rig) {
        let ready = |known: &Known| known.being == Being::Ready;
        let expected = self.messages.iter_mut().find(|(_, known)| ready(known));
        match (rig.receive(1).pop(), expected) {
            (None, None) => {}
            (Some(received), Some((offset, known))) => {
                assert_eq!(
                    (received.id.offset, &body(&received.message)),
                    (*offset, &known.body)
                );
                known.being = Being::Received(received.lease, received.handle);
            }
            (got, expected) => panic!("got {got:?}, expected {expected:?}"),
        }
    }

    fn delete(&mut self, rig: &mut Rig, which: usize) {
        let received = |known: &&mut Known| matches!(known.being, Being::Received(..));
        let mut received: Vec<_> = self.messages.values_mut().filter(received).collect();
        let count = received.len().max(1);
        let Some(known) = received.get_mut(which % count) else {
            return;
        };
        let Being::Received(_, handle) = known.being else {
            return;
        };
        assert_eq!(rig.delete(handle), [true], "{handle:?}");
        self.used.push(handle);
        known.being = match self.keeps_ms {
            Some(_) => Being::Acked,
            None => Being::Gone,
        };
    }

    /// What was acked at or after the place, oldest first.
    fn candidates(&self, to: RewindTo) -> Vec<u64> {
        self.messages
            .iter()
            .filter(|(offset, known)| {
                known.being == Being::Acked
                    && match to {
                        RewindTo::Time(ms) => known.enqueued_ms >= ms,
                        RewindTo::Offset(from) => **offset >= from,
                    }
            })
            .map(|(offset, _)| *offset)
            .collect()
    }

    fn rewind(&mut self, rig: &mut Rig, to: RewindTo, meanwhile: usize) {
        let rewound = rig.rewind_while(to, |rig| {
            // What goes on while the store is searched.
            for nth in 0..meanwhile {
                self.publish(rig, 1, nth, true);
                self.get(rig);
                self.settle(rig, Settle::Ack, nth);
            }
        });
        let (from, count) = match (rewound, self.keeps_ms) {
            (Ok(rewound), Some(_)) => rewound,
            (Err(RewindError::NotEnabled), None) => return,
            (Err(RewindError::NoSuchOffset { next: 0 }), _) => return,
            (rewound, keeps) => panic!("{rewound:?} where {keeps:?} is kept"),
        };
        let candidates = self.candidates(to);
        let old = candidates
            .len()
            .checked_sub(usize::try_from(count).unwrap())
            .expect("no more than was acked");
        let since = self.since(rig);
        for (nth, offset) in candidates.iter().enumerate() {
            let known = self.messages.get_mut(offset).expect("known");
            if nth < old {
                assert!(known.enqueued_ms < since, "{offset} is not too old");
                known.being = Being::Gone;
            } else {
                known.being = Being::Ready;
                known.redelivered = true;
            }
        }
        assert_eq!(from, candidates.get(old).copied());
    }

    fn restart(&mut self, rig: &mut Rig) {
        rig.commit();
        rig.restart();
        self.ended.clear();
        for known in self.messages.values_mut() {
            known.redelivered = true;
            if !known.persistent {
                known.being = Being::Gone;
            } else if matches!(known.being, Being::Leased(_)) {
                known.being = Being::Ready;
            }
        }
    }

    fn since(&mut self, rig: &Rig) -> u64 {
        let keeps_ms = self.keeps_ms.unwrap_or(u64::MAX);
        self.since = self.since.max(rig.now_ms.saturating_sub(keeps_ms));
        self.since
    }

    fn check(&mut self, rig: &Rig) {
        let since = self.since(rig);
        let counts = rig.state.counts();
        let of = |being: fn(&Being) -> bool| {
            self.messages
                .values()
                .filter(move |known| being(&known.being))
        };
        let ready = of(|being| *being == Being::Ready);
        assert_eq!(counts.ready, ready.clone().count() as u64);
        assert_eq!(
            counts.ready_bytes,
            ready.map(|known| known.body.len() as u64).sum::<u64>()
        );
        assert_eq!(
            counts.unacked,
            of(|being| matches!(being, Being::Leased(_) | Being::Received(..))).count() as u64
        );
        let acked: Vec<_> = of(|being| *being == Being::Acked).collect();
        let young = acked
            .iter()
            .filter(|known| known.enqueued_ms >= since)
            .count() as u64;
        let kept = counts.rewindable;
        assert!(
            young <= kept && kept <= acked.len() as u64,
            "{young} <= {kept} <= {}",
            acked.len()
        );
        let newest = acked.iter().rev().take(usize::try_from(kept).unwrap());
        assert_eq!(
            counts.rewindable_bytes,
            newest.map(|known| known.body.len() as u64).sum::<u64>()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn rewinding_brings_back_what_was_acked_in_the_window(steps in prop::collection::vec(step(), 1..150)) {
        let mut rig = Rig::new(&[("x-rewind-seconds", long(2))]);
        let mut model = Model { keeps_ms: Some(2_000), ..Model::default() };
        for step in steps {
            match step {
                Step::Publish { count, size, persistent } => model.publish(&mut rig, count, size, persistent),
                Step::Get => model.get(&mut rig),
                Step::Settle { how, which } => model.settle(&mut rig, how, which),
                Step::SettleAgain { which } => {
                    if let Some(lease) = model.ended.get(which % model.ended.len().max(1)) {
                        rig.settle(Settle::Ack, &[*lease]);
                    }
                }
                Step::Receive => model.receive(&mut rig),
                Step::Delete { which } => model.delete(&mut rig, which),
                Step::DeleteAgain { which } => {
                    if let Some(handle) = model.used.get(which % model.used.len().max(1)) {
                        prop_assert_eq!(rig.delete(*handle), [false]);
                    }
                }
                Step::Advance(ms) => rig.tick(rig.now_ms + ms),
                Step::Purge => {
                    rig.state.purge(rig.now_ms, &mut rig.fx);
                    rig.carry_out();
                    for known in model.messages.values_mut().filter(|known| known.being == Being::Ready) {
                        known.being = Being::Gone;
                    }
                }
                Step::Rewind { to: To::Ago(ms), meanwhile } => {
                    let to = RewindTo::Time(rig.now_ms.saturating_sub(ms));
                    model.rewind(&mut rig, to, meanwhile);
                }
                Step::Rewind { to: To::Share(share), meanwhile } => {
                    let to = RewindTo::Offset(model.messages.len() as u64 * share / 100);
                    model.rewind(&mut rig, to, meanwhile);
                }
                Step::Commit => rig.commit(),
                Step::Shrink => rig.shrink(0),
                Step::Restart => model.restart(&mut rig),
                Step::Keep(keeps_ms) => {
                    rig.keep(keeps_ms);
                    model.keeps_ms = keeps_ms;
                    if keeps_ms.is_none() {
                        for known in model.messages.values_mut().filter(|known| known.being == Being::Acked) {
                            known.being = Being::Gone;
                        }
                    }
                }
            }
            model.check(&rig);
        }
        // Everything that is kept, once more, with the times at which it was enqueued.
        if model.keeps_ms.is_some() {
            model.rewind(&mut rig, RewindTo::Time(0), 0);
            let ready: Vec<_> = model.messages.iter().filter(|(_, known)| known.being == Being::Ready).collect();
            for (offset, known) in ready {
                let (lease, body, redelivered, enqueued_ms) = rig.get_with_time().expect("a message");
                prop_assert_eq!(
                    (lease.offset, body, redelivered, enqueued_ms),
                    (*offset, known.body.clone(), known.redelivered, known.enqueued_ms)
                );
                rig.settle(Settle::Ack, &[lease]);
            }
            prop_assert!(rig.get().is_none());
        }
        // When everything is acked and too old, nothing is left on disk.
        rig.drain();
        let leases: Vec<Lease> = model.messages.values()
            .filter_map(|known| match known.being {
                Being::Leased(lease) | Being::Received(lease, _) => Some(lease),
                Being::Ready | Being::Acked | Being::Gone => None,
            })
            .collect();
        rig.settle(Settle::Ack, &leases);
        rig.commit();
        rig.tick(rig.now_ms + 10_000);
        rig.commit();
        prop_assert_eq!(rig.chunks_on_disk(), 0);
        for (_, state) in rig.store.logs().expect("memory store") {
            prop_assert_eq!(state.record.floor, state.record.next);
            prop_assert!(state.settled.is_empty() && state.gone.is_empty() && state.marks.is_empty());
            prop_assert!(state.receives.is_empty() && state.counts.is_empty());
        }
    }
}
