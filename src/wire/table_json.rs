//! Field tables as JSON, as RabbitMQ's HTTP API and definitions files have them. JSON says less than a table: integers
//! become 64 bits wide, all texts long strings.

use amq_protocol::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use serde_json::{Map, Number, Value};

/// Why JSON is no field table, in RabbitMQ's words where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableJsonError {
    #[error("null_not_allowed")]
    Null,
    #[error("the number {0} does not fit into 64 bits")]
    Number(Number),
    #[error("a key is longer than 255 bytes")]
    Key,
}

/// A table as a JSON object.
pub fn table_to_json(table: &FieldTable) -> Map<String, Value> {
    let fields = table.inner().iter();
    fields
        .map(|(key, value)| (key.to_string(), value_to_json(value)))
        .collect()
}

fn value_to_json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(truth) => Value::from(*truth),
        AMQPValue::ShortShortInt(number) => Value::from(*number),
        AMQPValue::ShortShortUInt(number) => Value::from(*number),
        AMQPValue::ShortInt(number) => Value::from(*number),
        AMQPValue::ShortUInt(number) => Value::from(*number),
        AMQPValue::LongInt(number) => Value::from(*number),
        AMQPValue::LongUInt(number) => Value::from(*number),
        AMQPValue::LongLongInt(number) => Value::from(*number),
        AMQPValue::Float(number) => Value::from(*number),
        AMQPValue::Double(number) => Value::from(*number),
        AMQPValue::DecimalValue(decimal) => {
            Value::from(format!("{}e-{}", decimal.value, decimal.scale))
        }
        AMQPValue::ShortString(text) => Value::from(text.as_str()),
        AMQPValue::LongString(text) => Value::from(text.to_string()),
        AMQPValue::FieldArray(items) => items.as_slice().iter().map(value_to_json).collect(),
        AMQPValue::Timestamp(seconds) => Value::from(*seconds),
        AMQPValue::FieldTable(table) => Value::Object(table_to_json(table)),
        AMQPValue::ByteArray(bytes) => Value::from(String::from_utf8_lossy(bytes.as_slice())),
        AMQPValue::Void => Value::Null,
    }
}

/// A JSON object as a table.
pub fn table_from_json(object: &Map<String, Value>) -> Result<FieldTable, TableJsonError> {
    let mut table = FieldTable::default();
    for (key, value) in object {
        let key = ShortString::try_new(key.as_str()).map_err(|_| TableJsonError::Key)?;
        table.insert(key, value_from_json(value)?);
    }
    Ok(table)
}

fn value_from_json(value: &Value) -> Result<AMQPValue, TableJsonError> {
    Ok(match value {
        Value::Null => return Err(TableJsonError::Null),
        Value::Bool(truth) => AMQPValue::Boolean(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => AMQPValue::LongLongInt(integer),
            (None, Some(float)) if number.is_f64() => AMQPValue::Double(float),
            (None, _) => return Err(TableJsonError::Number(number.clone())),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(values) => {
            let mut items = FieldArray::default();
            for value in values {
                items.push(value_from_json(value)?);
            }
            AMQPValue::FieldArray(items)
        }
        Value::Object(object) => AMQPValue::FieldTable(table_from_json(object)?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: Value) -> Result<FieldTable, TableJsonError> {
        match json {
            Value::Object(object) => table_from_json(&object),
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn json_becomes_a_table_and_the_same_json_again() {
        let json = json!({
            "x-max-length": 10, "f": 1.5, "t": true, "s": "text",
            "list": [1, "a", {"b": []}], "table": {"n": -9_223_372_036_854_775_808_i64},
        });
        let table = read(json.clone()).unwrap();
        assert_eq!(
            table.inner().get("x-max-length"),
            Some(&AMQPValue::LongLongInt(10))
        );
        assert_eq!(Value::Object(table_to_json(&table)), json);
    }

    #[test]
    fn what_no_table_holds_is_refused() {
        assert_eq!(read(json!({"a": [null]})), Err(TableJsonError::Null));
        assert_eq!(read(json!({"k".repeat(256): 1})), Err(TableJsonError::Key));
        let large = json!({"a": u64::MAX});
        assert!(matches!(read(large), Err(TableJsonError::Number(_))));
    }
}
