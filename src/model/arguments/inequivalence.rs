//! When two declarations mean the same, and in which words they differ.

use std::fmt;

use amq_protocol::types::AMQPValue;

use super::value::{bytes_value, float_value, integer_value, term, type_name};

/// A difference between what is and what was declared again, in the words of refusals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inequivalence {
    /// The argument or property.
    pub key: &'static str,
    /// What was declared now, quoted.
    pub received: String,
    /// What was declared first, quoted.
    pub current: String,
}

impl Inequivalence {
    /// A difference in a property that is always there.
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

/// Whether two values are the same but for the width of integers or floats.
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

/// A value as texts quote it: strings as they are, the rest as [`term`].
fn plain(value: &AMQPValue) -> String {
    match bytes_value(value) {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => term(value),
    }
}
