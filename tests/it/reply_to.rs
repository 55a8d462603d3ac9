//! Direct reply-to.

use leveret::wire::protocol::{basic, queue};
use leveret::wire::{
    AMQPClass, AMQPProperties, FieldTable, FrameKind, decode_properties, encode_properties,
};

use crate::support::{Peer, TestServer};

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// A request to queue `q` that asks for an answer.
async fn request(peer: &mut Peer) {
    let publish = basic::Publish {
        exchange: "".into(),
        routing_key: "q".into(),
        mandatory: false,
        immediate: false,
    };
    peer.basic(1, basic::AMQPMethod::Publish(publish)).await;
    let properties = encode_properties(&AMQPProperties::default().with_reply_to(REPLY_TO.into()));
    let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header.extend_from_slice(&properties);
    peer.frame(FrameKind::Header, 1, &header).await;
}

async fn exists(peer: &mut Peer, name: &str) -> bool {
    let declare = queue::Declare {
        queue: name.into(),
        passive: true,
        durable: false,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: FieldTable::default(),
    };
    peer.send(1, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
        .await;
    match peer.method().await.1 {
        AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => {
            assert_eq!((ok.message_count, ok.consumer_count), (0, 1));
            true
        }
        AMQPClass::Channel(_) => false,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_finds_its_requester() {
    let server = TestServer::start().await;
    let (mut requester, mut worker) = (Peer::new(&server).await, Peer::new(&server).await);
    worker.declare(1, "q").await;
    requester.consume(1, REPLY_TO, "answers", true).await;
    request(&mut requester).await;
    worker.consume(1, "q", "work", true).await;
    let work = worker.content().await;
    let reply_to = decode_properties(&work.properties)
        .unwrap()
        .reply_to()
        .clone()
        .unwrap();
    assert!(
        reply_to.as_str().starts_with("amq.rabbitmq.reply-to."),
        "{reply_to}"
    );
    assert!(exists(&mut worker, reply_to.as_str()).await);
    worker.publish(1, reply_to.as_str(), b"42").await;
    let answer = requester.content().await;
    assert_eq!(answer.body, b"42");
    match answer.method {
        AMQPClass::Basic(basic::AMQPMethod::Deliver(m)) => {
            assert_eq!(
                (m.consumer_tag.as_str(), m.routing_key.as_str()),
                ("answers", reply_to.as_str())
            );
        }
        other => panic!("{other:?}"),
    }
    let cancel = basic::AMQPMethod::Cancel(basic::Cancel {
        consumer_tag: "answers".into(),
        nowait: false,
    });
    requester.call(1, AMQPClass::Basic(cancel)).await;
    worker.publish(1, reply_to.as_str(), b"too late").await;
    requester.nothing(1).await;
    assert!(!exists(&mut worker, reply_to.as_str()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_a_consumer_are_refused() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    request(&mut peer).await;
    let text = "PRECONDITION_FAILED - fast reply consumer does not exist";
    assert_eq!(peer.closed().await, (406, text.to_owned()));
}
