//! Calls and streams between nodes that trust each other.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::super::limits::{REQUESTS_MAX, TOGETHER_MAX};
use super::*;

#[tokio::test]
async fn a_request_in_parts_is_answered_as_a_whole_by_a_node_that_knows_its_caller() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    let parts = vec!["one ".into(), Bytes::new(), "two".into()];
    for lane in [Lane::Raft, Lane::Control] {
        let answer = a
            .links
            .call(&b.peer(), lane, ECHO, parts.clone(), LONG)
            .await;
        assert_eq!(answer, Ok("one two".into()));
    }
    let callers = b.echo.callers.lock();
    assert_eq!(callers.len(), 2);
    assert_eq!((callers[0].node, &*callers[0].name), (1, "leveret@1"));
}

#[tokio::test]
async fn a_service_refuses_with_a_text() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    let refused = a.call(&b, Lane::Control, REFUSE, Bytes::new()).await;
    assert_eq!(refused, Err(LinkError::Failed("not today".to_owned())));
}

#[tokio::test]
async fn large_bodies_arrive_whole_in_both_directions() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    // Larger than the limit of bytes under way, so it goes alone.
    let body: Bytes = (0..70 << 20).map(|n: u32| n.to_le_bytes()[2]).collect();
    let (large, small) = tokio::join!(
        a.call(&b, Lane::Raft, ECHO, body.clone()),
        a.call(&b, Lane::Raft, ECHO, "small".into()),
    );
    assert!(large.unwrap() == body);
    assert_eq!(small, Ok("small".into()));
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_not_sent() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    let part = Bytes::from(vec![0; 64 << 20]);
    let parts = vec![part; 10];
    let answer = a.links.call(&b.peer(), Lane::Raft, ECHO, parts, LONG).await;
    assert_eq!(answer, Err(LinkError::TooLarge { bytes: 640 << 20 }));
    assert!(b.echo.callers.lock().is_empty());
}

#[tokio::test]
async fn calls_of_the_raft_lane_are_handled_in_order() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    // Large enough that callers wait for room.
    let calls = (0..500_u32).map(|n| {
        let mut body = n.to_be_bytes().to_vec();
        body.resize(400_000, 0);
        a.call(&b, Lane::Raft, ECHO, body.into())
    });
    let mut ordered = futures_util::stream::FuturesOrdered::from_iter(calls);
    while let Some(answer) = futures_util::StreamExt::next(&mut ordered).await {
        assert_eq!(answer.unwrap().len(), 400_000);
    }
    let seen = b.echo.seen.lock();
    let numbers = seen
        .iter()
        .map(|request| u32::from_be_bytes(request[..4].try_into().unwrap()));
    assert!(numbers.eq(0..500));
}

#[tokio::test]
async fn calls_of_the_raft_lane_wait_together_within_the_limit() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    let calls = (0..300_u32).map(|n| {
        let body = Bytes::copy_from_slice(&n.to_be_bytes());
        a.call(&b, Lane::Raft, GATED, body)
    });
    let mut ordered = futures_util::stream::FuturesOrdered::from_iter(calls);
    let answered = async {
        let mut answered = 0..300_u32;
        while let Some(answer) = futures_util::StreamExt::next(&mut ordered).await {
            let expected = answered.next().unwrap().to_be_bytes();
            assert_eq!(answer.unwrap(), expected[..]);
        }
    };
    let released = async {
        until(|| b.echo.at_work.load(Ordering::SeqCst) == TOGETHER_MAX).await;
        b.echo.gate.add_permits(300);
    };
    tokio::join!(answered, released);
    assert_eq!(b.echo.at_work_max.load(Ordering::SeqCst), TOGETHER_MAX);
}

#[tokio::test]
async fn ten_thousand_calls_are_under_way_within_the_limits() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    let (a, b) = (Arc::new(a), Arc::new(b));
    let mut calls = JoinSet::new();
    for n in 0..10_000_u32 {
        let (a, b) = (Arc::clone(&a), Arc::clone(&b));
        calls.spawn(async move {
            let body = Bytes::copy_from_slice(&n.to_be_bytes());
            let answer = a.call(&b, Lane::Control, GATED, body.clone()).await;
            assert_eq!(answer, Ok(body));
        });
    }
    // As many as are handled together, and no more.
    until(|| b.echo.at_work.load(Ordering::SeqCst) == TOGETHER_MAX).await;
    let end = a.links.lane(&b.peer().address, Lane::Control).unwrap();
    until(|| end.free_requests() == 0).await;
    assert_eq!(b.echo.callers.lock().len(), TOGETHER_MAX);
    b.echo.gate.add_permits(10_000);
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
    assert_eq!(b.echo.at_work_max.load(Ordering::SeqCst), TOGETHER_MAX);
    until(|| end.free_requests() == REQUESTS_MAX).await;
}

#[tokio::test]
async fn a_call_without_an_answer_ends_in_time_and_others_go_on() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    let soon = Duration::from_millis(50);
    let request = vec![Bytes::new()];
    let late = a
        .links
        .call(&b.peer(), Lane::Control, GATED, request, soon)
        .await;
    assert_eq!(late, Err(LinkError::TimedOut));
    let other = a.call(&b, Lane::Control, ECHO, "other".into()).await;
    assert_eq!(other, Ok("other".into()));
}

#[tokio::test]
async fn a_stream_carries_both_directions_and_its_half_close() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    let mut stream = a.links.open(&b.peer(), 7, "header".into()).await.unwrap();
    stream.write_all(b"some bytes").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = String::new();
    stream.read_to_string(&mut back).await.unwrap();
    assert_eq!(back, "\u{7}headersome bytes");
}

#[tokio::test]
async fn many_streams_are_opened_together() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    let opened = (0..500).map(|_| async {
        let mut stream = a.links.open(&b.peer(), 7, Bytes::new()).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 7);
    });
    futures_util::future::join_all(opened).await;
}
