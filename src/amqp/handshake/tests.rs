//! The handshake as a table of conversations, and under arbitrary input. Texts and endings are those that RabbitMQ 4.0
//! was seen to give.

use std::time::Duration;

use bytes::BufMut;
use proptest::prelude::*;

use super::*;
use crate::wire::protocol::connection::Close;
use crate::wire::protocol::{channel, connection};
use crate::wire::{AMQPValue, FRAME_END, HEARTBEAT, put_frame_header, short_string};

const HEADER: &[u8] = b"AMQP\0\0\x09\x01";

fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 60,
        cluster_name: "leveret@host".into(),
        product: "RabbitMQ".into(),
    })
}

/// A client's bytes.
#[derive(Clone, Default)]
struct Says(BytesMut);

impl Says {
    fn header() -> Says {
        Says(BytesMut::from(HEADER))
    }

    fn method(mut self, channel: u16, method: AMQPMethod) -> Says {
        encode_method(&mut self.0, channel, &AMQPClass::Connection(method));
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Says {
        self.0.put_slice(bytes);
        self
    }

    fn frame(mut self, kind: FrameKind, channel: u16, payload: &[u8]) -> Says {
        put_frame_header(&mut self.0, kind, channel, payload.len());
        self.0.put_slice(payload);
        self.0.put_u8(FRAME_END);
        self
    }

    fn start_ok(self, mechanism: &str, response: &[u8], client_properties: FieldTable) -> Says {
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

    fn login(self) -> Says {
        self.start_ok(
            "PLAIN",
            b"\0guest\0guest",
            capable(&["authentication_failure_close"]),
        )
    }

    fn tune_ok(self, channel_max: u16, frame_max: u32, heartbeat: u16) -> Says {
        self.method(
            0,
            AMQPMethod::TuneOk(TuneOk {
                channel_max,
                frame_max,
                heartbeat,
            }),
        )
    }

    fn open(self, vhost: &str) -> Says {
        self.method(
            0,
            AMQPMethod::Open(connection::Open {
                virtual_host: vhost.into(),
            }),
        )
    }
}

fn capable(of: &[&str]) -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in of {
        capabilities.insert(short_string(name), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties
}

/// What the caller of the handshake answers.
#[derive(Clone)]
struct World {
    login: bool,
    vhost: Result<(), VhostRefusal>,
}

const WILLING: World = World {
    login: true,
    vhost: Ok(()),
};

#[derive(Debug)]
enum Outcome {
    Waiting,
    Open(Open),
    End(Ending),
}

/// Runs a handshake on `input`, `piece` bytes at a time. Gives the outcome, what was sent, and what was left unread.
fn run(input: &Says, piece: usize, world: &World) -> (Outcome, BytesMut, BytesMut) {
    let mut pieces = input.0.chunks(piece);
    let mut handshake = Handshake::new(settings());
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
            Step::Login(_, login) if world.login => login.accepted(&mut out),
            Step::Login(_, login) => break Outcome::End(login.refused(&mut out)),
            Step::Vhost(_, vhost) => match world.vhost.clone() {
                Ok(()) => break Outcome::Open(vhost.granted(&mut out)),
                Err(refusal) => break Outcome::End(vhost.refused(refusal, &mut out)),
            },
            Step::End(ending) => break Outcome::End(ending),
        };
    };
    pieces.for_each(|piece| unread.put_slice(piece));
    (outcome, out, unread)
}

/// The methods in `out`, by name, and the text of a close.
fn said(mut out: BytesMut) -> Vec<String> {
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

fn check(name: &str, input: &Says, world: &World, expected_said: &[&str], expected_how: Hangup) {
    let (outcome, out, _) = run(input, usize::MAX, world);
    let Outcome::End(ending) = outcome else {
        panic!("{name}: {outcome:?}")
    };
    assert_eq!(said(out), expected_said, "{name}");
    assert_eq!(ending.how, expected_how, "{name}: {}", ending.why);
}

#[test]
fn a_whole_handshake_leads_to_an_open_connection() {
    let mut client_properties = capable(&[
        "authentication_failure_close",
        "connection.blocked",
        "consumer_cancel_notify",
        "basic.nack",
    ]);
    client_properties.insert(
        "connection_name".into(),
        AMQPValue::LongString("orders".into()),
    );
    let input = Says::header()
        .start_ok("PLAIN", b"\0guest\0secret", client_properties.clone())
        .raw(&HEARTBEAT)
        .tune_ok(10, 4096, 7)
        .open("/")
        .raw(b"the first channel");
    for piece in [1, 7, 100, usize::MAX] {
        let (outcome, out, unread) = run(&input, piece, &WILLING);
        let Outcome::Open(open) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(said(out), ["start", "tune", "open-ok"]);
        assert_eq!(&unread[..], b"the first channel");
        assert_eq!(open.connection_name(), Some("orders"));
        let capabilities = Capabilities {
            authentication_failure_close: true,
            connection_blocked: true,
            consumer_cancel_notify: true,
            basic_nack: true,
        };
        let expected = Open {
            user: "guest".into(),
            mechanism: Mechanism::Plain,
            vhost: "/".into(),
            frame_max: 4096,
            channel_max: 10,
            heartbeat: 7,
            client_properties: client_properties.clone(),
            capabilities,
        };
        assert_eq!(open, expected);
    }
}

#[test]
fn the_server_introduces_itself_as_rabbitmq_does() {
    let (_, mut out, _) = run(&Says::header().login(), usize::MAX, &WILLING);
    let mut next = || {
        let frame = split(&mut out, 131_072).expect("frame").expect("whole");
        decode_method(&frame.payload).expect("method")
    };
    let AMQPClass::Connection(AMQPMethod::Start(start)) = next() else {
        panic!("no start")
    };
    assert_eq!((start.version_major, start.version_minor), (0, 9));
    assert_eq!(
        (start.mechanisms.as_bytes(), start.locales.as_bytes()),
        (&b"PLAIN AMQPLAIN ANONYMOUS"[..], &b"en_US"[..])
    );
    let properties = start.server_properties.inner();
    let names: Vec<_> = properties.keys().map(|name| name.as_str()).collect();
    let expected = [
        "capabilities",
        "cluster_name",
        "copyright",
        "information",
        "leveret_version",
        "platform",
        "product",
        "version",
    ];
    assert_eq!(names, expected);
    let text = |name: &str| {
        properties
            .get(name)
            .and_then(AMQPValue::as_long_string)
            .map(ToString::to_string)
    };
    assert_eq!(text("product").as_deref(), Some("RabbitMQ"));
    assert_eq!(text("version").as_deref(), Some("4.2.0"));
    assert_eq!(text("cluster_name").as_deref(), Some("leveret@host"));
    let capabilities = properties
        .get("capabilities")
        .and_then(AMQPValue::as_field_table)
        .expect("table");
    assert_eq!(capabilities.into_iter().count(), 9);
    assert!(
        capabilities
            .into_iter()
            .all(|(_, value)| *value == AMQPValue::Boolean(true))
    );
    let AMQPClass::Connection(AMQPMethod::Tune(tune)) = next() else {
        panic!("no tune")
    };
    assert_eq!(
        tune,
        Tune {
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 60
        }
    );
}

#[test]
fn protocol_headers() {
    for header in [&b"AMQP\0\0\x09\x01"[..], b"AMQP\x01\x01\0\x09"] {
        let (outcome, out, _) = run(&Says::default().raw(header), 3, &WILLING);
        assert!(matches!(outcome, Outcome::Waiting));
        assert_eq!(said(out), ["start"]);
    }
    let refused: &[(&[u8], &[u8])] = &[
        (b"AMQP\0\0\x09\0", b"AMQP\0\0\x09\x01"),
        (b"AMQP\0\0\x09\x02", b"AMQP\0\0\x09\x01"),
        (b"AMQP\0\0\x0a\0", b"AMQP\0\0\x09\x01"),
        (b"AMQP\x01\x01\x08\0", b"AMQP\x03\x01\0\0"),
        (b"AMQP\0\x01\0\0", b"AMQP\0\0\x09\x01"),
        (b"AMQP\x03\x01\0\0", b"AMQP\0\0\x09\x01"),
        (b"amqp\0\0\x09\x01", b"AMQP\x03\x01\0\0"),
        (b"GET / HTTP/1.1\r\n\r\n", b"AMQP\x03\x01\0\0"),
        (b"\x16\x03\x01\0\xc6\x01\0\0", b"AMQP\x03\x01\0\0"),
        (b"\0\0\0\0\0\0\0\0", b"AMQP\x03\x01\0\0"),
    ];
    for (header, answer) in refused {
        let (outcome, out, _) = run(&Says::default().raw(header), 1, &WILLING);
        assert_eq!(&out[..], *answer, "{header:?}");
        assert!(matches!(
            outcome,
            Outcome::End(Ending {
                how: Hangup::Now,
                why: Refusal::ProtocolHeader(_)
            })
        ));
    }
    let (outcome, out, _) = run(&Says::default().raw(&HEADER[..7]), usize::MAX, &WILLING);
    assert!(matches!(outcome, Outcome::Waiting) && out.is_empty());
}

#[test]
fn a_client_that_has_not_logged_in_is_told_nothing() {
    let start = || Says::header();
    let big = vec![0; 4097];
    let bad_table = b"\0\x0a\0\x0b\0\0\0\x04\x01aZ\0\x05PLAIN\0\0\0\0\0";
    let cases = [
        (
            "unknown mechanism",
            start().start_ok("PARITY", b"\0guest\0guest", FieldTable::default()),
        ),
        (
            "malformed PLAIN",
            start().start_ok("PLAIN", b"guest guest", FieldTable::default()),
        ),
        (
            "malformed AMQPLAIN",
            start().start_ok("AMQPLAIN", b"nonsense", FieldTable::default()),
        ),
        (
            "no password",
            start().start_ok("AMQPLAIN", b"\x05LOGINS\0\0\0\x01g", FieldTable::default()),
        ),
        (
            "close",
            start().method(0, AMQPMethod::CloseOk(connection::CloseOk {})),
        ),
        ("tune-ok first", start().tune_ok(10, 4096, 0)),
        (
            "start-ok on a channel",
            start().method(1, AMQPMethod::StartOk(StartOk::default())),
        ),
        ("body", start().frame(FrameKind::Body, 0, b"x")),
        (
            "heartbeat on a channel",
            start().frame(FrameKind::Heartbeat, 3, b""),
        ),
        (
            "unknown frame",
            start().raw(&[7, 0, 0, 0, 0, 0, 0, FRAME_END]),
        ),
        ("bad end", start().raw(&[8, 0, 0, 0, 0, 0, 0, 1])),
        ("large frame", start().frame(FrameKind::Method, 0, &big)),
        (
            "cut arguments",
            start().frame(FrameKind::Method, 0, b"\0\x0a\0\x0b\0"),
        ),
        (
            "bad client properties",
            start().frame(FrameKind::Method, 0, bad_table),
        ),
    ];
    for (name, input) in cases {
        check(
            name,
            &input,
            &WILLING,
            &["start"],
            Hangup::After(SILENT_CLOSE_DELAY),
        );
    }
    let unknown = start().frame(FrameKind::Method, 0, b"\0\x0a\0\x63");
    check(
        "unknown method",
        &unknown,
        &WILLING,
        &["start"],
        Hangup::Now,
    );
    check(
        "open first",
        &start().login().open("/"),
        &WILLING,
        &["start", "tune"],
        Hangup::After(SILENT_CLOSE_DELAY),
    );
}

#[test]
fn a_refused_login_is_told_to_those_who_can_hear_it() {
    let deaf = World {
        login: false,
        ..WILLING
    };
    let refused = |mechanism: &str| {
        format!(
            "close 403 0.0 ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. \
             For details see the broker logfile."
        )
    };
    let amqplain = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x02no";
    let can = || capable(&["authentication_failure_close"]);
    let cases = [
        (
            Says::header().start_ok("PLAIN", b"\0guest\0no", can()),
            Some(refused("PLAIN")),
        ),
        (
            Says::header().start_ok("AMQPLAIN", amqplain, can()),
            Some(refused("AMQPLAIN")),
        ),
        (
            Says::header().start_ok("PLAIN", b"\0guest\0no", capable(&[])),
            None,
        ),
        (
            Says::header().start_ok("PLAIN", b"\0guest\0no", FieldTable::default()),
            None,
        ),
    ];
    for (input, text) in cases {
        let how = match text {
            Some(_) => Hangup::AwaitCloseOk(SILENT_CLOSE_DELAY),
            None => Hangup::After(SILENT_CLOSE_DELAY),
        };
        let said: Vec<&str> = ["start"].into_iter().chain(text.as_deref()).collect();
        check("login", &input, &deaf, &said, how);
    }
}

#[test]
fn capabilities_that_are_no_table_or_no_booleans_count_for_nothing() {
    let mut as_text = FieldTable::default();
    as_text.insert("capabilities".into(), AMQPValue::LongString("all".into()));
    assert_eq!(Capabilities::of(&as_text), Capabilities::default());
    let mut capabilities = FieldTable::default();
    capabilities.insert("basic.nack".into(), AMQPValue::LongInt(1));
    capabilities.insert("connection.blocked".into(), AMQPValue::Boolean(false));
    capabilities.insert("consumer_cancel_notify".into(), AMQPValue::Boolean(true));
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    let expected = Capabilities {
        consumer_cancel_notify: true,
        ..Capabilities::default()
    };
    assert_eq!(Capabilities::of(&properties), expected);
}

#[test]
fn tuning_stays_within_what_was_offered() {
    let good = [
        (1, 4096, 0),
        (2047, 131_072, 60),
        (2047, 131_072, 65_535),
        (2, 4097, 1),
    ];
    for (channel_max, frame_max, heartbeat) in good {
        let input = Says::header()
            .login()
            .tune_ok(channel_max, frame_max, heartbeat)
            .open("/");
        let (outcome, _, _) = run(&input, usize::MAX, &WILLING);
        let Outcome::Open(open) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            (open.channel_max, open.frame_max, open.heartbeat),
            (channel_max, frame_max, heartbeat)
        );
    }
    let bad = [
        (
            0,
            131_072,
            "negotiated channel_max = 0 is higher than the maximum allowed value (2047)",
        ),
        (
            2048,
            131_072,
            "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)",
        ),
        (
            2047,
            0,
            "negotiated frame_max = 0 is higher than the maximum allowed value (131072)",
        ),
        (
            2047,
            131_073,
            "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)",
        ),
        (
            2047,
            4095,
            "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)",
        ),
    ];
    for (channel_max, frame_max, text) in bad {
        let input = Says::header()
            .login()
            .tune_ok(channel_max, frame_max, 0)
            .open("/");
        let (outcome, out, _) = run(&input, usize::MAX, &WILLING);
        let Outcome::End(ending) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            (ending.why.to_string().as_str(), ending.how),
            (text, Hangup::After(SILENT_CLOSE_DELAY))
        );
        assert_eq!(said(out), ["start", "tune"]);
    }
}

#[test]
fn after_tune_ok_errors_are_told() {
    let tuned = || Says::header().login().tune_ok(10, 5000, 5);
    let wait = Hangup::AwaitCloseOk(Duration::from_secs(5));
    let over = Hangup::After(SILENT_CLOSE_DELAY);
    let channel_open = {
        let mut frame = BytesMut::new();
        encode_method(
            &mut frame,
            1,
            &AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})),
        );
        frame
    };
    let cases = [
        (
            tuned().raw(&channel_open),
            "close 505 0.0 UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>",
            wait,
        ),
        (
            tuned().tune_ok(10, 5000, 5),
            "close 504 10.31 CHANNEL_ERROR - unexpected method in connection state opening",
            wait,
        ),
        (
            tuned().frame(FrameKind::Method, 0, b"\0\x0a\0\x28\x01\xff\0\0"),
            "close 501 10.40 FRAME_ERROR - Malformed UTF-8 in shortstr",
            wait,
        ),
        (
            tuned().frame(FrameKind::Header, 0, b"\0\x3c\0\0\0\0\0\0\0\0\0\0"),
            "close 505 0.0 UNEXPECTED_FRAME - type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0,0>>",
            wait,
        ),
        (
            tuned().raw(&[9, 0, 1, 0, 0, 0, 2, b'z', b'z', FRAME_END]),
            "close 505 0.0 UNEXPECTED_FRAME - type 9, all octets = <<\"zz\">>",
            wait,
        ),
        (
            tuned().raw(&[9, 0, 0, 0, 0, 0, 0, FRAME_END]),
            "close 501 0.0 FRAME_ERROR - type 9, all octets = <<>>: unknown_frame",
            wait,
        ),
        (
            tuned().raw(&[3, 0, 0, 0, 0, 0x13, 0x89]),
            "close 501 0.0 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,5001,4992}",
            over,
        ),
        (
            tuned().raw(&[8, 0, 0, 0, 0, 0, 0, 0]),
            "close 501 0.0 FRAME_ERROR - type 8, all octets = <<>>: {invalid_frame_end_marker,0}",
            over,
        ),
    ];
    for (input, text, how) in cases {
        check(text, &input, &WILLING, &["start", "tune", text], how);
    }
    let cut = tuned().frame(FrameKind::Method, 0, b"\0\x0a\0\x28\x09/");
    check("cut arguments", &cut, &WILLING, &["start", "tune"], over);
    let unknown = tuned().frame(FrameKind::Method, 0, b"\0\x63\0\x0a");
    check(
        "unknown method",
        &unknown,
        &WILLING,
        &["start", "tune"],
        Hangup::Now,
    );
}

#[test]
fn a_vhost_may_be_refused() {
    let long = "v".repeat(255);
    let cases = [
        (
            "no such vhost",
            0,
            VhostRefusal::NotFound,
            "vhost no such vhost not found".to_owned(),
            30,
        ),
        (
            "",
            60,
            VhostRefusal::NotFound,
            "vhost  not found".to_owned(),
            30,
        ),
        (
            "/",
            4,
            VhostRefusal::NoAccess,
            "access to vhost '/' refused for user 'guest'".to_owned(),
            4,
        ),
        (
            "/",
            0,
            VhostRefusal::Limit("full".into()),
            "full".to_owned(),
            30,
        ),
        (
            &long,
            0,
            VhostRefusal::NotFound,
            format!("vhost {}...", "v".repeat(252 - 20)),
            30,
        ),
    ];
    for (vhost, heartbeat, refusal, text, wait) in cases {
        let input = Says::header()
            .login()
            .tune_ok(1, 4096, heartbeat)
            .open(vhost);
        let world = World {
            vhost: Err(refusal),
            ..WILLING
        };
        let close = format!("close 530 10.40 NOT_ALLOWED - {text}");
        check(
            &text,
            &input,
            &world,
            &["start", "tune", &close],
            Hangup::AwaitCloseOk(Duration::from_secs(wait)),
        );
    }
}

#[test]
fn the_caller_is_given_what_it_has_to_check() {
    let mut out = BytesMut::new();
    let mut input = Says::header().login().tune_ok(1, 4096, 0).open("stage").0;
    let Step::Login(credentials, login) = Handshake::new(settings()).advance(&mut input, &mut out)
    else {
        panic!("no login");
    };
    assert_eq!(
        (credentials.user.as_str(), &credentials.password[..]),
        ("guest", &b"guest"[..])
    );
    let Step::Vhost(name, vhost) = login.accepted(&mut out).advance(&mut input, &mut out) else {
        panic!("no vhost");
    };
    assert_eq!(
        (name.as_str(), vhost.terms().user.as_str()),
        ("stage", "guest")
    );
}

/// Pieces of conversation, in and out of place.
fn says() -> impl Strategy<Value = Vec<u8>> {
    let method = |says: Says| Just(says.0.to_vec());
    prop_oneof![
        4 => method(Says::default().login()),
        4 => (0u16..3000, 0u32..140_000, any::<u16>()).prop_map(|(c, f, h)| Says::default().tune_ok(c, f, h).0.to_vec()),
        4 => method(Says::default().tune_ok(10, 4096, 0)),
        4 => method(Says::default().open("/")),
        1 => method(Says::default().raw(&HEARTBEAT)),
        1 => method(Says::default().raw(HEADER)),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
        1 => (proptest::collection::vec(any::<u8>(), 0..30), any::<u16>(), 0u8..9).prop_map(|(payload, channel, octet)| {
            let mut frame = vec![octet];
            frame.extend(channel.to_be_bytes());
            frame.extend(u32::try_from(payload.len()).expect("small").to_be_bytes());
            frame.extend(payload);
            frame.push(FRAME_END);
            frame
        }),
        1 => (any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..20)).prop_map(|(class, method, rest)| {
            let payload = [&[0, class % 100, 0, method % 130][..], &rest].concat();
            Says::default().frame(FrameKind::Method, 0, &payload).0.to_vec()
        }),
    ]
}

proptest! {
    #[test]
    fn any_conversation_ends_the_same_however_it_is_cut(
        parts in proptest::collection::vec(says(), 0..6),
        piece in 1usize..50,
        login in any::<bool>(),
    ) {
        let mut input = Says::header();
        parts.iter().for_each(|part| input.0.put_slice(part));
        let world = World { login, ..WILLING };
        let (whole, out_whole, unread_whole) = run(&input, usize::MAX, &world);
        let (cut, out_cut, unread_cut) = run(&input, piece, &world);
        prop_assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
        prop_assert_eq!(&out_whole, &out_cut);
        prop_assert_eq!(unread_whole, unread_cut);
        let said = said(out_whole);
        prop_assert_eq!(said.first().map(String::as_str), Some("start"));
        prop_assert_eq!(said.iter().any(|name| name == "open-ok"), matches!(whole, Outcome::Open(_)));
        if !login {
            prop_assert!(!matches!(whole, Outcome::Open(_)));
        }
    }

    #[test]
    fn arbitrary_bytes_never_get_in(bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1usize..20) {
        let (outcome, _, _) = run(&Says::default().raw(&bytes), piece, &WILLING);
        prop_assert!(!matches!(outcome, Outcome::Open(_)));
    }
}
