//! Length limits, limits that an operator sets, and unused queues.

use bytes::Bytes;

use crate::broker::queue::death::DeathReason;
use crate::broker::queue::effects::{Acknowledgement, Admission};
use crate::model::QueueOverrides;
use crate::model::arguments::Overflow;
use crate::model::effective::Given;

use super::rig::{Rig, long, message, text};

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
fn a_full_queue_admits_a_run_as_a_whole_or_not_or_always() {
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
fn new_limits_apply_from_the_moment_they_are_set() {
    let mut rig = Rig::new(&[("x-queue-type", text("quorum"))]);
    rig.publish(&["a", "b", "c"].map(message));
    let declared = rig.arguments.clone();
    let overrides = Given::overridden(QueueOverrides {
        visibility_timeout_ms: Some(10),
        max_length: Some(2),
        overflow: Some(Overflow::RejectPublish),
        delivery_limit: Some(0),
        dead_letter_exchange: Some("".into()),
        ..QueueOverrides::default()
    });
    rig.state
        .reconfigure(rig.now_ms, overrides.effective(&declared), &mut rig.fx);
    rig.tick(1_000);
    // Messages in the queue stay; new ones are refused.
    rig.publish(&[message("d")]);
    assert_eq!((rig.state.counts().ready, rig.rejected), (3, 1));
    rig.get().expect("a");
    rig.tick(1_010);
    assert_eq!(rig.dead, [("a".into(), DeathReason::DeliveryLimit)]);
    rig.state.reconfigure(rig.now_ms, declared, &mut rig.fx);
    rig.publish(&[message("e")]);
    assert_eq!((rig.state.counts().ready, rig.rejected), (3, 1));
}

#[test]
fn the_delivery_limit_counts_failures_and_survives_a_restart() {
    let arguments = [
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", long(2)),
        ("x-dead-letter-exchange", text("dlx")),
    ];
    let mut rig = Rig::new(&arguments);
    rig.publish(&[message("poison")]);
    for _ in 0..2 {
        let (id, _, _) = rig.get().expect("still there");
        rig.acknowledge(Acknowledgement::RequeueFailed, &[id]);
    }
    rig.commit();
    rig.restart();
    let (id, _, redelivered) = rig.get().expect("still there");
    assert!(redelivered);
    rig.acknowledge(Acknowledgement::RequeueFailed, &[id]);
    assert_eq!(rig.dead, [("poison".into(), DeathReason::DeliveryLimit)]);
    assert!(rig.get().is_none());
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
