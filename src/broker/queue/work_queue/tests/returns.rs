//! Returned messages: their order, their next consumers, and the counts that deliveries report.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use crate::broker::queue::consumer::ReturnCounts;
use crate::broker::queue::death::DeathReason;
use crate::broker::queue::effects::Acknowledgement;
use crate::model::{ConsumerId, Lease, Message};
use crate::wire::AMQPValue;

use super::rig::{Rig, body, long, message, set_priority, text, with};

fn quorum(arguments: &[(&str, AMQPValue)]) -> Rig {
    let mut all = vec![("x-queue-type", text("quorum"))];
    all.extend(arguments.iter().cloned());
    Rig::new(&all)
}

fn single_active(kind: &str) -> Rig {
    let single = ("x-single-active-consumer", AMQPValue::Boolean(true));
    Rig::new(&[("x-queue-type", text(kind)), single])
}

fn high(text: &str) -> Arc<Message> {
    with(text, |m| m.priority = 9)
}

/// Gets all ready messages, in order.
fn drain(rig: &mut Rig) -> String {
    let bodies: Vec<String> = std::iter::from_fn(|| rig.get())
        .map(|(_, body, _)| String::from_utf8_lossy(&body).into_owned())
        .collect();
    bodies.join(" ")
}

/// Deliveries so far: consumer, body, `redelivered` and number of returns.
fn delivered(rig: &mut Rig) -> Vec<(u64, Bytes, bool, u32)> {
    let deliveries = rig.take_deliveries().into_iter();
    deliveries
        .map(|d| {
            (
                d.consumer.0,
                body(&d.message),
                d.redelivered,
                d.counts.acquired,
            )
        })
        .collect()
}

fn leave(rig: &mut Rig, consumers: &[ConsumerId], leases: &[Lease]) {
    rig.state.leave(rig.now_ms, consumers, leases, &mut rig.fx);
    rig.carry_out();
}

fn first(text: &str, consumer: u64) -> (u64, Bytes, bool, u32) {
    let text = Bytes::copy_from_slice(text.as_bytes());
    (consumer, text, false, 0)
}

fn again(text: &str, consumer: u64, returns: u32) -> (u64, Bytes, bool, u32) {
    let text = Bytes::copy_from_slice(text.as_bytes());
    (consumer, text, true, returns)
}

#[test]
fn returned_messages_of_quorum_queues_go_before_all_others_in_the_order_of_their_return() {
    for limit in [None, Some(5)] {
        let limit: Vec<_> = limit
            .map(|limit| ("x-delivery-limit", long(limit)))
            .into_iter()
            .collect();
        let mut rig = quorum(&limit);
        rig.publish(&[message("1"), message("2"), high("h")]);
        let h = rig.get().expect("h").0;
        let one = rig.get().expect("1").0;
        rig.acknowledge(Acknowledgement::Requeue, &[one]);
        rig.acknowledge(Acknowledgement::Requeue, &[h]);
        rig.publish(&[message("3"), high("H")]);
        assert_eq!(rig.state.counts().ready, 5);
        assert_eq!(drain(&mut rig), "1 h H 2 3");
    }
}

#[test]
fn the_next_active_consumer_begins_with_the_messages_of_the_last_one() {
    for kind in ["classic", "quorum"] {
        let mut rig = single_active(kind);
        let active = rig.consume(1, false, 0, 3).expect("a consumer");
        rig.consume(2, false, 0, 4).expect("a consumer");
        rig.publish(&["a", "b", "c", "d", "e"].map(message));
        let held: Vec<Lease> = rig.take_deliveries().iter().map(|d| d.lease).collect();
        assert_eq!(held.len(), 3);
        rig.state.halt(&[active]);
        // No consumer takes over before the messages are back.
        rig.consume(3, false, 9, 4).expect("a consumer");
        rig.publish(&[message("f")]);
        assert_eq!(delivered(&mut rig), [], "{kind}");
        leave(&mut rig, &[active], &held);
        let heir = 3;
        let expected = [
            again("a", heir, 1),
            again("b", heir, 1),
            again("c", heir, 1),
            first("d", heir),
        ];
        assert_eq!(delivered(&mut rig), expected, "{kind}");
    }
}

#[test]
fn consumers_that_end_together_give_each_other_nothing() {
    let mut rig = quorum(&[
        ("x-delivery-limit", long(1)),
        ("x-dead-letter-exchange", text("dlx")),
    ]);
    let consumers = [1, 2, 3, 4].map(|id| rig.consume(id, false, 0, 1).expect("a consumer"));
    rig.publish(&["a", "b", "c", "d", "e", "f"].map(message));
    let held: Vec<Lease> = rig.take_deliveries().iter().map(|d| d.lease).collect();
    rig.state.halt(&consumers);
    rig.grant(consumers[0], 5);
    rig.publish(&[message("g")]);
    leave(&mut rig, &consumers, &held);
    assert_eq!((delivered(&mut rig), &rig.dead[..]), (vec![], &[][..]));
    assert_eq!(rig.state.counts().consumers, 0);
    rig.consume(5, false, 0, 10).expect("a consumer");
    let expected = ["a", "b", "c", "d"].map(|text| again(text, 5, 1));
    let rest = ["e", "f", "g"].map(|text| first(text, 5));
    assert_eq!(delivered(&mut rig), [&expected[..], &rest[..]].concat());
}

#[test]
fn on_quorum_queues_higher_priority_takes_over_when_the_active_one_holds_nothing() {
    let mut rig = single_active("quorum");
    rig.publish(&["a", "b", "c", "d"].map(message));
    let low = rig.consume(1, false, 0, 2).expect("a consumer");
    let held: Vec<Lease> = rig.take_deliveries().iter().map(|d| d.lease).collect();
    rig.consume(2, false, 5, 1).expect("a consumer");
    rig.acknowledge(Acknowledgement::Ack, &held[..1]);
    rig.grant(low, 1);
    assert_eq!(delivered(&mut rig), []);
    let active = |rig: &Rig| -> Vec<bool> {
        let infos = rig.state.consumer_infos();
        infos.iter().map(|info| info.active).collect()
    };
    assert_eq!(active(&rig), [true, false]);
    rig.acknowledge(Acknowledgement::Requeue, &held[1..]);
    assert_eq!(delivered(&mut rig), [again("b", 2, 1)]);
    assert_eq!(active(&rig), [false, true]);
    // If the consumer that waits to take over leaves, the active one goes on.
    let mut rig = single_active("quorum");
    rig.publish(&["a", "b"].map(message));
    let low = rig.consume(1, false, 0, 1).expect("a consumer");
    let higher = rig.consume(2, false, 5, 1).expect("a consumer");
    rig.grant(low, 1);
    assert_eq!(delivered(&mut rig), [first("a", 1)]);
    leave(&mut rig, &[higher], &[]);
    assert_eq!(delivered(&mut rig), [first("b", 1)]);
}

#[test]
fn an_active_consumer_that_misses_a_deadline_loses_its_place_until_it_acks() {
    for kind in ["classic", "quorum"] {
        let mut rig = single_active(kind);
        let mut held = Vec::new();
        rig.publish(&["a", "b", "c"].map(message));
        let late = rig.consume_for(Some(100), 1, false, 0, 2).expect("first");
        held.extend(rig.take_deliveries().into_iter().map(|d| d.lease));
        let other = rig.consume(2, false, 0, 1).expect("a consumer");
        rig.tick(1_100);
        assert_eq!(delivered(&mut rig), [again("a", 2, 1)], "{kind}");
        rig.grant(late, 5);
        rig.acknowledge(Acknowledgement::Ack, &held);
        rig.grant(other, 1);
        assert_eq!(delivered(&mut rig), [again("b", 2, 1)], "{kind}");
        // It has acked, too late for the messages, and is next again.
        leave(&mut rig, &[other], &[]);
        assert_eq!(delivered(&mut rig), [first("c", 1)], "{kind}");
    }
}

#[test]
fn a_message_with_time_to_live_zero_goes_to_a_waiting_consumer_or_is_dropped() {
    for kind in ["classic", "quorum"] {
        let kind = ("x-queue-type", text(kind));
        let mut by_queue = Rig::new(&[kind.clone(), ("x-message-ttl", long(0))]);
        let mut by_message = Rig::new(&[kind]);
        for rig in [&mut by_queue, &mut by_message] {
            let publish = with("x", |m| m.expiration_ms = Some(0));
            let consumer = rig.consume(1, false, 0, 10).expect("a consumer");
            // All within one millisecond.
            rig.publish(&[Arc::clone(&publish)]);
            let [delivery] = &rig.take_deliveries()[..] else {
                panic!("not delivered");
            };
            rig.acknowledge(Acknowledgement::Requeue, &[delivery.lease]);
            assert_eq!((delivered(rig), rig.state.counts().ready), (vec![], 0));
            rig.publish(&[Arc::clone(&publish)]);
            let lease = rig.take_deliveries()[0].lease;
            leave(rig, &[], &[lease]);
            assert_eq!((delivered(rig), rig.state.counts().ready), (vec![], 0));
            leave(rig, &[consumer], &[]);
            rig.publish(&[message("long"), publish]);
            rig.consume(2, false, 0, 10).expect("a consumer");
            assert!(delivered(rig).iter().all(|(_, text, ..)| text == "long"));
            assert_eq!(rig.state.counts().ready, 0);
        }
    }
}

#[test]
fn a_message_expires_in_the_millisecond_in_which_its_time_is_over() {
    let mut rig = Rig::new(&[("x-message-ttl", long(100))]);
    rig.publish(&[message("a")]);
    rig.now_ms += 99;
    let lease = rig.get().expect("in time").0;
    rig.acknowledge(Acknowledgement::Requeue, &[lease]);
    rig.now_ms += 1;
    rig.consume(1, false, 0, 10).expect("a consumer");
    assert_eq!((delivered(&mut rig), rig.state.counts().ready), (vec![], 0));
}

#[test]
fn a_dead_letter_tells_a_quorum_queue_how_often_consumers_failed() {
    let dead = ("x-dead-letter-exchange", text("dlx"));
    let ttl = ("x-message-ttl", long(100));
    for (refuses, fails, rejects, failures) in [
        (1, 0, false, 0),
        (0, 2, false, 2),
        (0, 0, true, 1),
        (1, 1, true, 2),
    ] {
        let mut rig = quorum(&[dead.clone(), ttl.clone()]);
        rig.publish(&[message("m")]);
        for _ in 0..refuses {
            let lease = rig.get().expect("a message").0;
            rig.acknowledge(Acknowledgement::Requeue, &[lease]);
        }
        for _ in 0..fails {
            let lease = rig.get().expect("a message").0;
            leave(&mut rig, &[], &[lease]);
        }
        if rejects {
            let lease = rig.get().expect("a message").0;
            rig.acknowledge(Acknowledgement::RejectFailed, &[lease]);
        } else {
            rig.tick(rig.now_ms + 100);
        }
        assert_eq!(rig.failures, [failures]);
        // The target reports the failures until the message comes back for the first time.
        let letter = with("m", |m| m.failures = failures);
        let mut target = quorum(&[]);
        target.consume(1, false, 0, 10).expect("a consumer");
        target.publish(&[Arc::clone(&letter)]);
        let [delivery] = &target.take_deliveries()[..] else {
            panic!("not delivered");
        };
        let told = (delivery.redelivered, delivery.counts);
        let counts = |acquired, delivery| ReturnCounts { acquired, delivery };
        assert_eq!(told, (failures > 0, counts(failures, failures)));
        let lease = delivery.lease;
        leave(&mut target, &[], &[lease]);
        let [delivery] = &target.take_deliveries()[..] else {
            panic!("not delivered");
        };
        assert_eq!(delivery.counts, counts(1, failures + 1));
        let mut classic = Rig::new(&[]);
        classic.publish(&[letter]);
        assert_eq!(classic.get().expect("the letter").2, failures > 0);
    }
}

#[test]
fn a_failed_delivery_counts_against_the_limit_and_a_refused_one_does_not() {
    let mut rig = quorum(&[("x-delivery-limit", long(1))]);
    rig.publish(&[message("m")]);
    for _ in 0..5 {
        let lease = rig.get().expect("a message").0;
        rig.acknowledge(Acknowledgement::Requeue, &[lease]);
    }
    let lease = rig.get().expect("a message").0;
    rig.acknowledge(Acknowledgement::RequeueFailed, &[lease]);
    rig.commit();
    rig.restart();
    rig.consume(1, false, 0, 1).expect("a consumer");
    let [delivery] = &rig.take_deliveries()[..] else {
        panic!("not delivered");
    };
    let counts = ReturnCounts {
        acquired: 6,
        delivery: 1,
    };
    assert_eq!(delivery.counts, counts);
    let lease = delivery.lease;
    rig.acknowledge(Acknowledgement::RequeueFailed, &[lease]);
    assert_eq!(rig.state.counts().ready, 0);
}

#[test]
fn the_failures_that_a_dead_letter_brings_count_against_the_limit() {
    let mut rig = quorum(&[("x-delivery-limit", long(2))]);
    rig.publish(&[with("m", |m| m.failures = 2)]);
    let lease = rig.get().expect("a message").0;
    rig.acknowledge(Acknowledgement::RequeueFailed, &[lease]);
    assert_eq!(rig.state.counts().ready, 0);
}

#[test]
fn purges_and_limits_drop_returned_messages_too() {
    let mut rig = quorum(&[("x-max-length", long(3))]);
    rig.publish(&["1", "2", "3"].map(message));
    let leases = [1, 2].map(|_| rig.get().expect("a message").0);
    rig.acknowledge(Acknowledgement::Requeue, &leases);
    rig.publish(&[message("4")]);
    // The length limit drops the message at the head.
    assert_eq!(drain(&mut rig), "2 3 4");
    let mut rig = quorum(&[]);
    rig.publish(&["1", "2"].map(message));
    let lease = rig.get().expect("a message").0;
    rig.acknowledge(Acknowledgement::Requeue, &[lease]);
    assert_eq!(rig.state.purge(rig.now_ms, &mut rig.fx), 2);
    assert_eq!(rig.state.counts().ready, 0);
    rig.publish(&[message("3")]);
    assert_eq!(drain(&mut rig), "3");
}

#[test]
fn a_dead_message_among_the_returned_is_skipped() {
    let mut rig = quorum(&[
        ("x-delivery-limit", long(1)),
        ("x-dead-letter-exchange", text("dlx")),
    ]);
    rig.publish(&["1", "2", "3"].map(message));
    for _ in 0..2 {
        let leases = [1, 2].map(|_| rig.get().expect("a message").0);
        rig.acknowledge(Acknowledgement::RequeueFailed, &leases);
    }
    let died = ["1", "2"].map(|text| (Bytes::from(text), DeathReason::DeliveryLimit));
    assert_eq!(rig.dead, died);
    assert_eq!(drain(&mut rig), "3");
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        count: usize,
        size: usize,
        priority: Option<u8>,
    },
    Get,
    Refuse(usize),
    Fail(usize),
    Ack(usize),
    Commit,
    Evict(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![Just(10usize), Just(40_000)];
    prop_oneof![
        4 => (1..6usize, size, prop::option::of(prop_oneof![0..8u8, 29..40u8]))
            .prop_map(|(count, size, priority)| Step::Publish { count, size, priority }),
        6 => Just(Step::Get),
        4 => (0..9usize).prop_map(Step::Refuse),
        2 => (0..9usize).prop_map(Step::Fail),
        2 => (0..9usize).prop_map(Step::Ack),
        3 => Just(Step::Commit),
        2 => (0..100_000u64).prop_map(Step::Evict),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The model has a list for the returned messages, and one for each of the others' levels.
    #[test]
    fn returned_messages_are_ordered_as_in_lists(
        with_levels: bool,
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut rig = quorum(&[("x-delivery-limit", long(1_000))]);
        let mut number = 0u64;
        let (mut returned, mut waiting) = (VecDeque::new(), BTreeMap::<u8, VecDeque<u64>>::new());
        let mut held: Vec<(Lease, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Publish { count, size, priority } => {
                    let priority = priority.filter(|_| with_levels);
                    let run: Vec<_> = (0..count).map(|_| {
                        number += 1;
                        let level = priority.map_or(4, |priority| priority.min(31));
                        waiting.entry(level).or_default().push_back(number);
                        let text = format!("{number:06}{}", "x".repeat(size));
                        with(&text, |m| set_priority(m, priority))
                    }).collect();
                    rig.publish(&run);
                }
                Step::Get => {
                    let expected = returned.pop_front().or_else(|| {
                        let mut levels = waiting.values_mut().rev();
                        levels.find_map(VecDeque::pop_front)
                    });
                    let got = rig.get().map(|(lease, body, _)| {
                        let number = std::str::from_utf8(&body[..6]).expect("a number");
                        (lease, number.parse::<u64>().expect("a number"))
                    });
                    prop_assert_eq!(got.map(|(_, number)| number), expected);
                    held.extend(got);
                }
                Step::Refuse(which) | Step::Fail(which) if which < held.len() => {
                    let (lease, number) = held.remove(which);
                    if matches!(step, Step::Fail(_)) {
                        leave(&mut rig, &[], &[lease]);
                    } else {
                        rig.acknowledge(Acknowledgement::Requeue, &[lease]);
                    }
                    returned.push_back(number);
                }
                Step::Ack(which) if which < held.len() => {
                    rig.acknowledge(Acknowledgement::Ack, &[held.remove(which).0]);
                }
                Step::Refuse(_) | Step::Fail(_) | Step::Ack(_) => {}
                Step::Commit => rig.commit(),
                Step::Evict(target) => rig.evict(target),
                Step::Restart if !with_levels => {
                    rig.commit();
                    rig.restart();
                    let waits = waiting.entry(4).or_default();
                    waits.append(&mut returned);
                    waits.extend(held.drain(..).map(|(_, number)| number));
                    waits.make_contiguous().sort_unstable();
                }
                Step::Restart => {}
            }
            let ready = returned.len() + waiting.values().map(VecDeque::len).sum::<usize>();
            let counts = rig.state.counts();
            prop_assert_eq!((counts.ready, counts.unacked), (ready as u64, held.len() as u64));
        }
    }
}
