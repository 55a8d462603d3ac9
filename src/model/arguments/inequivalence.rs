//! Compares two declarations, and describes a difference in RabbitMQ's words.

use std::fmt;

use amq_protocol::types::AMQPValue;

use super::value::{bytes_value, float_value, integer_value, term, type_name};

/// A difference between a queue or exchange and a repeated declaration of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inequivalence {
    /// The argument or property.
    pub key: &'static str,
    /// The value in the new declaration, quoted.
    pub received: String,
    /// The existing value, quoted.
    pub current: String,
}

impl Inequivalence {
    /// A difference in a property, which always has a value.
    pub fn of_property(
        key: &'static str,
        current: impl fmt::Display,
        received: impl fmt::Display,
    ) -> Inequivalence {
        Inequivalence {
            key,
            received: format!("'{received}'"),
            current: format!("'{current}'"),
        }
    }
}

/// Compares one argument of two declarations.
pub fn inequivalence(
    key: &'static str,
    current: Option<&AMQPValue>,
    received: Option<&AMQPValue>,
) -> Option<Inequivalence> {
    let (current, received) = match (current, received) {
        (None, None) => return None,
        (Some(current), Some(received)) if same(current, received) => return None,
        (Some(current), Some(received)) => (quoted(current), quoted(received)),
        (current, received) => (described(current), described(received)),
    };
    Some(Inequivalence {
        key,
        received,
        current,
    })
}

/// Whether two values are equal, ignoring the width of integers and floats.
fn same(a: &AMQPValue, b: &AMQPValue) -> bool {
    match (integer_value(a), integer_value(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => match (float_value(a), float_value(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        },
        _ => false,
    }
}

fn described(value: Option<&AMQPValue>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) => format!(
            "the value '{}' of type '{}'",
            plain(value),
            type_name(value)
        ),
    }
}

fn quoted(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Void => "none".to_owned(),
        value => format!("'{}'", plain(value)),
    }
}

/// A value as texts quote it: strings unchanged, all others as [`term`].
fn plain(value: &AMQPValue) -> String {
    match bytes_value(value) {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => term(value),
    }
}
