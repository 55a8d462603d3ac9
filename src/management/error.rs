//! Refusals of the API: a status, and JSON with `error` and `reason` as RabbitMQ words them.

use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

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
    /// A list is asked for with wrong parameters.
    InvalidPage {
        error: &'static str,
        reason: String,
    },
    MethodNotAllowed,
    PreconditionFailed(String),
    /// The request is too large.
    NotImplemented(String),
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
    /// Why, in words.
    pub(super) reason: String,
}

impl ApiError {
    fn parts(self) -> (StatusCode, &'static str, String) {
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
            ApiError::InvalidPage { error, reason } => (StatusCode::BAD_REQUEST, error, reason),
            ApiError::MethodNotAllowed => {
                let reason = "Method Not Allowed".to_owned();
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", reason)
            }
            ApiError::PreconditionFailed(reason) => (
                StatusCode::PRECONDITION_FAILED,
                "precondition_failed",
                reason,
            ),
            ApiError::NotImplemented(reason) => {
                (StatusCode::NOT_IMPLEMENTED, "not_implemented", reason)
            }
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
            BrokerError::AccessRefused(_) => ApiError::NotAuthorised("Access refused.".into()),
            BrokerError::StoreFailed => ApiError::Unavailable(error.to_string()),
            BrokerError::DefaultExchange
            | BrokerError::ReservedName { .. }
            | BrokerError::SystemExchange(_)
            | BrokerError::InternalExchange(_)
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

impl From<StoreFailed> for ApiError {
    fn from(failed: StoreFailed) -> ApiError {
        ApiError::Unavailable(failed.to_string())
    }
}
