//! Logging in by a form, and how many logins there were.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Shared;
use super::caller::{Administrator, Monitor, log_in};
use super::error::{ApiError, Refusal};
use super::json::{Answer, Json, RawBody};
use super::path::Path;
use crate::broker::users::LoginDoor;
use crate::http::Peer;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(attempts, forget_attempts))
        .routes(routes!(attempts_by_source, forget_attempts_by_source))
}

/// The fields of the form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the form")]
struct LoginForm {
    username: String,
    password: String,
}

/// Who has logged in, and what to send with further requests.
#[derive(Serialize, ToSchema)]
struct LoginReply {
    user: LoggedIn,
    token: Token,
}

#[derive(Serialize, ToSchema)]
struct LoggedIn {
    name: String,
    tags: Vec<String>,
    is_internal_user: bool,
}

/// The header `authorization` of further requests: its scheme, and the value behind it.
#[derive(Serialize, ToSchema)]
struct Token {
    r#type: &'static str,
    value: String,
}

/// Checks a login that comes as a form. Each request needs the login; there are no sessions.
#[utoipa::path(
    post, path = "/api/login", tag = "logins", security(()),
    request_body(content = LoginForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = LoginReply), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn login(
    State(api): State<Shared>,
    Extension(peer): Extension<Arc<Peer>>,
    RawBody(body): RawBody,
) -> Answer<LoginReply> {
    let (mut name, mut password) = (String::new(), String::new());
    for (key, value) in form_urlencoded::parse(&body) {
        match key.as_ref() {
            "username" => name = value.into_owned(),
            "password" => password = value.into_owned(),
            _ => {}
        }
    }
    let user = log_in(&api, &name, password.as_bytes(), &peer).await?;
    let value = BASE64_STANDARD.encode(format!("{name}:{password}"));
    Ok(Json(LoginReply {
        user: LoggedIn {
            name: user.name.to_string(),
            tags: user.tags.iter().map(ToString::to_string).collect(),
            is_internal_user: user.is_internal(),
        },
        token: Token {
            r#type: "basic",
            value,
        },
    }))
}

/// How many logins of a protocol there were.
#[derive(Serialize, ToSchema)]
struct Attempts {
    protocol: &'static str,
    auth_attempts: u64,
    auth_attempts_failed: u64,
    auth_attempts_succeeded: u64,
}

fn check_node(api: &Shared, node: &str) -> Result<(), ApiError> {
    match *node == *api.node {
        true => Ok(()),
        false => Err(ApiError::NotFound),
    }
}

/// How many logins there were, by protocol.
#[utoipa::path(
    get, path = "/api/auth/attempts/{node}", tag = "logins", params(("node" = String, Path)),
    responses((status = 200, body = Vec<Attempts>), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn attempts(
    State(api): State<Shared>,
    _: Monitor,
    Path(node): Path<String>,
) -> Answer<Vec<Attempts>> {
    check_node(&api, &node)?;
    let of = |(protocol, door)| {
        let attempts = api.broker.users().login_attempts(door);
        Attempts {
            protocol,
            auth_attempts: attempts.succeeded + attempts.failed,
            auth_attempts_failed: attempts.failed,
            auth_attempts_succeeded: attempts.succeeded,
        }
    };
    let doors = [
        ("http", LoginDoor::Management),
        ("amqp091", LoginDoor::Amqp),
    ];
    Ok(Json(doors.map(of).into()))
}

/// Begins to count logins anew.
#[utoipa::path(
    delete, path = "/api/auth/attempts/{node}", tag = "logins", params(("node" = String, Path)),
    responses((status = 204, description = "Forgotten."), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn forget_attempts(
    State(api): State<Shared>,
    _: Administrator,
    Path(node): Path<String>,
) -> Result<StatusCode, ApiError> {
    check_node(&api, &node)?;
    api.broker.users().forget_login_attempts();
    Ok(StatusCode::NO_CONTENT)
}

/// How many logins there were, by address and user: not counted, as in RabbitMQ unless it is configured.
#[utoipa::path(
    get, path = "/api/auth/attempts/{node}/source", tag = "logins", params(("node" = String, Path)),
    responses((status = 200, body = Vec<Attempts>), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn attempts_by_source(
    State(api): State<Shared>,
    _: Monitor,
    Path(node): Path<String>,
) -> Answer<Vec<Attempts>> {
    check_node(&api, &node)?;
    Ok(Json(Vec::new()))
}

/// Begins to count logins by address anew.
#[utoipa::path(
    delete, path = "/api/auth/attempts/{node}/source", tag = "logins", params(("node" = String, Path)),
    responses((status = 204, description = "Forgotten."), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn forget_attempts_by_source(
    State(api): State<Shared>,
    _: Administrator,
    Path(node): Path<String>,
) -> Result<StatusCode, ApiError> {
    check_node(&api, &node)?;
    Ok(StatusCode::NO_CONTENT)
}
