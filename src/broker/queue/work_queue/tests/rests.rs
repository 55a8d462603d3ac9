//! Returned messages that rest before their next delivery (`x-delayed-retry-type`).

use crate::broker::queue::death::DeathReason;
use crate::broker::queue::effects::Acknowledgement;
use crate::wire::AMQPValue;

use super::rig::{Rig, long, message, set_priority, text, with};

fn resting(arguments: &[(&str, AMQPValue)]) -> Rig {
    let mut all = vec![
        ("x-queue-type", text("quorum")),
        ("x-delayed-retry-type", text("all")),
        ("x-delayed-retry-min", long(400)),
        ("x-delayed-retry-max", long(1_000)),
    ];
    all.extend(arguments.iter().cloned());
    Rig::new(&all)
}

/// Gets the next message and gives it back.
fn return_next(rig: &mut Rig, how: Acknowledgement) {
    let lease = rig.get().expect("a message").0;
    rig.acknowledge(how, &[lease]);
}

fn order(rig: &mut Rig) -> Vec<String> {
    std::iter::from_fn(|| rig.get())
        .map(|(_, body, _)| String::from_utf8_lossy(&body).into_owned())
        .collect()
}

#[test]
fn a_returned_message_rests_longer_after_each_failure() {
    let mut rig = resting(&[]);
    rig.publish(&[message("m")]);
    for rest_ms in [400, 800, 1_000, 1_000] {
        return_next(&mut rig, Acknowledgement::RequeueFailed);
        let due_ms = rig.now_ms + rest_ms;
        assert_eq!(rig.state.deadline_ms(rig.now_ms), Some(due_ms));
        let counts = rig.state.counts();
        assert_eq!((counts.ready, counts.unacked, counts.delayed), (0, 0, 1));
        rig.tick(due_ms - 1);
        assert!(rig.get().is_none());
        rig.tick(due_ms);
        assert_eq!(rig.state.counts().ready, 1);
    }
}

#[test]
fn resting_messages_join_the_returned_ones_in_the_order_of_their_times() {
    let mut rig = resting(&[]);
    rig.publish(&["1", "2", "3"].map(message));
    return_next(&mut rig, Acknowledgement::RequeueFailed);
    rig.tick(1_400);
    return_next(&mut rig, Acknowledgement::RequeueFailed); // until 2,200
    return_next(&mut rig, Acknowledgement::Requeue); // until 1,800
    rig.publish(&[with("high", |m| set_priority(m, Some(9)))]);
    assert_eq!(order(&mut rig), ["high", "3"]);
    rig.publish(&[with("high", |m| set_priority(m, Some(9)))]);
    rig.tick(2_200);
    assert_eq!(order(&mut rig), ["2", "1", "high"]);
}

#[test]
fn a_restart_finds_resting_messages_with_their_times_and_counts() {
    let mut rig = resting(&[]);
    rig.publish(&["1", "2", "3"].map(message));
    return_next(&mut rig, Acknowledgement::Requeue);
    return_next(&mut rig, Acknowledgement::RequeueFailed);
    rig.commit();
    rig.restart();
    let counts = rig.state.counts();
    assert_eq!((counts.ready, counts.delayed), (1, 2));
    assert_eq!(order(&mut rig), ["3"]);
    rig.tick(1_400);
    rig.consume(1, false, 0, 10).expect("a consumer");
    let told: Vec<_> = rig
        .take_deliveries()
        .iter()
        .map(|d| (d.redelivered, d.counts.acquired, d.counts.delivery))
        .collect();
    assert_eq!(told, [(true, 1, 0), (true, 1, 1)]);
    // One whose time passed while the broker was down is ready.
    let mut rig = resting(&[]);
    rig.publish(&[message("m")]);
    return_next(&mut rig, Acknowledgement::Requeue);
    rig.commit();
    rig.now_ms += 400;
    rig.restart();
    assert_eq!(order(&mut rig), ["m"]);
}

#[test]
fn resting_messages_leave_memory_and_come_back() {
    let mut rig = resting(&[]);
    let large = "x".repeat(40_000);
    rig.publish(&["1", "2", "3", "4"].map(|name| message(&format!("{name}{large}"))));
    return_next(&mut rig, Acknowledgement::Requeue);
    return_next(&mut rig, Acknowledgement::Requeue);
    rig.commit();
    rig.evict(0);
    let before = rig.state.counts().resident_bytes;
    rig.tick(1_400);
    assert!(before < 100_000, "{before}");
    let first: Vec<String> = order(&mut rig)
        .iter()
        .map(|body| body[..1].to_owned())
        .collect();
    assert_eq!(first, ["1", "2", "3", "4"]);
}

#[test]
fn resting_messages_count_for_the_length_and_a_purge_removes_them() {
    let dead = ("x-dead-letter-exchange", text("dlx"));
    let mut rig = resting(&[("x-max-length", long(1)), dead]);
    rig.publish(&[message("rests")]);
    return_next(&mut rig, Acknowledgement::Requeue);
    rig.publish(&[message("new")]);
    assert_eq!(rig.dead, [("new".into(), DeathReason::MaxLength)]);
    rig.commit();
    rig.restart();
    assert_eq!(rig.state.purge(rig.now_ms, &mut rig.fx), 1);
    rig.carry_out();
    rig.tick(9_999);
    let counts = rig.state.counts();
    assert_eq!((counts.ready, counts.delayed), (0, 0));
    rig.commit();
    rig.restart();
    assert_eq!(rig.state.counts().delayed, 0);
    let mut full = resting(&[
        ("x-max-length", long(1)),
        ("x-overflow", text("reject-publish")),
    ]);
    full.publish(&[message("rests")]);
    return_next(&mut full, Acknowledgement::Requeue);
    full.publish(&[message("new")]);
    assert_eq!(full.rejected, 1);
}

#[test]
fn the_delivery_limit_comes_before_a_rest_and_a_time_to_live_after_it() {
    let dead = ("x-dead-letter-exchange", text("dlx"));
    let mut rig = resting(&[("x-delivery-limit", long(0)), dead.clone()]);
    rig.publish(&[message("m")]);
    return_next(&mut rig, Acknowledgement::RequeueFailed);
    assert_eq!(rig.dead, [("m".into(), DeathReason::DeliveryLimit)]);
    let mut rig = resting(&[("x-message-ttl", long(100)), dead]);
    rig.publish(&[message("m")]);
    return_next(&mut rig, Acknowledgement::Requeue);
    rig.tick(1_399);
    assert_eq!(rig.dead, []);
    rig.tick(1_400);
    assert_eq!(rig.dead, [("m".into(), DeathReason::Expired)]);
}

#[test]
fn a_message_that_was_received_after_its_rest_stays_received_over_a_restart() {
    let mut rig = resting(&[]);
    rig.publish(&["1", "2"].map(message));
    return_next(&mut rig, Acknowledgement::Requeue);
    rig.tick(1_400);
    assert_eq!(rig.receive(1).len(), 1);
    rig.commit();
    rig.restart();
    let counts = rig.state.counts();
    assert_eq!((counts.ready, counts.unacked, counts.delayed), (1, 1, 0));
}
