//! Peers that send random methods, frames and bytes: the broker goes on and serves others.

use bytes::BytesMut;
use leveret::wire::content::HEADER_MIN;
use leveret::wire::protocol::{basic, channel, confirm, queue, tx};
use leveret::wire::{
    AMQPClass, BASIC_CLASS_ID, FRAME_END, FieldTable, FrameKind, encode_method, put_frame_header,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::reply_code::REPLY_SUCCESS;
use crate::support::{Client, Peer, TestServer, declare, eventually, eventually_eq};

/// One part of a peer's input.
#[derive(Clone, Debug)]
enum Input {
    Method(u16, AMQPClass),
    Frame(FrameKind, u16, Vec<u8>),
    Raw(Vec<u8>),
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("amq.topic".to_owned())
    ]
}

fn basic_method() -> impl Strategy<Value = basic::AMQPMethod> {
    let tag = 0u64..6;
    prop_oneof![
        (any::<u16>(), any::<bool>()).prop_map(|(prefetch_count, global)| basic::AMQPMethod::Qos(
            basic::Qos {
                prefetch_count,
                global
            }
        )),
        (name(), name(), any::<[bool; 3]>()).prop_map(
            |(queue, tag, [no_ack, exclusive, nowait])| {
                basic::AMQPMethod::Consume(basic::Consume {
                    queue: queue.into(),
                    consumer_tag: tag.into(),
                    no_local: false,
                    no_ack,
                    exclusive,
                    nowait,
                    arguments: FieldTable::default(),
                })
            }
        ),
        (name(), any::<bool>()).prop_map(|(tag, nowait)| basic::AMQPMethod::Cancel(
            basic::Cancel {
                consumer_tag: tag.into(),
                nowait
            }
        )),
        (name(), name(), any::<bool>()).prop_map(|(exchange, key, mandatory)| {
            basic::AMQPMethod::Publish(basic::Publish {
                exchange: exchange.into(),
                routing_key: key.into(),
                mandatory,
                immediate: false,
            })
        }),
        (name(), any::<bool>()).prop_map(|(queue, no_ack)| basic::AMQPMethod::Get(basic::Get {
            queue: queue.into(),
            no_ack
        })),
        (tag.clone(), any::<bool>()).prop_map(|(delivery_tag, multiple)| basic::AMQPMethod::Ack(
            basic::Ack {
                delivery_tag,
                multiple
            }
        )),
        (tag, any::<[bool; 2]>()).prop_map(|(delivery_tag, [multiple, requeue])| {
            basic::AMQPMethod::Nack(basic::Nack {
                delivery_tag,
                multiple,
                requeue,
            })
        }),
        Just(basic::AMQPMethod::Recover(basic::Recover { requeue: true })),
    ]
}

fn method() -> impl Strategy<Value = AMQPClass> {
    let declare = (name(), any::<[bool; 4]>()).prop_map(
        |(name, [passive, durable, exclusive, auto_delete])| {
            AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
                passive,
                durable,
                exclusive,
                auto_delete,
                ..declare(&name)
            }))
        },
    );
    let close = channel::Close {
        reply_code: REPLY_SUCCESS,
        reply_text: "".into(),
        class_id: 0,
        method_id: 0,
    };
    prop_oneof![
        6 => basic_method().prop_map(AMQPClass::Basic),
        2 => declare,
        2 => Just(AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}))),
        1 => Just(AMQPClass::Channel(channel::AMQPMethod::Close(close))),
        1 => Just(AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}))),
        1 => Just(AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false }))),
        1 => Just(AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}))),
        1 => Just(AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {}))),
        1 => Just(AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {}))),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let kind = prop_oneof![
        Just(FrameKind::Method),
        Just(FrameKind::Header),
        Just(FrameKind::Body),
        Just(FrameKind::Heartbeat)
    ];
    let bytes = proptest::collection::vec(any::<u8>(), 0..40);
    let empty_header = Just([&BASIC_CLASS_ID.to_be_bytes()[..], &[0; HEADER_MIN]].concat());
    prop_oneof![
        12 => (0u16..4, method()).prop_map(|(number, method)| Input::Method(number, method)),
        6 => (1u16..4, empty_header).prop_map(|(number, header)| Input::Frame(FrameKind::Header, number, header)),
        1 => (kind, 0u16..4, bytes.clone()).prop_map(|(kind, number, bytes)| Input::Frame(kind, number, bytes)),
        1 => bytes.prop_map(Input::Raw),
    ]
}

fn encode(inputs: &[Input]) -> BytesMut {
    let mut out = BytesMut::new();
    for input in inputs {
        match input {
            Input::Method(number, method) => encode_method(&mut out, *number, method),
            Input::Frame(kind, number, payload) => {
                put_frame_header(&mut out, *kind, *number, payload.len());
                out.extend_from_slice(payload);
                out.extend_from_slice(&[FRAME_END]);
            }
            Input::Raw(bytes) => out.extend_from_slice(bytes),
        }
    }
    out
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        ..Config::default()
    })
}

#[test]
fn random_methods_and_frames_of_one_peer_do_not_disturb_another() {
    let runtime = runtime();
    let server = runtime.block_on(TestServer::start());
    let witness = runtime.block_on(async {
        let mut witness = Peer::new(&server).await;
        witness.declare(1, "witness").await;
        tokio::sync::Mutex::new(witness)
    });
    let mut runner = runner(200);
    let inputs = proptest::collection::vec(input(), 1..40);
    runner
        .run(&inputs, |inputs| {
            runtime.block_on(async {
                let mut peer = Peer::connect(server.address, Client::default()).await;
                peer.open(1).await;
                // The broker may have closed the connection before all is sent.
                peer.try_raw(&encode(&inputs)).await;
                drop(peer);
                let mut witness = witness.lock().await;
                witness.publish(1, "witness", b"m").await;
                assert!(witness.get_no_ack(1, "witness").await.is_some());
            });
            Ok(())
        })
        .unwrap();
    runtime.block_on(async {
        eventually_eq("the hostile connections are gone", 1, || {
            server.broker.connections().len()
        })
        .await;
        eventually("no message stays unacked and no consumer stays", || {
            ["a", "b"]
                .iter()
                .all(|queue| server.unacked(queue) == 0 && server.consumers(queue) == 0)
        })
        .await;
    });
}

#[test]
fn random_bytes_instead_of_a_handshake_do_not_disturb_others() {
    let runtime = runtime();
    let server = runtime.block_on(TestServer::start());
    let mut runner = runner(50);
    let bytes = (
        any::<bool>(),
        proptest::collection::vec(any::<u8>(), 0..200),
    );
    runner
        .run(&bytes, |(polite, bytes)| {
            runtime.block_on(async {
                use tokio::io::AsyncWriteExt;
                let mut stream = tokio::net::TcpStream::connect(server.address)
                    .await
                    .unwrap();
                if polite {
                    stream.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
                }
                // The broker may hang up first.
                drop(stream.write_all(&bytes).await);
            });
            Ok(())
        })
        .unwrap();
    runtime.block_on(async {
        let mut peer = Peer::new(&server).await;
        peer.expect_nothing(1).await;
    });
}
