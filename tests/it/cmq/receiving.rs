//! Receiving and deleting messages over HTTP.

use std::time::{Duration, Instant, UNIX_EPOCH};

use leveret::cmq::error::CmqError;
use serde_json::Value;

use super::{Client, Q, Refusal, client, start_with_queue};
use crate::support::{Peer, TestServer, eventually, eventually_eq};

/// The longest wait for messages that a request may ask for.
const LONGEST: (&str, &str) = ("pollingWaitSeconds", "30");
const LONGEST_WAIT: Duration = Duration::from_secs(30);

async fn send(client: &mut Client, bodies: &[&str]) {
    for body in bodies {
        client.ok("SendMessage", &[Q, ("msgBody", body)]).await;
    }
}

/// Requests a message without reading the response; returns when the broker has the request.
async fn begin_receive(server: &TestServer, client: &mut Client) {
    // Makes sure that the connection is accepted.
    client.ok("GetQueueAttributes", &[Q]).await;
    let before = server.cmq_users();
    let form = client.form("ReceiveMessage", &[Q, LONGEST]);
    client.send(&form).await;
    eventually("the request is in progress", || server.cmq_users() > before).await;
}

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} in {answer}"))
}

#[tokio::test]
async fn a_message_is_sent_received_and_deleted() {
    let (server, mut client) = start_with_queue().await;
    let sent = client.ok("SendMessage", &[Q, ("msgBody", "你好\"")]).await;
    let got = client.ok("ReceiveMessage", &[Q]).await;
    assert_eq!(got["msgBody"], "你好\"");
    assert_eq!(got["msgId"], sent["msgId"]);
    assert_eq!(got["dequeueCount"], 1);
    let seconds = |field: &str| got[field].as_u64().unwrap();
    assert!(seconds("enqueueTime") <= seconds("firstDequeueTime"));
    assert!((29..=31).contains(&(seconds("nextVisibleTime") - seconds("firstDequeueTime"))));
    assert_eq!(
        client.refused("ReceiveMessage", &[Q]).await,
        CmqError::NoMessage
    );
    let shown = client.ok("GetQueueAttributes", &[Q]).await;
    assert_eq!(
        (&shown["activeMsgNum"], &shown["inactiveMsgNum"]),
        (&0.into(), &1.into())
    );
    let handle = ("receiptHandle", text(&got, "receiptHandle"));
    client.ok("DeleteMessage", &[Q, handle]).await;
    assert_eq!(server.numbers("q"), (0, 0, 0));
    assert_eq!(
        client.refused("DeleteMessage", &[Q, handle]).await,
        CmqError::InvalidHandle
    );
}

#[tokio::test]
async fn a_batch_receive_takes_what_is_ready_and_a_batch_delete_can_fail_in_part() {
    let (server, mut client) = start_with_queue().await;
    send(&mut client, &["a", "b", "c"]).await;
    let got = client
        .ok("BatchReceiveMessage", &[Q, ("numOfMsg", "16")])
        .await;
    let messages = got["msgInfoList"].as_array().unwrap();
    let bodies: Vec<_> = messages
        .iter()
        .map(|message| text(message, "msgBody"))
        .collect();
    assert_eq!(bodies, ["a", "b", "c"]);
    let handles: Vec<_> = messages
        .iter()
        .map(|message| text(message, "receiptHandle"))
        .collect();
    let some = [
        Q,
        ("receiptHandle.1", handles[0]),
        ("receiptHandle.2", "7"),
        ("receiptHandle.3", "x"),
    ];
    let partly = client.call("BatchDeleteMessage", &some).await;
    assert_eq!(Refusal::of(&partly), CmqError::DeletePartlyFailed);
    let errors = partly["errorList"].as_array().unwrap();
    let expected = [
        ("7", CmqError::InvalidHandle),
        ("x", CmqError::ReceiptHandleFormat),
    ];
    assert_eq!(errors.len(), expected.len());
    for (error, (handle, refusal)) in errors.iter().zip(expected) {
        assert_eq!(text(error, "receiptHandle"), handle);
        assert_eq!(Refusal::of(error), refusal);
    }
    assert_eq!(server.numbers("q"), (0, 2, 0));
    let none = client
        .call("BatchDeleteMessage", &[Q, ("receiptHandle.0", "7")])
        .await;
    assert_eq!(Refusal::of(&none), CmqError::DeleteFailed);
    let rest = [
        Q,
        ("receiptHandle.0", handles[1]),
        ("receiptHandle.1", handles[2]),
    ];
    client.ok("BatchDeleteMessage", &rest).await;
    assert_eq!(server.numbers("q"), (0, 0, 0));
    for (action, parameter, refused) in [
        (
            "BatchReceiveMessage",
            ("x", ""),
            CmqError::Missing("numOfMsg".into()),
        ),
        (
            "BatchReceiveMessage",
            ("numOfMsg", "17"),
            CmqError::OutOfRange("numOfMsg".into()),
        ),
        (
            "BatchReceiveMessage",
            ("numOfMsg", "0"),
            CmqError::OutOfRange("numOfMsg".into()),
        ),
        (
            "BatchDeleteMessage",
            ("x", ""),
            CmqError::Missing("receiptHandle.n".into()),
        ),
        (
            "BatchDeleteMessage",
            ("receiptHandle.x", "1"),
            CmqError::KeyFormat("receiptHandle.x".into()),
        ),
        (
            "DeleteMessage",
            ("receiptHandle", "x"),
            CmqError::ReceiptHandleFormat,
        ),
        (
            "DeleteMessage",
            ("x", ""),
            CmqError::Missing("receiptHandle".into()),
        ),
    ] {
        assert_eq!(
            client.refused(action, &[Q, parameter]).await,
            refused,
            "{action} {parameter:?}"
        );
    }
}

#[tokio::test]
async fn a_waiting_receive_gets_a_message_immediately() {
    let (_server, mut client) = start_with_queue().await;
    let begun = Instant::now();
    let none = client
        .refused("ReceiveMessage", &[Q, ("pollingWaitSeconds", "1")])
        .await;
    assert_eq!(none, CmqError::NoMessage);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let begun = Instant::now();
    let mut waiting = client.another().await;
    // A longer wait than allowed counts as the longest.
    let form = waiting.form("ReceiveMessage", &[Q, ("pollingWaitSeconds", "30000")]);
    waiting.send(&form).await;
    send(&mut client, &["now"]).await;
    assert_eq!(waiting.answer().await["msgBody"], "now");
    assert!(begun.elapsed() < LONGEST_WAIT);
}

#[tokio::test]
async fn a_client_that_hangs_up_loses_no_message() {
    let (server, mut client) = start_with_queue().await;
    let (mut waiting, mut next) = (client.another().await, client.another().await);
    begin_receive(&server, &mut waiting).await;
    begin_receive(&server, &mut next).await;
    let both = server.cmq_users();
    drop(waiting);
    eventually("the first request has ended", || server.cmq_users() < both).await;
    send(&mut client, &["x"]).await;
    let got = next.answer().await;
    assert_eq!(
        (&got["msgBody"], &got["dequeueCount"]),
        (&"x".into(), &1.into())
    );
    assert_eq!(server.numbers("q"), (0, 1, 0));
}

#[tokio::test]
async fn messages_published_over_amqp_are_received() {
    let (server, mut client) = start_with_queue().await;
    let mut peer = Peer::new(&server).await;
    peer.publish(1, "q", b"text").await;
    peer.publish(1, "q", &[0xff, b'a']).await;
    let got = client
        .ok("ReceiveMessage", &[Q, ("pollingWaitSeconds", "10")])
        .await;
    assert_eq!(
        (&got["msgBody"], &got["msgId"]),
        (&"text".into(), &"0-0".into())
    );
    let got = client
        .ok("ReceiveMessage", &[Q, ("pollingWaitSeconds", "10")])
        .await;
    assert_eq!(
        (&got["msgBody"], &got["msgBodyBase64"]),
        (&"\u{fffd}a".into(), &"/2E=".into())
    );
    // A received message is leased: AMQP consumers do not get it.
    assert!(peer.get_no_ack(1, "q").await.is_none());
    client.ok("DeleteQueue", &[Q]).await;
    assert_eq!(
        client.refused("ReceiveMessage", &[Q]).await,
        CmqError::NoSuchQueue
    );
}

#[tokio::test]
async fn delayed_messages_are_received_after_their_delay() {
    let (server, mut client) = start_with_queue().await;
    let delayed = |body, secs| [Q, ("msgBody", body), ("delaySeconds", secs)];
    client.ok("SendMessage", &delayed("much later", "60")).await;
    assert_eq!(server.counts("q").unwrap().delayed, 1);
    assert_eq!(
        client.refused("ReceiveMessage", &[Q]).await,
        CmqError::NoMessage
    );
    let begun = Instant::now();
    client.ok("SendMessage", &delayed("later", "1")).await;
    let got = client
        .ok("ReceiveMessage", &[Q, ("pollingWaitSeconds", "20")])
        .await;
    assert_eq!(got["msgBody"], "later");
    assert!(begun.elapsed() >= Duration::from_millis(999));
    let too_late = [Q, ("msgBody", "x"), ("delaySeconds", "3601")];
    assert_eq!(
        client.refused("SendMessage", &too_late).await,
        CmqError::DelaySeconds
    );
}

#[tokio::test]
async fn a_stop_ends_waiting_receives() {
    let (server, client) = start_with_queue().await;
    let mut waiting = client.another().await;
    begin_receive(&server, &mut waiting).await;
    let begun = Instant::now();
    server.stop_listening();
    assert_eq!(Refusal::of(&waiting.answer().await), CmqError::NoMessage);
    assert!(begun.elapsed() < LONGEST_WAIT);
}

#[tokio::test]
async fn deleting_a_queue_ends_waiting_receives() {
    let (server, mut client) = start_with_queue().await;
    let mut waiting = client.another().await;
    begin_receive(&server, &mut waiting).await;
    client.ok("DeleteQueue", &[Q]).await;
    assert_eq!(Refusal::of(&waiting.answer().await), CmqError::NoSuchQueue);
    eventually("the queue is gone", || server.counts("q").is_none()).await;
}

#[tokio::test]
async fn a_receipt_handle_ends_with_its_time_and_with_the_next_receive() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client
        .ok("CreateQueue", &[Q, ("visibilityTimeout", "1")])
        .await;
    send(&mut client, &["x"]).await;
    let first = client.ok("ReceiveMessage", &[Q]).await;
    let expired = ("receiptHandle", text(&first, "receiptHandle"));
    eventually_eq("the message is ready again", (1, 0, 0), || {
        server.numbers("q")
    })
    .await;
    // The handle has ended although nothing else received the message.
    assert_eq!(
        client.refused("DeleteMessage", &[Q, expired]).await,
        CmqError::InvalidHandle
    );
    let changed = [Q, ("visibilityTimeout", "60")];
    client.ok("SetQueueAttributes", &changed).await;
    let second = client.ok("ReceiveMessage", &[Q]).await;
    assert_eq!(
        (&second["dequeueCount"], &second["msgId"]),
        (&2.into(), &first["msgId"])
    );
    assert_eq!(second["firstDequeueTime"], first["firstDequeueTime"]);
    let until = second["nextVisibleTime"].as_u64().unwrap();
    assert!(until >= second["firstDequeueTime"].as_u64().unwrap() + 59);
    assert_eq!(
        client.refused("DeleteMessage", &[Q, expired]).await,
        CmqError::InvalidHandle
    );
    let valid = ("receiptHandle", text(&second, "receiptHandle"));
    client.ok("DeleteMessage", &[Q, valid]).await;
}

#[tokio::test]
async fn a_receipt_handle_survives_a_restart() {
    let (server, mut client) = start_with_queue().await;
    send(&mut client, &["held", "waiting"]).await;
    let held = client.ok("ReceiveMessage", &[Q]).await;
    let server = server.restart().await;
    let mut client = super::client(&server).await;
    assert_eq!(server.numbers("q"), (1, 1, 0));
    let other = client.ok("ReceiveMessage", &[Q]).await;
    assert_eq!(other["msgBody"], "waiting");
    assert_eq!(
        client.refused("ReceiveMessage", &[Q]).await,
        CmqError::NoMessage
    );
    client
        .ok(
            "DeleteMessage",
            &[Q, ("receiptHandle", text(&held, "receiptHandle"))],
        )
        .await;
    assert_eq!(server.numbers("q"), (0, 1, 0));
    // A handle of a deleted queue is invalid in a new queue of the same name.
    client.ok("DeleteQueue", &[Q]).await;
    client.ok("CreateQueue", &[Q]).await;
    send(&mut client, &["a", "b"]).await;
    client
        .ok("BatchReceiveMessage", &[Q, ("numOfMsg", "2")])
        .await;
    let old = ("receiptHandle", text(&other, "receiptHandle"));
    assert_eq!(
        client.refused("DeleteMessage", &[Q, old]).await,
        CmqError::InvalidHandle
    );
}

#[tokio::test]
async fn a_rewind_makes_deleted_messages_ready_again() {
    let (_server, mut client) = start_with_queue().await;
    let now = ("startConsumeTime", "1");
    assert_eq!(
        client.refused("RewindQueue", &[Q, now]).await,
        CmqError::NotRewindable
    );
    client
        .ok("SetQueueAttributes", &[Q, ("rewindSeconds", "600")])
        .await;
    send(&mut client, &["a", "b"]).await;
    let got = client
        .ok("BatchReceiveMessage", &[Q, ("numOfMsg", "2")])
        .await;
    let [one, other] = [0, 1].map(|n| text(&got["msgInfoList"][n], "receiptHandle"));
    let handles = [Q, ("receiptHandle.1", one), ("receiptHandle.2", other)];
    client.ok("BatchDeleteMessage", &handles).await;
    let shown = client.ok("GetQueueAttributes", &[Q]).await;
    assert_eq!(
        (&shown["rewindMsgNum"], &shown["rewindmsgNum"]),
        (&2.into(), &2.into())
    );
    assert!(shown["minMsgTime"].as_u64() >= got["msgInfoList"][0]["enqueueTime"].as_u64());
    let long_ago = ("startConsumeTime", "1");
    assert_eq!(
        client.refused("RewindQueue", &[Q, long_ago]).await,
        CmqError::RewindTime
    );
    let future = ("startConsumeTime", "9999999999");
    assert_eq!(
        client.refused("RewindQueue", &[Q, future]).await,
        CmqError::RewindTime
    );
    assert_eq!(
        client.refused("RewindQueue", &[Q]).await,
        CmqError::Missing("startConsumeTime".into())
    );
    let enqueued = got["msgInfoList"][0]["enqueueTime"].to_string();
    client
        .ok("RewindQueue", &[Q, ("startConsumeTime", &enqueued)])
        .await;
    let again = client
        .ok("BatchReceiveMessage", &[Q, ("numOfMsg", "16")])
        .await;
    let bodies: Vec<_> = again["msgInfoList"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| text(m, "msgBody"))
        .collect();
    assert_eq!(bodies, ["a", "b"]);
    assert_eq!(
        client
            .refused("DeleteMessage", &[Q, ("receiptHandle", one)])
            .await,
        CmqError::InvalidHandle
    );
    // A rewind cannot skip messages that are not deleted, whether they are ready or received.
    let min_secs = enqueued.parse::<u64>().unwrap();
    eventually("a second has passed after the first message", || {
        let since = UNIX_EPOCH.elapsed().unwrap();
        since.as_secs() > min_secs + 1
    })
    .await;
    let later = (min_secs + 1).to_string();
    let later = [Q, ("startConsumeTime", &later)];
    assert_eq!(
        client.refused("RewindQueue", &later).await,
        CmqError::RewindTime
    );
    let shown = client.ok("GetQueueAttributes", &[Q]).await;
    assert_eq!(shown["minMsgTime"], min_secs);
    let earliest = [Q, ("startConsumeTime", &enqueued)];
    client.ok("RewindQueue", &earliest).await;
    client.ok("ClearQueue", &[Q]).await;
    for index in 0..2 {
        let handle = text(&again["msgInfoList"][index], "receiptHandle");
        client
            .ok("DeleteMessage", &[Q, ("receiptHandle", handle)])
            .await;
    }
    client.ok("RewindQueue", &later).await;
    // Without rewindSeconds the history is gone.
    client
        .ok("SetQueueAttributes", &[Q, ("rewindSeconds", "0")])
        .await;
    let refused = client
        .refused("RewindQueue", &[Q, ("startConsumeTime", &enqueued)])
        .await;
    assert_eq!(refused, CmqError::NotRewindable);
}

#[tokio::test]
async fn a_message_goes_to_one_of_many_waiting_receives() {
    let (server, mut client) = start_with_queue().await;
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut one = client.another().await;
        begin_receive(&server, &mut one).await;
        waiting.push(one);
    }
    send(&mut client, &["only"]).await;
    eventually_eq("a client has it", (0, 1, 0), || server.numbers("q")).await;
    server.stop_listening();
    let mut got = 0;
    for mut one in waiting {
        let answer = one.answer().await;
        match answer["code"].as_u64() {
            Some(0) => got += 1,
            _ => assert_eq!(Refusal::of(&answer), CmqError::NoMessage),
        }
    }
    assert_eq!((got, server.numbers("q")), (1, (0, 1, 0)));
}

#[tokio::test]
async fn min_msg_time_is_that_of_the_oldest_message() {
    let (server, mut client) = start_with_queue().await;
    send(&mut client, &["a", "b"]).await;
    let got = client.ok("ReceiveMessage", &[Q]).await;
    let shown = client.ok("GetQueueAttributes", &[Q]).await;
    assert_eq!(shown["minMsgTime"], got["enqueueTime"]);
    assert!(shown["minMsgTime"].as_u64().unwrap() > 1_700_000_000);
    // After a restart the message is on disk only, and is read only for its time.
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "amqp", &[]).await;
    let amqp = ("queueName", "amqp");
    client.ok("SendMessage", &[amqp, ("msgBody", "x")]).await;
    let before = client.ok("GetQueueAttributes", &[amqp]).await;
    drop(peer);
    let server = server.restart().await;
    let mut client = super::client(&server).await;
    let after = client.ok("GetQueueAttributes", &[amqp]).await;
    assert_eq!(after["minMsgTime"], before["minMsgTime"]);
    assert_eq!(after["activeMsgNum"], 1);
}

#[tokio::test]
async fn large_responses_share_a_memory_bound() {
    let (server, mut client) = start_with_queue().await;
    // No lease ends during the test.
    let long = [Q, ("visibilityTimeout", "43200")];
    client.ok("SetQueueAttributes", &long).await;
    let mut peer = Peer::new(&server).await;
    // Ten responses of 15 MiB are more than the bound allows in memory together.
    let body = vec![b'x'; 15 * 1024 * 1024];
    for _ in 0..10 {
        peer.publish(1, "q", &body).await;
    }
    eventually_eq("all messages are ready", 10, || server.ready("q")).await;
    let mut waiting = Vec::new();
    for _ in 0..10 {
        let mut one = client.another().await;
        let form = one.form("ReceiveMessage", &[Q, LONGEST]);
        one.send(&form).await;
        waiting.push(one);
    }
    eventually_eq("eight responses wait to be read", (2, 8, 0), || {
        server.numbers("q")
    })
    .await;
    // Concurrently, because the broker closes a connection whose client does not read for long.
    let mut readers = tokio::task::JoinSet::new();
    for mut one in waiting {
        readers.spawn(async move {
            let mut answer = one.answer().await;
            // Repeats a receive that has waited for memory as long as it may.
            while answer["code"] == CmqError::NoMessage.code() {
                answer = one.call("ReceiveMessage", &[Q, LONGEST]).await;
            }
            answer["msgBody"].as_str().map(str::len)
        });
    }
    while let Some(read) = readers.join_next().await {
        assert_eq!(read.unwrap(), Some(body.len()));
    }
    assert_eq!(server.numbers("q"), (0, 10, 0));
    client.ok("DeleteQueue", &[Q]).await;
}
