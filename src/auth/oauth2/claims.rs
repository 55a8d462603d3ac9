//! The claims of a token, and the texts in them.

use serde_json::Value;

pub(super) type Claims = serde_json::Map<String, Value>;

/// The words of a text, or the texts of a list.
pub(super) fn words(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => text.split(' ').filter_map(nonempty).collect(),
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            Vec::new()
        }
    }
}

fn nonempty(word: &str) -> Option<String> {
    (!word.is_empty()).then(|| word.to_owned())
}
