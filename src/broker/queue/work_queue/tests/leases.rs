//! Leases of a work queue: when they end, and which acknowledgements count. Each message has one holder at
//! most, and no message is lost.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use crate::broker::queue::consumer::Credit;
use crate::broker::queue::death::DeathReason;
use crate::broker::queue::effects::Acknowledgement;
use crate::broker::queue::receive::receipt_handle::ReceiptHandle;
use crate::broker::queue::receive::received::Received;
use crate::model::{ConsumerId, Lease};
use crate::store::Store;
use crate::wire::AMQPValue;

use super::rig::{Rig, body, long, message, text};

fn timed(more: &[(&str, AMQPValue)]) -> Rig {
    let mut arguments = vec![("x-visibility-timeout", long(100))];
    arguments.extend_from_slice(more);
    Rig::new(&arguments)
}

#[test]
fn a_message_without_an_ack_in_time_goes_back_to_its_place() {
    let mut rig = timed(&[]);
    rig.publish(&["a", "b", "c"].map(message));
    rig.get().expect("a");
    let (b, ..) = rig.get().expect("b");
    assert_eq!(rig.state.deadline_ms(rig.now_ms), Some(1_100));
    rig.acknowledge(Acknowledgement::Ack, &[b]);
    rig.tick(1_099);
    assert_eq!(rig.state.counts().unacked, 1);
    rig.tick(1_100);
    let order: Vec<_> = std::iter::from_fn(|| rig.get())
        .map(|(lease, body, redelivered)| (body, lease.turn, redelivered))
        .collect();
    assert_eq!(order, [("a".into(), 1, true), ("c".into(), 0, false)]);
}

#[test]
fn the_next_consumer_gets_messages_that_the_first_did_not_ack() {
    let mut rig = timed(&[]);
    rig.consume_for(None, 1, false, 5, 1).expect("a consumer");
    rig.consume_for(None, 2, false, 0, 1).expect("a consumer");
    rig.publish(&[message("a")]);
    let [first] = &rig.take_deliveries()[..] else {
        panic!("not one delivery")
    };
    assert_eq!((first.consumer, first.redelivered), (ConsumerId(1), false));
    rig.tick(1_100);
    let [second] = &rig.take_deliveries()[..] else {
        panic!("not one delivery")
    };
    assert_eq!((second.consumer, second.redelivered), (ConsumerId(2), true));
    // Any acknowledgement by the first consumer now is too late.
    for how in [
        Acknowledgement::Ack,
        Acknowledgement::Reject,
        Acknowledgement::Requeue,
    ] {
        rig.acknowledge(how, &[first.lease]);
        assert_eq!(rig.state.counts().unacked, 1, "{how:?}");
    }
    rig.acknowledge(Acknowledgement::Ack, &[second.lease]);
    rig.acknowledge(Acknowledgement::Ack, &[second.lease]);
    assert_eq!(
        (rig.state.counts().ready, rig.state.counts().unacked),
        (0, 0)
    );
}

#[test]
fn an_ack_after_the_deadline_is_too_late_even_before_the_timer_runs() {
    for how in [Acknowledgement::Ack, Acknowledgement::Reject] {
        let mut rig = timed(&[]);
        rig.publish(&[message("a")]);
        let (lease, ..) = rig.get().expect("a");
        rig.now_ms = 1_100;
        rig.acknowledge(how, &[lease]);
        assert_eq!(rig.state.counts().ready, 1);
    }
}

#[test]
fn a_consumer_may_have_its_own_visibility_timeout() {
    let mut rig = timed(&[]);
    rig.consume_for(Some(10), 1, false, 5, 1)
        .expect("a consumer");
    rig.consume_for(Some(1_000), 2, false, 0, 1)
        .expect("a consumer");
    rig.publish(&["a", "b"].map(message));
    assert_eq!(rig.take_deliveries().len(), 2);
    assert_eq!(rig.state.deadline_ms(rig.now_ms), Some(1_010));
    rig.tick(1_010);
    assert_eq!(rig.state.counts().ready, 1);
    rig.tick(1_999);
    assert_eq!(rig.state.counts().ready, 1);
    rig.tick(2_000);
    assert_eq!(rig.state.counts().ready, 2);
}

#[test]
fn a_delivery_without_acks_has_no_deadline() {
    let mut rig = timed(&[]);
    rig.consume_for(Some(10), 1, true, 0, 1)
        .expect("a consumer");
    rig.publish(&[message("a")]);
    assert_eq!(rig.take_deliveries().len(), 1);
    assert_eq!(rig.state.deadline_ms(rig.now_ms), None);
    rig.tick(9_999);
    assert_eq!(
        (rig.state.counts().ready, rig.state.counts().unacked),
        (0, 0)
    );
}

#[test]
fn a_lease_that_runs_out_counts_towards_the_delivery_limit() {
    let mut rig = timed(&[
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", long(1)),
        ("x-dead-letter-exchange", text("dlx")),
    ]);
    rig.publish(&[message("poison")]);
    rig.get().expect("the first time");
    rig.tick(1_100);
    rig.get().expect("the second time");
    rig.tick(1_200);
    assert_eq!(rig.dead, [("poison".into(), DeathReason::DeliveryLimit)]);
    assert_eq!(
        (rig.state.counts().ready, rig.state.counts().unacked),
        (0, 0)
    );
}

#[test]
fn the_lease_of_a_cold_message_ends_too() {
    let mut rig = timed(&[]);
    rig.publish(&["a", "b"].map(message));
    rig.commit();
    rig.publish(&["c"].map(message));
    rig.commit();
    while rig.get().is_some() {}
    rig.evict(0);
    rig.tick(1_100);
    let order: Vec<_> = std::iter::from_fn(|| rig.get()).map(|got| got.1).collect();
    assert_eq!(order, ["a", "b", "c"]);
}

fn bodies(batch: &[Received]) -> Vec<Bytes> {
    batch
        .iter()
        .map(|received| body(&received.message))
        .collect()
}

#[test]
fn a_handle_outlives_a_restart_and_ends_in_time() {
    for kind in ["classic", "quorum"] {
        let mut rig = timed(&[("x-queue-type", text(kind))]);
        rig.publish(&["a", "b", "c"].map(message));
        rig.commit();
        let batch = rig.receive(2);
        assert_eq!(bodies(&batch), ["a", "b"]);
        rig.commit();
        rig.restart();
        assert_eq!(
            (rig.state.counts().ready, rig.state.counts().unacked),
            (1, 2)
        );
        assert_eq!(rig.state.counts().unacked_bytes, 2);
        let deleted = rig
            .state
            .delete_received(rig.now_ms, &[batch[0].handle], &mut rig.fx);
        assert_eq!(deleted, [true]);
        rig.tick(1_100);
        let again = rig.receive(16);
        assert_eq!(bodies(&again), ["b", "c"]);
        assert_eq!((again[0].count, again[0].first_received.ms()), (2, 1_000));
        rig.commit();
        // Ends while the broker is down.
        rig.now_ms = 1_300;
        rig.restart();
        assert_eq!(rig.state.counts().ready, 2);
        let last = rig.receive(16);
        assert_eq!((last[0].count, last[0].first_received.ms()), (3, 1_000));
        for old in [batch[1].handle, again[0].handle] {
            let deleted = rig.state.delete_received(rig.now_ms, &[old], &mut rig.fx);
            assert_eq!(deleted, [false]);
        }
    }
}

#[test]
fn the_last_change_of_a_lease_decides_its_end() {
    for restarts in [false, true] {
        let mut rig = timed(&[("x-queue-type", text("quorum"))]);
        rig.publish(&["a", "b"].map(message));
        let batch = rig.receive(2);
        rig.commit();
        let mut prolong = |which: usize, ms| {
            rig.state
                .prolong(rig.now_ms, batch[which].handle, ms, &mut rig.fx)
        };
        assert_eq!(prolong(0, 5_000), Some(6_000));
        assert_eq!(prolong(1, 10), Some(1_010));
        if restarts {
            rig.commit();
            rig.restart();
        }
        rig.tick(1_010);
        let again = rig.receive(16);
        assert_eq!((bodies(&again), again[0].count), (vec!["b".into()], 2));
        rig.tick(5_999);
        assert_eq!(rig.state.counts().unacked, 1);
        rig.tick(6_000);
        // In the order in which they came back.
        let again = rig.receive(2);
        let counts = [again[0].count, again[1].count];
        let expected = vec![Bytes::from("b"), Bytes::from("a")];
        assert_eq!((bodies(&again), counts), (expected, [3, 2]));
    }
}

#[test]
fn the_last_lease_that_ends_while_the_broker_is_down_is_dead_lettered() {
    let mut rig = timed(&[
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", long(0)),
        ("x-dead-letter-exchange", text("dlx")),
    ]);
    rig.publish(&["a", "b"].map(message));
    rig.receive(1);
    rig.commit();
    rig.now_ms = 9_999;
    rig.restart();
    assert_eq!(rig.dead, [("a".into(), DeathReason::DeliveryLimit)]);
    assert_eq!(rig.state.counts().ready, 1);
}

#[test]
fn a_dropped_receive_does_not_count_after_a_restart_either() {
    let quorum = [
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", long(1)),
        ("x-dead-letter-exchange", text("dlx")),
    ];
    for (kind, arguments) in [("classic", &[][..]), ("quorum", &quorum)] {
        let mut rig = timed(arguments);
        rig.publish(&[message("a")]);
        for round in 1..=5 {
            let batch = rig.receive(1);
            assert_eq!(batch[0].count, 1, "{kind} {round}");
            rig.state
                .give_back(rig.now_ms, &[batch[0].lease], &mut rig.fx);
            rig.carry_out();
            rig.commit();
            rig.restart();
        }
        // A receive whose lease ends while the broker is down counts.
        rig.receive(1);
        rig.commit();
        rig.now_ms += 1_000;
        rig.restart();
        assert_eq!(rig.receive(1)[0].count, 2, "{kind}");
        assert!(rig.dead.is_empty());
    }
}

#[test]
fn receives_leave_nothing_on_disk_when_they_are_over() {
    let mut rig = timed(&[]);
    for _ in 0..20 {
        rig.publish(&["a", "b", "c"].map(message));
        let batch = rig.receive(2);
        rig.commit();
        rig.tick(rig.now_ms + 100);
        rig.commit();
        let handles: Vec<ReceiptHandle> = rig
            .receive(16)
            .iter()
            .map(|received| received.handle)
            .collect();
        rig.commit();
        assert!(handles.len() > batch.len());
        rig.state.delete_received(rig.now_ms, &handles, &mut rig.fx);
        rig.commit();
        let (_, log) = rig.store.logs().expect("memory store").remove(0);
        assert_eq!((log.receives, log.counts), (vec![], vec![]));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish(usize),
    Get,
    /// A consumer, and messages of credit for it.
    Grant(usize, u32),
    /// An index into all leases so far, counted from the latest.
    Settle(Acknowledgement, usize),
    /// The maximum of a receive, and whether the batch is accepted.
    Receive(usize, bool),
    /// An index into all receipt handles so far, counted from the latest.
    Delete(usize),
    /// The same index, and the new length of the lease in milliseconds from now.
    Prolong(usize, u64),
    Pass(u64),
    Commit,
    Evict(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![3 => Just(Acknowledgement::Ack), 2 => Just(Acknowledgement::Requeue), 1 => Just(Acknowledgement::Reject)];
    prop_oneof![
        4 => (1..6usize).prop_map(Step::Publish),
        4 => Just(Step::Get),
        3 => (0..2usize, 1..4u32).prop_map(|(who, messages)| Step::Grant(who, messages)),
        8 => (how, 0..30usize).prop_map(|(how, which)| Step::Settle(how, which)),
        4 => (1..5usize, prop::bool::weighted(0.8)).prop_map(|(max, keep)| Step::Receive(max, keep)),
        4 => (0..20usize).prop_map(Step::Delete),
        3 => (0..20usize, 1..150u64).prop_map(|(which, ms)| Step::Prolong(which, ms)),
        4 => (0..80u64).prop_map(Step::Pass),
        2 => Just(Step::Commit),
        2 => (0..100_000u64).prop_map(Step::Evict),
        1 => Just(Step::Restart),
    ]
}

/// Every message that must be in the queue, by its body.
#[derive(Default)]
struct Model {
    messages: BTreeMap<Bytes, Known>,
    /// All leases so far.
    leases: Vec<Given>,
    /// Receipt handles, each with the index of its lease.
    handles: Vec<(ReceiptHandle, usize)>,
    published: u64,
}

#[derive(Clone)]
struct Given {
    lease: Lease,
    body: Bytes,
    until_ms: u64,
    /// A restart has ended the connection that had this lease.
    is_orphan: bool,
}

#[derive(Clone, Copy, Default)]
struct Known {
    /// Index in `leases` of the lease that holds it.
    held: Option<usize>,
    handed_out: bool,
}

impl Model {
    fn give(
        &mut self,
        lease: Lease,
        body: &Bytes,
        redelivered: bool,
        until_ms: u64,
    ) -> Result<(), TestCaseError> {
        let known = self.messages.get_mut(body);
        prop_assert!(known.is_some(), "{body:?} was settled");
        if let Some(known) = known {
            prop_assert!(known.held.is_none(), "{body:?} is held already");
            prop_assert_eq!(redelivered, known.handed_out);
            known.held = Some(self.leases.len());
            known.handed_out = true;
        }
        self.leases.push(Given {
            lease,
            body: body.clone(),
            until_ms,
            is_orphan: false,
        });
        Ok(())
    }

    fn pass(&mut self, now_ms: u64) {
        for known in self.messages.values_mut() {
            let until_ms = known.held.map(|held| self.leases[held].until_ms);
            if until_ms.is_some_and(|until| until <= now_ms) {
                known.held = None;
            }
        }
    }

    fn settle(&mut self, how: Acknowledgement, which: usize) -> Option<Lease> {
        let which = self.leases.len().checked_sub(which + 1)?;
        let given = &self.leases[which];
        if given.is_orphan || self.handles.iter().any(|(_, of)| *of == which) {
            return None;
        }
        if let Some(known) = self.messages.get_mut(&given.body)
            && known.held == Some(which)
        {
            known.held = None;
            if how != Acknowledgement::Requeue {
                self.messages.remove(&given.body);
            }
        }
        Some(given.lease)
    }

    fn delete(&mut self, which: usize) -> Option<(ReceiptHandle, bool)> {
        let which = self.handles.len().checked_sub(which + 1)?;
        let (handle, lease) = self.handles[which];
        let body = &self.leases[lease].body;
        let valid = self
            .messages
            .get(body)
            .is_some_and(|known| known.held == Some(lease));
        if valid {
            self.messages.remove(body);
        }
        Some((handle, valid))
    }

    fn prolong(&mut self, which: usize, until_ms: u64) -> Option<(ReceiptHandle, bool)> {
        let which = self.handles.len().checked_sub(which + 1)?;
        let (handle, lease) = self.handles[which];
        let given = &mut self.leases[lease];
        let known = self.messages.get(&given.body);
        let valid = known.is_some_and(|known| known.held == Some(lease));
        if valid {
            given.until_ms = until_ms;
        }
        Some((handle, valid))
    }

    fn restart(&mut self) {
        let by_handle: Vec<usize> = self.handles.iter().map(|(_, lease)| *lease).collect();
        for (which, given) in self.leases.iter_mut().enumerate() {
            given.is_orphan |= !by_handle.contains(&which);
        }
        for known in self.messages.values_mut() {
            known.held = known.held.filter(|held| by_handle.contains(held));
            known.handed_out = true;
        }
    }
}

const TIMEOUTS_MS: [u64; 2] = [100, 40];

/// Two consumers, the second with its own visibility timeout.
fn consumers(rig: &mut Rig) -> [ConsumerId; 2] {
    [None, Some(TIMEOUTS_MS[1])].map(|timeout_ms| {
        let id = 1 + u64::from(timeout_ms.is_some());
        rig.consume_for(timeout_ms, id, false, 0, 0)
            .expect("a consumer")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn each_message_has_one_holder_at_most_and_none_is_lost(steps in prop::collection::vec(step(), 1..120), quorum: bool) {
        let mut rig = if quorum {
            timed(&[("x-queue-type", text("quorum")), ("x-delivery-limit", long(-1))])
        } else {
            timed(&[])
        };
        let mut ids = consumers(&mut rig);
        let mut model = Model::default();
        for step in steps {
            model.pass(rig.now_ms);
            match step {
                Step::Publish(count) => {
                    let run: Vec<_> = (0..count).map(|n| message(&format!("{}", model.published + n as u64))).collect();
                    model.published += count as u64;
                    model.messages.extend(run.iter().map(|message| (body(message), Known::default())));
                    rig.publish(&run);
                }
                Step::Get => {
                    if let Some((lease, body, redelivered)) = rig.get() {
                        model.give(lease, &body, redelivered, rig.now_ms + TIMEOUTS_MS[0])?;
                    } else {
                        prop_assert!(model.messages.values().all(|known| known.held.is_some()));
                    }
                }
                Step::Grant(who, messages) => {
                    let credit = Credit { messages, bytes: 1 << 20 };
                    let id = ids[who];
                    rig.state.grant(rig.now_ms, &[(id, credit)], &mut rig.fx);
                    rig.carry_out();
                }
                Step::Settle(how, which) => {
                    if let Some(lease) = model.settle(how, which) {
                        rig.acknowledge(how, &[lease]);
                    }
                }
                Step::Receive(max, keep) => {
                    let batch = rig.receive(max);
                    let free = model.messages.values().filter(|known| known.held.is_none()).count();
                    // A receive with some messages does not wait for a read of others.
                    prop_assert!(batch.len() <= free.min(max) && batch.is_empty() == (free == 0));
                    for received in &batch {
                        prop_assert_eq!(received.visible.ms(), rig.now_ms + TIMEOUTS_MS[0]);
                        let body = body(&received.message);
                        let redelivered = model.messages[&body].handed_out;
                        model.handles.push((received.handle, model.leases.len()));
                        model.give(received.lease, &body, redelivered, received.visible.ms())?;
                    }
                    if !keep {
                        let leases: Vec<Lease> = batch.iter().map(|received| received.lease).collect();
                        rig.state.give_back(rig.now_ms, &leases, &mut rig.fx);
                        rig.carry_out();
                        for received in &batch {
                            model.messages.get_mut(&body(&received.message)).expect("there").held = None;
                        }
                    }
                }
                Step::Delete(which) => {
                    if let Some((handle, valid)) = model.delete(which) {
                        let deleted = rig.state.delete_received(rig.now_ms, &[handle], &mut rig.fx);
                        rig.carry_out();
                        prop_assert_eq!(deleted, [valid]);
                    }
                }
                Step::Prolong(which, ms) => {
                    if let Some((handle, valid)) = model.prolong(which, rig.now_ms + ms) {
                        let ends_ms = rig.state.prolong(rig.now_ms, handle, ms, &mut rig.fx);
                        rig.carry_out();
                        prop_assert_eq!(ends_ms, valid.then_some(rig.now_ms + ms));
                    }
                }
                Step::Pass(ms) => {
                    model.pass(rig.now_ms + ms);
                    rig.tick(rig.now_ms + ms);
                }
                Step::Commit => rig.commit(),
                Step::Evict(target) => rig.evict(target),
                Step::Restart => {
                    rig.commit();
                    rig.restart();
                    ids = consumers(&mut rig);
                    model.restart();
                }
            }
            for delivery in rig.take_deliveries() {
                let index = usize::try_from(delivery.consumer.0 - 1).unwrap();
                let until_ms = rig.now_ms + TIMEOUTS_MS[index];
                model.give(delivery.lease, &body(&delivery.message), delivery.redelivered, until_ms)?;
            }
            let counts = rig.state.counts();
            let held = model.messages.values().filter(|known| known.held.is_some()).count() as u64;
            prop_assert_eq!((counts.ready, counts.unacked), (model.messages.len() as u64 - held, held));
        }
        // When all deadlines have passed, every unsettled message comes once more.
        for id in ids {
            rig.state.leave(rig.now_ms, &[id], &[], &mut rig.fx);
        }
        rig.tick(rig.now_ms + 1_000);
        let mut rest: Vec<Bytes> = std::iter::from_fn(|| rig.get()).map(|got| got.1).collect();
        rest.sort();
        prop_assert_eq!(rest, model.messages.into_keys().collect::<Vec<_>>());
    }
}
