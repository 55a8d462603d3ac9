//! Transactions: publishes and acks happen together at `tx.commit`, or not at all.

use leveret::wire::AMQPClass;
use leveret::wire::protocol::{basic, tx};

use crate::support::{Peer, Publish, TestServer, eventually_eq};

async fn tx(peer: &mut Peer, method: tx::AMQPMethod) -> AMQPClass {
    peer.call(1, AMQPClass::Tx(method)).await
}

async fn select(peer: &mut Peer) {
    let ok = tx(peer, tx::AMQPMethod::Select(tx::Select {})).await;
    assert!(
        matches!(ok, AMQPClass::Tx(tx::AMQPMethod::SelectOk(_))),
        "{ok:?}"
    );
}

async fn commit(peer: &mut Peer) {
    let ok = tx(peer, tx::AMQPMethod::Commit(tx::Commit {})).await;
    assert!(
        matches!(ok, AMQPClass::Tx(tx::AMQPMethod::CommitOk(_))),
        "{ok:?}"
    );
}

async fn rollback(peer: &mut Peer) {
    let ok = tx(peer, tx::AMQPMethod::Rollback(tx::Rollback {})).await;
    assert!(
        matches!(ok, AMQPClass::Tx(tx::AMQPMethod::RollbackOk(_))),
        "{ok:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_and_acks_take_effect_together_at_the_commit() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "a", &[]).await;
    peer.declare_durable(1, "b", &[]).await;
    peer.publish(1, "a", b"in").await;
    select(&mut peer).await;
    peer.get(1, "a").await.unwrap();
    peer.publish(1, "b", b"out 1").await;
    peer.publish(1, "b", b"out 2").await;
    peer.ack(1, 1).await;
    peer.expect_nothing(1).await;
    assert_eq!(
        (server.numbers("a"), server.numbers("b")),
        ((0, 1, 0), (0, 0, 0))
    );
    commit(&mut peer).await;
    assert_eq!(
        (server.numbers("a"), server.numbers("b")),
        ((0, 0, 0), (2, 0, 0))
    );
    // A transaction may be empty.
    commit(&mut peer).await;
    let server = server.restart().await;
    assert_eq!(
        (server.numbers("a"), server.numbers("b")),
        ((0, 0, 0), (2, 0, 0))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_discards_publishes_and_leaves_deliveries_unacked() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    for body in ["0", "1"] {
        peer.publish(1, "q", body.as_bytes()).await;
    }
    select(&mut peer).await;
    peer.get(1, "q").await.unwrap();
    peer.get(1, "q").await.unwrap();
    peer.publish(1, "q", b"discarded").await;
    peer.ack_up_to(1, 2).await;
    rollback(&mut peer).await;
    assert_eq!(server.numbers("q"), (0, 2, 0));
    peer.requeue(1, 2).await;
    peer.ack(1, 1).await;
    commit(&mut peer).await;
    assert_eq!(server.numbers("q"), (1, 0, 0));
    // An ack that is not committed when the channel ends has no effect.
    peer.get(1, "q").await.unwrap();
    peer.ack(1, 3).await;
    peer.expect_nothing(1).await;
    drop(peer);
    eventually_eq("the message is back", (1, 0, 0), || server.numbers("q")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn returns_are_sent_at_the_commit() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    select(&mut peer).await;
    let bytes = peer.frames(1, &Publish::to_queue("nowhere", b"back").mandatory());
    peer.raw(&bytes).await;
    peer.expect_nothing(1).await;
    peer.send(1, AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})))
        .await;
    let returned = peer.content().await;
    assert!(
        matches!(
            returned.method,
            AMQPClass::Basic(basic::AMQPMethod::Return(_))
        ),
        "{:?}",
        returned.method
    );
    assert!(matches!(
        peer.method().await.1,
        AMQPClass::Tx(tx::AMQPMethod::CommitOk(_))
    ));
}
