//! Refusals of the API: a status, and JSON with `error` and `reason` as RabbitMQ words them.

use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Array, Object, OneOf, Schema, SchemaType, Type};

use crate::broker::error::BrokerError;
use crate::store::StoreFailed;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApiError {
    /// The request has no login. Browsers ask their user for one.
    NoLogin,
    /// Wrong user or password.
    LoginFailed,
    /// The user lacks a right.
    NotAuthorised(String),
    /// There is no such path or object.
    NotFound,
    /// There is no such object, in the broker's words.
    NotFoundBecause(String),
    BadRequest(String),
    /// A value in the request is wrong: what is wrong about it, and the value, as RabbitMQ shows both.
    BadValue(&'static str, Value),
    /// A list is asked for with wrong parameters.
    InvalidPage {
        error: &'static str,
        reason: String,
    },
    MethodNotAllowed,
    /// An object that a tool manages.
    Protected(String),
    PreconditionFailed(String),
    /// A check of the broker's health failed, or it cannot serve the request now.
    Unavailable(String),
    /// A defect of the broker.
    Internal(String),
}

/// The JSON of a refusal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"error": "Object Not Found", "reason": "Not Found"}))]
pub(super) struct Refusal {
    /// The kind of refusal.
    pub(super) error: &'static str,
    /// Why, in words; for a wrong value of a field what is wrong about it, and the value.
    #[schema(schema_with = reason_schema)]
    pub(super) reason: Value,
}

fn reason_schema() -> RefOr<Schema> {
    let text = Object::with_type(Type::String);
    let wrong_value = Array::new(Object::with_type(SchemaType::AnyValue));
    OneOf::builder().item(text).item(wrong_value).into()
}

impl ApiError {
    fn parts(self) -> (StatusCode, &'static str, Value) {
        if let ApiError::BadValue(fault, value) = self {
            let reason = Value::from(vec![Value::from(fault), value]);
            return (StatusCode::BAD_REQUEST, "bad_request", reason);
        }
        let (status, error, reason) = self.worded();
        (status, error, Value::from(reason))
    }

    fn worded(self) -> (StatusCode, &'static str, String) {
        match self {
            ApiError::NoLogin => {
                let reason = "Login failed".to_owned();
                (StatusCode::UNAUTHORIZED, "not_authorized", reason)
            }
            ApiError::LoginFailed => {
                let reason = "Not_Authorized".to_owned();
                (StatusCode::UNAUTHORIZED, "not_authorized", reason)
            }
            ApiError::NotAuthorised(reason) => (StatusCode::UNAUTHORIZED, "not_authorised", reason),
            ApiError::NotFound => {
                let reason = "Not Found".to_owned();
                (StatusCode::NOT_FOUND, "Object Not Found", reason)
            }
            ApiError::NotFoundBecause(reason) => (StatusCode::NOT_FOUND, "not_found", reason),
            ApiError::BadRequest(reason) => (StatusCode::BAD_REQUEST, "bad_request", reason),
            ApiError::BadValue(fault, value) => {
                let reason = format!("{fault}: {value}");
                (StatusCode::BAD_REQUEST, "bad_request", reason)
            }
            ApiError::InvalidPage { error, reason } => (StatusCode::BAD_REQUEST, error, reason),
            ApiError::MethodNotAllowed => {
                let reason = "Method Not Allowed".to_owned();
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", reason)
            }
            ApiError::Protected(reason) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", reason)
            }
            ApiError::PreconditionFailed(reason) => (
                StatusCode::PRECONDITION_FAILED,
                "precondition_failed",
                reason,
            ),
            ApiError::Unavailable(reason) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                reason,
            ),
            ApiError::Internal(reason) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_server_error",
                reason,
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let asks_login = self == ApiError::NoLogin;
        if let ApiError::Internal(reason) = &self {
            tracing::error!(%reason, "a request of the management API failed");
        }
        let (status, error, reason) = self.parts();
        let mut response = (status, axum::Json(Refusal { error, reason })).into_response();
        if asks_login {
            let realm = HeaderValue::from_static("Basic realm=\"Leveret management\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, realm);
        }
        response
    }
}

impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> ApiError {
        match error {
            BrokerError::NotFound(_) => ApiError::NotFoundBecause(error.to_string()),
            BrokerError::VhostNotFound(_) => ApiError::NotFoundBecause("vhost_not_found".into()),
            BrokerError::AccessRefused(_)
            | BrokerError::DefaultExchange
            | BrokerError::ReservedName { .. }
            | BrokerError::SystemExchange(_) => ApiError::NotAuthorised("Access refused.".into()),
            BrokerError::StoreFailed => ApiError::Unavailable(error.to_string()),
            BrokerError::InternalExchange(_)
            | BrokerError::ResourceLocked(_)
            | BrokerError::Inequivalent { .. }
            | BrokerError::InvalidArgument { .. }
            | BrokerError::InvalidArgumentType { .. }
            | BrokerError::InvalidProperty { .. }
            | BrokerError::ServerNamed(_)
            | BrokerError::UnknownExchangeType(_)
            | BrokerError::InvalidExchangeType(_)
            | BrokerError::Refused(_)
            | BrokerError::InUse(_)
            | BrokerError::NotEmpty(_)
            | BrokerError::LimitReached(_)
            | BrokerError::NameTooLong(_)
            | BrokerError::NotImplemented(_) => ApiError::BadRequest(error.to_string()),
        }
    }
}

impl ApiError {
    /// A refusal of something that RabbitMQ does on a channel: its reason has the reply code.
    pub(super) fn of_method(error: BrokerError) -> ApiError {
        match error {
            BrokerError::ResourceLocked(_) => {
                ApiError::BadRequest(format!("405 RESOURCE_LOCKED - {error}"))
            }
            BrokerError::AccessRefused(_) | BrokerError::InternalExchange(_) => {
                ApiError::NotAuthorised(format!("ACCESS_REFUSED - {error}"))
            }
            BrokerError::NotFound(_) => ApiError::NotFoundBecause(format!("NOT_FOUND - {error}")),
            error => ApiError::from(error),
        }
    }
}

impl From<StoreFailed> for ApiError {
    fn from(failed: StoreFailed) -> ApiError {
        ApiError::Unavailable(failed.to_string())
    }
}
