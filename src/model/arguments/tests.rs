//! Queue arguments: tables of RabbitMQ 4.0.5's answer to each.

use amq_protocol::types::DecimalValue;

use super::*;

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn int(value: i64) -> AMQPValue {
    AMQPValue::LongLongInt(value)
}

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn quorum(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = table(fields);
    table.insert(QUEUE_TYPE.into(), text("quorum"));
    table
}

fn fault(table: &FieldTable) -> Option<String> {
    QueueArguments::parse(table)
        .err()
        .map(|error| format!("{}: {}", error.argument, error.fault))
}

#[test]
fn integers_are_checked_as_rabbitmq_does() {
    const OK: &str = "";
    let check = |name: &str, value: AMQPValue, expected: &str| {
        let expected = (!expected.is_empty()).then(|| format!("{name}: {expected}"));
        assert_eq!(
            fault(&table(&[(name, value.clone())])),
            expected,
            "{value:?}"
        );
    };
    for name in [
        "x-message-ttl",
        "x-expires",
        "x-visibility-timeout",
        "x-rewind-seconds",
        "x-max-length",
        "x-max-length-bytes",
        "x-max-priority",
        "x-queue-version",
    ] {
        check(name, AMQPValue::LongInt(1), OK);
        check(name, AMQPValue::ShortShortUInt(1), OK);
        check(name, int(-1), "{value_negative,-1}");
        for (value, kind) in [
            (text("5"), "longstr"),
            (AMQPValue::Boolean(true), "bool"),
            (AMQPValue::Void, "void"),
            (AMQPValue::Double(1.5), "double"),
            (AMQPValue::Float(1.0), "float"),
            (AMQPValue::Timestamp(1), "timestamp"),
            (AMQPValue::FieldArray(vec![int(1)].into()), "array"),
            (AMQPValue::FieldTable(FieldTable::default()), "table"),
            (AMQPValue::ByteArray(b"x".as_slice().into()), "binary"),
            (
                AMQPValue::DecimalValue(DecimalValue {
                    scale: 1,
                    value: 15,
                }),
                "decimal",
            ),
        ] {
            check(name, value, &format!("\"expected integer, got {kind}\""));
        }
    }
    for name in ["x-message-ttl", "x-expires", "x-visibility-timeout"] {
        check(name, int(315_360_000_000), OK);
        check(name, int(315_360_000_001), "{value_too_large,315360000001}");
    }
    check("x-rewind-seconds", int(315_360_000), OK);
    check(
        "x-rewind-seconds",
        int(315_360_001),
        "{value_too_large,315360001}",
    );
    check("x-rewind-seconds", int(0), OK);
    check("x-message-ttl", int(0), OK);
    check("x-expires", int(0), "{value_zero,0}");
    check("x-visibility-timeout", int(0), "{value_zero,0}");
    check("x-max-length", int(0), OK);
    check("x-max-length-bytes", int(i64::MAX), OK);
    check("x-max-priority", int(255), OK);
    check("x-max-priority", int(256), "{max_value_exceeded,256}");
    check("x-queue-version", int(2), OK);
    check(
        "x-queue-version",
        int(3),
        "\"unsupported queue version '3'\"",
    );
}

#[test]
fn words_are_checked_as_rabbitmq_does() {
    for (name, value, expected) in [
        ("x-overflow", text("drop-head"), None),
        ("x-overflow", text("reject-publish"), None),
        ("x-overflow", text("reject-publish-dlx"), None),
        ("x-overflow", text("block-publish"), None),
        ("x-overflow", text("z"), Some("invalid_overflow")),
        (
            "x-overflow",
            AMQPValue::LongInt(1),
            Some("{unacceptable_type,signedint}"),
        ),
        ("x-queue-mode", text("lazy"), None),
        ("x-queue-mode", text("default"), None),
        (
            "x-queue-mode",
            text("5"),
            Some("\"unsupported queue mode '5'\""),
        ),
        ("x-queue-mode", int(1), Some("{unacceptable_type,long}")),
        ("x-single-active-consumer", AMQPValue::Boolean(false), None),
        (
            "x-single-active-consumer",
            text("true"),
            Some("{unacceptable_type,longstr}"),
        ),
        ("x-dead-letter-exchange", text(""), None),
        (
            "x-dead-letter-exchange",
            AMQPValue::LongInt(1),
            Some("invalid type 'signedint'"),
        ),
        (
            "x-dead-letter-routing-key",
            text("k"),
            Some("routing_key_but_no_dlx_defined"),
        ),
        (
            "x-dead-letter-routing-key",
            int(1),
            Some("{unacceptable_type,long}"),
        ),
        ("x-queue-leader-locator", text("balanced"), None),
        (
            "x-queue-leader-locator",
            text("foo"),
            Some("invalid_queue_locator_arg"),
        ),
        (
            "x-queue-leader-locator",
            AMQPValue::LongInt(1),
            Some("{unacceptable_type,signedint}"),
        ),
        ("x-queue-master-locator", AMQPValue::LongInt(1), None),
        ("x-queue-type", text("classic"), None),
        ("x-queue-type", text("undefined"), None),
        (
            "x-queue-type",
            text("zz"),
            Some("\"unsupported queue type 'zz'\""),
        ),
        (
            "x-queue-type",
            text(""),
            Some("\"unsupported queue type ''\""),
        ),
        (
            "x-queue-type",
            AMQPValue::Void,
            Some("{unacceptable_type,void}"),
        ),
        ("x-consumer-timeout", text("abc"), None),
        (
            "x-consumer-disconnected-timeout",
            int(1),
            Some("of queue type rabbit_classic_queue"),
        ),
        (
            "x-delayed-retry-type",
            text("all"),
            Some("of queue type rabbit_classic_queue"),
        ),
        (
            "x-delayed-retry-min",
            int(1),
            Some("of queue type rabbit_classic_queue"),
        ),
        (
            "x-delayed-retry-max",
            int(1),
            Some("of queue type rabbit_classic_queue"),
        ),
        ("x-unknown", int(1), None),
        ("x-stream-filter-size-bytes", int(1), None),
        (
            "x-delivery-limit",
            int(1),
            Some("of queue type rabbit_classic_queue"),
        ),
        (
            "x-dead-letter-strategy",
            text("foo"),
            Some("of queue type rabbit_classic_queue"),
        ),
        (
            "x-quorum-initial-group-size",
            int(0),
            Some("of queue type rabbit_classic_queue"),
        ),
        (
            "x-max-in-memory-length",
            int(1),
            Some("of queue type rabbit_classic_queue"),
        ),
        (
            "x-max-age",
            text("1D"),
            Some("of queue type rabbit_classic_queue"),
        ),
        (
            "x-initial-cluster-size",
            int(1),
            Some("of queue type rabbit_classic_queue"),
        ),
    ] {
        let expected = expected.map(|text| format!("{name}: {text}"));
        assert_eq!(
            fault(&table(&[(name, value.clone())])),
            expected,
            "{name} {value:?}"
        );
    }
}

#[test]
fn quorum_queues_refuse_unknown_arguments() {
    for (name, value, expected) in [
        (
            "x-max-priority",
            text("z"),
            Some("of queue type rabbit_quorum_queue"),
        ),
        (
            "x-queue-mode",
            text("lazy"),
            Some("of queue type rabbit_quorum_queue"),
        ),
        (
            "x-queue-version",
            int(1),
            Some("of queue type rabbit_quorum_queue"),
        ),
        (
            "x-queue-master-locator",
            text("a"),
            Some("of queue type rabbit_quorum_queue"),
        ),
        (
            "x-max-age",
            text("1D"),
            Some("of queue type rabbit_quorum_queue"),
        ),
        ("x-overflow", text("reject-publish-dlx"), None),
        ("x-message-ttl", int(-1), Some("{value_negative,-1}")),
        ("x-delivery-limit", text("abc"), None),
        ("x-consumer-timeout", int(0), None),
        ("x-consumer-timeout", int(-1), Some("{value_negative,-1}")),
        (
            "x-consumer-timeout",
            text("soon"),
            Some("\"expected integer, got longstr\""),
        ),
        ("x-consumer-disconnected-timeout", int(0), None),
        (
            "x-consumer-disconnected-timeout",
            int(-1),
            Some("{value_negative,-1}"),
        ),
        ("x-delayed-retry-type", text("sometimes"), None),
        ("x-delayed-retry-type", int(1), None),
        ("x-delayed-retry-min", text("soon"), None),
        ("x-delayed-retry-max", int(-1), None),
        ("x-dead-letter-strategy", text("at-least-once"), None),
        (
            "x-dead-letter-strategy",
            text("foo"),
            Some("invalid_dlx_strategy"),
        ),
        (
            "x-quorum-initial-group-size",
            int(0),
            Some("{value_zero,0}"),
        ),
        (
            "x-max-in-memory-bytes",
            int(-1),
            Some("{value_negative,-1}"),
        ),
    ] {
        let expected = expected.map(|text| format!("{name}: {text}"));
        assert_eq!(
            fault(&quorum(&[(name, value.clone())])),
            expected,
            "{name} {value:?}"
        );
    }
}

#[test]
fn of_several_faults_the_first_in_rabbitmqs_order_is_reported() {
    for (table, expected) in [
        (
            table(&[("x-message-ttl", int(-1)), ("x-expires", int(0))]),
            "x-expires: {value_zero,0}",
        ),
        (
            table(&[("x-overflow", text("z")), ("x-max-priority", int(300))]),
            "x-max-priority: {max_value_exceeded,300}",
        ),
        (
            table(&[("x-queue-type", text("zz")), ("x-message-ttl", int(-1))]),
            "x-queue-type: \"unsupported queue type 'zz'\"",
        ),
        (
            quorum(&[("x-max-priority", int(1)), ("x-message-ttl", text("z"))]),
            "x-message-ttl: \"expected integer, got longstr\"",
        ),
    ] {
        assert_eq!(fault(&table).as_deref(), Some(expected));
    }
}

#[test]
fn arguments_are_read() {
    let classic = QueueArguments::parse(&table(&[
        ("x-message-ttl", int(5)),
        ("x-expires", int(6)),
        ("x-visibility-timeout", int(7)),
        ("x-rewind-seconds", int(7)),
        ("x-max-length", int(7)),
        ("x-max-length-bytes", int(8)),
        ("x-overflow", text("reject-publish-dlx")),
        ("x-dead-letter-exchange", text("dlx")),
        ("x-dead-letter-routing-key", text("dlk")),
        ("x-max-priority", int(9)),
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ("x-consumer-timeout", int(10)),
    ]))
    .unwrap();
    assert_eq!(classic.kind, QueueKind::Classic);
    assert_eq!(classic.message_ttl_ms, Some(5));
    assert_eq!(classic.expires_ms, Some(6));
    assert_eq!(classic.visibility_timeout_ms, Some(7));
    assert_eq!(classic.rewind_ms, Some(7_000));
    let off = QueueArguments::parse(&table(&[("x-rewind-seconds", int(0))])).unwrap();
    assert_eq!(off.rewind_ms, None);
    assert_eq!(
        (classic.max_length, classic.max_length_bytes),
        (Some(7), Some(8))
    );
    assert_eq!(classic.overflow, Overflow::RejectPublishDlx);
    assert_eq!(classic.dead_letter_exchange.as_deref(), Some("dlx"));
    assert_eq!(classic.dead_letter_routing_key.as_deref(), Some("dlk"));
    assert_eq!(classic.max_priority, Some(9));
    assert!(classic.single_active_consumer);
    assert_eq!(classic.consumer_timeout_ms, Some(10));
    assert_eq!(classic.delivery_limit, None);
    let limit = |fields: &[(&str, AMQPValue)]| {
        QueueArguments::parse(&quorum(fields))
            .unwrap()
            .delivery_limit
    };
    assert_eq!(limit(&[]), Some(20));
    assert_eq!(limit(&[("x-delivery-limit", int(3))]), Some(3));
    assert_eq!(limit(&[("x-delivery-limit", int(-1))]), None);
}

#[test]
fn arguments_of_a_delayed_retry_are_read() {
    let read = |fields: &[(&str, AMQPValue)]| {
        let read = QueueArguments::parse(&quorum(fields)).unwrap();
        (
            read.delayed_retry_type,
            read.delayed_retry_min_ms,
            read.delayed_retry_max_ms,
        )
    };
    let (kind, min, max) = (
        "x-delayed-retry-type",
        "x-delayed-retry-min",
        "x-delayed-retry-max",
    );
    for (word, expected) in [
        ("all", DelayedRetryType::All),
        ("failed", DelayedRetryType::Failed),
        ("returned", DelayedRetryType::Returned),
        ("disabled", DelayedRetryType::Disabled),
        ("sometimes", DelayedRetryType::Disabled),
        ("All", DelayedRetryType::Disabled),
    ] {
        assert_eq!(read(&[(kind, text(word))]), (expected, None, None));
    }
    assert_eq!(
        read(&[
            (kind, int(1)),
            (min, AMQPValue::LongInt(400)),
            (max, int(1_000))
        ]),
        (DelayedRetryType::Disabled, Some(400), Some(1_000))
    );
    for senseless in [int(0), int(-1), text("400")] {
        let fields = [(min, senseless.clone()), (max, senseless)];
        assert_eq!(read(&fields), (DelayedRetryType::Disabled, None, None));
    }
}

#[test]
fn a_consumer_timeout_of_0_counts_in_quorum_queues_only() {
    let fields = [("x-consumer-timeout", int(0))];
    let quorum = QueueArguments::parse(&quorum(&fields)).unwrap();
    let classic = QueueArguments::parse(&table(&fields)).unwrap();
    assert_eq!(quorum.consumer_timeout_ms, Some(0));
    assert_eq!(classic.consumer_timeout_ms, None);
}

#[test]
fn properties_that_quorum_queues_lack() {
    let quorum = QueueArguments::parse(&quorum(&[])).unwrap();
    for (durable, exclusive, auto_delete, expected) in [
        (true, false, false, None),
        (false, false, false, Some(PropertyRefused::NonDurable)),
        (false, true, false, Some(PropertyRefused::Exclusive)),
        (false, true, true, Some(PropertyRefused::AutoDelete)),
    ] {
        assert_eq!(
            quorum
                .check_properties(durable, exclusive, auto_delete)
                .err(),
            expected
        );
        assert_eq!(
            QueueArguments::default().check_properties(durable, exclusive, auto_delete),
            Ok(())
        );
    }
}

#[test]
fn declarations_are_compared_as_rabbitmq_does() {
    let ttl = "x-message-ttl";
    let none = || table(&[]);
    for (first, then, expected) in [
        (none(), none(), None),
        (none(), table(&[("x-queue-type", text("classic"))]), None),
        (
            table(&[(ttl, AMQPValue::LongInt(1000))]),
            table(&[(ttl, int(1000))]),
            None,
        ),
        (
            table(&[("x-unknown", int(1))]),
            table(&[("x-unknown", int(2))]),
            None,
        ),
        (
            table(&[(ttl, int(1000))]),
            table(&[(ttl, int(2000))]),
            Some((ttl, "'2000'", "'1000'")),
        ),
        (
            none(),
            table(&[(ttl, AMQPValue::ShortInt(1000))]),
            Some((ttl, "the value '1000' of type 'short'", "none")),
        ),
        (
            table(&[(ttl, AMQPValue::LongUInt(5))]),
            none(),
            Some((ttl, "none", "the value '5' of type 'unsignedint'")),
        ),
        (
            none(),
            table(&[("x-dead-letter-exchange", text("b"))]),
            Some((
                "x-dead-letter-exchange",
                "the value 'b' of type 'longstr'",
                "none",
            )),
        ),
        (
            table(&[("x-dead-letter-exchange", text("a"))]),
            table(&[("x-dead-letter-exchange", text("b"))]),
            Some(("x-dead-letter-exchange", "'b'", "'a'")),
        ),
        (
            table(&[("x-single-active-consumer", AMQPValue::Boolean(true))]),
            table(&[("x-single-active-consumer", AMQPValue::Boolean(false))]),
            Some(("x-single-active-consumer", "'false'", "'true'")),
        ),
        (
            none(),
            quorum(&[]),
            Some(("x-queue-type", "'quorum'", "'classic'")),
        ),
        (
            quorum(&[]),
            none(),
            Some(("x-queue-type", "'classic'", "'quorum'")),
        ),
        (
            none(),
            table(&[("x-queue-type", text("stream"))]),
            Some(("x-queue-type", "'stream'", "'classic'")),
        ),
        (quorum(&[]), quorum(&[("x-queue-mode", text("lazy"))]), None),
        (
            none(),
            quorum(&[("x-max-priority", int(1))]),
            Some(("x-max-priority", "the value '1' of type 'long'", "none")),
        ),
        (
            table(&[("x-max-length", int(3)), (ttl, int(5))]),
            table(&[("x-max-length", int(1)), (ttl, int(4))]),
            Some((ttl, "'4'", "'5'")),
        ),
        (
            table(&[(ttl, int(5))]),
            table(&[(ttl, AMQPValue::Void)]),
            Some((ttl, "none", "'5'")),
        ),
    ] {
        let expected = expected.map(|(key, received, current)| Inequivalence {
            key,
            received: received.to_owned(),
            current: current.to_owned(),
        });
        let queue = QueueArguments::parse(&first).unwrap();
        assert_eq!(queue.inequivalent(&then), expected, "{first:?} {then:?}");
    }
}
