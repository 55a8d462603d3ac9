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
use crate::broker::users::{LoginAttempts, LoginDoor, LoginSource};
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

/// How many logins there were, of a protocol or of one of its sources.
#[derive(Serialize, ToSchema)]
struct Attempts {
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    protocol: &'static str,
    auth_attempts: u64,
    auth_attempts_failed: u64,
    auth_attempts_succeeded: u64,
}

impl Attempts {
    fn new(door: LoginDoor, source: Option<LoginSource>, attempts: LoginAttempts) -> Attempts {
        let (remote_address, username) = source
            .map(|LoginSource { address, user }| (address.to_string(), user.to_string()))
            .unzip();
        Attempts {
            remote_address,
            username,
            protocol: door.protocol(),
            auth_attempts: attempts.total(),
            auth_attempts_failed: attempts.failed,
            auth_attempts_succeeded: attempts.succeeded,
        }
    }
}

/// In RabbitMQ's order.
const DOORS: [LoginDoor; 2] = [LoginDoor::Management, LoginDoor::Amqp];

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
    let users = api.broker.users();
    let of = |door| Attempts::new(door, None, users.login_attempts(door));
    Ok(Json(DOORS.map(of).into()))
}

/// How many logins there were, by address and user: nothing until `enable_auth_attempt_source_tracking`, as in RabbitMQ.
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
    let users = api.broker.users();
    let of = |door| {
        let sources = users.login_sources(door).into_iter();
        sources.map(move |(source, attempts)| Attempts::new(door, Some(source), attempts))
    };
    Ok(Json(DOORS.into_iter().flat_map(of).collect()))
}

/// Begins to count logins anew, all of them.
#[utoipa::path(
    delete, path = "/api/auth/attempts/{node}", tag = "logins", params(("node" = String, Path)),
    responses((status = 204, description = "Forgotten."), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn forget_attempts(
    State(api): State<Shared>,
    _: Administrator,
    Path(node): Path<String>,
) -> Result<StatusCode, ApiError> {
    forget(&api, &node)
}

/// The same: RabbitMQ resets both counts at either address.
#[utoipa::path(
    delete, path = "/api/auth/attempts/{node}/source", tag = "logins", params(("node" = String, Path)),
    responses((status = 204, description = "Forgotten."), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn forget_attempts_by_source(
    State(api): State<Shared>,
    _: Administrator,
    Path(node): Path<String>,
) -> Result<StatusCode, ApiError> {
    forget(&api, &node)
}

fn forget(api: &Shared, node: &str) -> Result<StatusCode, ApiError> {
    check_node(api, node)?;
    api.broker.users().forget_login_attempts();
    Ok(StatusCode::NO_CONTENT)
}
