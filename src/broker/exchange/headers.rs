//! Headers exchanges: a binding matches if the message has the headers of its arguments. `x-match` says whether all or
//! any of them; arguments whose name starts with `x-` count only for `all-with-x` and `any-with-x`.

use std::collections::{HashMap, hash_map};
use std::sync::Arc;

use super::binding::Binding;
use super::search::SearchStep;
use crate::broker::error::BrokerError;
use crate::model::arguments::{integer_value, term, type_name};
use crate::wire::{AMQPValue, FieldTable};

/// The bindings of a headers exchange. A search looks at every binding: no index serves `any`, `all` and missing headers
/// together.
#[derive(Clone, Debug, Default)]
pub(super) struct Headers {
    bindings: HashMap<Arc<Binding>, Arc<HeaderMatch>>,
}

impl Headers {
    pub(super) fn add(&mut self, binding: &Arc<Binding>) {
        // A binding is checked before it is made; one that an earlier release let pass matches nothing.
        if let Ok(rule) = HeaderMatch::parse(&binding.arguments) {
            self.bindings.insert(Arc::clone(binding), Arc::new(rule));
        }
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        self.bindings.remove(binding);
    }

    /// Finds the destinations of a message with these headers.
    pub(super) fn matches<'a>(&'a self, headers: &'a FieldTable) -> Matches<'a> {
        Matches {
            bindings: self.bindings.iter(),
            headers,
        }
    }
}

/// A search in a headers exchange: a step per binding.
#[derive(Debug)]
pub(super) struct Matches<'a> {
    bindings: hash_map::Iter<'a, Arc<Binding>, Arc<HeaderMatch>>,
    headers: &'a FieldTable,
}

impl<'a> Iterator for Matches<'a> {
    type Item = SearchStep<'a>;

    fn next(&mut self) -> Option<SearchStep<'a>> {
        let (binding, rule) = self.bindings.next()?;
        Some(SearchStep {
            found: rule.matches(self.headers).then_some(&binding.destination),
            looked: 1 + rule.wanted.len(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    All,
    Any,
}

/// The rule of a binding.
#[derive(Debug)]
pub(super) struct HeaderMatch {
    mode: Mode,
    wanted: Vec<(Box<str>, AMQPValue)>,
}

impl HeaderMatch {
    /// Reads a binding's arguments.
    pub(super) fn parse(arguments: &FieldTable) -> Result<HeaderMatch, BrokerError> {
        let (mode, with_x) = match arguments.inner().get("x-match") {
            None => (Mode::All, false),
            Some(AMQPValue::LongString(word)) => match word.as_bytes() {
                b"all" => (Mode::All, false),
                b"any" => (Mode::Any, false),
                b"all-with-x" => (Mode::All, true),
                b"any-with-x" => (Mode::Any, true),
                _ => {
                    let value = term(&AMQPValue::LongString(word.clone()));
                    return Err(BrokerError::Refused(format!(
                        "Invalid x-match field value {value}; expected all, any, all-with-x, or any-with-x"
                    )));
                }
            },
            Some(other) => {
                return Err(BrokerError::Refused(format!(
                    "Invalid x-match field type {} (value {}); expected longstr",
                    type_name(other),
                    term(other)
                )));
            }
        };
        let counts = |name: &str| name != "x-match" && (with_x || !name.starts_with("x-"));
        let wanted = arguments
            .into_iter()
            .filter(|(name, _)| counts(name.as_str()))
            .map(|(name, value)| (name.as_str().into(), value.clone()))
            .collect();
        Ok(HeaderMatch { mode, wanted })
    }

    /// Whether headers match. Without wanted headers, `all` matches every message and `any` none.
    fn matches(&self, headers: &FieldTable) -> bool {
        let has = |(name, wanted): &(Box<str>, AMQPValue)| {
            headers
                .inner()
                .get(&**name)
                .is_some_and(|value| satisfies(wanted, value))
        };
        match self.mode {
            Mode::All => self.wanted.iter().all(has),
            Mode::Any => self.wanted.iter().any(has),
        }
    }
}

/// Whether a header's value is the wanted one. A void value matches any value. The width of a number does not
/// matter, and strings and byte arrays of the same bytes are equal.
fn satisfies(wanted: &AMQPValue, value: &AMQPValue) -> bool {
    if matches!(wanted, AMQPValue::Void) {
        return true;
    }
    if let (Some(wanted), Some(value)) = (integer_value(wanted), integer_value(value)) {
        return wanted == value;
    }
    match (wanted, value) {
        (AMQPValue::Float(wanted), AMQPValue::Double(value)) => f64::from(*wanted) == *value,
        (AMQPValue::Double(wanted), AMQPValue::Float(value)) => *wanted == f64::from(*value),
        (AMQPValue::LongString(wanted), AMQPValue::ByteArray(value)) => {
            wanted.as_bytes() == value.as_slice()
        }
        (AMQPValue::ByteArray(wanted), AMQPValue::LongString(value)) => {
            wanted.as_slice() == value.as_bytes()
        }
        (wanted, value) => wanted == value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in fields {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    fn text(value: &str) -> AMQPValue {
        AMQPValue::LongString(value.into())
    }

    /// RabbitMQ 4.0.5's answers for each mode: none given, all, any, all-with-x, any-with-x.
    #[test]
    fn matches_as_rabbitmq() {
        use AMQPValue::{
            Boolean, ByteArray, Double, Float, LongInt, LongLongInt, ShortShortInt, Void,
        };
        let one = || ("a", LongInt(1));
        let check = |wanted: &[(&str, AMQPValue)],
                     headers: &[(&str, AMQPValue)],
                     all,
                     any,
                     all_x,
                     any_x| {
            for (mode, expected) in [
                (None, all),
                (Some("all"), all),
                (Some("any"), any),
                (Some("all-with-x"), all_x),
                (Some("any-with-x"), any_x),
            ] {
                let mut arguments = table(wanted);
                if let Some(mode) = mode {
                    arguments.insert("x-match".into(), text(mode));
                }
                let rule = HeaderMatch::parse(&arguments).unwrap();
                assert_eq!(
                    rule.matches(&table(headers)),
                    expected,
                    "{mode:?} {wanted:?} {headers:?}"
                );
            }
        };
        let same = |wanted: AMQPValue, value: AMQPValue, expected: bool| {
            check(
                &[("a", wanted)],
                &[("a", value)],
                expected,
                expected,
                expected,
                expected,
            );
        };
        check(&[], &[], true, false, true, false);
        check(&[], &[one()], true, false, true, false);
        check(&[one()], &[], false, false, false, false);
        check(
            &[one(), ("b", LongInt(2))],
            &[one()],
            false,
            true,
            false,
            true,
        );
        check(
            &[one(), ("b", LongInt(2))],
            &[one(), ("b", LongInt(3))],
            false,
            true,
            false,
            true,
        );
        check(
            &[one()],
            &[one(), ("b", LongInt(3))],
            true,
            true,
            true,
            true,
        );
        check(
            &[("x-a", LongInt(1))],
            &[("x-a", LongInt(1))],
            true,
            false,
            true,
            true,
        );
        check(&[("x-a", LongInt(1))], &[], true, false, false, false);
        check(
            &[("x-a", LongInt(1)), ("c", LongInt(2))],
            &[("c", LongInt(2))],
            true,
            true,
            false,
            true,
        );
        check(&[("a", Void)], &[], false, false, false, false);
        same(Void, LongInt(1), true);
        same(Void, Void, true);
        same(LongInt(1), Void, false);
        same(LongInt(1), LongLongInt(1), true);
        same(LongInt(1), ShortShortInt(1), true);
        same(LongInt(1), Double(1.0), false);
        same(LongInt(1), text("1"), false);
        same(Boolean(true), LongInt(1), false);
        same(Boolean(true), Boolean(true), true);
        same(text("s"), ByteArray(b"s".as_slice().into()), true);
        same(Float(1.5), Double(1.5), true);
        same(Float(0.1), Double(0.1), false);
    }

    #[test]
    fn a_bad_x_match_is_refused_in_rabbitmqs_words() {
        for (value, expected) in [
            (
                text("zz"),
                "Invalid x-match field value <<\"zz\">>; expected all, any, all-with-x, or any-with-x",
            ),
            (
                AMQPValue::LongInt(1),
                "Invalid x-match field type signedint (value 1); expected longstr",
            ),
            (
                AMQPValue::Void,
                "Invalid x-match field type void (value undefined); expected longstr",
            ),
        ] {
            let refused = HeaderMatch::parse(&table(&[("x-match", value)])).unwrap_err();
            assert_eq!(refused.to_string(), expected);
        }
    }
}
