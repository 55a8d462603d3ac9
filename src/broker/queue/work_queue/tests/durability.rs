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

#[test]
fn after_an_orderly_end_only_what_was_handed_out_is_redelivered() {
    let mut rig = Rig::new(&[]);
    rig.publish(&["a", "b", "c", "d"].map(message));
    for expected in ["a", "b"] {
        assert_eq!(rig.get().expect("it is ready").1, expected);
    }
    let flags = |rig: &mut Rig| -> Vec<_> {
        let all = std::iter::from_fn(|| rig.get());
        all.map(|(.., redelivered)| redelivered).collect()
    };
    rig.end_in_order();
    rig.restart();
    assert!(rig.get().expect("it was handed out").2);
    // The next run knows what the one before has handed out.
    rig.end_in_order();
    rig.restart();
    rig.evict(0);
    assert_eq!(flags(&mut rig), [true, true, false, false]);
    rig.publish(&[message("e")]);
    rig.commit();
    rig.restart();
    assert_eq!(flags(&mut rig), [true; 5], "after a crash");
}
