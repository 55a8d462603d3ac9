//! Connections that end in the middle, and nodes that are not there.

use super::*;

#[tokio::test]
async fn a_node_that_is_not_there_fails_fast_and_is_found_when_it_comes() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    let (peer, address) = (b.peer(), b.address);
    b.end().await;
    let request = || vec![Bytes::from("body")];
    for _ in 0..100 {
        let failed = a.links.call(&peer, Lane::Raft, ECHO, request(), LONG).await;
        assert!(matches!(failed, Err(LinkError::Unreachable { .. })));
    }
    let b = Node::start_at(given(2), address);
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        let answer = a.links.call(&peer, Lane::Raft, ECHO, request(), LONG).await;
        if answer.is_ok() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(b);
}

#[tokio::test]
async fn a_restarted_node_is_connected_to_again() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    let (peer, address) = (b.peer(), b.address);
    let request = || vec![Bytes::from("body")];
    let answer = a.links.call(&peer, Lane::Raft, ECHO, request(), LONG).await;
    assert_eq!(answer, Ok("body".into()));
    b.end().await;
    let b = Node::start_at(given(2), address);
    let deadline = tokio::time::Instant::now() + LONG;
    // The call that notices the end fails; it may have been carried out.
    while let Err(error) = a.links.call(&peer, Lane::Raft, ECHO, request(), LONG).await {
        assert!(tokio::time::Instant::now() < deadline, "{error:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(b);
}

#[tokio::test]
async fn calls_without_an_answer_end_with_the_connection() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    let peer = b.peer();
    let (cut, ()) = tokio::join!(
        a.links.call(&peer, Lane::Control, GATED, vec![], LONG),
        async {
            while b.echo.callers.lock().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            b.end().await;
        }
    );
    assert_eq!(cut, Err(LinkError::Cut));
}

#[tokio::test]
async fn another_node_at_the_address_gets_no_request() {
    let (a, b) = (Node::start(given(1)), Node::start(given(3)));
    let peer = Peer {
        node: Some(2),
        ..b.peer()
    };
    let answer = a.links.call(&peer, Lane::Raft, ECHO, vec![], LONG).await;
    let stream = a.links.open(&peer, 7, Bytes::new()).await.map(drop);
    for failed in [answer.map(drop), stream] {
        assert!(
            matches!(
                failed,
                Err(LinkError::AnotherNode {
                    expected: 2,
                    found: 3,
                    ..
                })
            ),
            "{failed:?}"
        );
    }
    let any = Peer { node: None, ..peer };
    let answer = a.links.call(&any, Lane::Raft, ECHO, vec![], LONG).await;
    assert!(answer.is_ok());
    assert_eq!(b.echo.callers.lock().len(), 1);
}

#[tokio::test]
async fn a_node_is_gone_when_its_lanes_have_ended_and_its_address_refuses() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    let (peer, address) = (b.peer(), b.peer().address);
    b.call(&a, Lane::Raft, ECHO, Bytes::new()).await.unwrap();
    b.call(&a, Lane::Control, ECHO, Bytes::new()).await.unwrap();
    assert!(!a.links.is_gone(2, &address).await, "it has lanes");
    assert_eq!(a.echo.left.load(Ordering::SeqCst), 0);
    // It listens, and its lanes have ended.
    b.links.forget_lanes();
    until(|| a.echo.left.load(Ordering::SeqCst) == 1).await;
    assert!(!a.links.is_gone(2, &address).await, "it listens");
    b.end().await;
    assert!(a.links.is_gone(2, &address).await);
    assert!(!a.links.is_gone(2, "no.such.host.invalid:9").await);
    let answer = a.links.call(&peer, Lane::Raft, ECHO, vec![], LONG).await;
    assert!(answer.is_err());
}
