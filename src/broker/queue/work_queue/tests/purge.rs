//! Which messages a purge drops, and which it leaves.

use crate::broker::queue::effects::Acknowledgement;
use crate::store::Store;

use super::rig::{QUEUE, Rig, message, text, with};

#[test]
fn a_purge_removes_all_but_unacked_messages_from_the_disk() {
    for durable in [true, false] {
        let mut rig = Rig::with_durability(durable, &[]);
        for n in 0..100 {
            rig.publish(&[message(&format!("{n:400}"))]);
            rig.commit();
        }
        rig.evict(0);
        let held = rig.get().expect("a message").0;
        let purged = rig.state.purge(rig.now_ms, &mut rig.fx);
        assert_eq!(purged, 99);
        rig.carry_out();
        rig.commit();
        assert_eq!(rig.chunks_on_disk(), 1, "durable: {durable}");
        rig.acknowledge(Acknowledgement::Ack, &[held]);
        rig.commit();
        assert_eq!(rig.chunks_on_disk(), 0, "durable: {durable}");
    }
}

#[test]
fn a_purge_forgets_delivery_counts() {
    let mut rig = Rig::new(&[("x-queue-type", text("quorum"))]);
    for restarted in [false, true] {
        rig.publish(&["a", "b"].map(message));
        let leases = [(); 2].map(|()| rig.get().expect("a message").0);
        rig.acknowledge(Acknowledgement::Requeue, &leases);
        rig.commit();
        let counts = |rig: &Rig| {
            let logs = rig.store.logs().expect("memory store");
            logs.iter().map(|(_, log)| log.counts.len()).sum::<usize>()
        };
        assert_eq!(counts(&rig), 2);
        if restarted {
            rig.restart();
        }
        // One message stays unsettled, so that the floor does not hide leftovers on disk.
        rig.publish(&[message("c")]);
        let first = rig.get().expect("a message").0;
        rig.state.purge(rig.now_ms, &mut rig.fx);
        rig.carry_out();
        rig.commit();
        assert_eq!(counts(&rig), 1, "of the one that is held");
        rig.acknowledge(Acknowledgement::Ack, &[first]);
        rig.commit();
        assert_eq!(counts(&rig), 0);
    }
}

#[test]
fn messages_that_have_left_the_queue_are_not_expected_on_disk() {
    let mut rig = Rig::new(&[]);
    rig.publish(&["a", "b"].map(message));
    rig.publish(&[with("c", |message| message.delay_ms = Some(500))]);
    let held = rig.get().expect("a message").0;
    let (log, delayed) = (QUEUE.log(0), QUEUE.delayed_log());
    let expects = |rig: &Rig| {
        [(log, 0), (log, 1), (delayed, 0)].map(|(log, offset)| rig.state.expects(log, offset))
    };
    assert_eq!(expects(&rig), [true, true, true]);
    rig.state.purge(rig.now_ms, &mut rig.fx);
    rig.carry_out();
    assert_eq!(expects(&rig), [true, false, false]);
    rig.acknowledge(Acknowledgement::Ack, &[held]);
    rig.tick(rig.now_ms + 500);
    assert_eq!(expects(&rig), [false, false, false]);
}
