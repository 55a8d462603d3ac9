//! Compares the queue with a model that has every message in one list. The same commands must give the same
//! deliveries, counts and recovered messages, whichever messages are resident.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use crate::broker::queue::effects::Acknowledgement;
use crate::model::Lease;

use super::rig::{Rig, body, with};

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
    Purge,
    Commit,
    Evict(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![3 => Just(Acknowledgement::Ack), 2 => Just(Acknowledgement::Requeue), 1 => Just(Acknowledgement::Reject)];
    prop_oneof![
        5 => (1..6usize, prop_oneof![Just(10usize), Just(100), Just(40_000)], prop::bool::weighted(0.8))
            .prop_map(|(count, size, persistent)| Step::Publish { count, size, persistent }),
        6 => Just(Step::Get),
        5 => (how, 0..50usize).prop_map(|(how, which)| Step::Settle { how, which }),
        1 => Just(Step::Purge),
        4 => Just(Step::Commit),
        3 => (0..100_000u64).prop_map(Step::Evict),
        1 => Just(Step::Restart),
    ]
}

/// The expected queue: every unsettled message by offset.
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
                        rig.acknowledge(how, &[Lease { offset: *offset, turn, lane: 0 }]);
                        if how == Acknowledgement::Requeue {
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
                Step::Evict(target) => rig.evict(target),
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
        // In the end all messages can be drained in order, and then nothing is left on disk.
        let rest: Vec<Bytes> = model.messages.values().filter(|known| !known.leased).map(|known| known.body.clone()).collect();
        let mut drained = Vec::new();
        while let Some((id, body, _)) = rig.get() {
            drained.push(body);
            rig.acknowledge(Acknowledgement::Ack, &[id]);
        }
        prop_assert_eq!(drained, rest);
        let leased: Vec<Lease> = model.messages.iter().filter(|(_, known)| known.leased)
            .map(|(offset, known)| Lease { offset: *offset, turn: known.turn, lane: 0 }).collect();
        rig.acknowledge(Acknowledgement::Ack, &leased);
        rig.commit();
        prop_assert_eq!(rig.state.resident_bytes(), 0);
    }
}
