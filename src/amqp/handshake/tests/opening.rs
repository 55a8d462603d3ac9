//! Handshakes that lead to an open connection.

use super::*;

#[test]
fn a_whole_handshake_leads_to_an_open_connection() {
    let client_properties = with_capabilities(&[
        "authentication_failure_close",
        "connection.blocked",
        "consumer_cancel_notify",
    ]);
    let input = ClientBytes::header()
        .start_ok("PLAIN", b"\0guest\0secret", client_properties.clone())
        .raw(&HEARTBEAT)
        .tune_ok(10, 4096, 7)
        .open("/")
        .raw(b"the first channel");
    for piece in [1, 7, 100, usize::MAX] {
        let (outcome, out, unread) = run(&input, piece, &WILLING);
        let Outcome::Open(terms) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(replies(out), ["start", "tune", "open-ok"]);
        assert_eq!(&unread[..], b"the first channel");
        let capabilities = Capabilities {
            authentication_failure_close: true,
            connection_blocked: true,
            consumer_cancel_notify: true,
        };
        let expected = Terms {
            user: "guest".into(),
            mechanism: Mechanism::Plain,
            vhost: "/".into(),
            frame_max: 4096,
            channel_max: 10,
            heartbeat: 7,
            client_properties: client_properties.clone(),
            capabilities,
        };
        assert_eq!(terms, expected);
    }
}

#[test]
fn the_server_introduces_itself_as_rabbitmq_does() {
    let (_, mut out, _) = run(&ClientBytes::header().login(), usize::MAX, &WILLING);
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
fn the_caller_gets_the_credentials_and_the_virtual_host() {
    let mut out = BytesMut::new();
    let mut input = ClientBytes::header()
        .login()
        .tune_ok(1, 4096, 0)
        .open("stage")
        .0;
    let handshake = Handshake::new(settings(), "leveret@host".to_owned(), Secure::Plain);
    let Step::Login(Proof::Password(credentials), login) = handshake.advance(&mut input, &mut out)
    else {
        panic!("no login");
    };
    assert_eq!(
        (credentials.user.as_str(), &credentials.password[..]),
        ("guest", &b"guest"[..])
    );
    // The backend knows the user by another name.
    let handshake = login.accepted("known", &mut out);
    let Step::Vhost(name, vhost) = handshake.advance(&mut input, &mut out) else {
        panic!("no vhost");
    };
    assert_eq!(
        (name.as_str(), vhost.terms().user.as_str()),
        ("stage", "known")
    );
}

#[test]
fn a_certificate_is_proof_through_tls_only() {
    for (secure, offered, expected) in [
        (Secure::Plain, "PLAIN AMQPLAIN ANONYMOUS", None),
        (
            Secure::Tls,
            "PLAIN AMQPLAIN ANONYMOUS EXTERNAL",
            Some(Proof::Certificate),
        ),
    ] {
        let mut out = BytesMut::new();
        let client = ClientBytes::header();
        let mut input = client.start_ok("EXTERNAL", b"", with_capabilities(&[])).0;
        let handshake = Handshake::new(settings(), "leveret@host".to_owned(), secure);
        let step = handshake.advance(&mut input, &mut out);
        let frame = split(&mut out, 131_072).unwrap().unwrap();
        let Ok(AMQPClass::Connection(AMQPMethod::Start(start))) = decode_method(&frame.payload)
        else {
            panic!("no start");
        };
        assert_eq!(start.mechanisms.as_bytes(), offered.as_bytes());
        let proof = match step {
            Step::Login(proof, _) => Some(proof),
            Step::Reject(rejection) => {
                let error = SaslError::NotOffered("EXTERNAL");
                assert_eq!(rejection.error, HandshakeError::Sasl(error));
                None
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(proof, expected);
    }
}
