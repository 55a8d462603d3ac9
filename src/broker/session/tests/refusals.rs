//! Refusals and permissions, with the texts of RabbitMQ 4.0.5.

use super::*;

#[tokio::test]
async fn refusals_have_rabbitmqs_texts() {
    let fixture = Fixture::new().await;
    let s = fixture.session();
    s.declare_queue(queue("q")).await.unwrap();
    s.declare_exchange(exchange("x", "direct")).await.unwrap();
    let internal = DeclareExchange {
        internal: true,
        ..exchange("internal", "fanout")
    };
    s.declare_exchange(internal).await.unwrap();
    let default = "operation not permitted on the default exchange";
    for (result, expected) in [
        (
            s.declare_exchange(exchange("x", "fanout")).await,
            "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'",
        ),
        (
            s.declare_exchange(DeclareExchange {
                durable: false,
                ..exchange("x", "direct")
            })
            .await,
            "inequivalent arg 'durable' for exchange 'x' in vhost '/': received 'false' but current is 'true'",
        ),
        (
            s.declare_exchange(DeclareExchange {
                internal: true,
                ..exchange("x", "direct")
            })
            .await,
            "inequivalent arg 'internal' for exchange 'x' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            s.declare_exchange(DeclareExchange {
                arguments: table(&[(ALTERNATE_EXCHANGE, AMQPValue::LongInt(1))]),
                ..exchange("x", "direct")
            })
            .await,
            "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received the value '1' of type \
          'signedint' but current is none",
        ),
        (
            s.declare_exchange(DeclareExchange {
                arguments: table(&[(ALTERNATE_EXCHANGE, AMQPValue::LongInt(1))]),
                ..exchange("y", "direct")
            })
            .await,
            "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'y' in vhost '/'",
        ),
        (
            s.declare_exchange(exchange("y", "zz")).await,
            "unknown exchange type 'zz'",
        ),
        (s.declare_exchange(exchange("", "direct")).await, default),
        (s.declare_exchange(passive_exchange("")).await, default),
        (
            s.declare_exchange(passive_exchange("nx")).await,
            "no exchange 'nx' in vhost '/'",
        ),
        (
            s.declare_exchange(exchange("amq.foo", "direct")).await,
            "exchange name 'amq.foo' contains reserved prefix 'amq.*'",
        ),
        (s.delete_exchange("", false).await, default),
        (
            s.delete_exchange("amq.direct", false).await,
            "deletion of system exchange 'amq.direct' in vhost '/' not allowed",
        ),
        (
            s.bind(to_queue("nq"), "x", "k", none()).await,
            "no queue 'nq' in vhost '/'",
        ),
        (
            s.bind(to_queue("nq"), "nx", "k", none()).await,
            "no exchange 'nx' in vhost '/'",
        ),
        (s.bind(to_queue("q"), "", "k", none()).await, default),
        (s.bind(to_exchange(""), "x", "k", none()).await, default),
        (
            s.bind(to_exchange("x"), "nx", "k", none()).await,
            "no exchange 'nx' in vhost '/'",
        ),
        (
            s.bind(to_exchange("nx"), "x", "k", none()).await,
            "no exchange 'nx' in vhost '/'",
        ),
        (
            s.bind(
                to_queue("q"),
                "amq.match",
                "",
                table(&[("x-match", text("zz"))]),
            )
            .await,
            "Invalid x-match field value <<\"zz\">>; expected all, any, all-with-x, or any-with-x",
        ),
    ] {
        assert_eq!(refused(result), expected);
    }
    for (declare, expected) in [
        (passive("nq"), "no queue 'nq' in vhost '/'"),
        (passive(""), "no queue '' in vhost '/'"),
        (
            queue("amq.foo"),
            "queue name 'amq.foo' contains reserved prefix 'amq.*'",
        ),
        (
            DeclareQueue {
                durable: false,
                auto_delete: true,
                ..queue("q")
            },
            "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
        ),
        (
            DeclareQueue {
                auto_delete: true,
                ..queue("q")
            },
            "inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            DeclareQueue {
                arguments: table(&[("x-message-ttl", AMQPValue::ShortInt(1000))]),
                ..queue("q")
            },
            "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received the value '1000' of type 'short' but \
          current is none",
        ),
        (
            DeclareQueue {
                arguments: table(&[("x-message-ttl", text("5"))]),
                ..queue("nq")
            },
            "invalid arg 'x-message-ttl' for queue 'nq' in vhost '/': \"expected integer, got longstr\"",
        ),
        (
            DeclareQueue {
                arguments: table(&[("x-delivery-limit", AMQPValue::LongInt(5))]),
                ..queue("nq")
            },
            "invalid arg 'x-delivery-limit' for queue 'nq' in vhost '/' of queue type rabbit_classic_queue",
        ),
        (
            DeclareQueue {
                arguments: table(&[(DEAD_LETTER_EXCHANGE, AMQPValue::LongInt(5))]),
                ..queue("nq")
            },
            "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'nq' in vhost '/'",
        ),
        (
            DeclareQueue {
                durable: false,
                arguments: table(&[(QUEUE_TYPE, text("quorum"))]),
                ..queue("nq")
            },
            "invalid property 'non-durable' for queue 'nq' in vhost '/'",
        ),
        (
            DeclareQueue {
                arguments: table(&[(QUEUE_TYPE, text("quorum"))]),
                ..exclusive("nq")
            },
            "invalid property 'exclusive-owner' for queue 'nq' in vhost '/'",
        ),
        (
            DeclareQueue {
                arguments: table(&[(QUEUE_TYPE, text("quorum"))]),
                ..queue("")
            },
            "Cannot declare a server-named queue for type rabbit_quorum_queue",
        ),
        (
            DeclareQueue {
                arguments: table(&[(QUEUE_TYPE, text("stream")), ("x-max-age", text("h"))]),
                ..queue("nq")
            },
            "invalid arg 'x-max-age' for queue 'nq' in vhost '/': invalid_max_age",
        ),
    ] {
        assert_eq!(refused(s.declare_queue(declare).await), expected);
    }
    assert_eq!(
        refused(s.purge_queue("nq").await),
        "no queue 'nq' in vhost '/'"
    );
    assert_eq!(
        refused(s.check_publish("nx").await),
        "no exchange 'nx' in vhost '/'"
    );
    assert_eq!(
        refused(s.check_publish("internal").await),
        "cannot publish to internal exchange 'internal' in vhost '/'"
    );
    s.bind(to_queue("q"), "x", "k", none()).await.unwrap();
    assert_eq!(
        refused(s.delete_exchange("x", true).await),
        "exchange 'x' in vhost '/' in use"
    );
    s.vhost.queue("q").unwrap().publish(&[message()]);
    assert_eq!(
        refused(s.delete_queue("q", false, true).await),
        "queue 'q' in vhost '/' not empty"
    );
    assert_eq!(s.purge_queue("q").await, Ok(1));
    assert_eq!(s.delete_queue("q", true, true).await, Ok(0));
    let quorum = DeclareQueue {
        arguments: table(&[(QUEUE_TYPE, text("quorum"))]),
        ..queue("qq")
    };
    s.declare_queue(quorum).await.unwrap();
    let flagged = s.delete_queue("qq", true, true).await.unwrap_err();
    assert!(matches!(flagged, BrokerError::NotImplemented(_)));
    assert_eq!(
        flagged.to_string(),
        "cannot delete queue 'qq' in vhost '/'. queue.delete operations with if-unused flag set are not supported by \
         quorum queues"
    );
}

/// The permissions that each method takes, and which of several missing ones the refusal names.
#[tokio::test]
async fn rights_are_asked_for_as_rabbitmq_does() {
    let fixture = Fixture::new().await;
    let users = fixture.broker.users();
    users.add("pu", b"pu", Vec::new()).await.unwrap();
    users
        .set_permissions("pu", "/", ["^c", "^w", "^r"])
        .await
        .unwrap();
    let guest = fixture.session();
    for name in ["cq", "wq", "rq", "q1"] {
        guest.declare_queue(queue(name)).await.unwrap();
    }
    for name in ["wx", "rx", "ry", "wy"] {
        guest
            .declare_exchange(exchange(name, "direct"))
            .await
            .unwrap();
    }
    let s = fixture.session_of("pu", "/");
    s.declare_queue(queue("c2")).await.unwrap();
    s.declare_queue(passive("rq")).await.unwrap();
    s.bind(to_queue("wq"), "rx", "k", none()).await.unwrap();
    s.bind(to_exchange("wx"), "rx", "k", none()).await.unwrap();
    s.purge_queue("rq").await.unwrap();
    let dlx = table(&[(DEAD_LETTER_EXCHANGE, text("wx"))]);
    let ae = table(&[(ALTERNATE_EXCHANGE, text("wx"))]);
    let check = |result: Result<(), BrokerError>, permission: &str, kind: &str, name: &str| {
        let expected =
            format!("{permission} access to {kind} '{name}' in vhost '/' refused for user 'pu'");
        assert_eq!(refused(result), expected);
    };
    check(
        s.declare_queue(queue("q")).await.map(drop),
        "configure",
        "queue",
        "q",
    );
    check(
        s.declare_queue(DeclareQueue {
            arguments: dlx,
            ..queue("c3")
        })
        .await
        .map(drop),
        "read",
        "queue",
        "c3",
    );
    check(
        s.declare_exchange(exchange("z", "direct")).await,
        "configure",
        "exchange",
        "z",
    );
    check(
        s.declare_exchange(exchange("amq.foo", "direct")).await,
        "configure",
        "exchange",
        "amq.foo",
    );
    check(
        s.declare_exchange(DeclareExchange {
            arguments: ae,
            ..exchange("c3", "direct")
        })
        .await,
        "read",
        "exchange",
        "c3",
    );
    check(
        s.delete_exchange("nope", false).await,
        "configure",
        "exchange",
        "nope",
    );
    // Any permission suffices for a passive declaration; without one, the refusal does not show whether it
    // exists.
    for name in ["q1", "nope"] {
        check(
            s.declare_queue(passive(name)).await.map(drop),
            "configure",
            "queue",
            name,
        );
    }
    check(
        s.declare_exchange(passive_exchange("nope")).await,
        "configure",
        "exchange",
        "nope",
    );
    for name in ["cq", "wq", "rq"] {
        s.declare_queue(passive(name)).await.unwrap();
    }
    for name in ["wx", "rx"] {
        s.declare_exchange(passive_exchange(name)).await.unwrap();
    }
    check(
        s.delete_queue("nope", false, false).await.map(drop),
        "configure",
        "queue",
        "nope",
    );
    check(
        s.bind(to_queue("rq"), "rx", "k", none()).await,
        "write",
        "queue",
        "rq",
    );
    check(
        s.bind(to_queue("wq"), "wx", "k", none()).await,
        "read",
        "exchange",
        "wx",
    );
    check(
        s.bind(to_queue("rq"), "", "k", none()).await,
        "write",
        "queue",
        "rq",
    );
    check(
        s.unbind(to_queue("rq"), "rx", "k", none()).await,
        "write",
        "queue",
        "rq",
    );
    check(
        s.bind(to_exchange("rx"), "ry", "k", none()).await,
        "write",
        "exchange",
        "rx",
    );
    check(
        s.bind(to_exchange("wx"), "wy", "k", none()).await,
        "read",
        "exchange",
        "wy",
    );
    check(s.purge_queue("wq").await.map(drop), "read", "queue", "wq");
    check(
        s.queue_to_read_checked("nope").await.map(drop),
        "read",
        "queue",
        "nope",
    );
    check(
        s.queue_to_read_checked("wq").await.map(drop),
        "read",
        "queue",
        "wq",
    );
    check(
        s.check_publish("rx").await.map(drop),
        "write",
        "exchange",
        "rx",
    );
    check(
        s.check_publish("nope").await.map(drop),
        "write",
        "exchange",
        "nope",
    );
    check(
        s.check_publish("").await.map(drop),
        "write",
        "exchange",
        "amq.default",
    );
    assert!(s.check_publish("wx").await.is_ok());

    users
        .set_permissions("pu", "/", [".*", ".*", ".*"])
        .await
        .unwrap();
    users
        .set_topic_permissions("pu", "/", "amq.topic", ["^w", "^r"])
        .await
        .unwrap();
    let topic = |permission: &str, key: &str| {
        format!(
            "{permission} access to topic '{key}' in exchange 'amq.topic' in vhost '/' refused for user 'pu'"
        )
    };
    let amq_topic = s.check_publish("amq.topic").await.unwrap();
    assert_eq!(
        s.ask_keys(&amq_topic, ["w.a", "w.b"]).get().await,
        Ok(Validity::Epoch)
    );
    assert_eq!(
        refused(
            s.ask_keys(&amq_topic, ["w.a", "b", "a"])
                .get()
                .await
                .map_err(BrokerError::from)
        ),
        topic("write", "b")
    );
    let direct = s.check_publish("wx").await.unwrap();
    assert_eq!(s.ask_keys(&direct, ["a"]).get().await, Ok(Validity::Epoch));
    s.bind(to_queue("wq"), "amq.topic", "r.#", none())
        .await
        .unwrap();
    assert_eq!(
        refused(s.bind(to_queue("nope"), "amq.topic", "k", none()).await),
        topic("read", "k")
    );
    assert_eq!(
        refused(s.unbind(to_queue("wq"), "amq.topic", "k", none()).await),
        topic("read", "k")
    );
}
