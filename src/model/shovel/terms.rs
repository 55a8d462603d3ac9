//! The keys of a JSON object, each taken once and checked, in RabbitMQ's words. What is left at the end is unknown.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::json_term;
use crate::wire::{FieldTable, table_from_json};

/// Maximum length of a short string in AMQP.
const SHORT_STRING_MAX: usize = 255;

pub(super) struct Terms<'a> {
    object: &'a Map<String, Value>,
    taken: Vec<&'static str>,
    faults: Vec<String>,
}

impl<'a> Terms<'a> {
    pub(super) fn new(object: &'a Map<String, Value>) -> Terms<'a> {
        Terms {
            object,
            taken: Vec::new(),
            faults: Vec::new(),
        }
    }

    pub(super) fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    pub(super) fn missing(&mut self, key: &str) {
        self.fault(format!("Key \"{key}\" not found in shovel"));
    }

    /// All faults of the object called `name`.
    pub(super) fn finish(mut self, name: &str) -> Vec<String> {
        let is_unknown = |key: &&String| !self.taken.contains(&key.as_str());
        let unknown: Vec<&String> = self.object.keys().filter(is_unknown).collect();
        if !unknown.is_empty() {
            // Values may be secrets that were misspelled.
            let unknown: Vec<String> = unknown
                .into_iter()
                .map(|key| json_term(&Value::from(key.as_str())))
                .collect();
            let unknown = unknown.join(",");
            self.faults
                .push(format!("Unrecognised terms [{unknown}] in {name}"));
        }
        self.faults
    }

    pub(super) fn take(&mut self, key: &'static str) -> Option<&'a Value> {
        self.taken.push(key);
        self.object.get(key)
    }

    fn wrong<T>(&mut self, key: &str, expected: &str, value: &Value) -> Option<T> {
        let value = json_term(value);
        self.fault(format!("{key} should be {expected}, actually was {value}"));
        None
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text.clone()),
            other => self.wrong(key, "binary", other),
        }
    }

    /// A text that fits a short string.
    pub(super) fn short_text(&mut self, key: &'static str) -> Option<String> {
        let text = self.text(key)?;
        if text.len() > SHORT_STRING_MAX {
            let length = Value::from(text.len());
            return self.wrong(key, "less than 255 bytes", &length);
        }
        Some(text)
    }

    pub(super) fn choice(
        &mut self,
        key: &'static str,
        choices: &[&'static str],
    ) -> Option<&'a str> {
        match self.take(key)? {
            Value::String(text) if choices.contains(&text.as_str()) => Some(text),
            text @ Value::String(_) => {
                let choices: Vec<_> = choices.iter().map(|choice| Value::from(*choice)).collect();
                let expected = format!("one of {}", json_term(&choices.into()));
                self.wrong(key, &expected, text)
            }
            other => self.wrong(key, "binary", other),
        }
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        match self.take(key)? {
            Value::Bool(truth) => Some(*truth),
            other => self.wrong(key, "boolean", other),
        }
    }

    /// A whole number that is not negative.
    pub(super) fn number(&mut self, key: &'static str) -> Option<u64> {
        let value = self.take(key)?;
        match value.as_u64() {
            Some(number) => Some(number),
            None => self.wrong(key, "a number", value),
        }
    }

    pub(super) fn octet(&mut self, key: &'static str) -> Option<u8> {
        let number = self.number(key)?;
        match u8::try_from(number) {
            Ok(octet) => Some(octet),
            Err(_) => self.wrong(key, "a number up to 255", &number.into()),
        }
    }

    /// A number of seconds, with or without a fraction.
    pub(super) fn seconds(&mut self, key: &'static str) -> Option<Duration> {
        let value = self.take(key)?;
        let seconds = value.as_f64().map(Duration::try_from_secs_f64);
        match seconds {
            Some(Ok(duration)) => Some(duration),
            Some(Err(_)) | None => self.wrong(key, "a number", value),
        }
    }

    /// Arguments; without the key, none.
    pub(super) fn table(&mut self, key: &'static str) -> FieldTable {
        match self.take(key) {
            None => FieldTable::default(),
            Some(Value::Array(items)) if items.is_empty() => FieldTable::default(),
            Some(Value::Object(object)) => match table_from_json(object) {
                Ok(table) => table,
                Err(error) => {
                    self.fault(format!("invalid arguments in {key}: {error}"));
                    FieldTable::default()
                }
            },
            Some(other) => {
                let other = json_term(other);
                self.fault(format!("{key} not a list {other}"));
                FieldTable::default()
            }
        }
    }
}
