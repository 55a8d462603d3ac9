//! Messages on their way out: received and deleted over HTTP, whoever published them.

use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::Value;

use super::{Client, client};
use crate::support::{Peer, TestServer, eventually, eventually_eq};

const Q: (&str, &str) = ("queueName", "q");
/// As long as a request may wait for messages.
const LONGEST: (&str, &str) = ("pollingWaitSeconds", "30");
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A broker with the queue and a client.
async fn start() -> (TestServer, Client) {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client.ok("CreateQueue", &[Q]).await;
    (server, client)
}

async fn send(client: &mut Client, bodies: &[&str]) {
    for body in bodies {
        client.ok("SendMessage", &[Q, ("msgBody", body)]).await;
    }
}

/// Asks for a message and does not wait for the answer, but until the broker is at it.
async fn stand_in_line(server: &TestServer, client: &mut Client) {
    // The connection has been accepted.
    client.ok("GetQueueAttributes", &[Q]).await;
    let before = server.cmq_holders();
    let form = client.form("ReceiveMessage", &[Q, LONGEST]);
    client.send(&form).await;
    eventually("it is taken up", || server.cmq_holders() > before).await;
}

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} in {answer}"))
}

#[tokio::test]
async fn a_message_is_sent_received_and_deleted() {
    let (server, mut client) = start().await;
    let sent = client.ok("SendMessage", &[Q, ("msgBody", "你好\"")]).await;
    let got = client.ok("ReceiveMessage", &[Q]).await;
    assert_eq!(got["msgBody"], "你好\"");
    assert_eq!(got["msgId"], sent["msgId"]);
    assert_eq!(got["dequeueCount"], 1);
    let seconds = |field: &str| got[field].as_u64().unwrap();
    assert!(seconds("enqueueTime") <= seconds("firstDequeueTime"));
    assert!((29..=31).contains(&(seconds("nextVisibleTime") - seconds("firstDequeueTime"))));
    assert_eq!(client.refused("ReceiveMessage", &[Q]).await, (7000, 10200));
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
        (4430, 10260)
    );
}

#[tokio::test]
async fn batches_take_what_there_is_and_fail_in_part() {
    let (server, mut client) = start().await;
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
    assert_eq!(super::codes(&partly), (6010, 10150));
    let errors = partly["errorList"].as_array().unwrap();
    let errors: Vec<_> = errors
        .iter()
        .map(|error| (super::codes(error), text(error, "receiptHandle")))
        .collect();
    assert_eq!(errors, [((4430, 10260), "7"), ((4000, 10470), "x")]);
    assert_eq!(server.numbers("q"), (0, 2, 0));
    let none = client
        .call("BatchDeleteMessage", &[Q, ("receiptHandle.0", "7")])
        .await;
    assert_eq!(super::codes(&none), (6020, 10290));
    let rest = [
        Q,
        ("receiptHandle.0", handles[1]),
        ("receiptHandle.1", handles[2]),
    ];
    client.ok("BatchDeleteMessage", &rest).await;
    assert_eq!(server.numbers("q"), (0, 0, 0));
    for (action, parameter, refused) in [
        ("BatchReceiveMessage", ("x", ""), (4000, 10390)),
        ("BatchReceiveMessage", ("numOfMsg", "17"), (4000, 10350)),
        ("BatchReceiveMessage", ("numOfMsg", "0"), (4000, 10350)),
        ("BatchDeleteMessage", ("x", ""), (4000, 10390)),
        (
            "BatchDeleteMessage",
            ("receiptHandle.x", "1"),
            (4000, 10310),
        ),
        ("DeleteMessage", ("receiptHandle", "x"), (4000, 10470)),
        ("DeleteMessage", ("x", ""), (4000, 10390)),
    ] {
        assert_eq!(
            client.refused(action, &[Q, parameter]).await,
            refused,
            "{action} {parameter:?}"
        );
    }
}

#[tokio::test]
async fn one_waits_for_a_message_and_gets_it_at_once() {
    let (_server, mut client) = start().await;
    let begun = Instant::now();
    let none = client
        .refused("ReceiveMessage", &[Q, ("pollingWaitSeconds", "1")])
        .await;
    assert_eq!(none, (7000, 10200));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let begun = Instant::now();
    let mut waiting = client.another().await;
    // Beyond what is allowed is as long as is allowed.
    let form = waiting.form("ReceiveMessage", &[Q, ("pollingWaitSeconds", "30000")]);
    waiting.send(&form).await;
    send(&mut client, &["now"]).await;
    assert_eq!(waiting.answer().await["msgBody"], "now");
    assert!(begun.elapsed() < LONGEST_WAIT);
}

#[tokio::test]
async fn who_hangs_up_loses_nothing() {
    let (server, mut client) = start().await;
    let (mut waiting, mut next) = (client.another().await, client.another().await);
    stand_in_line(&server, &mut waiting).await;
    stand_in_line(&server, &mut next).await;
    let both = server.cmq_holders();
    drop(waiting);
    eventually("the first has left", || server.cmq_holders() < both).await;
    send(&mut client, &["x"]).await;
    let got = next.answer().await;
    assert_eq!(
        (&got["msgBody"], &got["dequeueCount"]),
        (&"x".into(), &1.into())
    );
    assert_eq!(server.numbers("q"), (0, 1, 0));
}

#[tokio::test]
async fn what_amqp_publishes_is_received() {
    let (server, mut client) = start().await;
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
    // Nobody has it but who received it.
    assert!(peer.get_no_ack(1, "q").await.is_none());
    client.ok("DeleteQueue", &[Q]).await;
    assert_eq!(client.refused("ReceiveMessage", &[Q]).await, (4440, 10100));
}

#[tokio::test]
async fn delayed_messages_come_in_their_time() {
    let (server, mut client) = start().await;
    let delayed = |body, secs| [Q, ("msgBody", body), ("delaySeconds", secs)];
    client.ok("SendMessage", &delayed("much later", "60")).await;
    assert_eq!(server.counts("q").unwrap().delayed, 1);
    assert_eq!(client.refused("ReceiveMessage", &[Q]).await, (7000, 10200));
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
        (4000, 10692)
    );
}

#[tokio::test]
async fn a_stop_answers_those_who_wait() {
    let (server, client) = start().await;
    let mut waiting = client.another().await;
    stand_in_line(&server, &mut waiting).await;
    let begun = Instant::now();
    server.stop_listening();
    assert_eq!(waiting.answer().await["code"], 7000);
    assert!(begun.elapsed() < LONGEST_WAIT);
}

#[tokio::test]
async fn a_deleted_queue_ends_the_wait() {
    let (server, mut client) = start().await;
    let mut waiting = client.another().await;
    stand_in_line(&server, &mut waiting).await;
    client.ok("DeleteQueue", &[Q]).await;
    assert_eq!(super::codes(&waiting.answer().await), (4440, 10100));
    eventually("the queue is gone", || server.counts("q").is_none()).await;
}

#[tokio::test]
async fn a_handle_ends_with_its_time_and_with_the_next_receive() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client
        .ok("CreateQueue", &[Q, ("visibilityTimeout", "1")])
        .await;
    send(&mut client, &["x"]).await;
    let first = client.ok("ReceiveMessage", &[Q]).await;
    let expired = ("receiptHandle", text(&first, "receiptHandle"));
    eventually_eq("it is ready again", (1, 0, 0), || server.numbers("q")).await;
    // Nobody else has got it.
    assert_eq!(
        client.refused("DeleteMessage", &[Q, expired]).await,
        (4430, 10260)
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
        (4430, 10260)
    );
    let valid = ("receiptHandle", text(&second, "receiptHandle"));
    client.ok("DeleteMessage", &[Q, valid]).await;
}

#[tokio::test]
async fn a_handle_survives_a_restart() {
    let (server, mut client) = start().await;
    send(&mut client, &["held", "waiting"]).await;
    let held = client.ok("ReceiveMessage", &[Q]).await;
    let server = server.restart().await;
    let mut client = super::client(&server).await;
    assert_eq!(server.numbers("q"), (1, 1, 0));
    let other = client.ok("ReceiveMessage", &[Q]).await;
    assert_eq!(other["msgBody"], "waiting");
    assert_eq!(client.refused("ReceiveMessage", &[Q]).await, (7000, 10200));
    client
        .ok(
            "DeleteMessage",
            &[Q, ("receiptHandle", text(&held, "receiptHandle"))],
        )
        .await;
    assert_eq!(server.numbers("q"), (0, 1, 0));
    // A handle of the queue that was is none of the queue that is.
    client.ok("DeleteQueue", &[Q]).await;
    client.ok("CreateQueue", &[Q]).await;
    send(&mut client, &["a", "b"]).await;
    client
        .ok("BatchReceiveMessage", &[Q, ("numOfMsg", "2")])
        .await;
    let old = ("receiptHandle", text(&other, "receiptHandle"));
    assert_eq!(
        client.refused("DeleteMessage", &[Q, old]).await,
        (4430, 10260)
    );
}

#[tokio::test]
async fn deleted_messages_come_back_by_rewinding() {
    let (_server, mut client) = start().await;
    let now = ("startConsumeTime", "1");
    assert_eq!(
        client.refused("RewindQueue", &[Q, now]).await,
        (6050, 10670)
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
        (4000, 10680)
    );
    let future = ("startConsumeTime", "9999999999");
    assert_eq!(
        client.refused("RewindQueue", &[Q, future]).await,
        (4000, 10680)
    );
    assert_eq!(client.refused("RewindQueue", &[Q]).await, (4000, 10390));
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
        (4430, 10260)
    );
    // A message that is not deleted cannot be jumped over, whether it was received or waits.
    let min_secs = enqueued.parse::<u64>().unwrap();
    eventually("a time has passed that can be asked for", || {
        let since = UNIX_EPOCH.elapsed().unwrap();
        since.as_secs() > min_secs + 1
    })
    .await;
    let later = (min_secs + 1).to_string();
    let later = [Q, ("startConsumeTime", &later)];
    assert_eq!(client.refused("RewindQueue", &later).await, (4000, 10680));
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
    // Switched off, what was kept is gone.
    client
        .ok("SetQueueAttributes", &[Q, ("rewindSeconds", "0")])
        .await;
    let refused = client
        .refused("RewindQueue", &[Q, ("startConsumeTime", &enqueued)])
        .await;
    assert_eq!(refused, (6050, 10670));
}

#[tokio::test]
async fn a_message_goes_to_one_of_many_who_wait() {
    let (server, mut client) = start().await;
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut one = client.another().await;
        stand_in_line(&server, &mut one).await;
        waiting.push(one);
    }
    send(&mut client, &["only"]).await;
    eventually_eq("somebody has it", (0, 1, 0), || server.numbers("q")).await;
    server.stop_listening();
    let mut got = 0;
    for mut one in waiting {
        let answer = one.answer().await;
        match answer["code"].as_u64() {
            Some(0) => got += 1,
            code => assert_eq!(code, Some(7000)),
        }
    }
    assert_eq!((got, server.numbers("q")), (1, (0, 1, 0)));
}

#[tokio::test]
async fn the_oldest_message_has_its_time() {
    let (server, mut client) = start().await;
    send(&mut client, &["a", "b"]).await;
    let got = client.ok("ReceiveMessage", &[Q]).await;
    let shown = client.ok("GetQueueAttributes", &[Q]).await;
    assert_eq!(shown["minMsgTime"], got["enqueueTime"]);
    assert!(shown["minMsgTime"].as_u64().unwrap() > 1_700_000_000);
    // After a restart it is on disk, and nobody reads it but to know this.
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
async fn large_answers_share_a_bound() {
    let (server, mut client) = start().await;
    // No lease is to end while we look.
    let long = [Q, ("visibilityTimeout", "43200")];
    client.ok("SetQueueAttributes", &long).await;
    let mut peer = Peer::new(&server).await;
    // Ten answers of 15 MiB are more than may be in memory; all come, one after the other.
    let body = vec![b'x'; 15 * 1024 * 1024];
    for _ in 0..10 {
        peer.publish(1, "q", &body).await;
    }
    eventually_eq("all are there", 10, || server.ready("q")).await;
    let mut waiting = Vec::new();
    for _ in 0..10 {
        let mut one = client.another().await;
        let form = one.form("ReceiveMessage", &[Q, LONGEST]);
        one.send(&form).await;
        waiting.push(one);
    }
    eventually_eq("eight are received, and wait to be read", (2, 8, 0), || {
        server.numbers("q")
    })
    .await;
    // All at once: who takes nothing of his answer for long is hung up on.
    let mut readers = tokio::task::JoinSet::new();
    for mut one in waiting {
        readers.spawn(async move {
            let mut answer = one.answer().await;
            // It has waited for room as long as it may.
            while answer["code"] == 7000 {
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
