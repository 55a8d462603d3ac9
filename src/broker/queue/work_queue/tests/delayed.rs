//! Delayed messages of a work queue.

use crate::broker::queue::budget::QUEUE_RESIDENT_BYTES_MIN;

use super::rig::{Rig, long, text, with};

#[test]
fn delayed_messages_become_ready_at_their_times_and_in_that_order() {
    let mut rig = Rig::new(&[]);
    let delayed = [("c", 300), ("a", 100), ("now", 0), ("b", 200)];
    rig.publish(&delayed.map(|(text, delay_ms)| with(text, |m| m.delay_ms = Some(delay_ms))));
    assert_eq!(
        (rig.state.counts().ready, rig.state.counts().delayed),
        (1, 3)
    );
    assert_eq!(rig.state.deadline_ms(rig.now_ms), Some(1_100));
    assert_eq!(rig.get().expect("no delay").1, "now");
    rig.tick(1_099);
    assert!(rig.get().is_none());
    rig.tick(1_200);
    let order: Vec<_> = std::iter::from_fn(|| rig.get()).map(|got| got.1).collect();
    assert_eq!(order, ["a", "b"]);
    assert_eq!(rig.state.deadline_ms(rig.now_ms), Some(1_300));
}

#[test]
fn delayed_messages_survive_a_restart_and_cost_little_memory() {
    let mut rig = Rig::new(&[]);
    for n in (0..5_000_u64).rev() {
        rig.publish(&[with(&format!("{n:04}"), |m| m.delay_ms = Some(10 + n))]);
        if n % 7 == 0 {
            rig.commit();
        }
    }
    rig.evict(0);
    rig.tick(1_000);
    rig.evict(0);
    let resident = rig.state.resident_bytes();
    assert!(resident < QUEUE_RESIDENT_BYTES_MIN, "{resident}");
    rig.tick(1_109);
    assert_eq!(rig.state.counts().ready, 100);
    rig.commit();
    rig.restart();
    assert_eq!(
        (rig.state.counts().ready, rig.state.counts().delayed),
        (100, 4_900)
    );
    rig.tick(9_999);
    let order: Vec<_> = std::iter::from_fn(|| rig.get()).map(|got| got.1).collect();
    assert_eq!(order.len(), 5_000);
    assert!(order.is_sorted());
    assert_eq!(rig.state.counts().delayed, 0);
}

#[test]
fn what_was_due_before_a_crash_counts_as_delivered_and_what_was_not_does_not() {
    let mut rig = Rig::new(&[]);
    let delayed = |text, delay_ms| with(text, |m| m.delay_ms = Some(delay_ms));
    rig.publish(&[delayed("due", 100), delayed("later", 5_000)]);
    rig.commit();
    rig.tick(1_100);
    let (.., redelivered) = rig.get().expect("it is due");
    assert!(!redelivered);
    // No batch has that it moved to its lane.
    rig.restart();
    rig.publish(&[delayed("new", 100)]);
    rig.tick(9_999);
    rig.evict(0); // the flag outlives the slot
    let all = std::iter::from_fn(|| rig.get());
    let all: Vec<_> = all
        .map(|(_, body, redelivered)| (body, redelivered))
        .collect();
    let all: Vec<_> = all.iter().map(|(body, flag)| (&body[..], *flag)).collect();
    assert_eq!(
        all,
        [(&b"due"[..], true), (b"new", false), (b"later", false)]
    );
}

#[test]
fn after_an_orderly_end_no_delayed_message_counts_as_delivered() {
    let mut rig = Rig::new(&[]);
    rig.publish(&[with("due", |m| m.delay_ms = Some(100))]);
    rig.commit();
    rig.end_in_order();
    rig.now_ms = 1_100;
    rig.restart();
    let (_, body, redelivered) = rig.get().expect("it is due");
    assert_eq!((&body[..], redelivered), (&b"due"[..], false));
}

#[test]
fn the_dead_letter_of_a_message_from_before_a_crash_may_have_been_delivered() {
    for (is_orderly, expected) in [(false, [true, false]), (true, [false, false])] {
        let mut rig = Rig::new(&[
            ("x-dead-letter-exchange", text("")),
            ("x-message-ttl", long(100)),
        ]);
        rig.publish(&[with("old", |_| {})]);
        rig.commit();
        if is_orderly {
            rig.end_in_order();
        }
        rig.restart();
        rig.publish(&[with("new", |_| {})]);
        rig.holds_letters = true;
        rig.tick(9_999);
        let dead = rig.state.take_letters(10, 1_000);
        let flags: Vec<_> = dead.iter().map(|dead| dead.message.handed_out).collect();
        assert_eq!(flags, expected, "after an orderly end: {is_orderly}");
    }
}
