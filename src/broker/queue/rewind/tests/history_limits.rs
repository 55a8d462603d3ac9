//! Which acked messages stay rewindable, and when they leave the disk.

use crate::broker::queue::effects::Acknowledgement;
use crate::broker::queue::rewind::plan::RewindError;
use crate::broker::queue::rewind::rewind_to::RewindTo;
use crate::broker::queue::work_queue::tests::rig::{long, message};

use super::rig;

#[test]
fn expired_messages_leave_the_disk() {
    let mut rig = rig(&[]);
    rig.publish(&[message("old")]);
    rig.commit();
    let stuck = rig.get().expect("a message").0;
    rig.now_ms += 50_000;
    rig.publish(&[message("young")]);
    rig.commit();
    assert_eq!(
        rig.get()
            .map(|(lease, ..)| rig.acknowledge(Acknowledgement::Ack, &[lease])),
        Some(())
    );
    rig.commit();
    assert_eq!(rig.chunks_on_disk(), 2);
    let due = rig.state.deadline_ms(rig.now_ms).expect("a deadline");
    rig.tick(due);
    rig.acknowledge(Acknowledgement::Ack, &[stuck]); // its stretch has expired
    rig.commit();
    assert_eq!(
        (rig.chunks_on_disk(), rig.state.counts().rewindable),
        (1, 1)
    );
    let due = rig.state.deadline_ms(rig.now_ms).expect("a deadline");
    assert_eq!(due, 51_000 + 60_001);
    rig.tick(due - 1);
    assert_eq!(rig.state.counts().rewindable, 1);
    rig.tick(due);
    rig.commit();
    assert_eq!(
        (rig.chunks_on_disk(), rig.state.counts().rewindable),
        (0, 0)
    );
    assert_eq!(rig.rewind(RewindTo::Time(0)).expect("rewound"), (None, 0));
}

#[test]
fn the_history_stays_within_the_byte_limit_of_the_queue() {
    let mut rig = rig(&[("x-max-length-bytes", long(10_000))]);
    for _ in 0..500 {
        rig.publish(&[message(&"x".repeat(100))]);
        assert_eq!(rig.drain().len(), 1);
        rig.commit();
        assert!(rig.state.counts().rewindable_bytes <= 10_000);
    }
    let rewindable = rig.state.counts().rewindable;
    assert!((95..=100).contains(&rewindable), "{rewindable}");
    assert_eq!(rig.chunks_on_disk() as u64, rewindable);
    let rewound = rig.rewind(RewindTo::Offset(0)).expect("rewound");
    let oldest = 500 - rewindable;
    assert_eq!(rewound, (Some(oldest), rewindable));
}

#[test]
fn ending_the_history_drops_it_and_a_new_one_begins_empty() {
    let mut rig = rig(&[]);
    rig.publish(&["a", "b", "c"].map(message));
    let lease = rig.get().expect("a message").0;
    rig.acknowledge(Acknowledgement::Ack, &[lease]);
    rig.commit();
    rig.set_rewind(None);
    let refused = rig.rewind(RewindTo::Time(0));
    assert!(matches!(refused, Err(RewindError::NotEnabled)));
    let lease = rig.get().expect("a message").0;
    rig.acknowledge(Acknowledgement::Ack, &[lease]);
    rig.commit();
    rig.set_rewind(Some(5_000));
    rig.now_ms += 10;
    assert_eq!(rig.drain(), ["c"]);
    assert_eq!(
        rig.rewind(RewindTo::Time(0)).expect("rewound"),
        (Some(2), 1)
    );
    assert_eq!(rig.drain(), ["c"]);
    rig.commit();
    rig.restart();
    assert_eq!(
        rig.rewind(RewindTo::Time(0)).expect("rewound"),
        (Some(2), 1)
    );
    assert_eq!(rig.drain(), ["c"]);
    rig.set_rewind(None);
    rig.commit();
    assert_eq!(rig.chunks_on_disk(), 0);
}
