//! Which messages a restart finds.

use super::rig::{Rig, message, text, with};

#[test]
fn quorum_queues_keep_transient_messages_too() {
    let mut rig = Rig::new(&[("x-queue-type", text("quorum"))]);
    rig.publish(&[with("t", |m| m.persistent = false)]);
    assert!(rig.persisted);
    rig.commit();
    rig.restart();
    assert_eq!(rig.get().expect("still there").1, "t");
}

#[test]
fn a_restart_finds_persistent_messages_and_no_transient_ones() {
    let mut rig = Rig::new(&[]);
    rig.publish(&[
        message("p1"),
        with("t", |m| m.persistent = false),
        message("p2"),
    ]);
    rig.commit();
    rig.restart();
    assert_eq!(rig.state.counts().ready, 2);
    let order: Vec<_> = std::iter::from_fn(|| rig.get())
        .map(|(_, body, _)| body)
        .collect();
    assert_eq!(order, ["p1", "p2"]);
}
