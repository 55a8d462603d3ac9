//! The table of every key: its valid values, and how its values from argument, policy and operator policy combine for
//! each type of queue. It follows RabbitMQ 4.3, and 3.13 for the keys that 4.0 removed.

use serde_json::Value;

use super::apply_to::Target;
use super::rule::Rule;
use crate::model::arguments::{QueueKind, age_ms};

/// Maximum length of a name in a definition: that of a short string.
const NAME_BYTES_MAX: usize = 255;
/// Maximum `stream-max-segment-size-bytes`.
const SEGMENT_BYTES_MAX: i64 = 3_000_000_000;

/// One key.
#[derive(Debug)]
pub(in crate::model) struct Key {
    pub(in crate::model) name: &'static str,
    /// The queue argument for the same setting.
    pub(in crate::model) argument: &'static str,
    pub(super) is_valid: fn(&Value) -> bool,
    /// What follows an invalid value in RabbitMQ's text.
    pub(super) invalid: &'static str,
    /// How policy and operator policy combine. `None`: operator policies do not know the key.
    pub(in crate::model) operator: Option<Rule>,
    classic: Use,
    quorum: Use,
    stream: Use,
    /// It sets something for exchanges.
    is_for_exchanges: bool,
}

/// What a type of queue does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum Use {
    /// A policy with this key does not apply to the queue, with none of its keys.
    Unfit,
    NoEffect,
    /// It holds, combined with the argument by this rule.
    Holds(Rule),
}

use Rule::{Earlier, Higher, Later, Lower, LowerLimit};
use Use::{Holds, NoEffect, Unfit};

impl Key {
    const fn new(
        name: &'static str,
        argument: &'static str,
        is_valid: fn(&Value) -> bool,
        invalid: &'static str,
    ) -> Key {
        Key {
            name,
            argument,
            is_valid,
            invalid,
            operator: None,
            classic: NoEffect,
            quorum: NoEffect,
            stream: NoEffect,
            is_for_exchanges: false,
        }
    }

    const fn uses(mut self, classic: Use, quorum: Use, stream: Use) -> Key {
        self.classic = classic;
        self.quorum = quorum;
        self.stream = stream;
        self
    }

    const fn operator(mut self, rule: Rule) -> Key {
        self.operator = Some(rule);
        self
    }

    const fn for_exchanges(mut self) -> Key {
        self.is_for_exchanges = true;
        self
    }

    pub(in crate::model) fn of(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    pub(in crate::model) fn use_of(&self, kind: QueueKind) -> Use {
        match kind {
            QueueKind::Classic => self.classic,
            QueueKind::Quorum => self.quorum,
            QueueKind::Stream => self.stream,
        }
    }

    /// Whether a policy with this key may apply to the target.
    pub(super) fn fits(&self, target: Target) -> bool {
        match target {
            Target::Exchange => true,
            Target::Queue(kind) => self.use_of(kind) != Unfit,
        }
    }

    /// Whether the key changes anything in Leveret.
    pub(super) fn has_effect(&self) -> bool {
        let holds = |kind| matches!(self.use_of(kind), Holds(_));
        self.is_for_exchanges || QueueKind::ALL.into_iter().any(holds)
    }
}

pub(in crate::model) const KEYS: &[Key] = &[
    Key::new(
        "alternate-exchange",
        "alternate-exchange",
        is_name,
        "is not a valid alternate exchange name",
    )
    .for_exchanges(),
    Key::new(
        "message-ttl",
        "x-message-ttl",
        is_from_0,
        "is not a valid message TTL",
    )
    .uses(Holds(Lower), Holds(Lower), Unfit)
    .operator(Lower),
    Key::new(
        "expires",
        "x-expires",
        is_from_1,
        "is not a valid queue expiry",
    )
    .uses(Holds(Lower), Holds(Lower), Unfit)
    .operator(Lower),
    Key::new(
        "max-length",
        "x-max-length",
        is_from_0,
        "is not a valid maximum length",
    )
    .uses(Holds(Lower), Holds(Lower), Unfit)
    .operator(Lower),
    Key::new(
        "max-length-bytes",
        "x-max-length-bytes",
        is_from_0,
        "is not a valid maximum length in bytes",
    )
    .uses(Holds(Lower), Holds(Lower), Holds(Later))
    .operator(Lower),
    Key::new(
        "overflow",
        "x-overflow",
        is_overflow,
        "is not a valid overflow value",
    )
    .uses(Holds(Earlier), Holds(Later), Unfit)
    .operator(Later),
    Key::new(
        "dead-letter-exchange",
        "x-dead-letter-exchange",
        is_name,
        "is not a valid dead letter exchange name",
    )
    .uses(Holds(Earlier), Holds(Earlier), Unfit),
    Key::new(
        "dead-letter-routing-key",
        "x-dead-letter-routing-key",
        is_name,
        "is not a valid dead letter routing key",
    )
    .uses(Holds(Earlier), Holds(Earlier), Unfit),
    Key::new(
        "delivery-limit",
        "x-delivery-limit",
        is_integer,
        "is not a valid delivery limit",
    )
    .uses(Unfit, Holds(LowerLimit), Unfit)
    .operator(LowerLimit),
    Key::new(
        "consumer-timeout",
        "x-consumer-timeout",
        is_from_0,
        "is not a valid consumer timeout",
    )
    .uses(NoEffect, Holds(Lower), NoEffect),
    Key::new(
        "consumer-disconnected-timeout",
        "x-consumer-disconnected-timeout",
        is_from_0,
        "is not a valid consumer disconnected timeout",
    ),
    Key::new(
        "delayed-retry-type",
        "x-delayed-retry-type",
        is_retry_type,
        "is not a valid delayed retry type. Must be one of: all, failed, returned, disabled",
    )
    .uses(NoEffect, Holds(Later), NoEffect)
    .operator(Later),
    Key::new(
        "delayed-retry-min",
        "x-delayed-retry-min",
        is_from_1,
        "is not a valid delayed retry minimum delay. Must be a positive integer",
    )
    .uses(NoEffect, Holds(Lower), NoEffect)
    .operator(Higher),
    Key::new(
        "delayed-retry-max",
        "x-delayed-retry-max",
        is_from_1,
        "is not a valid delayed retry maximum delay. Must be a positive integer",
    )
    .uses(NoEffect, Holds(Lower), NoEffect)
    .operator(Lower),
    Key::new("max-age", "x-max-age", is_age, "is not a valid max age").uses(
        Unfit,
        Unfit,
        Holds(Later),
    ),
    Key::new(
        "stream-max-segment-size-bytes",
        "x-stream-max-segment-size-bytes",
        is_segment_size,
        "is not a valid segment size",
    )
    .uses(Unfit, Unfit, Holds(Later)),
    // Leveret's own.
    Key::new(
        "visibility-timeout",
        "x-visibility-timeout",
        is_from_1,
        "is not a valid visibility timeout",
    )
    .uses(Holds(Lower), Holds(Lower), Unfit)
    .operator(Lower),
    Key::new(
        "rewind-seconds",
        "x-rewind-seconds",
        is_from_0,
        "is not a valid rewind time in seconds",
    )
    .uses(Holds(Lower), Holds(Lower), Unfit)
    .operator(Lower),
    // Known to RabbitMQ and without effect here.
    Key::new(
        "dead-letter-strategy",
        "",
        is_strategy,
        "is not a valid dead letter strategy",
    )
    .uses(Unfit, NoEffect, Unfit),
    Key::new(
        "max-in-memory-length",
        "",
        is_from_0,
        "is not a valid maximum memory in bytes",
    )
    .uses(Unfit, NoEffect, Unfit)
    .operator(Lower),
    Key::new(
        "max-in-memory-bytes",
        "",
        is_from_0,
        "is not a valid maximum memory in bytes",
    )
    .uses(Unfit, NoEffect, Unfit)
    .operator(Lower),
    Key::new(
        "queue-mode",
        "",
        is_queue_mode,
        "is not a valid queue-mode value",
    )
    .uses(NoEffect, Unfit, Unfit),
    Key::new(
        "queue-version",
        "",
        is_queue_version,
        "is not a valid queue-version value",
    )
    .operator(Later),
    Key::new(
        "queue-leader-locator",
        "",
        is_leader_locator,
        "is not a valid queue leader locator value",
    ),
    Key::new(
        "initial-cluster-size",
        "",
        is_from_0,
        "is not a valid cluster size",
    )
    .uses(Unfit, Unfit, NoEffect),
    Key::new(
        "target-group-size",
        "",
        is_from_1,
        "is not a valid qq target count value",
    )
    .uses(Unfit, NoEffect, Unfit)
    .operator(Higher),
    Key::new(
        "stream-filter-size-bytes",
        "",
        is_filter_size,
        "is not a valid filter size. Valid range is 16-255",
    ),
    Key::new(
        "federation-upstream",
        "",
        is_name,
        "is not a valid federation upstream",
    ),
    Key::new(
        "federation-upstream-pattern",
        "",
        is_name,
        "is not a valid federation upstream pattern",
    ),
    Key::new(
        "federation-upstream-set",
        "",
        is_name,
        "is not a valid federation upstream set",
    ),
    // Mirrored classic queues, which RabbitMQ 4.0 removed. Exports of earlier versions have them.
    Key::new("ha-mode", "", is_any, "").uses(NoEffect, Unfit, Unfit),
    Key::new("ha-params", "", is_any, "").uses(NoEffect, Unfit, Unfit),
    Key::new("ha-promote-on-failure", "", is_any, "").uses(NoEffect, Unfit, Unfit),
    Key::new("ha-promote-on-shutdown", "", is_any, "").uses(NoEffect, Unfit, Unfit),
    Key::new("ha-sync-batch-size", "", is_any, ""),
    Key::new("ha-sync-mode", "", is_any, "").uses(NoEffect, Unfit, Unfit),
    Key::new("queue-master-locator", "", is_any, "").uses(NoEffect, Unfit, Unfit),
];

fn is_any(_: &Value) -> bool {
    true
}

fn is_name(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.len() <= NAME_BYTES_MAX)
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}

fn is_from_0(value: &Value) -> bool {
    value.is_u64()
}

fn is_from_1(value: &Value) -> bool {
    value.as_u64().is_some_and(|number| number > 0)
}

fn is_segment_size(value: &Value) -> bool {
    value
        .as_i64()
        .is_some_and(|size| (0..=SEGMENT_BYTES_MAX).contains(&size))
}

fn is_filter_size(value: &Value) -> bool {
    value
        .as_i64()
        .is_some_and(|size| (16..=255).contains(&size))
}

fn is_queue_version(value: &Value) -> bool {
    matches!(value.as_i64(), Some(1 | 2))
}

fn is_age(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|age| age_ms(age.as_bytes()).is_some())
}

fn is_word(value: &Value, words: &[&str]) -> bool {
    value.as_str().is_some_and(|word| words.contains(&word))
}

fn is_overflow(value: &Value) -> bool {
    is_word(
        value,
        &[
            "drop-head",
            "reject-publish",
            "reject-publish-dlx",
            "block-publish",
        ],
    )
}

fn is_retry_type(value: &Value) -> bool {
    is_word(value, &["all", "failed", "returned", "disabled"])
}

fn is_strategy(value: &Value) -> bool {
    is_word(value, &["at-most-once", "at-least-once"])
}

fn is_queue_mode(value: &Value) -> bool {
    is_word(value, &["default", "lazy"])
}

fn is_leader_locator(value: &Value) -> bool {
    is_word(
        value,
        &["client-local", "balanced", "random", "least-leaders"],
    )
}
