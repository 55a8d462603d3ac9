//! Rewinds compared with a model that has every message in one list.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use crate::broker::queue::effects::Acknowledgement;
use crate::broker::queue::receive::receipt_handle::ReceiptHandle;
use crate::broker::queue::rewind::plan::RewindError;
use crate::broker::queue::rewind::rewind_to::RewindTo;
use crate::broker::queue::work_queue::tests::rig::{Rig, body, long, with};
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
        how: Acknowledgement,
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
    SetRewind(Option<u64>),
}

#[derive(Clone, Copy, Debug)]
enum To {
    /// This many milliseconds ago.
    Ago(u64),
    /// This percentage of the next offset.
    Percent(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![4 => Just(Acknowledgement::Ack), 1 => Just(Acknowledgement::Requeue), 1 => Just(Acknowledgement::Reject)];
    let to = prop_oneof![
        (0u64..4_000).prop_map(To::Ago),
        (0u64..100).prop_map(To::Percent)
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
        1 => prop_oneof![Just(None), (500u64..4_000).prop_map(Some)].prop_map(Step::SetRewind),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Leased(Lease),
    /// A lease with a receipt handle, whose deadline is after the end of the test.
    Received(Lease, ReceiptHandle),
    Acked,
    Gone,
}

#[derive(Clone, Debug)]
struct ModelMessage {
    body: Bytes,
    enqueued_ms: u64,
    persistent: bool,
    redelivered: bool,
    state: State,
}

/// Every message that was ever published.
#[derive(Default)]
struct Model {
    messages: BTreeMap<u64, ModelMessage>,
    rewind_ms: Option<u64>,
    ended: Vec<Lease>,
    used: Vec<ReceiptHandle>,
    /// Messages enqueued before this may be gone: at some time the history did not reach further back.
    since: u64,
}

impl Model {
    fn publish(&mut self, rig: &mut Rig, count: usize, size: usize, persistent: bool) {
        let mut run = Vec::new();
        for _ in 0..count {
            let offset = self.messages.len() as u64;
            let text = format!("{offset:size$}");
            let message = with(&text, |m| m.persistent = persistent);
            let known = ModelMessage {
                body: body(&message),
                enqueued_ms: rig.now_ms,
                persistent,
                redelivered: false,
                state: State::Ready,
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
            .find(|(_, known)| known.state == State::Ready);
        match (rig.get(), expected) {
            (None, None) => {}
            (Some((lease, body, redelivered)), Some((offset, known))) => {
                assert_eq!(
                    (lease.offset, &body, redelivered),
                    (*offset, &known.body, known.redelivered)
                );
                known.state = State::Leased(lease);
            }
            (got, expected) => panic!("got {got:?}, expected {expected:?}"),
        }
    }

    fn settle(&mut self, rig: &mut Rig, how: Acknowledgement, which: usize) {
        let leased: Vec<u64> = self
            .messages
            .iter()
            .filter(|(_, known)| matches!(known.state, State::Leased(_)))
            .map(|(offset, _)| *offset)
            .collect();
        let Some(offset) = leased.get(which % leased.len().max(1)) else {
            return;
        };
        let known = self.messages.get_mut(offset).expect("leased");
        let State::Leased(lease) = known.state else {
            return;
        };
        rig.acknowledge(how, &[lease]);
        self.ended.push(lease);
        known.redelivered |= how == Acknowledgement::Requeue;
        known.state = match how {
            Acknowledgement::Ack if self.rewind_ms.is_some() => State::Acked,
            Acknowledgement::Requeue | Acknowledgement::RequeueFailed => State::Ready,
            Acknowledgement::Ack | Acknowledgement::Reject | Acknowledgement::RejectFailed => {
                State::Gone
            }
        };
    }

    fn receive(&mut self, rig: &mut Rig) {
        let ready = |known: &ModelMessage| known.state == State::Ready;
        let expected = self.messages.iter_mut().find(|(_, known)| ready(known));
        match (rig.receive(1).pop(), expected) {
            (None, None) => {}
            (Some(received), Some((offset, known))) => {
                assert_eq!(
                    (received.id.offset, &body(&received.message)),
                    (*offset, &known.body)
                );
                known.state = State::Received(received.lease, received.handle);
            }
            (got, expected) => panic!("got {got:?}, expected {expected:?}"),
        }
    }

    fn delete(&mut self, rig: &mut Rig, which: usize) {
        let received = |known: &&mut ModelMessage| matches!(known.state, State::Received(..));
        let mut received: Vec<_> = self.messages.values_mut().filter(received).collect();
        let count = received.len().max(1);
        let Some(known) = received.get_mut(which % count) else {
            return;
        };
        let State::Received(_, handle) = known.state else {
            return;
        };
        assert_eq!(rig.delete(handle), [true], "{handle:?}");
        self.used.push(handle);
        known.state = match self.rewind_ms {
            Some(_) => State::Acked,
            None => State::Gone,
        };
    }

    /// Acked messages at or after the position, oldest first.
    fn candidates(&self, to: RewindTo) -> Vec<u64> {
        self.messages
            .iter()
            .filter(|(offset, known)| {
                known.state == State::Acked
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
            // The queue goes on while the store is searched.
            for nth in 0..meanwhile {
                self.publish(rig, 1, nth, true);
                self.get(rig);
                self.settle(rig, Acknowledgement::Ack, nth);
            }
        });
        let (from, count) = match (rewound, self.rewind_ms) {
            (Ok(rewound), Some(_)) => rewound,
            (Err(RewindError::NotEnabled), None) => return,
            (Err(RewindError::NoSuchOffset { next: 0 }), _) => return,
            (rewound, rewind_ms) => panic!("{rewound:?} with a history of {rewind_ms:?} ms"),
        };
        let candidates = self.candidates(to);
        let old = candidates
            .len()
            .checked_sub(usize::try_from(count).unwrap())
            .expect("no more than were acked");
        let since = self.since(rig);
        for (nth, offset) in candidates.iter().enumerate() {
            let known = self.messages.get_mut(offset).expect("known");
            if nth < old {
                assert!(known.enqueued_ms < since, "{offset} is not too old");
                known.state = State::Gone;
            } else {
                known.state = State::Ready;
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
                known.state = State::Gone;
            } else if matches!(known.state, State::Leased(_)) {
                known.state = State::Ready;
            }
        }
    }

    fn since(&mut self, rig: &Rig) -> u64 {
        let rewind_ms = self.rewind_ms.unwrap_or(u64::MAX);
        self.since = self.since.max(rig.now_ms.saturating_sub(rewind_ms));
        self.since
    }

    fn check(&mut self, rig: &Rig) {
        let since = self.since(rig);
        let counts = rig.state.counts();
        let of =
            |is: fn(&State) -> bool| self.messages.values().filter(move |known| is(&known.state));
        let ready = of(|state| *state == State::Ready);
        assert_eq!(counts.ready, ready.clone().count() as u64);
        assert_eq!(
            counts.ready_bytes,
            ready.map(|known| known.body.len() as u64).sum::<u64>()
        );
        assert_eq!(
            counts.unacked,
            of(|state| matches!(state, State::Leased(_) | State::Received(..))).count() as u64
        );
        let acked: Vec<_> = of(|state| *state == State::Acked).collect();
        let young = acked
            .iter()
            .filter(|known| known.enqueued_ms >= since)
            .count() as u64;
        let rewindable = counts.rewindable;
        assert!(
            young <= rewindable && rewindable <= acked.len() as u64,
            "{young} <= {rewindable} <= {}",
            acked.len()
        );
        let newest = acked
            .iter()
            .rev()
            .take(usize::try_from(rewindable).unwrap());
        assert_eq!(
            counts.rewindable_bytes,
            newest.map(|known| known.body.len() as u64).sum::<u64>()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn a_rewind_brings_back_the_acked_messages_of_its_window(steps in prop::collection::vec(step(), 1..150)) {
        let mut rig = Rig::new(&[("x-rewind-seconds", long(2))]);
        let mut model = Model { rewind_ms: Some(2_000), ..Model::default() };
        for step in steps {
            match step {
                Step::Publish { count, size, persistent } => model.publish(&mut rig, count, size, persistent),
                Step::Get => model.get(&mut rig),
                Step::Settle { how, which } => model.settle(&mut rig, how, which),
                Step::SettleAgain { which } => {
                    if let Some(lease) = model.ended.get(which % model.ended.len().max(1)) {
                        rig.acknowledge(Acknowledgement::Ack, &[*lease]);
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
                    for known in model.messages.values_mut().filter(|known| known.state == State::Ready) {
                        known.state = State::Gone;
                    }
                }
                Step::Rewind { to: To::Ago(ms), meanwhile } => {
                    let to = RewindTo::Time(rig.now_ms.saturating_sub(ms));
                    model.rewind(&mut rig, to, meanwhile);
                }
                Step::Rewind { to: To::Percent(percent), meanwhile } => {
                    let to = RewindTo::Offset(model.messages.len() as u64 * percent / 100);
                    model.rewind(&mut rig, to, meanwhile);
                }
                Step::Commit => rig.commit(),
                Step::Evict => rig.evict(0),
                Step::Restart => model.restart(&mut rig),
                Step::SetRewind(rewind_ms) => {
                    rig.set_rewind(rewind_ms);
                    model.rewind_ms = rewind_ms;
                    if rewind_ms.is_none() {
                        for known in model.messages.values_mut().filter(|known| known.state == State::Acked) {
                            known.state = State::Gone;
                        }
                    }
                }
            }
            model.check(&rig);
        }
        // The whole history comes back once more, with the times at which its messages were enqueued.
        if model.rewind_ms.is_some() {
            model.rewind(&mut rig, RewindTo::Time(0), 0);
            let ready: Vec<_> = model.messages.iter().filter(|(_, known)| known.state == State::Ready).collect();
            for (offset, known) in ready {
                let (lease, body, redelivered, enqueued_ms) = rig.get_with_time().expect("a message");
                prop_assert_eq!(
                    (lease.offset, body, redelivered, enqueued_ms),
                    (*offset, known.body.clone(), known.redelivered, known.enqueued_ms)
                );
                rig.acknowledge(Acknowledgement::Ack, &[lease]);
            }
            prop_assert!(rig.get().is_none());
        }
        // When everything is acked and expired, the disk is empty.
        rig.drain();
        let leases: Vec<Lease> = model.messages.values()
            .filter_map(|known| match known.state {
                State::Leased(lease) | State::Received(lease, _) => Some(lease),
                State::Ready | State::Acked | State::Gone => None,
            })
            .collect();
        rig.acknowledge(Acknowledgement::Ack, &leases);
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
