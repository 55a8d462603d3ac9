//! `tx`: all or nothing.

use leveret::wire::AMQPClass;
use leveret::wire::protocol::{basic, tx};

use crate::support::{Peer, TestServer, eventually};

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
async fn publishes_and_acks_wait_for_the_commit() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_with(1, "a", true, &[]).await;
    peer.declare_with(1, "b", true, &[]).await;
    peer.publish(1, "a", b"in").await;
    select(&mut peer).await;
    peer.get(1, "a", false).await.unwrap();
    peer.publish(1, "b", b"out 1").await;
    peer.publish(1, "b", b"out 2").await;
    peer.ack(1, 1, false).await;
    peer.nothing(1).await;
    assert_eq!(
        (server.numbers("a"), server.numbers("b")),
        ((0, 1, 0), (0, 0, 0))
    );
    commit(&mut peer).await;
    assert_eq!(
        (server.numbers("a"), server.numbers("b")),
        ((0, 0, 0), (2, 0, 0))
    );
    // An empty one is fine as well.
    commit(&mut peer).await;
    let server = server.restart().await;
    assert_eq!(
        (server.numbers("a"), server.numbers("b")),
        ((0, 0, 0), (2, 0, 0))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_forgets_publishes_and_leaves_deliveries_unanswered() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    for body in ["0", "1"] {
        peer.publish(1, "q", body.as_bytes()).await;
    }
    select(&mut peer).await;
    peer.get(1, "q", false).await.unwrap();
    peer.get(1, "q", false).await.unwrap();
    peer.publish(1, "q", b"forgotten").await;
    peer.ack(1, 2, true).await;
    rollback(&mut peer).await;
    assert_eq!(server.numbers("q"), (0, 2, 0));
    peer.nack(1, 2, false, true).await;
    peer.ack(1, 1, false).await;
    commit(&mut peer).await;
    assert_eq!(server.numbers("q"), (1, 0, 0));
    // What a transaction holds when its channel ends is given back.
    peer.get(1, "q", false).await.unwrap();
    peer.ack(1, 3, false).await;
    peer.nothing(1).await;
    drop(peer);
    eventually("the message is back", || server.numbers("q") == (1, 0, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn returns_come_with_the_commit() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    select(&mut peer).await;
    let bytes = peer.publish_bytes(1, "nowhere", true, true, b"back");
    peer.raw(&bytes).await;
    peer.nothing(1).await;
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
