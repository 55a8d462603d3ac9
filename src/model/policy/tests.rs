//! Policies: validation in RabbitMQ's words, and which policy applies, as tables.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::model::arguments::QueueKind;

fn draft(
    name: &str,
    pattern: &str,
    apply_to: &str,
    definition: Value,
    priority: Value,
) -> PolicyDraft {
    PolicyDraft {
        name: name.into(),
        pattern: pattern.into(),
        apply_to: Some(apply_to.into()),
        definition,
        priority: Some(priority),
    }
}

fn refusal(kind: PolicyKind, definition: Value) -> String {
    let draft = draft("p", ".*", "all", definition, json!(0));
    let error = Policy::new(kind, draft).map(drop).unwrap_err().to_string();
    let text = error.strip_prefix("Validation failed\n\n").unwrap();
    text.strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn values_are_refused_in_rabbitmqs_words() {
    for (definition, text) in [
        (json!({}), "no policy provided"),
        (json!([]), "no policy provided"),
        (json!([1]), "definition must be a dictionary: [1]"),
        (
            json!({"bogus": 1}),
            r#"[{<<"bogus">>,1}] are not recognised policy settings"#,
        ),
        (json!({"message-ttl": -1}), "-1 is not a valid message TTL"),
        (
            json!({"message-ttl": 1.0}),
            "1.0 is not a valid message TTL",
        ),
        (
            json!({"message-ttl": "5"}),
            r#"<<"5">> is not a valid message TTL"#,
        ),
        (json!({"expires": 0}), "0 is not a valid queue expiry"),
        (
            json!({"max-length": -1}),
            "-1 is not a valid maximum length",
        ),
        (
            json!({"max-length-bytes": true}),
            "true is not a valid maximum length in bytes",
        ),
        (
            json!({"overflow": "drop"}),
            r#"<<"drop">> is not a valid overflow value"#,
        ),
        (
            json!({"dead-letter-exchange": 1}),
            "1 is not a valid dead letter exchange name",
        ),
        (
            json!({"dead-letter-routing-key": []}),
            "[] is not a valid dead letter routing key",
        ),
        (
            json!({"dead-letter-strategy": "x"}),
            r#"<<"x">> is not a valid dead letter strategy"#,
        ),
        (
            json!({"alternate-exchange": null}),
            "null is not a valid alternate exchange name",
        ),
        (
            json!({"delivery-limit": "x"}),
            r#"<<"x">> is not a valid delivery limit"#,
        ),
        (
            json!({"consumer-timeout": -1}),
            "-1 is not a valid consumer timeout",
        ),
        (
            json!({"consumer-disconnected-timeout": -1}),
            "-1 is not a valid consumer disconnected timeout",
        ),
        (
            json!({"delayed-retry-type": "x"}),
            r#"<<"x">> is not a valid delayed retry type. Must be one of: all, failed, returned, disabled"#,
        ),
        (
            json!({"delayed-retry-min": 0}),
            "0 is not a valid delayed retry minimum delay. Must be a positive integer",
        ),
        (
            json!({"delayed-retry-type": "all"}),
            "delayed-retry-min is required when delayed-retry-type is all",
        ),
        (
            json!({"delayed-retry-min": 500, "delayed-retry-max": 100}),
            "delayed-retry-max (100) must not be smaller than delayed-retry-min (500)",
        ),
        (json!({"max-age": 5}), "5 is not a valid max age"),
        (json!({"max-age": "5"}), r#"<<"5">> is not a valid max age"#),
        (
            json!({"stream-max-segment-size-bytes": 3_000_000_001u64}),
            "3000000001 is not a valid segment size",
        ),
        (
            json!({"stream-filter-size-bytes": 15}),
            "15 is not a valid filter size. Valid range is 16-255",
        ),
        (
            json!({"queue-version": 3}),
            "3 is not a valid queue-version value",
        ),
        (
            json!({"visibility-timeout": 0}),
            "0 is not a valid visibility timeout",
        ),
        (
            json!({"rewind-seconds": -1}),
            "-1 is not a valid rewind time in seconds",
        ),
        (
            json!({"alternate-exchange": "x".repeat(256)}),
            &format!(
                "<<\"{}\">> is not a valid alternate exchange name",
                "x".repeat(256)
            ),
        ),
        // The keys are checked in order, and unknown ones last.
        (
            json!({"zzz": 1, "max-length": -1}),
            "-1 is not a valid maximum length",
        ),
    ] {
        assert_eq!(refusal(PolicyKind::User, definition), text);
    }
}

#[test]
fn operator_policies_have_keys_of_their_own() {
    let op = |definition| {
        Policy::new(
            PolicyKind::Operator,
            draft("p", "", "all", definition, json!(0)),
        )
    };
    for key in [
        "expires",
        "message-ttl",
        "max-length",
        "max-length-bytes",
        "max-in-memory-length",
        "max-in-memory-bytes",
        "delivery-limit",
        "delayed-retry-min",
        "delayed-retry-max",
        "target-group-size",
        "visibility-timeout",
        "rewind-seconds",
    ] {
        assert!(op(json!({key: 10})).is_ok(), "{key}");
    }
    assert!(op(json!({"overflow": "drop-head", "queue-version": 1})).is_ok());
    for key in [
        "dead-letter-exchange",
        "alternate-exchange",
        "max-age",
        "ha-mode",
    ] {
        assert_eq!(
            refusal(PolicyKind::Operator, json!({key: "1h"})),
            format!("[{{<<\"{key}\">>,<<\"1h\">>}}] are not recognised policy settings")
        );
    }
    assert_eq!(
        refusal(PolicyKind::Operator, json!("x")),
        "parse error while reading policy definition: <<\"x\">>. Validator: operator_policy_validator."
    );
}

#[test]
fn all_faults_of_a_policy_are_named() {
    let draft = PolicyDraft {
        name: "n".repeat(POLICY_NAME_BYTES_MAX + 1).into(),
        pattern: json!("("),
        apply_to: Some(json!("things")),
        definition: json!({"max-length": -1}),
        priority: Some(json!("10")),
    };
    let error = Policy::new(PolicyKind::User, draft)
        .unwrap_err()
        .to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(
        lines[..3],
        ["Validation failed", "", "-1 is not a valid maximum length"]
    );
    assert_eq!(
        lines[3],
        "apply-to 'things' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', \
         'streams', 'exchanges', or 'all'"
    );
    assert!(lines[4].starts_with("pattern should be regular expression but is invalid: {\""));
    assert_eq!(
        lines[5],
        "priority should be a number, actually was <<\"10\">>"
    );
    assert_eq!(lines[6], "name must not exceed 1024 bytes");
    let long = draft_of_pattern(&"x".repeat(4097));
    let error = Policy::new(PolicyKind::User, long).unwrap_err().to_string();
    assert!(
        error.contains("pattern must not exceed 4096 bytes"),
        "{error}"
    );
}

#[test]
fn patterns_and_definitions_are_bounded() {
    let long = json!({"ha-params": "x".repeat(64 * 1024)});
    assert_eq!(
        refusal(PolicyKind::User, long),
        "definition must not exceed 65536 bytes"
    );
    // A match that would take for ever gives up.
    let evil = draft_of_pattern(r"^(a+)+\1b$");
    let began = std::time::Instant::now();
    assert_eq!(winner(&[evil], &"a".repeat(255), CLASSIC), None);
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
}

fn draft_of_pattern(pattern: &str) -> PolicyDraft {
    draft("p", pattern, "all", json!({"max-length": 1}), json!(0))
}

#[test]
fn keys_without_effect_are_named() {
    let definition = json!({
        "ha-mode": "all", "ha-sync-mode": "automatic", "queue-mode": "lazy", "max-length": 5,
        "federation-upstream-set": "all", "alternate-exchange": "x", "max-age": "1h",
    });
    let policy = Policy::new(
        PolicyKind::User,
        draft("p", "", "all", definition, json!(0)),
    )
    .unwrap();
    assert_eq!(
        policy.without_effect(),
        [
            "federation-upstream-set",
            "ha-mode",
            "ha-sync-mode",
            "queue-mode"
        ]
    );
    assert_eq!(
        Policy::new(PolicyKind::User, policy.draft()).unwrap(),
        policy
    );
    assert_eq!(
        serde_json::to_value(&policy).unwrap()["apply-to"],
        json!("all")
    );
}

/// The name of the policy that applies.
fn winner(policies: &[PolicyDraft], name: &str, target: Target) -> Option<String> {
    let policies = policies
        .iter()
        .map(|draft| Arc::new(Policy::new(PolicyKind::User, draft.clone()).unwrap()));
    let applied = PolicySet::new(1, policies, []).applied_to(name, target);
    applied.policy_name().map(|name| name.to_string())
}

const CLASSIC: Target = Target::Queue(QueueKind::Classic);
const QUORUM: Target = Target::Queue(QueueKind::Quorum);
const STREAM: Target = Target::Queue(QueueKind::Stream);

#[test]
fn policies_apply_to_the_types_that_they_name() {
    for (apply_to, expected) in [
        ("all", [true, true, true, true]),
        ("exchanges", [true, false, false, false]),
        ("queues", [false, true, true, true]),
        ("classic_queues", [false, true, false, false]),
        ("quorum_queues", [false, false, true, false]),
        ("streams", [false, false, false, true]),
    ] {
        let policy = [draft(
            "p",
            "^q",
            apply_to,
            json!({"max-length-bytes": 1}),
            json!(0),
        )];
        let applies = [Target::Exchange, CLASSIC, QUORUM, STREAM]
            .map(|target| winner(&policy, "q1", target).is_some());
        assert_eq!(applies, expected, "{apply_to}");
        assert_eq!(winner(&policy, "a-q", CLASSIC), None);
    }
}

#[test]
fn a_policy_with_a_key_that_a_type_does_not_take_is_skipped_whole() {
    for (key, value, classic, quorum, stream) in [
        ("message-ttl", json!(1), true, true, false),
        ("expires", json!(1), true, true, false),
        ("max-length", json!(1), true, true, false),
        ("overflow", json!("drop-head"), true, true, false),
        ("dead-letter-exchange", json!(""), true, true, false),
        ("dead-letter-routing-key", json!(""), true, true, false),
        (
            "dead-letter-strategy",
            json!("at-least-once"),
            false,
            true,
            false,
        ),
        ("delivery-limit", json!(1), false, true, false),
        ("consumer-timeout", json!(1), true, true, true),
        ("delayed-retry-max", json!(1), true, true, true),
        ("max-age", json!("1h"), false, false, true),
        (
            "stream-max-segment-size-bytes",
            json!(1),
            false,
            false,
            true,
        ),
        ("stream-filter-size-bytes", json!(16), true, true, true),
        ("queue-leader-locator", json!("balanced"), true, true, true),
        ("max-in-memory-length", json!(1), false, true, false),
        ("target-group-size", json!(1), false, true, false),
        ("initial-cluster-size", json!(1), false, false, true),
        ("queue-mode", json!("lazy"), true, false, false),
        ("alternate-exchange", json!("x"), true, true, true),
        ("ha-mode", json!("all"), true, false, false),
        ("visibility-timeout", json!(1), true, true, false),
        ("rewind-seconds", json!(1), true, true, false),
    ] {
        // The lower one applies with all its keys where the higher one does not fit.
        let policies = [
            draft(
                "high",
                "",
                "all",
                json!({key: value, "max-length-bytes": 1}),
                json!(1),
            ),
            draft("low", "", "all", json!({"max-length-bytes": 1}), json!(0)),
        ];
        let fits = [CLASSIC, QUORUM, STREAM]
            .map(|target| winner(&policies, "q", target).as_deref() == Some("high"));
        assert_eq!(fits, [classic, quorum, stream], "{key}");
        assert_eq!(
            winner(&policies, "x", Target::Exchange).as_deref(),
            Some("high")
        );
    }
}

#[test]
fn the_highest_priority_wins_and_then_the_name() {
    let policy =
        |name: &str, priority: Value| draft(name, "", "all", json!({"max-length": 1}), priority);
    for (policies, expected) in [
        (vec![policy("a", json!(0)), policy("b", json!(1))], "b"),
        (vec![policy("a", json!(10)), policy("b", json!(10.5))], "b"),
        (vec![policy("a", json!(-2)), policy("b", json!(-1))], "b"),
        (
            vec![
                policy("zzz", json!(0)),
                policy("aaa", json!(0)),
                policy("mmm", json!(0)),
            ],
            "aaa",
        ),
    ] {
        assert_eq!(winner(&policies, "q", CLASSIC).as_deref(), Some(expected));
    }
}
