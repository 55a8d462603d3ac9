//! Messages on their way in: sent over HTTP, consumed over AMQP.

use super::client;
use crate::support::{Peer, TestServer};

#[tokio::test]
async fn what_is_sent_is_consumed_over_amqp() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    let q = ("queueName", "q");
    client.ok("CreateQueue", &[q]).await;
    let bodies = ["plain", "你好 a+b&c=d/%", "@starts like a file", "\"\\\n"];
    for (n, body) in bodies.iter().enumerate() {
        client.get = n % 2 == 1;
        let sent = client.ok("SendMessage", &[q, ("msgBody", body)]).await;
        sent["msgId"].as_str().unwrap().parse::<u64>().unwrap();
    }
    client.get = false;
    let batch: Vec<_> = (1..=16)
        .map(|n| (format!("msgBody.{n}"), format!("b{n}")))
        .collect();
    let mut parameters: Vec<_> = batch
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    parameters.push(q);
    let sent = client.ok("BatchSendMessage", &parameters).await;
    assert_eq!(sent["msgList"].as_array().unwrap().len(), 16);
    let mut peer = Peer::new(&server).await;
    for expected in bodies
        .iter()
        .copied()
        .chain(batch.iter().map(|(_, v)| v.as_str()))
    {
        let got = peer.get(1, "q", true).await.expect("a message");
        assert_eq!(String::from_utf8(got.body).unwrap(), expected);
    }
}
