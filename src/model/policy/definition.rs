//! The definition of a policy: checks its keys and values, in RabbitMQ's order and words.

use serde_json::{Map, Value};

use super::keys::Key;
use crate::model::json_term::json_term;

/// The two kinds of policies. The policy and the operator policy of a queue combine, key by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// `policy`: set by users.
    User,
    /// `operator_policy`: bounds what users may set.
    Operator,
}

/// Maximum length of a definition as JSON.
const DEFINITION_BYTES_MAX: usize = 64 * 1024;

/// Checks a definition. The error is RabbitMQ's text.
pub(super) fn check(kind: PolicyKind, definition: &Value) -> Result<Map<String, Value>, String> {
    let fields = match definition {
        Value::Object(fields) if !fields.is_empty() => fields,
        Value::Object(_) => return Err("no policy provided".to_owned()),
        Value::Array(values) if values.is_empty() => return Err("no policy provided".to_owned()),
        Value::Array(_) => {
            let term = json_term(definition);
            return Err(format!("definition must be a dictionary: {term}"));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let validator = match kind {
                PolicyKind::User => "policy_validator",
                PolicyKind::Operator => "operator_policy_validator",
            };
            return Err(format!(
                "parse error while reading policy definition: {}. Validator: {validator}.",
                json_term(definition)
            ));
        }
    };
    if definition.to_string().len() > DEFINITION_BYTES_MAX {
        return Err(format!(
            "definition must not exceed {DEFINITION_BYTES_MAX} bytes"
        ));
    }
    let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    let mut unknown = Vec::new();
    for (name, value) in &sorted {
        match Key::of(name).filter(|key| kind == PolicyKind::User || key.operator.is_some()) {
            None => unknown.push(format!("{{<<\"{name}\">>,{}}}", json_term(value))),
            Some(key) if !(key.is_valid)(value) => {
                return Err(format!("{} {}", json_term(value), key.invalid));
            }
            Some(_) => {}
        }
    }
    check_delayed_retry(fields)?;
    if !unknown.is_empty() {
        let unknown = unknown.join(",");
        return Err(format!("[{unknown}] are not recognised policy settings"));
    }
    let owned = |(name, value): (&String, &Value)| (name.clone(), value.clone());
    Ok(sorted.into_iter().map(owned).collect())
}

fn check_delayed_retry(fields: &Map<String, Value>) -> Result<(), String> {
    let kind = fields.get("delayed-retry-type").and_then(Value::as_str);
    let bound = |name| fields.get(name).and_then(Value::as_u64);
    match (kind, bound("delayed-retry-min"), bound("delayed-retry-max")) {
        (Some(kind), None, _) if kind != "disabled" => Err(format!(
            "delayed-retry-min is required when delayed-retry-type is {kind}"
        )),
        (_, Some(min), Some(max)) if max < min => Err(format!(
            "delayed-retry-max ({max}) must not be smaller than delayed-retry-min ({min})"
        )),
        _ => Ok(()),
    }
}
