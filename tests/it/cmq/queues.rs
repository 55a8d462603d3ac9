//! Queues and their attributes.

use std::time::{Duration, Instant};

use leveret::cmq::error::CmqError;

use super::{Q, Refusal, client};
use crate::support::{PATIENCE, TestServer};

#[tokio::test]
async fn queues_are_created_listed_and_deleted() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    for name in ["beta", "alpha", "gamma-1_x"] {
        client.ok("CreateQueue", &[("queueName", name)]).await;
    }
    let exists = client
        .refused("CreateQueue", &[("queueName", "ALPHA")])
        .await;
    assert_eq!(exists, CmqError::QueueExists);
    let long = "x".repeat(65);
    for name in ["1a", "a.b", "-a", &*long, "é"] {
        let refused = client.refused("CreateQueue", &[("queueName", name)]).await;
        assert_eq!(refused, CmqError::QueueNameFormat, "{name}");
    }
    assert_eq!(
        client.refused("CreateQueue", &[]).await,
        CmqError::Missing("queueName".into())
    );
    let all = client.ok("ListQueue", &[]).await;
    let names: Vec<_> = all["queueList"]
        .as_array()
        .unwrap()
        .iter()
        .map(|queue| queue["queueName"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["alpha", "beta", "gamma-1_x"]);
    let some = client
        .ok(
            "ListQueue",
            &[("searchWord", "a"), ("offset", "1"), ("limit", "1")],
        )
        .await;
    assert_eq!(some["totalCount"], 3);
    assert_eq!(some["queueList"][0]["queueName"], "beta");
    assert_eq!(some["queueList"].as_array().unwrap().len(), 1);
    assert_eq!(
        client.refused("ListQueue", &[("limit", "51")]).await,
        CmqError::OutOfRange("limit".into())
    );
    client.ok("DeleteQueue", &[("queueName", "beta")]).await;
    let gone = client
        .refused("DeleteQueue", &[("queueName", "beta")])
        .await;
    assert_eq!(gone, CmqError::NoSuchQueue);
    assert!(server.counts("beta").is_none() && server.counts("alpha").is_some());
}

#[tokio::test]
async fn attributes_survive_a_restart() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client
        .ok(
            "CreateQueue",
            &[Q, ("visibilityTimeout", "10"), ("maxMsgSize", "2048")],
        )
        .await;
    let changed = client
        .ok("SetQueueAttributes", &[Q, ("pollingWaitSeconds", "3")])
        .await;
    assert_eq!(changed["pollingWaitSeconds"], 3);
    let server = server.restart().await;
    let mut client = super::client(&server).await;
    let shown = client.ok("GetQueueAttributes", &[Q]).await;
    for (name, value) in [
        ("maxMsgHeapNum", 100_000_000),
        ("pollingWaitSeconds", 3),
        ("visibilityTimeout", 10),
        ("maxMsgSize", 2048),
        ("msgRetentionSeconds", 345_600),
        ("rewindSeconds", 0),
        ("activeMsgNum", 0),
        ("inactiveMsgNum", 0),
        ("delayMsgNum", 0),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    assert!(shown["createTime"].as_u64().unwrap() > 1_700_000_000);
    assert!(shown["lastModifyTime"].as_u64() >= shown["createTime"].as_u64());
}

#[tokio::test]
async fn attributes_out_of_range_are_refused() {
    let server = TestServer::start_with_cmq(|config| config.queues_max = 1).await;
    let mut client = client(&server).await;
    for (name, low, high) in [
        ("maxMsgHeapNum", "999999", "1000000001"),
        ("pollingWaitSeconds", "-1", "31"),
        ("visibilityTimeout", "0", "43201"),
        ("maxMsgSize", "1023", "1048577"),
        ("msgRetentionSeconds", "59", "1296001"),
        ("rewindSeconds", "-1", "1296001"),
    ] {
        for value in [low, high] {
            let refused = client.refused("CreateQueue", &[Q, (name, value)]).await;
            assert_eq!(refused, CmqError::OutOfRange(name.into()), "{name} {value}");
        }
        let refused = client.refused("CreateQueue", &[Q, (name, "x")]).await;
        assert_eq!(refused, CmqError::WrongType(name.into()), "{name}");
    }
    let beyond = [Q, ("msgRetentionSeconds", "60"), ("rewindSeconds", "61")];
    assert_eq!(
        client.refused("CreateQueue", &beyond).await,
        CmqError::RewindBeyondRetention
    );
    client.ok("CreateQueue", &[Q]).await;
    let full = client.refused("CreateQueue", &[("queueName", "r")]).await;
    assert_eq!(full, CmqError::TooManyQueues);
}

#[tokio::test]
async fn a_deleted_name_may_be_used_again_after_its_rest() {
    let rest = Duration::from_millis(500);
    let server = TestServer::start_with_cmq(|config| config.name_rest = rest).await;
    let mut client = client(&server).await;
    for (kind, name) in [("Queue", "queueName"), ("Topic", "topicName")] {
        let (create, delete) = (format!("Create{kind}"), format!("Delete{kind}"));
        // Tries until a name is used again during its rest: on a busy machine one try may take longer than that.
        let mut n = 0;
        let (deleted, begun) = loop {
            n += 1;
            let (deleted, same) = (format!("q{n}"), format!("Q{n}"));
            client.ok(&create, &[(name, &deleted)]).await;
            let begun = Instant::now();
            client.ok(&delete, &[(name, &deleted)]).await;
            let answer = client.call(&create, &[(name, &same)]).await;
            if answer["code"] != 0 {
                let error = match kind {
                    "Queue" => CmqError::QueueNameRests,
                    _ => CmqError::TopicNameRests,
                };
                assert_eq!(Refusal::of(&answer), error);
                break (deleted, begun);
            }
            assert!(begun.elapsed() > rest);
        };
        client.ok(&create, &[(name, "other")]).await;
        while client.call(&create, &[(name, &deleted)]).await["code"] != 0 {
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(begun.elapsed() >= rest);
    }
}
