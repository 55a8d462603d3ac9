//! The columns of a list: which fields of an object a client asks for.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The value that a path with dots leads to.
pub(super) fn descend<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut keys = path.split('.').filter(|key| !key.is_empty());
    keys.try_fold(value, |value, key| value.get(key))
}

/// The fields that a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Columns {
    All,
    /// These, each with the fields in it.
    Only(BTreeMap<String, Columns>),
}

impl Columns {
    /// Of text such as `name,message_stats.publish`.
    pub(super) fn parse(text: Option<&str>) -> Columns {
        let Some(text) = text else {
            return Columns::All;
        };
        let mut all = Columns::Only(BTreeMap::new());
        for column in text.split(',').filter(|column| !column.is_empty()) {
            all.add(column.split('.').filter(|key| !key.is_empty()));
        }
        all
    }

    fn add<'a>(&mut self, mut path: impl Iterator<Item = &'a str>) {
        match path.next() {
            None => *self = Columns::All,
            Some(key) => {
                if let Columns::Only(fields) = self {
                    let empty = || Columns::Only(BTreeMap::new());
                    let field = fields.entry(key.to_owned()).or_insert_with(empty);
                    field.add(path);
                }
            }
        }
    }

    /// Drops everything else from a value.
    pub(super) fn extract(&self, value: Value) -> Value {
        let Columns::Only(fields) = self else {
            return value;
        };
        match value {
            Value::Object(object) => {
                let wanted = object.into_iter().filter_map(|(key, value)| {
                    let field = fields.get(&key)?;
                    Some((key, field.extract(value)))
                });
                Value::Object(wanted.collect::<Map<_, _>>())
            }
            Value::Array(values) => {
                let values = values.into_iter().map(|value| self.extract(value));
                Value::Array(values.collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_extracted() {
        let value = || json!({"name": "q", "n": 1, "stats": {"a": {"rate": 2.0}, "b": 3}, "list": [{"x": 1, "y": 2}]});
        for (columns, expected) in [
            (None, value()),
            (Some(""), json!({})),
            (Some("name,n"), json!({"name": "q", "n": 1})),
            (Some("stats.a.rate"), json!({"stats": {"a": {"rate": 2.0}}})),
            (
                Some("stats.b,stats.a"),
                json!({"stats": {"a": {"rate": 2.0}, "b": 3}}),
            ),
            (
                Some("stats.b,stats"),
                json!({"stats": {"a": {"rate": 2.0}, "b": 3}}),
            ),
            (Some("list.y,,missing"), json!({"list": [{"y": 2}]})),
        ] {
            let extracted = Columns::parse(columns).extract(value());
            assert_eq!(extracted, expected, "{columns:?}");
        }
    }

    #[test]
    fn paths_lead_into_objects() {
        let value = json!({"a": {"b": 1}});
        assert_eq!(descend(&value, "a.b"), Some(&json!(1)));
        assert_eq!(descend(&value, "a.c"), None);
        assert_eq!(descend(&value, "a.b.c"), None);
    }
}
