//! The merge, as tables: for every key and type the value that holds, and its source.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::*;
use crate::model::arguments::{Overflow, QueueKind};
use crate::model::policy::{Policy, PolicyDraft, PolicyKind};
use crate::wire::FieldTable;

fn policy(kind: PolicyKind, definition: Value) -> Option<Arc<Policy>> {
    let draft = PolicyDraft {
        name: match kind {
            PolicyKind::User => "p".into(),
            PolicyKind::Operator => "o".into(),
        },
        pattern: "".into(),
        apply_to: None,
        definition,
        priority: None,
    };
    Some(Arc::new(Policy::new(kind, draft).unwrap()))
}

fn declared(kind: QueueKind, arguments: &[(&str, Value)]) -> Arc<QueueArguments> {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), wire_value(&kind.as_str().into()));
    for (name, value) in arguments {
        table.insert((*name).into(), wire_value(value));
    }
    QueueArguments::shared(&table).unwrap()
}

fn object(key: &str, value: &Value) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), value.clone())]))
}

/// The value and the source that hold, in short: `argument`, `p` or `o` for the policies.
fn holds(
    kind: QueueKind,
    key: &str,
    argument: Option<Value>,
    of_policy: Option<Value>,
    of_operator: Option<Value>,
) -> Option<(Value, String)> {
    let name = Key::of(key).unwrap().argument;
    let arguments: Vec<_> = argument.into_iter().map(|value| (name, value)).collect();
    let given = Given {
        policies: Applied {
            policy: of_policy.and_then(|value| policy(PolicyKind::User, object(key, &value))),
            operator_policy: of_operator
                .and_then(|value| policy(PolicyKind::Operator, object(key, &value))),
        },
        ..Given::default()
    };
    let settings = given.settings(&declared(kind, &arguments));
    let setting = settings.into_iter().find(|setting| setting.key == key)?;
    Some((setting.value, setting.source.to_string()))
}

/// Which value holds.
#[derive(Clone, Copy)]
enum Wins {
    Lower,
    Argument,
    Policy,
    NoEffect,
}

#[test]
fn argument_and_policy_combine_by_key_and_type() {
    use QueueKind::{Classic, Quorum, Stream};
    use Wins::{Argument, Lower, NoEffect, Policy};
    let (words, numbers) = ([json!("a"), json!("b")], [json!(1_000), json!(2_000)]);
    for (key, kind, wins, [low, high]) in [
        ("message-ttl", Classic, Lower, numbers.clone()),
        ("message-ttl", Quorum, Lower, numbers.clone()),
        ("expires", Classic, Lower, numbers.clone()),
        ("expires", Quorum, Lower, numbers.clone()),
        ("max-length", Classic, Lower, numbers.clone()),
        ("max-length", Quorum, Lower, numbers.clone()),
        ("max-length-bytes", Classic, Lower, numbers.clone()),
        ("max-length-bytes", Quorum, Lower, numbers.clone()),
        ("max-length-bytes", Stream, Policy, numbers.clone()),
        (
            "overflow",
            Classic,
            Argument,
            [json!("drop-head"), json!("reject-publish")],
        ),
        (
            "overflow",
            Quorum,
            Policy,
            [json!("drop-head"), json!("reject-publish")],
        ),
        ("dead-letter-exchange", Classic, Argument, words.clone()),
        ("dead-letter-exchange", Quorum, Argument, words.clone()),
        ("delivery-limit", Quorum, Lower, numbers.clone()),
        ("max-age", Stream, Policy, [json!("1h"), json!("2h")]),
        (
            "stream-max-segment-size-bytes",
            Stream,
            Policy,
            numbers.clone(),
        ),
        ("visibility-timeout", Classic, Lower, numbers.clone()),
        ("visibility-timeout", Quorum, Lower, numbers.clone()),
        ("rewind-seconds", Classic, Lower, numbers.clone()),
        ("rewind-seconds", Quorum, Lower, numbers.clone()),
        ("consumer-timeout", Classic, NoEffect, numbers.clone()),
        ("consumer-timeout", Stream, NoEffect, numbers.clone()),
        ("delayed-retry-min", Classic, NoEffect, numbers.clone()),
        (
            "stream-filter-size-bytes",
            Stream,
            NoEffect,
            [json!(16), json!(17)],
        ),
        (
            "queue-leader-locator",
            Quorum,
            NoEffect,
            [json!("balanced"), json!("random")],
        ),
    ] {
        for (argument, of_policy) in [(&low, &high), (&high, &low)] {
            let expected = match wins {
                Lower if argument == &low => Some((low.clone(), "argument".to_owned())),
                Lower => Some((low.clone(), "policy p".to_owned())),
                Argument => Some((argument.clone(), "argument".to_owned())),
                Policy => Some((of_policy.clone(), "policy p".to_owned())),
                NoEffect => None,
            };
            let argument = (!matches!(wins, NoEffect)).then(|| argument.clone());
            let held = holds(kind, key, argument, Some(of_policy.clone()), None);
            assert_eq!(held, expected, "{key} {kind:?}");
        }
        let alone = holds(kind, key, None, Some(high.clone()), None);
        let expected = (!matches!(wins, NoEffect)).then(|| (high, "policy p".to_owned()));
        assert_eq!(alone, expected, "{key} {kind:?}");
    }
}

#[test]
fn policy_and_operator_policy_combine_by_key() {
    let reject = || Some(json!("reject-publish"));
    let drop = || Some(json!("drop-head"));
    for (key, of_policy, of_operator, expected, source) in [
        (
            "message-ttl",
            Some(json!(5)),
            Some(json!(9)),
            json!(5),
            "policy p",
        ),
        (
            "message-ttl",
            Some(json!(9)),
            Some(json!(5)),
            json!(5),
            "operator policy o",
        ),
        (
            "max-length",
            Some(json!(9)),
            Some(json!(5)),
            json!(5),
            "operator policy o",
        ),
        (
            "max-length",
            Some(json!(5)),
            Some(json!(5)),
            json!(5),
            "policy p",
        ),
        (
            "max-length",
            None,
            Some(json!(5)),
            json!(5),
            "operator policy o",
        ),
        (
            "expires",
            Some(json!(9)),
            Some(json!(5)),
            json!(5),
            "operator policy o",
        ),
        (
            "max-length-bytes",
            Some(json!(9)),
            Some(json!(5)),
            json!(5),
            "operator policy o",
        ),
        (
            "overflow",
            reject(),
            drop(),
            json!("drop-head"),
            "operator policy o",
        ),
        (
            "overflow",
            drop(),
            reject(),
            json!("reject-publish"),
            "operator policy o",
        ),
        (
            "delivery-limit",
            Some(json!(-1)),
            Some(json!(5)),
            json!(5),
            "operator policy o",
        ),
        (
            "delivery-limit",
            Some(json!(5)),
            Some(json!(-1)),
            json!(5),
            "policy p",
        ),
        (
            "delivery-limit",
            Some(json!(-1)),
            Some(json!(-2)),
            json!(-1),
            "policy p",
        ),
        (
            "delivery-limit",
            Some(json!(9)),
            Some(json!(5)),
            json!(5),
            "operator policy o",
        ),
        (
            "visibility-timeout",
            Some(json!(9)),
            Some(json!(5)),
            json!(5),
            "operator policy o",
        ),
        (
            "rewind-seconds",
            Some(json!(9)),
            Some(json!(5)),
            json!(5),
            "operator policy o",
        ),
    ] {
        let held = holds(QueueKind::Quorum, key, None, of_policy, of_operator);
        assert_eq!(held, Some((expected, source.to_owned())), "{key}");
    }
    let applied = |of_policy: Value, of_operator: Value| Applied {
        policy: policy(PolicyKind::User, of_policy),
        operator_policy: policy(PolicyKind::Operator, of_operator),
    };
    let both = applied(
        json!({"overflow": "drop-head", "max-length": 9, "dead-letter-exchange": "x"}),
        json!({"max-length": 5, "expires": 7}),
    );
    let merged = Value::Object(both.definition().unwrap()).to_string();
    assert_eq!(
        merged,
        r#"{"dead-letter-exchange":"x","expires":7,"max-length":5,"overflow":"drop-head"}"#
    );
    let retries = applied(
        json!({"delayed-retry-type": "all", "delayed-retry-min": 1, "delayed-retry-max": 9}),
        json!({"delayed-retry-type": "failed", "delayed-retry-min": 5, "delayed-retry-max": 6}),
    );
    let merged = Value::Object(retries.definition().unwrap()).to_string();
    assert_eq!(
        merged,
        r#"{"delayed-retry-max":6,"delayed-retry-min":5,"delayed-retry-type":"failed"}"#
    );
    assert_eq!(Applied::default().definition(), None);
}

#[test]
fn a_negative_delivery_limit_loses_to_any_other() {
    let limit = |argument, of_policy| {
        let given = Given {
            policies: Applied {
                policy: policy(PolicyKind::User, json!({"delivery-limit": of_policy})),
                ..Applied::default()
            },
            ..Given::default()
        };
        let declared = declared(QueueKind::Quorum, &[("x-delivery-limit", json!(argument))]);
        given.effective(&declared).delivery_limit
    };
    assert_eq!(limit(-1, 5), Some(5));
    assert_eq!(limit(5, -1), Some(5));
    assert_eq!(limit(-1, -1), None);
    assert_eq!(limit(7, 5), Some(5));
}

#[test]
fn effective_arguments_have_the_merged_values() {
    let declared_classic = declared(QueueKind::Classic, &[("x-max-length", json!(5))]);
    let nothing = Given::default();
    assert!(Arc::ptr_eq(
        &nothing.effective(&declared_classic),
        &declared_classic
    ));
    let given = Given {
        policies: Applied {
            policy: policy(
                PolicyKind::User,
                json!({
                    "max-length": 9, "message-ttl": 1_000, "expires": 60_000, "overflow": "reject-publish",
                    "dead-letter-exchange": "dlx", "dead-letter-routing-key": "k", "max-length-bytes": 10,
                    "visibility-timeout": 30_000, "rewind-seconds": 2, "ha-mode": "all",
                }),
            ),
            operator_policy: policy(PolicyKind::Operator, json!({"message-ttl": 500})),
        },
        ..Given::default()
    };
    let effective = given.effective(&declared_classic);
    assert_eq!(effective.raw, declared_classic.raw);
    assert_eq!(effective.max_length, Some(5));
    assert_eq!(effective.max_length_bytes, Some(10));
    assert_eq!(effective.message_ttl_ms, Some(500));
    assert_eq!(effective.expires_ms, Some(60_000));
    assert_eq!(effective.overflow, Overflow::RejectPublish);
    assert_eq!(effective.dead_letter_exchange.as_deref(), Some("dlx"));
    assert_eq!(effective.dead_letter_routing_key.as_deref(), Some("k"));
    assert_eq!(effective.visibility_timeout_ms, Some(30_000));
    assert_eq!(effective.rewind_ms, Some(2_000));
    let stream = declared(QueueKind::Stream, &[("x-max-length-bytes", json!(5))]);
    let of_stream = Given {
        policies: Applied {
            policy: policy(
                PolicyKind::User,
                json!({
                    "max-length-bytes": 1_000, "max-age": "1h", "stream-max-segment-size-bytes": 100,
                }),
            ),
            ..Applied::default()
        },
        ..Given::default()
    };
    let effective = of_stream.effective(&stream);
    assert_eq!(effective.max_length_bytes, Some(1_000));
    assert_eq!(effective.max_age_ms, Some(3_600_000));
    assert_eq!(effective.segment_bytes, 100);
}

#[test]
fn an_override_replaces_argument_and_policy_and_is_bounded_by_the_operator() {
    let overrides = QueueOverrides {
        max_length: Some(50),
        overflow: Some(Overflow::RejectPublish),
        delivery_limit: Some(2),
        retention_ms: Some(60_000),
        rewind_ms: Some(1_500),
        dead_letter_exchange: Some("".into()),
        ..QueueOverrides::default()
    };
    let given = |of_operator| Given {
        policies: Applied {
            policy: policy(PolicyKind::User, json!({"max-length": 5, "message-ttl": 7})),
            operator_policy: policy(PolicyKind::Operator, of_operator),
        },
        overrides: overrides.clone(),
    };
    let declared = declared(QueueKind::Classic, &[("x-max-length", json!(3))]);
    let effective = given(json!({"expires": 9})).effective(&declared);
    assert_eq!(effective.max_length, Some(50));
    assert_eq!(effective.message_ttl_ms, Some(7));
    assert_eq!(effective.expires_ms, Some(9));
    assert_eq!(effective.overflow, Overflow::RejectPublish);
    assert_eq!(
        effective.delivery_limit,
        Some(2),
        "CMQ has one for all types"
    );
    assert_eq!(effective.retention_ms, Some(60_000));
    assert_eq!(effective.rewind_ms, Some(1_500));
    assert_eq!(effective.dead_letter_exchange.as_deref(), Some(""));
    let bounded = given(json!({"max-length": 20, "rewind-seconds": 1}));
    let effective = bounded.effective(&declared);
    assert_eq!(effective.max_length, Some(20));
    assert_eq!(effective.rewind_ms, Some(1_000));
    let source = |key| {
        let settings = bounded.settings(&declared);
        let setting = settings.into_iter().find(|setting| setting.key == key);
        setting.map(|setting| setting.source.to_string())
    };
    assert_eq!(source("max-length").as_deref(), Some("operator policy o"));
    assert_eq!(source("overflow").as_deref(), Some("override"));
    assert_eq!(source("message-ttl").as_deref(), Some("policy p"));
    assert_eq!(source("retention").as_deref(), Some("override"));
    assert_eq!(source("max-age"), None);
    // An override of 0 turns the history off.
    let off = Given::overridden(QueueOverrides {
        rewind_ms: Some(0),
        ..QueueOverrides::default()
    });
    let history = super::tests::declared(QueueKind::Classic, &[("x-rewind-seconds", json!(60))]);
    assert_eq!(off.effective(&history).rewind_ms, None);
}
