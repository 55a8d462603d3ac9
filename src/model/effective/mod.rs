//! The effective arguments of a queue: the one merge of declared arguments, policy, operator policy and overrides.
//! Pure.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use amq_protocol::types::AMQPValue;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::model::arguments::{QueueArguments, integer_value, text_value};
use crate::model::policy::{Applied, KEYS, Key, Side, Use};
use crate::model::{Name, QueueOverrides};

/// What is given to a queue besides its declared arguments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    pub policies: Applied,
    pub overrides: QueueOverrides,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// The declaration.
    Argument,
    Policy(Name),
    OperatorPolicy(Name),
    /// An operator or CMQ's API.
    Override,
}

/// A value that holds for a queue or exchange.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// The key, as policies spell it.
    pub key: &'static str,
    pub value: Value,
    pub source: SettingSource,
}

impl std::fmt::Display for SettingSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SettingSource::Argument => f.write_str("argument"),
            SettingSource::Policy(name) => write!(f, "policy {name}"),
            SettingSource::OperatorPolicy(name) => write!(f, "operator policy {name}"),
            SettingSource::Override => f.write_str("override"),
        }
    }
}

impl Serialize for SettingSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Given {
    #[cfg(test)]
    pub(crate) fn overridden(overrides: QueueOverrides) -> Given {
        Given {
            overrides,
            ..Given::default()
        }
    }

    /// The effective arguments of a queue that was declared with `declared`.
    pub fn effective(&self, declared: &Arc<QueueArguments>) -> Arc<QueueArguments> {
        if *self == Given::default() {
            return Arc::clone(declared);
        }
        let settings = self.settings(declared);
        let changed = settings
            .iter()
            .filter(|setting| setting.source != SettingSource::Argument)
            .filter_map(|setting| {
                Some((Key::of(setting.key)?.argument, wire_value(&setting.value)))
            });
        let mut effective = declared.with(changed);
        let is_overridden = |key| {
            let mut settings = settings.iter();
            settings.any(|own| own.key == key && own.source == SettingSource::Override)
        };
        let overrides = &self.overrides;
        effective.retention_ms = overrides.retention_ms;
        // Overrides may have a part of a second, and a delivery limit for classic queues.
        if is_overridden("rewind-seconds") {
            effective.rewind_ms = overrides.rewind_ms.filter(|ms| *ms > 0);
        }
        if is_overridden("delivery-limit") {
            effective.delivery_limit = overrides.delivery_limit;
        }
        Arc::new(effective)
    }

    /// Every value that was given and holds, with its source.
    pub fn settings(&self, declared: &QueueArguments) -> Vec<Setting> {
        let overrides = self.overrides.settings();
        let merged = KEYS.iter().filter_map(|key| {
            let overridden = overrides.iter().find(|(name, _)| *name == key.name);
            let (value, source) = match overridden {
                Some((_, value)) => self.bounded(key, value.clone()),
                None => self.merged(key, declared)?,
            };
            Some(Setting {
                key: key.name,
                value,
                source,
            })
        });
        let mut settings: Vec<Setting> = merged.collect();
        settings.extend(self.overrides.retention_ms.map(|ms| Setting {
            key: "retention",
            value: ms.into(),
            source: SettingSource::Override,
        }));
        settings
    }

    /// The merge of the argument with the policies.
    fn merged(&self, key: &Key, declared: &QueueArguments) -> Option<(Value, SettingSource)> {
        let Use::Holds(rule) = key.use_of(declared.kind) else {
            return None;
        };
        let argument = declared
            .raw
            .inner()
            .get(key.argument)
            .and_then(argument_value)
            .map(|value| (value, SettingSource::Argument));
        match (argument, self.policies.setting(key)) {
            (Some(argument), Some(policy)) => Some(match rule.side(&argument.0, &policy.0) {
                Side::Earlier => argument,
                Side::Later => policy,
            }),
            (argument, policy) => argument.or(policy),
        }
    }

    /// An override replaces argument and policy. An operator policy still bounds it.
    fn bounded(&self, key: &Key, value: Value) -> (Value, SettingSource) {
        let bound = self
            .policies
            .operator_policy
            .as_ref()
            .and_then(|policy| Some((policy.definition().get(key.name)?, policy.name())));
        match (bound, key.operator) {
            (Some((bound, name)), Some(rule)) if rule.side(&value, bound) == Side::Later => {
                (bound.clone(), SettingSource::OperatorPolicy(name.clone()))
            }
            _ => (value, SettingSource::Override),
        }
    }
}

impl Applied {
    /// The merge of policy and operator policy, as RabbitMQ shows it; `None` without either.
    pub fn definition(&self) -> Option<Map<String, Value>> {
        if self.is_empty() {
            return None;
        }
        let merged = |key: &Key| Some((key.name.to_owned(), self.setting(key)?.0));
        let mut fields: Vec<(String, Value)> = KEYS.iter().filter_map(merged).collect();
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        Some(fields.into_iter().collect())
    }

    /// The alternate exchange that the policy names.
    pub fn alternate_exchange(&self) -> Option<Name> {
        let (value, _) = self.setting(Key::of("alternate-exchange")?)?;
        value.as_str().map(Name::from)
    }

    /// The value of policy and operator policy together.
    fn setting(&self, key: &Key) -> Option<(Value, SettingSource)> {
        let policy = self.policy.as_ref().and_then(|policy| {
            let value = policy.definition().get(key.name)?.clone();
            Some((value, SettingSource::Policy(policy.name().clone())))
        });
        let operator = self.operator_policy.as_ref().and_then(|policy| {
            let value = policy.definition().get(key.name)?.clone();
            Some((value, SettingSource::OperatorPolicy(policy.name().clone())))
        });
        match (policy, operator, key.operator) {
            (Some(policy), Some(operator), Some(rule)) => {
                Some(match rule.side(&policy.0, &operator.0) {
                    Side::Earlier => policy,
                    Side::Later => operator,
                })
            }
            (policy, operator, _) => policy.or(operator),
        }
    }
}

/// The value of an argument; `None` if it is of no type that a policy has.
fn argument_value(value: &AMQPValue) -> Option<Value> {
    let number = integer_value(value).map(Value::from);
    number.or_else(|| text_value(value).map(|text| Value::from(&*text)))
}

/// The value of a checked key as an argument.
fn wire_value(value: &Value) -> AMQPValue {
    match value.as_str() {
        Some(text) => AMQPValue::LongString(text.into()),
        None => AMQPValue::LongLongInt(value.as_i64().unwrap_or(i64::MAX)),
    }
}
