//! JSON of the management API as cells. Pure.

use serde_json::{Map, Value};

use crate::ctl::protocol::{Cell, TypedCell};
use crate::model::json_term;

/// A value as a cell: an object is an AMQP table, an array of texts is a list of words.
pub(super) fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Nothing,
        Value::Bool(truth) => Cell::Bool(*truth),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Cell::Integer(number),
            None => Cell::Float(number.as_f64().unwrap_or(f64::INFINITY)),
        },
        Value::String(text) => Cell::Text(text.clone()),
        Value::Array(items) => match items.iter().map(Value::as_str).collect::<Option<Vec<_>>>() {
            Some(words) => Cell::Words(words.into_iter().map(str::to_owned).collect()),
            None => Cell::List(items.iter().map(typed).collect()),
        },
        Value::Object(entries) => table(entries),
    }
}

fn table(entries: &Map<String, Value>) -> Cell {
    let entries = entries.iter();
    Cell::Table(
        entries
            .map(|(name, value)| (name.clone(), typed(value)))
            .collect(),
    )
}

/// JSON does not tell the AMQP types of numbers apart: the usual ones are named.
fn typed(value: &Value) -> TypedCell {
    let (kind, shown) = match value {
        Value::Null => ("void", Cell::Nothing),
        Value::Bool(_) => ("bool", cell(value)),
        Value::Number(number) => match number.as_i64() {
            Some(number) if i32::try_from(number).is_ok() => ("signedint", Cell::Integer(number)),
            Some(number) => ("long", Cell::Integer(number)),
            None => ("double", cell(value)),
        },
        Value::String(_) => ("longstr", cell(value)),
        Value::Array(items) => ("array", Cell::List(items.iter().map(typed).collect())),
        Value::Object(entries) => ("table", table(entries)),
    };
    TypedCell {
        kind: kind.to_owned(),
        cell: shown,
    }
}

/// The keys that policies set together; nothing if there are none.
pub(super) fn definition(value: &Value) -> Cell {
    let pair = |(key, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => Cell::Text(text.clone()),
            Value::Number(number) if number.is_i64() => cell(value),
            other => Cell::Text(json_term(other)),
        };
        (key.clone(), value)
    };
    match value.as_object() {
        Some(entries) if !entries.is_empty() => Cell::Pairs(entries.iter().map(pair).collect()),
        Some(_) | None => Cell::Nothing,
    }
}

/// The field of an object; null if it is missing.
pub(super) fn field<'a>(object: &'a Value, name: &str) -> &'a Value {
    object.get(name).unwrap_or(&Value::Null)
}

/// The field of an object as text; empty if it is missing.
pub(super) fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or("")
}

/// Names such as tags: an array, or in old releases text with commas.
pub(super) fn words(value: Option<&Value>) -> Cell {
    Cell::Words(match value {
        Some(Value::Array(items)) => {
            let items = items.iter().filter_map(Value::as_str);
            items.map(str::to_owned).collect()
        }
        Some(Value::String(text)) => {
            let words = text.split(',').filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        }
        _ => Vec::new(),
    })
}

/// The objects of a list.
pub(super) fn items(list: Value) -> Vec<Value> {
    match list {
        Value::Array(items) => items,
        // Lists of pages.
        Value::Object(mut page) => match page.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_becomes_the_cells_of_the_socket() {
        let typed = |kind: &str, cell| TypedCell {
            kind: kind.to_owned(),
            cell,
        };
        for (value, expected) in [
            (json!(null), Cell::Nothing),
            (json!("a"), "a".into()),
            (json!(1.5), Cell::Float(1.5)),
            (json!(["a", "b"]), Cell::Words(vec!["a".into(), "b".into()])),
            (
                json!({"x": 5}),
                Cell::Table(vec![("x".into(), typed("signedint", Cell::Integer(5)))]),
            ),
            (
                json!({"x": 5_000_000_000_i64}),
                Cell::Table(vec![(
                    "x".into(),
                    typed("long", Cell::Integer(5_000_000_000)),
                )]),
            ),
        ] {
            assert_eq!(cell(&value), expected, "{value}");
        }
        assert_eq!(words(Some(&json!("a,b"))), words(Some(&json!(["a", "b"]))));
        assert_eq!(items(json!({"items": [1], "page": 1})), [json!(1)]);
        assert_eq!(definition(&json!({})), Cell::Nothing);
    }
}
