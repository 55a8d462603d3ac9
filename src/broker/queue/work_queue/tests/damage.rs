//! Lost messages: those that are on disk and unreadable.

use crate::broker::queue::effects::Acknowledgement;
use crate::model::Lease;
use crate::store::Journal as _;
use crate::store::Op;
use crate::wire::AMQPValue;

use super::rig::{QUEUE, Rig, message};

/// Ten chunks of ten messages, all cold. The fourth chunk is lost.
fn damaged_rig(arguments: &[(&str, AMQPValue)]) -> Rig {
    let mut rig = Rig::new(arguments);
    for chunk in 0..10 {
        let run: Vec<_> = (10 * chunk..10 * chunk + 10)
            .map(|n| message(&n.to_string()))
            .collect();
        rig.publish(&run);
        rig.commit();
    }
    let log = QUEUE.log(0);
    let unreadable = Op::RemoveChunk { log, first: 30 };
    let batch = [unreadable].into_iter().collect();
    rig.store.append(&batch).expect("memory store");
    rig.restart();
    let lost = rig.state.lose(rig.now_ms, log, 30..40, &mut rig.fx);
    assert_eq!(lost, 10);
    rig.carry_out();
    rig
}

#[test]
fn the_queue_goes_on_behind_lost_messages() {
    let mut rig = damaged_rig(&[]);
    let counts = rig.state.counts();
    assert_eq!((counts.ready, counts.damaged), (90, 10));
    for n in (0..30).chain(40..100) {
        let (lease, body, _) = rig.get().expect("a message");
        assert_eq!(body, n.to_string());
        rig.acknowledge(Acknowledgement::Ack, &[lease]);
    }
    assert_eq!(rig.get(), None);
    let counts = rig.state.counts();
    assert_eq!((counts.ready, counts.ready_bytes), (0, 0));
    let told = rig.state.lost();
    assert_eq!((told[0].0, &told[0].1[0]), (QUEUE.log(0), &(30..40)));
    rig.commit();
    // The next start tries again.
    rig.restart();
    assert_eq!(rig.state.counts().ready, 10);
    assert!(rig.state.expects(QUEUE.log(0), 30));
}

#[test]
fn a_purge_drops_readable_messages_and_leaves_lost_ones() {
    let mut rig = damaged_rig(&[]);
    let leased = rig.get().expect("a message").0;
    assert_eq!(rig.state.purge(rig.now_ms, &mut rig.fx), 89);
    rig.carry_out();
    rig.commit();
    let counts = rig.state.counts();
    assert_eq!((counts.ready, counts.unacked, counts.damaged), (0, 1, 10));
    rig.acknowledge(Acknowledgement::Ack, &[leased]);
    rig.publish(&[message("later")]);
    let (lease, body, _) = rig.get().expect("a message");
    assert_eq!(body, "later");
    rig.acknowledge(Acknowledgement::Ack, &[lease]);
    rig.commit();
    rig.restart();
    assert_eq!(
        rig.state.counts().ready,
        10,
        "only what cannot be read is left"
    );
}

#[test]
fn an_evicted_body_may_be_lost_too() {
    let mut rig = Rig::new(&[]);
    for run in [&["0"][..], &["1", "2", "3", "4"], &["5"]] {
        let run: Vec<_> = run.iter().map(|body| message(body)).collect();
        rig.publish(&run);
        rig.commit();
    }
    let leases: Vec<Lease> = (0..5).map(|_| rig.get().expect("a message").0).collect();
    rig.evict(0);
    rig.state.acknowledge(
        rig.now_ms,
        Acknowledgement::Requeue,
        &leases[2..4],
        &[],
        &mut rig.fx,
    );
    rig.fx.others.clear();
    let log = QUEUE.log(0);
    let lost = rig.state.lose(rig.now_ms, log, 0..5, &mut rig.fx);
    let counts = rig.state.counts();
    assert_eq!((lost, counts.damaged, counts.unacked), (2, 2, 3));
    let told = rig.state.lost();
    assert_eq!((told[0].0, &told[0].1[0]), (log, &(2..4)));
    // Acks of leases that have ended, and of others that have not.
    rig.acknowledge(Acknowledgement::Ack, &leases);
    let counts = rig.state.counts();
    assert_eq!((counts.ready, counts.unacked, counts.damaged), (1, 0, 2));
    assert_eq!(rig.get().expect("a message").1, "5");
}
