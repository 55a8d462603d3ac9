//! Consumers that leave deliveries unanswered for too long (`x-consumer-timeout`).

use crate::broker::queue::effects::Acknowledgement;
use crate::model::{ConsumerId, Lease};
use crate::wire::AMQPValue;

use super::rig::{Rig, body, message, text};

fn quorum(arguments: &[(&str, AMQPValue)]) -> Rig {
    let mut all = vec![("x-queue-type", text("quorum"))];
    all.extend(arguments.iter().cloned());
    Rig::new(&all)
}

fn time_out(rig: &mut Rig, consumer: Option<ConsumerId>, leases: &[Lease]) -> usize {
    let returned = rig
        .state
        .time_out(rig.now_ms, consumer, leases, &mut rig.fx);
    rig.carry_out();
    returned
}

/// Deliveries so far: consumer, body, returns and failures. Keeps their leases.
fn delivered(rig: &mut Rig, leases: &mut Vec<Lease>) -> Vec<(u64, String, u32, u32)> {
    let deliveries = rig.take_deliveries();
    leases.extend(deliveries.iter().map(|d| d.lease));
    deliveries
        .iter()
        .map(|d| {
            let text = String::from_utf8_lossy(&body(&d.message)).into_owned();
            (d.consumer.0, text, d.counts.acquired, d.counts.delivery)
        })
        .collect()
}

fn got(consumer: u64, text: &str, returns: u32) -> (u64, String, u32, u32) {
    (consumer, text.to_owned(), returns, 0)
}

#[test]
fn a_late_consumer_gets_nothing_until_it_has_answered_all_that_were_late() {
    for how in [
        Acknowledgement::Ack,
        Acknowledgement::Reject,
        Acknowledgement::RequeueFailed,
    ] {
        let (mut rig, mut held) = (quorum(&[]), Vec::new());
        let late = rig.consume(1, false, 9, 9).expect("a consumer");
        rig.publish(&["a", "b", "c"].map(message));
        delivered(&mut rig, &mut held);
        assert_eq!(time_out(&mut rig, Some(late), &held[..2]), 2);
        assert_eq!(time_out(&mut rig, Some(late), &held[..2]), 0);
        rig.consume(2, false, 0, 9).expect("a consumer");
        let expected = [got(2, "a", 1), got(2, "b", 1)];
        assert_eq!(delivered(&mut rig, &mut held), expected);
        rig.acknowledge(how, &held[..1]);
        rig.publish(&[message("d")]);
        assert_eq!(delivered(&mut rig, &mut held), [got(2, "d", 0)]);
        assert_eq!(rig.state.counts().consumers, 2);
        rig.acknowledge(how, &held[1..2]);
        rig.publish(&[message("e")]);
        assert_eq!(delivered(&mut rig, &mut held), [got(1, "e", 0)]);
        // Its answers came too late for the messages, which the other consumer has.
        assert_eq!(rig.state.counts().unacked, 5);
    }
}

#[test]
fn a_late_consumer_can_leave() {
    let (mut rig, mut held) = (quorum(&[]), Vec::new());
    let late = rig.consume(1, false, 0, 9).expect("a consumer");
    rig.publish(&[message("a")]);
    delivered(&mut rig, &mut held);
    time_out(&mut rig, Some(late), &held);
    rig.state.leave(rig.now_ms, &[late], &held, &mut rig.fx);
    rig.carry_out();
    rig.consume(1, false, 0, 9).expect("the same again");
    assert_eq!(delivered(&mut rig, &mut held), [got(1, "a", 1)]);
}

#[test]
fn a_message_of_no_consumer_returns_without_a_failure() {
    let limit = ("x-delivery-limit", AMQPValue::LongInt(0));
    let mut rig = quorum(&[limit]);
    rig.publish(&[message("a")]);
    for _ in 0..3 {
        let lease = rig.get().expect("a message").0;
        assert_eq!(time_out(&mut rig, None, &[lease]), 1);
    }
    assert_eq!(rig.state.counts().ready, 1);
}

#[test]
fn a_late_single_active_consumer_hands_over() {
    let single = ("x-single-active-consumer", AMQPValue::Boolean(true));
    let (mut rig, mut held) = (quorum(&[single]), Vec::new());
    let late = rig.consume(1, false, 5, 9).expect("a consumer");
    rig.publish(&[message("a")]);
    delivered(&mut rig, &mut held);
    time_out(&mut rig, Some(late), &held);
    // Without other consumers, none is served.
    rig.publish(&[message("b")]);
    assert_eq!(delivered(&mut rig, &mut held), []);
    rig.consume(2, false, 0, 9).expect("a consumer");
    let expected = [got(2, "a", 1), got(2, "b", 0)];
    assert_eq!(delivered(&mut rig, &mut held), expected);
    // The higher priority takes over when it is on time again and the active one holds nothing.
    rig.acknowledge(Acknowledgement::Ack, &held[..1]);
    rig.publish(&[message("c")]);
    assert_eq!(delivered(&mut rig, &mut held), []);
    rig.acknowledge(Acknowledgement::Ack, &held[1..]);
    assert_eq!(delivered(&mut rig, &mut held), [got(1, "c", 0)]);
}
