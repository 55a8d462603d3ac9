//! Sorts rows by fields of their JSON. Values of different types compare as Erlang terms do, as in RabbitMQ: numbers,
//! then booleans and null, objects, arrays, strings.

use std::cmp::Ordering;

use serde_json::Value;

use super::columns::descend;
use super::query::ListQuery;
use super::row::Row;
use crate::management::limits::ROWS_AT_ONCE;

/// Sorts by the field that the query names, then by virtual host and name.
pub(super) async fn sort<R: Row>(query: &ListQuery, mut rows: Vec<R>) -> Vec<R> {
    let is_downwards = query.sort_reverse.as_deref() == Some("true");
    let first = query.sort.as_deref().unwrap_or_default();
    let mut rows = match first {
        "" | "vhost" => {
            rows.sort_by(by_names);
            rows
        }
        "name" => {
            rows.sort_by(|a, b| a.name().cmp(b.name()).then_with(|| by_names(a, b)));
            rows
        }
        field => sort_by_field(field, rows).await,
    };
    if is_downwards {
        rows.reverse();
    }
    rows
}

fn by_names<R: Row>(a: &R, b: &R) -> Ordering {
    (a.vhost(), a.name()).cmp(&(b.vhost(), b.name()))
}

/// Renders each row once, and keeps only the field.
async fn sort_by_field<R: Row>(field: &str, rows: Vec<R>) -> Vec<R> {
    let mut keyed = Vec::with_capacity(rows.len());
    for (index, row) in rows.into_iter().enumerate() {
        let json = serde_json::to_value(row.json()).unwrap_or_default();
        // As if it were 0: for numbers, nothing usually means that.
        let key = descend(&json, field).cloned().unwrap_or(Value::from(0));
        keyed.push((key, row));
        if index % ROWS_AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
    }
    keyed.sort_by(|(a, left), (b, right)| compare(a, b).then_with(|| by_names(left, right)));
    keyed.into_iter().map(|(_, row)| row).collect()
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a
                .as_f64()
                .unwrap_or_default()
                .total_cmp(&b.as_f64().unwrap_or_default()),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let differing = a.iter().zip(b).map(|(a, b)| compare(a, b));
            let first = differing.into_iter().find(|order| order.is_ne());
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => a.len().cmp(&b.len()),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

/// Erlang's order of types. Booleans and null are atoms, which compare by their names.
fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::Bool(false) => 1,
        Value::Null => 2,
        Value::Bool(true) => 3,
        Value::Object(_) => 4,
        Value::Array(_) => 5,
        Value::String(_) => 6,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Pair(&'static str, Value);

    impl Row for Pair {
        type Json = Value;

        fn json(&self) -> Value {
            self.1.clone()
        }

        fn vhost(&self) -> &str {
            "/"
        }

        fn name(&self) -> &str {
            self.0
        }
    }

    async fn sorted(by: Option<&str>, is_downwards: bool) -> Vec<&'static str> {
        let rows = vec![
            Pair("e", json!({"n": 10, "a": {"b": "x"}})),
            Pair("b", json!({"n": 2.5, "a": {"b": "y"}})),
            Pair("d", json!({"n": true})),
            Pair("c", json!({"n": "text"})),
            Pair("a", json!({})),
        ];
        let query = ListQuery {
            sort: by.map(str::to_owned),
            sort_reverse: is_downwards.then(|| "true".to_owned()),
            ..ListQuery::default()
        };
        let rows = sort(&query, rows).await;
        rows.iter().map(|pair| pair.0).collect()
    }

    #[tokio::test]
    async fn rows_are_sorted_by_any_field() {
        assert_eq!(sorted(None, false).await, ["a", "b", "c", "d", "e"]);
        assert_eq!(sorted(None, true).await, ["e", "d", "c", "b", "a"]);
        assert_eq!(sorted(Some("n"), false).await, ["a", "b", "e", "d", "c"]);
        assert_eq!(sorted(Some("a.b"), false).await, ["a", "c", "d", "e", "b"]);
        assert_eq!(sorted(Some("x"), false).await, ["a", "b", "c", "d", "e"]);
    }
}
