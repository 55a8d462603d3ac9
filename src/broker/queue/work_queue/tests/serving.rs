//! Which consumer gets which message: consumers by priority and round robin, lanes by priority, returned
//! messages at their places.

use amq_protocol::types::FieldTable;
use bytes::Bytes;

use crate::broker::queue::consumer::{ConsumeError, Credit, NewConsumer};
use crate::broker::queue::effects::Acknowledgement;
use crate::broker::queue::work_queue::consumers::Consumers;
use crate::model::{ConnectionId, ConsumerId};
use crate::wire::AMQPValue;

use super::rig::{QUEUE, Rig, long, message, set_priority, text, with};

#[test]
fn consumers_of_equal_priority_are_served_round_robin_and_higher_ones_first() {
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
    // Deliveries reach the sink consumer by consumer, so this test counts them.
    assert_eq!(served.iter().filter(|id| **id == 3).count(), 2);
    assert!(served.iter().filter(|id| **id == 1).count() >= 1);
    assert!(served.iter().filter(|id| **id == 2).count() >= 1);
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
    rig.state.leave(rig.now_ms, &[first], &[], &mut rig.fx);
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
    rig.state
        .leave(rig.now_ms, &[ConsumerId(5)], &[], &mut rig.fx);
    rig.publish(&["e", "f"].map(message));
    let mut second = served(&mut rig);
    second.sort_unstable();
    assert_eq!(second, [3, 7]);
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let mut consumers = Consumers::new(false, false);
    let new = |id, exclusive| NewConsumer {
        id: ConsumerId(id),
        tag: "c".into(),
        no_ack: true,
        exclusive,
        priority: 0,
        credit: Credit::default(),
        visibility_timeout_ms: None,
        stream: None,
        prefetch_count: 0,
        arguments: FieldTable::default(),
        connection: ConnectionId(1),
        channel: 1,
    };
    consumers.add(new(1, true), None).expect("the first");
    let refused = Err(ConsumeError::ExclusiveUse);
    assert_eq!(consumers.add(new(2, false), None), refused);
    consumers.remove(&[ConsumerId(1)]);
    consumers.add(new(3, false), None).expect("now free");
    assert_eq!(consumers.add(new(4, true), None), refused);
}

#[test]
fn a_requeued_message_goes_back_to_its_place() {
    let mut rig = Rig::new(&[]);
    rig.publish(&["a", "b", "c", "d"].map(message));
    let a = rig.get().expect("a");
    let b = rig.get().expect("b");
    rig.acknowledge(Acknowledgement::Requeue, &[b.0]);
    rig.acknowledge(Acknowledgement::Requeue, &[a.0]);
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
fn higher_priorities_come_first_and_requeue_into_their_own_lane() {
    let mut rig = Rig::new(&[("x-max-priority", long(5))]);
    let prioritised = [("low", 1), ("high", 9), ("none", 0), ("high2", 5)];
    rig.publish(&prioritised.map(|(text, priority)| with(text, |m| m.priority = priority)));
    let high = rig.get().expect("a message");
    assert_eq!(high.1, "high");
    rig.acknowledge(Acknowledgement::Requeue, &[high.0]);
    rig.commit();
    rig.restart();
    let order: Vec<_> = std::iter::from_fn(|| rig.get())
        .map(|(_, body, _)| body)
        .collect();
    assert_eq!(order, ["high", "high2", "low", "none"]);
}

#[test]
fn quorum_queues_have_32_strict_levels() {
    let mut rig = Rig::new(&[("x-queue-type", text("quorum"))]);
    let numbers = [0, 1, 4, 5, 30, 31, 32, 33, 100, 255];
    let priorities = [None].into_iter().chain(numbers.map(Some));
    let run: Vec<_> = priorities
        .map(|priority| {
            let text = priority.map_or("unset".to_owned(), |priority| priority.to_string());
            with(&text, |m| set_priority(m, priority))
        })
        .collect();
    rig.publish(&run);
    rig.commit();
    rig.restart();
    let order: Vec<_> = std::iter::from_fn(|| rig.get()).map(|got| got.1).collect();
    let expected = [
        "31", "32", "33", "100", "255", "30", "5", "unset", "4", "1", "0",
    ];
    assert_eq!(order, expected);
}

#[test]
fn a_level_that_no_message_has_used_costs_nothing() {
    let mut rig = Rig::new(&[("x-queue-type", text("quorum"))]);
    rig.publish(&[message("a")]);
    assert_eq!(rig.state.logs(), [QUEUE.log(0)]);
    rig.publish(&[with("b", |m| set_priority(m, Some(31)))]);
    assert_eq!(rig.state.logs(), [QUEUE.log(31), QUEUE.log(0)]);
}

#[test]
fn the_two_lanes_of_an_older_data_directory_keep_their_order() {
    // What such a directory has: lane 1 with priorities from 5 on, and lane 0 with the others.
    let mut rig = Rig::new(&[("x-max-priority", long(1))]);
    rig.publish(&[
        with("low", |m| m.priority = 0),
        with("high", |m| m.priority = 1),
        with("low too", |m| m.priority = 0),
    ]);
    rig.commit();
    rig.arguments = Rig::new(&[("x-queue-type", text("quorum"))]).arguments;
    rig.restart();
    rig.publish(&[
        with("3", |m| set_priority(m, Some(3))),
        with("6", |m| set_priority(m, Some(6))),
        message("unset"),
    ]);
    let order: Vec<_> = std::iter::from_fn(|| rig.get()).map(|got| got.1).collect();
    assert_eq!(order, ["6", "high", "low", "low too", "unset", "3"]);
}
