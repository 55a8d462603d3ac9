//! The OpenAPI document, made from the handlers.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::routing::get;
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

/// Serves the document, without a login: it says nothing about this broker.
pub(super) fn route(document: &utoipa::openapi::OpenApi) -> Router<Shared> {
    let json = Bytes::from(document.to_json().unwrap_or_default());
    let json = Arc::new(json);
    let serve = move || {
        let json = Bytes::clone(&json);
        async move {
            let content_type = HeaderValue::from_static("application/json");
            ([(CONTENT_TYPE, content_type)], json)
        }
    };
    Router::new().route("/api/openapi.json", get(serve))
}
