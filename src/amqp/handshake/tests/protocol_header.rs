//! The protocol header.

use super::*;

#[test]
fn other_protocol_headers_get_the_version_spoken_here() {
    for header in [&b"AMQP\0\0\x09\x01"[..], b"AMQP\x01\x01\0\x09"] {
        let (outcome, out, _) = run(&ClientBytes::default().raw(header), 3, &WILLING);
        assert!(matches!(outcome, Outcome::Waiting));
        assert_eq!(replies(out), ["start"]);
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
        let (outcome, out, _) = run(&ClientBytes::default().raw(header), 1, &WILLING);
        assert_eq!(&out[..], *answer, "{header:?}");
        assert!(matches!(
            outcome,
            Outcome::Rejected(Rejection {
                hangup: Hangup::Now,
                error: HandshakeError::ProtocolHeader(_)
            })
        ));
    }
    let (outcome, out, _) = run(
        &ClientBytes::default().raw(&HEADER[..7]),
        usize::MAX,
        &WILLING,
    );
    assert!(matches!(outcome, Outcome::Waiting) && out.is_empty());
}
