//! Which messages a rewind brings back, and which it leaves alone.

use crate::store::Journal as _;
use std::collections::BTreeSet;

use bytes::Bytes;

use crate::broker::queue::effects::Acknowledgement;
use crate::broker::queue::rewind::plan::RewindError;
use crate::broker::queue::rewind::rewind_to::RewindTo;
use crate::broker::queue::work_queue::tests::rig::{Rig, long, message, text, with};
use crate::clock::Moment;
use crate::model::Lease;
use crate::store::Store;

use super::{log, rig};

#[test]
fn acked_messages_come_back_from_a_time_or_an_offset_in_order() {
    let mut rig = rig(&[]);
    for text in ["a", "b", "c", "d"] {
        rig.publish(&[message(text)]);
        rig.now_ms += 10;
    }
    assert_eq!(rig.drain(), ["a", "b", "c", "d"]);
    assert_eq!(rig.state.counts().rewindable, 4);
    assert_eq!(rig.state.counts().rewindable_bytes, 4);
    for (to, expected) in [
        (RewindTo::Time(1_020), vec!["c", "d"]),
        (RewindTo::Time(1_011), vec!["c", "d"]),
        (RewindTo::Time(1_010), vec!["b", "c", "d"]),
        (RewindTo::Time(0), vec!["a", "b", "c", "d"]),
        (RewindTo::Time(1_031), vec![]),
        (RewindTo::Offset(3), vec!["d"]),
        (RewindTo::Offset(0), vec!["a", "b", "c", "d"]),
    ] {
        let rewound = rig.rewind(to).expect("rewound");
        let first = (4 - expected.len()) as u64;
        let from = (first < 4).then_some(first);
        assert_eq!(rewound, (from, expected.len() as u64), "{to:?}");
        assert_eq!(rig.state.counts().ready, expected.len() as u64);
        assert_eq!(rig.state.counts().ready_bytes, expected.len() as u64);
        assert_eq!(rig.drain(), expected, "{to:?}");
        assert_eq!(rig.state.counts().rewindable, 4);
    }
}

#[test]
fn impossible_rewinds_are_refused() {
    let mut plain = Rig::new(&[("x-rewind-seconds", long(0))]);
    let refused = plain.rewind(RewindTo::Time(0));
    assert!(matches!(refused, Err(RewindError::NotEnabled)));
    let mut rig = rig(&[("x-max-priority", long(5))]);
    rig.publish(&[message("a")]);
    let refused = rig.rewind(RewindTo::Time(rig.now_ms + 1));
    assert!(matches!(refused, Err(RewindError::InFuture)));
    let refused = rig.rewind(RewindTo::Offset(1));
    assert!(matches!(
        refused,
        Err(RewindError::NoSuchOffset { next: 1 })
    ));
    rig.publish(&[with("b", |m| m.priority = 3)]);
    assert_eq!(
        rig.drain(),
        ["a", "b"]
            .map(Bytes::from)
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
    let refused = rig.rewind(RewindTo::Offset(0));
    assert!(matches!(refused, Err(RewindError::SeveralLanes)));
    assert_eq!(
        rig.rewind(RewindTo::Time(0)).expect("both lanes"),
        (None, 2)
    );
    assert_eq!(rig.drain(), ["b", "a"]);
}

#[test]
fn only_acked_messages_come_back() {
    let mut rig = rig(&[("x-max-length", long(4))]);
    rig.publish(&["dropped", "acked", "rejected", "requeued"].map(message));
    rig.publish(&[message("purged")]); // drops the first message
    let acked = rig.get().expect("a message").0;
    rig.acknowledge(Acknowledgement::Ack, &[acked]);
    let rejected = rig.get().expect("a message").0;
    rig.acknowledge(Acknowledgement::Reject, &[rejected]);
    let held = rig.get().expect("a message").0;
    rig.state.purge(rig.now_ms, &mut rig.fx);
    rig.carry_out();
    rig.acknowledge(Acknowledgement::Requeue, &[held]);
    rig.publish(&[with("expired", |m| m.expiration_ms = Some(5))]);
    let requeued = rig.get().expect("a message").0;
    rig.acknowledge(Acknowledgement::Ack, &[requeued]);
    rig.tick(2_000);
    for _ in 0..2 {
        assert_eq!(
            rig.rewind(RewindTo::Time(0)).expect("rewound"),
            (Some(1), 2)
        );
        assert_eq!(rig.drain(), ["acked", "requeued"]);
        rig.commit();
        rig.restart();
    }
}

#[test]
fn leased_and_ready_messages_stay_as_they_are() {
    let mut rig = rig(&[]);
    rig.publish(&["a", "b", "c", "d"].map(message));
    let leases: Vec<Lease> = (0..3).map(|_| rig.get().expect("a message").0).collect();
    rig.acknowledge(Acknowledgement::Ack, &[leases[0], leases[2]]);
    assert_eq!(
        rig.rewind(RewindTo::Time(0)).expect("rewound"),
        (Some(0), 2)
    );
    assert_eq!(
        (rig.state.counts().ready, rig.state.counts().unacked),
        (3, 1)
    );
    rig.acknowledge(Acknowledgement::Ack, &[leases[0]]); // a lease that has ended
    assert_eq!(rig.state.counts().ready, 3);
    let again: Vec<_> = std::iter::from_fn(|| rig.get()).collect();
    rig.acknowledge(Acknowledgement::Ack, &[leases[0], leases[2]]);
    assert_eq!(
        rig.state.counts().unacked,
        4,
        "an old answer settles no new lease"
    );
    let told: Vec<_> = again
        .iter()
        .map(|(_, body, redelivered)| (&body[..], *redelivered))
        .collect();
    assert_eq!(told, [(&b"a"[..], true), (b"c", true), (b"d", false)]);
    rig.acknowledge(Acknowledgement::Ack, &leases[1..2]);
    assert_eq!(rig.state.counts().unacked, 3);
}

#[test]
fn a_receipt_handle_from_before_a_rewind_is_not_valid_after_it() {
    let mut rig = rig(&[("x-queue-type", text("quorum"))]);
    rig.publish(&["a", "b"].map(message));
    let received = rig.receive(2);
    let delete = |rig: &mut Rig, handle| {
        let deleted = rig
            .state
            .delete_received(rig.now_ms, &[handle], &mut rig.fx);
        rig.carry_out();
        deleted
    };
    assert_eq!(delete(&mut rig, received[0].handle), [true]);
    rig.commit();
    assert_eq!(rig.rewind(RewindTo::Time(0)).expect("rewound").1, 1);
    for restarts in 0..3 {
        let counts = rig.state.counts();
        assert_eq!(
            (counts.ready, counts.unacked),
            (1, 1),
            "{restarts} restarts"
        );
        rig.commit();
        rig.restart();
    }
    let again = rig.receive(2);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].count, 1, "it starts over");
    assert_eq!(delete(&mut rig, received[0].handle), [false]);
    assert_eq!(delete(&mut rig, received[1].handle), [true]);
    assert_eq!(delete(&mut rig, again[0].handle), [true]);
}

#[test]
fn messages_delivered_without_acks_come_back_too() {
    let mut rig = rig(&[]);
    rig.consume(1, true, 0, 10).expect("a consumer");
    rig.publish(&["a", "b"].map(message));
    assert_eq!(rig.take_deliveries().len(), 2);
    assert_eq!(rig.rewind(RewindTo::Time(0)).expect("rewound").1, 2);
    let again = rig.take_deliveries();
    assert!(
        again
            .iter()
            .all(|delivery| delivery.enqueued == Some(Moment::from_ms(1_000)))
    );
    assert_eq!(again.len(), 2, "the consumer gets them immediately");
}

#[test]
fn a_long_rewind_neither_loads_nor_rewrites_messages() {
    let mut rig = rig(&[]);
    let run: Vec<_> = (0..200).map(|n| message(&format!("{n:100}"))).collect();
    for _ in 0..200 {
        rig.publish(&run);
        rig.commit();
        rig.drain();
        rig.now_ms += 1;
    }
    rig.commit();
    assert_eq!(rig.state.resident_bytes(), 0);
    assert_eq!(
        rig.rewind(RewindTo::Time(1_050)).expect("rewound").1,
        150 * 200
    );
    assert_eq!(rig.state.resident_bytes(), 0);
    assert_eq!(rig.state.counts().ready_bytes, 150 * 200 * 100);
    let mut batch = crate::store::Batch::default();
    rig.state.collect(crate::model::Ticket(9_999), &mut batch);
    assert!(batch.bytes < 4_000, "{} bytes", batch.bytes);
    rig.store.append(&batch).expect("memory store");
    rig.evict(0);
    assert_eq!(rig.drain().len(), 150 * 200);
}

#[test]
fn an_empty_queue_has_no_bytes_even_after_averages() {
    let mut rig = rig(&[]);
    rig.set_rewind(None);
    // More messages than the history measures one by one, the large ones first.
    let run: Vec<_> = (0..12_000)
        .map(|n| message(&"x".repeat(if n < 6_000 { 40 } else { 4 })))
        .collect();
    rig.publish(&run);
    rig.commit();
    rig.set_rewind(Some(60_000));
    rig.drain();
    for _ in 0..3 {
        let rewound = rig.rewind(RewindTo::Offset(1)).expect("rewound");
        assert_eq!(rewound.1, 11_999);
        rig.drain();
        assert_eq!(rig.state.counts().ready_bytes, 0);
        rig.commit();
        let (_, state) = rig.store.logs().expect("memory store").remove(0);
        assert_eq!(state.record.bytes, 0);
    }
    rig.publish(&[message("abc")]);
    assert_eq!(rig.state.counts().ready_bytes, 3);
}

/// Tries offsets and times around the ends of stretches, pages and chunks, before and after a restart.
#[test]
fn the_position_is_exact_at_every_border() {
    const COUNT: u64 = 2 * 4096 + 10;
    /// Messages that are enqueued in one millisecond.
    const PER_MS: u64 = 3;
    let mut rig = rig(&[]);
    // Bodies of 0 to 4 bytes, so that the bytes that come back show which messages did.
    let size = |offset: u64| offset * 7 % 5;
    let mut published = 0;
    while published < COUNT {
        let run: Vec<_> = (published..COUNT.min(published + PER_MS))
            .map(|offset| message(&"x".repeat(usize::try_from(size(offset)).unwrap())))
            .collect();
        rig.publish(&run);
        published += run.len() as u64;
        rig.now_ms += 1;
        if published % 1000 < PER_MS {
            rig.commit();
        }
    }
    let take_all = |rig: &mut Rig| {
        let id = rig.consume(1, true, 0, u32::MAX).expect("a consumer");
        rig.state.leave(rig.now_ms, &[id], &[], &mut rig.fx);
        let offsets = rig.take_deliveries().into_iter();
        offsets.map(|delivery| delivery.lease.offset).collect()
    };
    let taken: Vec<u64> = take_all(&mut rig);
    assert!(taken.into_iter().eq(0..COUNT));
    let chunks = rig.store.read(log(0), 0, usize::MAX).expect("chunks");
    let borders = chunks.iter().skip(1).map(|chunk| chunk.first).take(2);
    let offsets: BTreeSet<u64> = borders
        .chain([4096, 8192, COUNT])
        .flat_map(|offset| [offset - 1, offset, offset + 1])
        .filter(|offset| *offset < COUNT)
        .collect();
    for restarted in [false, true] {
        if restarted {
            rig.commit();
            rig.restart();
        }
        for offset in &offsets {
            // All messages of one millisecond have the same time.
            let of_time = offset - offset % PER_MS;
            let ms = 1_000 + offset / PER_MS;
            for (to, from) in [
                (RewindTo::Offset(*offset), *offset),
                (RewindTo::Time(ms), of_time),
                (RewindTo::Time(ms + 1), of_time + PER_MS),
            ] {
                let rewound = rig.rewind(to).expect("rewound");
                let expected = (from < COUNT).then_some(from);
                assert_eq!(rewound, (expected, COUNT.saturating_sub(from)), "{to:?}");
                let bytes: u64 = (from..COUNT).map(size).sum();
                assert_eq!(rig.state.counts().ready_bytes, bytes, "{to:?}");
                let taken: Vec<u64> = take_all(&mut rig);
                assert!(taken.into_iter().eq(from..COUNT), "{to:?}");
            }
        }
    }
}

#[test]
fn a_rewound_message_expires_if_its_time_to_live_is_over() {
    let mut rig = rig(&[
        ("x-message-ttl", long(1_000)),
        ("x-dead-letter-exchange", text("dlx")),
    ]);
    rig.publish(&[message("a")]);
    rig.drain();
    rig.now_ms += 500;
    rig.publish(&[message("b")]);
    rig.drain();
    rig.now_ms += 700;
    assert_eq!(rig.rewind(RewindTo::Time(0)).expect("rewound").1, 2);
    assert_eq!(rig.drain(), ["b"]);
    assert_eq!(rig.dead.len(), 1);
    assert_eq!(rig.rewind(RewindTo::Time(0)).expect("rewound").1, 1);
}
