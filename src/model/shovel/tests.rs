//! Definitions that RabbitMQ accepts and refuses.

use serde_json::json;

use super::*;

fn faults(value: Value) -> Vec<String> {
    match ShovelDefinition::parse("s", &value) {
        Ok(definition) => panic!("accepted: {definition:?}"),
        Err(InvalidShovel(faults)) => faults,
    }
}

fn with(key: &str, value: Value) -> Value {
    let mut all =
        json!({"src-uri": "amqp://", "src-queue": "a", "dest-uri": "amqp://", "dest-queue": "b"});
    all[key] = value;
    all
}

#[test]
fn a_short_definition_has_the_defaults_of_rabbitmq() {
    let value =
        json!({"src-uri": "amqp://", "src-queue": "a", "dest-uri": ["amqp://h", "amqp:///v"]});
    let definition = ShovelDefinition::parse("s", &value).unwrap();
    assert_eq!(definition.prefetch, 1000);
    assert_eq!(definition.ack_mode, AckMode::OnConfirm);
    assert_eq!(definition.delete_after, DeleteAfter::Never);
    assert_eq!(definition.delete_after_duration, None);
    assert_eq!(definition.protection, Protection::Unprotected);
    assert_eq!(definition.reconnect_delay, Some(Duration::from_secs(5)));
    let unchanged = ShovelDestination::Exchange {
        exchange: None,
        key: None,
    };
    assert_eq!(definition.to, unchanged);
    assert!(!definition.add_forward_headers && !definition.add_timestamp_header);
    assert!(definition.local_vhosts().eq(["/", "v"]));
}

#[test]
fn a_full_definition_is_read() {
    let value = json!({
        "src-protocol": "amqp091", "src-uri": "amqp://h", "src-exchange": "x", "src-exchange-key": "k",
        "src-prefetch-count": 70_000, "prefetch-count": 3, "src-delete-after": 7, "delete-after": "never",
        "src-consumer-args": {"x-priority": 1}, "dest-protocol": "amqp091", "dest-uri": "amqp://h",
        "dest-queue": "q", "dest-queue-args": {"x-queue-type": "quorum"}, "dest-predeclared": true,
        "dest-publish-properties": {"delivery_mode": 2, "type": "t", "timestamp": 5},
        "dest-add-forward-headers": true, "add-forward-headers": false, "add-timestamp-header": true,
        "ack-mode": "on-publish", "reconnect-delay": 0, "src-consumer-name": "mover",
        "src-delete-after-duration": 90, "internal": true,
        "internal_owner": {"kind": "queue", "name": "q", "virtual_host": "v"},
    });
    let definition = ShovelDefinition::parse("s", &value).unwrap();
    assert_eq!(definition.prefetch, u16::MAX);
    assert_eq!(definition.delete_after, DeleteAfter::Messages(7));
    assert_eq!(definition.ack_mode, AckMode::OnPublish);
    assert_eq!(definition.reconnect_delay, None);
    assert_eq!(definition.consumer_tag, "mover");
    let duration = Duration::from_secs(90);
    assert_eq!(definition.delete_after_duration, Some(duration));
    let owner = Some("queue 'q' in vhost 'v'".to_owned());
    assert_eq!(definition.protection, Protection::Internal(owner));
    assert!(definition.add_forward_headers && definition.add_timestamp_header);
    let ShovelSource::Exchange { exchange, key } = &definition.from else {
        panic!("no exchange");
    };
    assert_eq!((exchange.as_str(), key.as_str()), ("x", "k"));
    let ShovelDestination::Queue(queue) = &definition.to else {
        panic!("no queue");
    };
    assert!(queue.predeclared && queue.arguments.inner().len() == 1);
    let expected = PublishProperties {
        texts: vec![(TextProperty::Type, "t".to_owned())],
        delivery_mode: Some(2),
        priority: None,
        timestamp: Some(5),
    };
    assert_eq!(definition.properties, expected);
}

#[test]
fn faults_are_named_in_the_words_of_rabbitmq() {
    assert_eq!(faults(json!("text")), ["s not a list <<\"text\">>"]);
    assert_eq!(
        faults(json!({})),
        [
            "Must specify 'src-exchange' or 'src-queue'",
            "Key \"src-uri\" not found in shovel",
            "Key \"dest-uri\" not found in shovel",
        ]
    );
    for (key, value, fault) in [
        (
            "src-exchange",
            json!("x"),
            "Cannot specify 'src-exchange' and 'src-queue'",
        ),
        (
            "dest-exchange",
            json!("x"),
            "Cannot specify 'dest-exchange' and 'dest-queue'",
        ),
        (
            "src-queue",
            json!(1),
            "src-queue should be binary, actually was 1",
        ),
        (
            "ack-mode",
            json!("never"),
            "ack-mode should be one of [<<\"no-ack\">>,<<\"on-publish\">>,<<\"on-confirm\">>], actually was <<\"never\">>",
        ),
        (
            "src-prefetch-count",
            json!(-1),
            "src-prefetch-count should be a number, actually was -1",
        ),
        (
            "reconnect-delay",
            json!("5"),
            "reconnect-delay should be a number, actually was <<\"5\">>",
        ),
        (
            "dest-predeclared",
            json!("yes"),
            "dest-predeclared should be boolean, actually was <<\"yes\">>",
        ),
        (
            "src-delete-after",
            json!("soon"),
            "src-delete-after should be a number greater than or equal to 0, \"never\" or \"queue-length\", actually was <<\"soon\">>",
        ),
        (
            "src-delete-after-duration",
            json!(0),
            "src-delete-after-duration should be a positive integer (seconds), actually was 0",
        ),
        (
            "src-delete-after-duration",
            json!(4_294_968),
            "src-delete-after-duration is 4294968 seconds, which exceeds the maximum supported duration",
        ),
        (
            "internal_owner",
            json!({"kind": "vhost"}),
            "kind should be one of [<<\"exchange\">>,<<\"queue\">>], actually was <<\"vhost\">>",
        ),
        (
            "unknown",
            json!("secret"),
            "Unrecognised terms [<<\"unknown\">>] in s",
        ),
        (
            "publish-properties",
            json!({"headers": {}}),
            "Unrecognised terms [<<\"headers\">>] in publish-properties",
        ),
        (
            "src-protocol",
            json!("mqtt"),
            "src-protocol should be one of [<<\"amqp091\">>,<<\"amqp10\">>,<<\"local\">>], actually was <<\"mqtt\">>",
        ),
    ] {
        assert!(
            faults(with(key, value)).iter().any(|found| found == fault),
            "{fault}"
        );
    }
    let protocol = faults(with("dest-protocol", json!("amqp10"))).join("");
    assert!(
        protocol.starts_with("dest-protocol can only be amqp091"),
        "{protocol}"
    );
    let both = json!({"ack-mode": "no-ack", "delete-after": 3, "src-uri": "amqp://", "src-queue": "a", "dest-uri": "amqp://"});
    assert_eq!(
        faults(both),
        ["Cannot specify 'no-ack' and numerical 'delete-after'"]
    );
}

#[test]
fn secrets_show_in_no_fault_and_in_no_redacted_value() {
    let faults = faults(with("src-uri", json!("http://u:secret@h"))).join("\n");
    assert_eq!(
        faults,
        "src-uri is not a valid URI: it does not begin with amqp:// or amqps://"
    );
    let value = json!({"src-uri": ["amqp://u:secret@h/v?x=secret", "secret"], "dest-uri": "amqps://u:secret@h", "src-queue": "a"});
    let expected =
        json!({"src-uri": ["amqp://h/v", ""], "dest-uri": "amqps://h", "src-queue": "a"});
    assert_eq!(redacted(&value), expected);
}
