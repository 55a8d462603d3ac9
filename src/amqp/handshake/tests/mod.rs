//! Handshakes as conversations: what the client sends, what the server replies, and how it ends.

mod arbitrary;
mod opening;
mod protocol_header;
mod rejections;
mod tuning;

use bytes::BufMut;

use super::*;
use crate::wire::protocol::connection::{self, Close};
use crate::wire::{
    AMQPValue, FRAME_END, FieldTable, HEARTBEAT, method_ids, put_frame_header, short_string,
};

/// A method that AMQP does not have.
const UNKNOWN_METHOD: MethodId = MethodId::new(method_ids::connection::CLASS, 99);

const HEADER: &[u8] = b"AMQP\0\0\x09\x01";

fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 60,
        product: "RabbitMQ".into(),
        mechanisms: vec![
            Mechanism::Plain,
            Mechanism::AmqPlain,
            Mechanism::Anonymous,
            Mechanism::External,
        ],
    })
}

/// The bytes of a client.
#[derive(Clone, Default)]
struct ClientBytes(BytesMut);

impl ClientBytes {
    fn header() -> ClientBytes {
        ClientBytes(BytesMut::from(HEADER))
    }

    fn method(mut self, channel: u16, method: AMQPMethod) -> ClientBytes {
        encode_method(&mut self.0, channel, &AMQPClass::Connection(method));
        self
    }

    fn raw(mut self, bytes: &[u8]) -> ClientBytes {
        self.0.put_slice(bytes);
        self
    }

    fn frame(mut self, kind: FrameKind, channel: u16, payload: &[u8]) -> ClientBytes {
        put_frame_header(&mut self.0, kind, channel, payload.len());
        self.0.put_slice(payload);
        self.0.put_u8(FRAME_END);
        self
    }

    /// A method frame with arbitrary bytes for arguments.
    fn raw_method(self, method: MethodId, arguments: &[u8]) -> ClientBytes {
        let ids = [method.class.to_be_bytes(), method.method.to_be_bytes()].concat();
        let payload = [&ids, arguments].concat();
        self.frame(FrameKind::Method, 0, &payload)
    }

    fn start_ok(
        self,
        mechanism: &str,
        response: &[u8],
        client_properties: FieldTable,
    ) -> ClientBytes {
        let (mechanism, locale, response) = (mechanism.into(), "en_US".into(), response.into());
        self.method(
            0,
            AMQPMethod::StartOk(StartOk {
                client_properties,
                mechanism,
                response,
                locale,
            }),
        )
    }

    fn login(self) -> ClientBytes {
        self.start_ok(
            "PLAIN",
            b"\0guest\0guest",
            with_capabilities(&["authentication_failure_close"]),
        )
    }

    fn tune_ok(self, channel_max: u16, frame_max: u32, heartbeat: u16) -> ClientBytes {
        self.method(
            0,
            AMQPMethod::TuneOk(TuneOk {
                channel_max,
                frame_max,
                heartbeat,
            }),
        )
    }

    fn open(self, vhost: &str) -> ClientBytes {
        self.method(
            0,
            AMQPMethod::Open(connection::Open {
                virtual_host: vhost.into(),
            }),
        )
    }
}

fn with_capabilities(of: &[&str]) -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in of {
        capabilities.insert(short_string(name), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties
}

/// Answers of the handshake's caller.
#[derive(Clone)]
struct CallerAnswers {
    login: bool,
    vhost: Result<(), VhostRefusal>,
}

const WILLING: CallerAnswers = CallerAnswers {
    login: true,
    vhost: Ok(()),
};

#[derive(Debug)]
enum Outcome {
    Waiting,
    Open(Terms),
    Rejected(Rejection),
}

/// Runs a handshake on `input`, `piece` bytes at a time. Returns the outcome, the output, and the unread
/// input.
fn run(input: &ClientBytes, piece: usize, caller: &CallerAnswers) -> (Outcome, BytesMut, BytesMut) {
    let mut pieces = input.0.chunks(piece);
    let mut handshake = Handshake::new(settings(), "leveret@host".to_owned(), Secure::Plain);
    let (mut unread, mut out) = (BytesMut::new(), BytesMut::new());
    let outcome = loop {
        handshake = match handshake.advance(&mut unread, &mut out) {
            Step::Read(handshake) => match pieces.next() {
                Some(piece) => {
                    unread.put_slice(piece);
                    handshake
                }
                None => break Outcome::Waiting,
            },
            Step::Login(_, login) if caller.login => login.accepted("guest", &mut out),
            Step::Login(_, login) => break Outcome::Rejected(login.refused(&mut out)),
            Step::Vhost(_, vhost) => match caller.vhost.clone() {
                Ok(()) => break Outcome::Open(vhost.granted(&mut out)),
                Err(refusal) => break Outcome::Rejected(vhost.refused(refusal, &mut out)),
            },
            Step::Reject(rejection) => break Outcome::Rejected(rejection),
        };
    };
    pieces.for_each(|piece| unread.put_slice(piece));
    (outcome, out, unread)
}

/// The names of the methods in `out`, with the fields of a close.
fn replies(mut out: BytesMut) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(frame) = split(&mut out, 131_072).expect("the server sends frames") {
        assert_eq!((frame.kind, frame.channel), (FrameKind::Method, 0));
        let method = decode_method(&frame.payload).expect("the server sends methods");
        names.push(match method {
            AMQPClass::Connection(AMQPMethod::Start(_)) => "start".to_owned(),
            AMQPClass::Connection(AMQPMethod::Tune(_)) => "tune".to_owned(),
            AMQPClass::Connection(AMQPMethod::OpenOk(_)) => "open-ok".to_owned(),
            AMQPClass::Connection(AMQPMethod::Close(close)) => {
                let Close {
                    reply_code,
                    reply_text,
                    class_id,
                    method_id,
                } = close;
                format!("close {reply_code} {class_id}.{method_id} {reply_text}")
            }
            other => panic!("unexpected {other:?}"),
        });
    }
    assert!(out.is_empty());
    names
}

fn check(
    name: &str,
    input: &ClientBytes,
    caller: &CallerAnswers,
    expected_replies: &[&str],
    expected_hangup: Hangup,
) {
    let (outcome, out, _) = run(input, usize::MAX, caller);
    let Outcome::Rejected(rejection) = outcome else {
        panic!("{name}: {outcome:?}")
    };
    assert_eq!(replies(out), expected_replies, "{name}");
    assert_eq!(
        rejection.hangup, expected_hangup,
        "{name}: {}",
        rejection.error
    );
}
