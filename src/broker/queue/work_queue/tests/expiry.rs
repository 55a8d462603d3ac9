//! Time to live and CMQ's retention: which messages expire, when, and in which steps.

use bytes::Bytes;

use crate::broker::queue::death::DeathReason;
use crate::broker::queue::effects::{Acknowledgement, Oldest};
use crate::model::QueueOverrides;
use crate::model::effective::Given;

use super::rig::{Rig, long, message, set_priority, text, with};

#[test]
fn messages_expire_at_the_head_and_are_dead_lettered_in_order() {
    let mut rig = Rig::new(&[
        ("x-message-ttl", long(100)),
        ("x-dead-letter-exchange", text("dlx")),
    ]);
    rig.publish(&["a", "b"].map(message));
    assert_eq!(rig.state.deadline_ms(rig.now_ms), Some(1_100));
    rig.now_ms = 1_050;
    rig.publish(&[message("c")]);
    rig.tick(1_100);
    assert_eq!(
        rig.dead,
        [
            ("a".into(), DeathReason::Expired),
            ("b".into(), DeathReason::Expired)
        ]
    );
    assert_eq!(rig.state.counts().ready, 1);
    assert_eq!(rig.state.counts().unacked, 0);
}

#[test]
fn an_expired_message_waits_behind_one_with_a_longer_time_to_live() {
    let mut rig = Rig::new(&[]);
    rig.publish(&[
        with("long", |m| m.expiration_ms = Some(500)),
        with("short", |m| m.expiration_ms = Some(10)),
    ]);
    rig.tick(1_100);
    assert_eq!(rig.state.counts().ready, 2);
    rig.tick(1_500);
    assert_eq!(rig.state.counts().ready, 0);
}

#[test]
fn a_message_past_its_retention_is_dropped_and_not_dead_lettered() {
    let mut rig = Rig::new(&[("x-dead-letter-exchange", text("dlx"))]);
    rig.publish(&[message("a")]);
    rig.now_ms = 1_050;
    rig.publish(&[with("b", |m| m.expiration_ms = Some(30)), message("c")]);
    assert_eq!(rig.state.oldest(), [Oldest::Enqueued(1_000)]);
    let declared = rig.arguments.clone();
    let retention = Given::overridden(QueueOverrides {
        retention_ms: Some(100),
        ..QueueOverrides::default()
    });
    rig.state
        .reconfigure(rig.now_ms, retention.effective(&declared), &mut rig.fx);
    // A leased message ages, too.
    let (lease, ..) = rig.get().expect("a");
    rig.tick(1_140);
    assert_eq!(rig.dead, [("b".into(), DeathReason::Expired)]);
    assert_eq!(rig.state.deadline_ms(rig.now_ms), Some(1_150));
    rig.acknowledge(Acknowledgement::Requeue, &[lease]);
    assert_eq!((rig.state.counts().ready, rig.dead.len()), (1, 1));
    rig.tick(1_150);
    assert_eq!((rig.state.counts().ready, rig.dead.len()), (0, 1));
    assert_eq!(rig.state.oldest(), []);
}

#[test]
fn time_to_live_zero_delivers_immediately_or_never() {
    let mut rig = Rig::new(&[("x-message-ttl", long(0))]);
    rig.publish(&[message("without a consumer")]);
    assert_eq!(rig.state.counts().ready, 0);
    rig.consume(1, true, 0, 10).expect("a consumer");
    rig.publish(&[message("with a consumer")]);
    assert_eq!(rig.bodies(), ["with a consumer"]);
}

#[test]
fn expired_backlog_on_disk_is_dead_lettered_after_a_restart_without_consumers() {
    let mut rig = Rig::new(&[("x-dead-letter-exchange", text("dlx"))]);
    rig.publish(&[
        with("a", |m| m.expiration_ms = Some(10)),
        with("b", |m| m.expiration_ms = Some(10)),
    ]);
    rig.commit();
    rig.now_ms = 2_000;
    rig.restart();
    assert_eq!(rig.dead.len(), 2);
    assert_eq!(rig.state.counts().ready, 0);
}

#[test]
fn messages_expire_at_the_head_of_each_level_of_a_quorum_queue() {
    let quorum = ("x-queue-type", text("quorum"));
    let mut rig = Rig::new(&[quorum, ("x-dead-letter-exchange", text("dlx"))]);
    let low = |name: &str, expiration_ms| {
        with(name, |m| {
            set_priority(m, Some(1));
            m.expiration_ms = expiration_ms;
        })
    };
    rig.publish(&[
        with("high", |m| set_priority(m, Some(9))),
        low("low", Some(10)),
        low("stays", None),
        low("behind", Some(10)),
    ]);
    rig.commit();
    rig.evict(0);
    rig.restart();
    rig.tick(2_000);
    assert_eq!(rig.dead, [(Bytes::from("low"), DeathReason::Expired)]);
    assert_eq!(rig.state.counts().ready, 3);
}

#[test]
fn messages_that_expire_together_leave_in_steps() {
    let mut rig = Rig::new(&[]);
    let run: Vec<_> = (0..10_000)
        .map(|_| with("x", |message| message.expiration_ms = Some(1)))
        .collect();
    rig.publish(&run);
    rig.now_ms += 10;
    let mut steps = 0;
    while rig.state.counts().ready > 0 {
        assert_eq!(
            rig.state.deadline_ms(rig.now_ms),
            Some(rig.now_ms)
                .filter(|_| steps > 0)
                .or(Some(rig.now_ms - 9))
        );
        let before = rig.state.counts().ready;
        rig.tick(rig.now_ms);
        assert!(before - rig.state.counts().ready <= 4_096);
        steps += 1;
    }
    assert_eq!(steps, 3);
    assert_eq!(rig.state.deadline_ms(rig.now_ms), None);
}
