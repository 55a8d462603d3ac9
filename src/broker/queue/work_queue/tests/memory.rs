//! Which messages are resident, and which are read.

use bytes::Bytes;

use crate::broker::queue::budget::QUEUE_RESIDENT_BYTES_MIN;
use crate::broker::queue::effects::Acknowledgement;
use crate::store::Store;

use super::rig::{QUEUE, Rig, long, message, text};

#[test]
fn memory_does_not_grow_with_the_backlog() {
    let mut rig = Rig::new(&[]);
    let mut published = 0;
    for round in 0..200 {
        let run: Vec<_> = (0..50)
            .map(|n| message(&format!("{round:04}-{n:03} {}", "x".repeat(1000))))
            .collect();
        published += run.len();
        rig.publish(&run);
        rig.commit();
        rig.evict(200_000);
        assert!(
            rig.state.resident_bytes() < 400_000,
            "{} bytes resident",
            rig.state.resident_bytes()
        );
    }
    let consumer = rig.consume(1, true, 0, 100).expect("a consumer");
    let mut seen: Vec<Bytes> = rig.bodies();
    while seen.len() < published {
        rig.grant(consumer, 100);
        let more = rig.bodies();
        assert!(!more.is_empty(), "stuck after {} messages", seen.len());
        seen.extend(more);
        rig.commit();
        rig.evict(200_000);
    }
    assert!(seen.is_sorted(), "out of order");
    assert_eq!(rig.state.counts().ready, 0);
    assert_eq!(rig.state.resident_bytes(), 0);
    assert_eq!(
        rig.store
            .read(QUEUE.log(0), 0, 1 << 30)
            .expect("memory store")
            .len(),
        0,
        "chunks are left behind"
    );
}

#[test]
fn dying_messages_cost_no_memory_and_are_not_purged() {
    let mut rig = Rig::new(&[
        ("x-max-length", long(10)),
        ("x-dead-letter-exchange", text("dlx")),
    ]);
    rig.holds_letters = true;
    for round in 0..40 {
        let run: Vec<_> = (0..50)
            .map(|n| message(&format!("{:04} {}", round * 50 + n, "x".repeat(1000))))
            .collect();
        rig.publish(&run);
        rig.commit();
        rig.evict(200_000);
    }
    let counts = rig.state.counts();
    assert_eq!((counts.ready, counts.unacked), (10, 0));
    assert_eq!(rig.state.deaths(), (1990, 0));
    assert!(counts.resident_bytes < 300_000, "{}", counts.resident_bytes);
    // Dying messages are neither ready nor settled.
    assert_eq!(rig.state.purge(rig.now_ms, &mut rig.fx), 10);
    rig.carry_out();
    rig.commit();
    assert_eq!(rig.get(), None);
    rig.holds_letters = false;
    rig.tick(rig.now_ms);
    let dead: Vec<_> = rig.dead.iter().map(|(body, _)| body.clone()).collect();
    assert_eq!(dead.len(), 1990);
    assert!(dead.is_sorted() && dead[0].starts_with(b"0000"));
    rig.commit();
    let left = rig.store.read(QUEUE.log(0), 0, 1 << 30);
    assert_eq!(left.expect("memory store").len(), 0);
    assert_eq!(rig.state.resident_bytes(), 0);
}

#[test]
fn nothing_is_read_ahead_while_memory_is_short() {
    let mut rig = Rig::new(&[]);
    let run: Vec<_> = (0..2_000).map(|_| message(&"x".repeat(1000))).collect();
    rig.publish(&run);
    rig.commit();
    rig.evict(QUEUE_RESIDENT_BYTES_MIN);
    let before = rig.state.resident_bytes();
    rig.consume(1, false, 0, 1).expect("a consumer");
    for _ in 0..10 {
        rig.tick(rig.now_ms);
        rig.evict(QUEUE_RESIDENT_BYTES_MIN);
    }
    assert!(rig.state.resident_bytes() <= before);
}

#[test]
fn a_rejected_cold_message_is_read_for_its_dead_letter() {
    let mut rig = Rig::new(&[("x-dead-letter-exchange", text("dlx"))]);
    rig.publish(&["a", "b"].map(message));
    rig.commit();
    rig.publish(&["c"].map(message));
    rig.commit();
    let ids: Vec<_> = std::iter::from_fn(|| rig.get())
        .map(|(id, _, _)| id)
        .collect();
    rig.evict(0);
    rig.acknowledge(Acknowledgement::Reject, &ids);
    let dead: Vec<_> = rig.dead.iter().map(|(body, _)| body.clone()).collect();
    assert_eq!(dead.len(), 3);
    assert_eq!(rig.state.counts().unacked, 0);
}
