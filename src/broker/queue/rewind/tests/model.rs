//! Rewinds against a model that keeps every message in one list.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use crate::broker::queue::effects::Settle;
use crate::broker::queue::receive::receipt_handle::ReceiptHandle;
use crate::broker::queue::rewind::plan::RewindError;
use crate::broker::queue::rewind::rewind_to::RewindTo;
use crate::broker::queue::work::tests::rig::{Rig, body, long, with};
use crate::model::Lease;
use crate::store::Store;

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
    Evict,
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
        2 => Just(Step::Evict),
        1 => Just(Step::Restart),
        1 => prop_oneof![Just(None), (500u64..4_000).prop_map(Some)].prop_map(Step::Keep),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Being {
    Ready,
    Leased(Lease),
    /// By handle, for longer than all this takes.
    Received(Lease, ReceiptHandle),
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
    used: Vec<ReceiptHandle>,
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
                Step::Evict => rig.evict(0),
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
            prop_assert!(state.settled.is_empty() && state.gone.is_empty() && state.stretches.is_empty());
            prop_assert!(state.receives.is_empty() && state.counts.is_empty());
        }
    }
}
