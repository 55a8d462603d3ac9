//! The OpenAPI document, made from the handlers.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::routing::get;
use serde_json::{Value, json};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::api::Shared;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Leveret's management API",
        description = "RabbitMQ's management HTTP API as Leveret serves it, and `/api/leveret` beside it. Names in \
                       paths are percent-encoded: the virtual host `/` is `%2F`.",
    ),
    modifiers(&BasicAuth),
    security(("basic" = []))
)]
pub(super) struct Document;

struct BasicAuth;

impl Modify for BasicAuth {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let basic = SecurityScheme::Http(Http::new(HttpAuthScheme::Basic));
        components.add_security_scheme("basic", basic);
    }
}

/// Says of the parts of an object that may be absent, all their fields together, that the object may be without them.
/// utoipa says that such a part may be null, which a flattened part never is.
fn allow_absent_parts(schema: &mut Value) {
    if let Some(Value::Array(parts)) = schema.get_mut("allOf") {
        for part in parts.iter_mut().filter_map(Value::as_object_mut) {
            if let Some(Value::Array(mut choices)) = part.remove("oneOf") {
                for choice in &mut choices {
                    if choice["type"] == "null" {
                        *choice = json!({"type": "object"});
                    }
                }
                part.insert("anyOf".to_owned(), Value::Array(choices));
            }
        }
    }
    match schema {
        Value::Object(fields) => fields.values_mut().for_each(allow_absent_parts),
        Value::Array(items) => items.iter_mut().for_each(allow_absent_parts),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Serves the document, without a login: it says nothing about this broker.
pub(super) fn route(document: &utoipa::openapi::OpenApi) -> Router<Shared> {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    allow_absent_parts(&mut document);
    let json = Arc::new(Bytes::from(document.to_string()));
    let serve = move || {
        let json = Bytes::clone(&json);
        async move {
            let content_type = HeaderValue::from_static("application/json");
            ([(CONTENT_TYPE, content_type)], json)
        }
    };
    Router::new().route("/api/openapi.json", get(serve))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flattened_part_may_be_absent() {
        let part = json!({"$ref": "#/components/schemas/Part"});
        let mut schema =
            json!({"Whole": {"allOf": [{"oneOf": [{"type": "null"}, part]}, {"type": "object"}]}});
        allow_absent_parts(&mut schema);
        let expected = json!({"Whole": {"allOf": [{"anyOf": [{"type": "object"}, part]}, {"type": "object"}]}});
        assert_eq!(schema, expected);
    }
}
