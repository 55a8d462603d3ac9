//! The properties of a message as JSON.

use serde_json::{Map, Value};

use super::error::ApiError;
use crate::wire::{AMQPProperties, ShortString, decode_properties, table_from_json, table_to_json};

/// The encoded properties as an object, those that the message has.
pub(super) fn properties_to_json(encoded: &[u8]) -> Map<String, Value> {
    let mut object = Map::new();
    // They were checked when the message was published.
    let Ok(properties) = decode_properties(encoded) else {
        return object;
    };
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    };
    let text = |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().into());
    add("cluster_id", text(properties.cluster_id()));
    add("app_id", text(properties.app_id()));
    add("user_id", text(properties.user_id()));
    add("type", text(properties.kind()));
    add("timestamp", properties.timestamp().map(Value::from));
    add("message_id", text(properties.message_id()));
    add("expiration", text(properties.expiration()));
    add("reply_to", text(properties.reply_to()));
    add("correlation_id", text(properties.correlation_id()));
    add("priority", properties.priority().map(Value::from));
    add("delivery_mode", properties.delivery_mode().map(Value::from));
    let headers = properties.headers().as_ref();
    add("headers", headers.map(|table| table_to_json(table).into()));
    add("content_encoding", text(properties.content_encoding()));
    add("content_type", text(properties.content_type()));
    object
}

/// Properties of a message to publish. Skips names that no property has, as RabbitMQ does.
pub(super) fn properties_from_json(
    object: &Map<String, Value>,
) -> Result<AMQPProperties, ApiError> {
    let mut properties = AMQPProperties::default();
    for (name, value) in object {
        let text = || text(name, value);
        properties = match name.as_str() {
            "content_type" => properties.with_content_type(text()?),
            "content_encoding" => properties.with_content_encoding(text()?),
            "headers" => match value {
                Value::Object(headers) => {
                    let table = table_from_json(headers);
                    let table = table.map_err(|error| ApiError::BadRequest(error.to_string()))?;
                    properties.with_headers(table)
                }
                _ => return Err(ApiError::BadValue("not_object", name.as_str().into())),
            },
            "delivery_mode" => properties.with_delivery_mode(octet(name, value)?),
            "priority" => properties.with_priority(octet(name, value)?),
            "correlation_id" => properties.with_correlation_id(text()?),
            "reply_to" => properties.with_reply_to(text()?),
            "expiration" => properties.with_expiration(text()?),
            "message_id" => properties.with_message_id(text()?),
            "timestamp" => {
                let timestamp = value.as_u64();
                properties.with_timestamp(timestamp.ok_or_else(|| not_int(name))?)
            }
            "type" => properties.with_type(text()?),
            "user_id" => properties.with_user_id(text()?),
            "app_id" => properties.with_app_id(text()?),
            "cluster_id" => properties.with_cluster_id(text()?),
            _ => properties,
        };
    }
    Ok(properties)
}

fn text(name: &str, value: &Value) -> Result<ShortString, ApiError> {
    let text = value
        .as_str()
        .and_then(|text| ShortString::try_new(text).ok());
    text.ok_or_else(|| ApiError::BadValue("not_string", name.into()))
}

fn octet(name: &str, value: &Value) -> Result<u8, ApiError> {
    let number = value.as_u64().and_then(|number| u8::try_from(number).ok());
    number.ok_or_else(|| not_int(name))
}

fn not_int(name: &str) -> ApiError {
    ApiError::BadValue("not_int", name.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::encode_properties;

    #[test]
    fn properties_survive_the_way_through_json() {
        let json = json!({
            "content_type": "text/plain", "content_encoding": "utf8", "headers": {"a": 1, "b": ["x"]},
            "delivery_mode": 2, "priority": 3, "correlation_id": "c", "reply_to": "r", "expiration": "60000",
            "message_id": "m", "timestamp": 1_700_000_000, "type": "t", "user_id": "guest", "app_id": "a",
            "cluster_id": "cl",
        });
        let properties = properties_from_json(json.as_object().unwrap()).unwrap();
        let again = properties_to_json(&encode_properties(&properties));
        assert_eq!(Value::Object(again), json);
        assert_eq!(properties_to_json(&[0, 0]), Map::new());
    }

    #[test]
    fn wrong_values_are_named() {
        for (wrong, fault) in [
            (json!({"delivery_mode": "x"}), ("not_int", "delivery_mode")),
            (json!({"priority": 256}), ("not_int", "priority")),
            (json!({"type": 5}), ("not_string", "type")),
            (json!({"app_id": "x".repeat(256)}), ("not_string", "app_id")),
            (json!({"headers": 5}), ("not_object", "headers")),
        ] {
            let refused = properties_from_json(wrong.as_object().unwrap()).unwrap_err();
            assert_eq!(refused, ApiError::BadValue(fault.0, fault.1.into()));
        }
        let null = json!({"headers": {"e": null}});
        let refused = properties_from_json(null.as_object().unwrap()).unwrap_err();
        assert_eq!(refused, ApiError::BadRequest("null_not_allowed".into()));
        assert!(properties_from_json(json!({"nonsense": 1}).as_object().unwrap()).is_ok());
    }
}
