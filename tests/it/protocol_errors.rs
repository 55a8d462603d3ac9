//! Errors of the protocol: frames and methods that break the rules, and the close that answers each.

use leveret::wire::{BASIC_CLASS_ID, FrameKind};

use crate::support::reply_code::*;
use crate::support::{Event, Peer, TestServer, eventually};

/// Class and method id, as a method frame begins with them.
type MethodId = (u16, u16);

const CHANNEL_OPEN: MethodId = (20, 10);
const CHANNEL_FLOW: MethodId = (20, 20);
const QUEUE_DECLARE: MethodId = (50, 10);
const BASIC_QOS: MethodId = (60, 10);
const BASIC_QOS_OK: MethodId = (60, 11);
const BASIC_PUBLISH: MethodId = (60, 40);
const BASIC_GET: MethodId = (60, 70);
const BASIC_ACK: MethodId = (60, 80);
const BASIC_RECOVER: MethodId = (60, 110);
const CONFIRM_SELECT: MethodId = (85, 10);
const TX_SELECT: MethodId = (90, 10);
const TX_COMMIT: MethodId = (90, 20);
const QUEUE_CLASS_ID: u16 = 50;

/// `basic.ack`'s arguments for one delivery tag.
const TAG_99: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 99, 0];
/// `basic.qos`' arguments without a limit.
const NO_LIMIT: &[u8] = &[0, 0, 0, 0, 0, 0, 0];
/// `basic.publish`' arguments for the default exchange and an empty routing key.
const NOWHERE: &[u8] = &[0, 0, 0, 0, 0];
const IMMEDIATE: &[u8] = &[0, 0, 0, 0, 2];
const NO_PROPERTIES: &[u8] = &[0, 0];

/// Kind, channel and payload of a frame.
type Frame = (FrameKind, u16, Vec<u8>);

fn method((class, method): MethodId, arguments: &[u8]) -> Vec<u8> {
    let mut payload = [class.to_be_bytes(), method.to_be_bytes()].concat();
    payload.extend_from_slice(arguments);
    payload
}

fn header(class: u16, body_size: u8, properties: &[u8]) -> Vec<u8> {
    let mut payload = class.to_be_bytes().to_vec();
    payload.extend_from_slice(&[0, 0]); // weight
    payload.extend_from_slice(&u64::from(body_size).to_be_bytes());
    payload.extend_from_slice(properties);
    payload
}

/// A publish on channel 1 without body.
fn publish(properties: &[u8]) -> Vec<Frame> {
    vec![
        (FrameKind::Method, 1, method(BASIC_PUBLISH, NOWHERE)),
        (FrameKind::Header, 1, header(BASIC_CLASS_ID, 0, properties)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_broken_rule_closes_the_channel_or_connection_with_rabbitmqs_code_and_text() {
    use FrameKind::{Body, Header, Heartbeat, Method};
    let server = TestServer::start().await;
    let cases: Vec<(&str, Vec<Frame>, u16, &str)> = vec![
        (
            "method for header",
            vec![
                (Method, 1, method(BASIC_PUBLISH, NOWHERE)),
                (Method, 1, method(BASIC_QOS, NO_LIMIT)),
            ],
            UNEXPECTED_FRAME,
            "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        ),
        (
            "body for header",
            vec![
                (Method, 1, method(BASIC_PUBLISH, NOWHERE)),
                (Body, 1, vec![1]),
            ],
            UNEXPECTED_FRAME,
            "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        ),
        (
            "header of another class",
            vec![
                (Method, 1, method(BASIC_PUBLISH, NOWHERE)),
                (Header, 1, header(QUEUE_CLASS_ID, 3, NO_PROPERTIES)),
            ],
            UNEXPECTED_FRAME,
            "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead",
        ),
        (
            "header for body",
            vec![
                (Method, 1, method(BASIC_PUBLISH, NOWHERE)),
                (Header, 1, header(BASIC_CLASS_ID, 3, NO_PROPERTIES)),
                (Header, 1, header(BASIC_CLASS_ID, 3, NO_PROPERTIES)),
            ],
            UNEXPECTED_FRAME,
            "UNEXPECTED_FRAME - expected content body, got non content body frame instead",
        ),
        (
            "header for method",
            vec![(Header, 1, header(BASIC_CLASS_ID, 3, NO_PROPERTIES))],
            UNEXPECTED_FRAME,
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            "body for method",
            vec![(Body, 1, vec![1])],
            UNEXPECTED_FRAME,
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            "header on a channel not open",
            vec![(Header, 9, header(BASIC_CLASS_ID, 3, NO_PROPERTIES))],
            UNEXPECTED_FRAME,
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            "too much body",
            vec![
                (Method, 1, method(BASIC_PUBLISH, NOWHERE)),
                (Header, 1, header(BASIC_CLASS_ID, 1, NO_PROPERTIES)),
                (Body, 1, vec![1, 2]),
            ],
            UNEXPECTED_FRAME,
            "UNEXPECTED_FRAME - expected content body, got non content body frame instead",
        ),
        (
            "heartbeat on a channel",
            vec![(Heartbeat, 1, vec![])],
            UNEXPECTED_FRAME,
            "UNEXPECTED_FRAME - type 8, all octets = <<>>",
        ),
        (
            "heartbeat with payload",
            vec![(Heartbeat, 0, vec![b'x'])],
            FRAME_ERROR,
            "FRAME_ERROR - type 8, all octets = <<\"x\">>: unknown_frame",
        ),
        (
            "body on channel 0",
            vec![(Body, 0, b"abc".to_vec())],
            UNEXPECTED_FRAME,
            "UNEXPECTED_FRAME - type 3, all octets = <<\"abc\">>",
        ),
        (
            "method on a channel not open",
            vec![(Method, 5, method(BASIC_QOS, NO_LIMIT))],
            CHANNEL_ERROR,
            "CHANNEL_ERROR - expected 'channel.open'",
        ),
        (
            "second open",
            vec![(Method, 1, method(CHANNEL_OPEN, &[0]))],
            CHANNEL_ERROR,
            "CHANNEL_ERROR - second 'channel.open' seen",
        ),
        (
            "queue method on channel 0",
            vec![(Method, 0, method(BASIC_ACK, &[0, 0, 0, 0, 0, 0, 0, 1, 0]))],
            CHANNEL_ERROR,
            "CHANNEL_ERROR - unexpected method in connection state running",
        ),
        (
            "server's method",
            vec![(Method, 1, method(BASIC_QOS_OK, &[]))],
            COMMAND_INVALID,
            "COMMAND_INVALID - unimplemented method",
        ),
        (
            "arguments too long",
            vec![(Method, 1, method(BASIC_QOS, &[NO_LIMIT, b"xx"].concat()))],
            FRAME_ERROR,
            "FRAME_ERROR - cannot decode <<0,0,0,0,0,0,0,120,120>>",
        ),
        (
            "prefetch size",
            vec![(Method, 1, method(BASIC_QOS, &[0, 0, 0, 5, 0, 0, 0]))],
            NOT_IMPLEMENTED,
            "NOT_IMPLEMENTED - prefetch_size!=0 (5)",
        ),
        (
            "flow off",
            vec![(Method, 1, method(CHANNEL_FLOW, &[0]))],
            NOT_IMPLEMENTED,
            "NOT_IMPLEMENTED - active=false",
        ),
        (
            "recover without requeue",
            vec![(Method, 1, method(BASIC_RECOVER, &[0]))],
            NOT_IMPLEMENTED,
            "NOT_IMPLEMENTED - requeue=false",
        ),
        (
            "immediate",
            vec![
                (Method, 1, method(BASIC_PUBLISH, IMMEDIATE)),
                (Header, 1, header(BASIC_CLASS_ID, 0, NO_PROPERTIES)),
            ],
            NOT_IMPLEMENTED,
            "NOT_IMPLEMENTED - immediate=true",
        ),
        (
            "broken properties",
            publish(&[0x80, 0]),
            INTERNAL_ERROR,
            "INTERNAL_ERROR",
        ),
        (
            "unknown tag",
            vec![(Method, 1, method(BASIC_ACK, TAG_99))],
            PRECONDITION_FAILED,
            "PRECONDITION_FAILED - unknown delivery tag 99",
        ),
        (
            "commit without select",
            vec![(Method, 1, method(TX_COMMIT, &[]))],
            PRECONDITION_FAILED,
            "PRECONDITION_FAILED - channel is not transactional",
        ),
        (
            "confirm, then tx",
            vec![
                (Method, 1, method(CONFIRM_SELECT, &[1])),
                (Method, 1, method(TX_SELECT, &[])),
            ],
            PRECONDITION_FAILED,
            "PRECONDITION_FAILED - cannot switch from confirm to tx mode",
        ),
        (
            "no queue declared",
            vec![(Method, 1, method(BASIC_GET, &[0, 0, 0, 0]))],
            NOT_FOUND,
            "NOT_FOUND - no previously declared queue",
        ),
        (
            "expiration",
            publish(&[1, 0, 2, b'1', b'x']),
            PRECONDITION_FAILED,
            "PRECONDITION_FAILED - invalid expiration '1x': {leftover_string,\"x\"}",
        ),
        (
            "user id",
            publish(&[0, 0x10, 1, b'j']),
            PRECONDITION_FAILED,
            "PRECONDITION_FAILED - user_id property set to 'j' but authenticated user was 'guest'",
        ),
    ];
    for (name, frames, code, text) in cases {
        let mut peer = Peer::new(&server).await;
        for (kind, channel, payload) in frames {
            peer.frame(kind, channel, &payload).await;
        }
        assert_eq!(peer.closed().await, (code, text.to_owned()), "{name}");
    }
    eventually("all connections are gone", || {
        server.broker.connections().is_empty()
    })
    .await;
}

/// As in RabbitMQ.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undecodable_method_ends_the_connection_without_a_close() {
    let server = TestServer::start().await;
    // Two octets are announced for the table, whose first name would have five.
    let broken_table = [0, 0, 1, b'q', 0, 0, 0, 0, 2, 5, b'a'];
    for payload in [
        method((99, 10), &[]),
        method((60, 99), &[]),
        method(QUEUE_DECLARE, &broken_table),
    ] {
        let mut peer = Peer::new(&server).await;
        peer.frame(FrameKind::Method, 1, &payload).await;
        assert_eq!(peer.next().await, Event::End, "{payload:?}");
    }
    eventually("all connections are gone", || {
        server.broker.connections().is_empty()
    })
    .await;
}
