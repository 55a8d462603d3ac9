//! Handshakes that fail, with the replies and endings that RabbitMQ 4.0 was seen to give.

use std::time::Duration;

use super::*;
use crate::wire::protocol::channel;

#[test]
fn errors_before_the_login_get_no_reply() {
    let start = || ClientBytes::header();
    let big = vec![0; 32 * 1024 + 1];
    let bad_table = b"\0\0\0\x04\x01aZ\0\x05PLAIN\0\0\0\0\0";
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
            start().raw_method(MethodId::CONNECTION_START_OK, b"\0"),
        ),
        (
            "bad client properties",
            start().raw_method(MethodId::CONNECTION_START_OK, bad_table),
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
    let unknown = start().raw_method(UNKNOWN_METHOD, b"");
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
fn a_refused_login_gets_a_reply_if_the_client_understands_it() {
    let refusing = CallerAnswers {
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
    let can = || with_capabilities(&["authentication_failure_close"]);
    let cases = [
        (
            ClientBytes::header().start_ok("PLAIN", b"\0guest\0no", can()),
            Some(refused("PLAIN")),
        ),
        (
            ClientBytes::header().start_ok("AMQPLAIN", amqplain, can()),
            Some(refused("AMQPLAIN")),
        ),
        (
            ClientBytes::header().start_ok("PLAIN", b"\0guest\0no", with_capabilities(&[])),
            None,
        ),
        (
            ClientBytes::header().start_ok("PLAIN", b"\0guest\0no", FieldTable::default()),
            None,
        ),
    ];
    for (input, text) in cases {
        let hangup = match text {
            Some(_) => Hangup::AwaitCloseOk(SILENT_CLOSE_DELAY),
            None => Hangup::After(SILENT_CLOSE_DELAY),
        };
        let replies: Vec<&str> = ["start"].into_iter().chain(text.as_deref()).collect();
        check("login", &input, &refusing, &replies, hangup);
    }
}

#[test]
fn errors_after_tune_ok_get_a_reply() {
    let tuned = || ClientBytes::header().login().tune_ok(10, 5000, 5);
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
            tuned().raw_method(MethodId::CONNECTION_OPEN, b"\x01\xff\0\0"),
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
    for (input, text, hangup) in cases {
        check(text, &input, &WILLING, &["start", "tune", text], hangup);
    }
    let cut = tuned().raw_method(MethodId::CONNECTION_OPEN, b"\x09/");
    check("cut arguments", &cut, &WILLING, &["start", "tune"], over);
    let unknown = tuned().raw_method(UNKNOWN_METHOD, b"");
    check(
        "unknown method",
        &unknown,
        &WILLING,
        &["start", "tune"],
        Hangup::Now,
    );
}

#[test]
fn a_virtual_host_may_be_refused() {
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
            VhostRefusal::NoAccess("access to vhost '/' refused for user 'guest'".into()),
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
        let input = ClientBytes::header()
            .login()
            .tune_ok(1, 4096, heartbeat)
            .open(vhost);
        let caller = CallerAnswers {
            vhost: Err(refusal),
            ..WILLING
        };
        let close = format!("close 530 10.40 NOT_ALLOWED - {text}");
        check(
            &text,
            &input,
            &caller,
            &["start", "tune", &close],
            Hangup::AwaitCloseOk(Duration::from_secs(wait)),
        );
    }
}
