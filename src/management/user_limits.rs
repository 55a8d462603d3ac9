//! Limits of users.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Shared;
use super::caller::Administrator;
use super::error::{ApiError, Refusal};
use super::json::{Json, required};
use super::listing::{self, ListQuery, Row};
use super::path::Path;
use super::users;
use crate::broker::limits::UserLimits;
use crate::broker::users::{User, UserError};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_user))
        .routes(routes!(put, delete))
}

/// A user with its limits.
#[derive(Serialize, ToSchema)]
struct UserLimitsJson {
    user: String,
    value: Map<String, Value>,
}

struct LimitedUser(Arc<User>);

impl LimitedUser {
    /// `None` for a user without limits.
    fn of(user: Arc<User>) -> Option<LimitedUser> {
        (user.limits != UserLimits::default()).then_some(LimitedUser(user))
    }
}

impl Row for LimitedUser {
    type Json = UserLimitsJson;

    fn json(&self) -> UserLimitsJson {
        UserLimitsJson {
            user: self.0.name.to_string(),
            value: self.0.limits.to_json(),
        }
    }

    fn vhost(&self) -> &str {
        ""
    }

    fn name(&self) -> &str {
        &self.0.name
    }
}

/// The users that have limits.
#[utoipa::path(
    get, path = "/api/user-limits", tag = "limits", params(ListQuery),
    responses((status = 200, body = Vec<UserLimitsJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn list(
    State(api): State<Shared>,
    _: Administrator,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let users = api.broker.users().list().into_iter();
    listing::list(&query, users.filter_map(LimitedUser::of).collect()).await
}

/// The limits of a user, in a list.
#[utoipa::path(
    get, path = "/api/user-limits/{user}", tag = "limits", params(("user" = String, Path), ListQuery),
    responses(
        (status = 200, body = Vec<UserLimitsJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_of_user(
    State(api): State<Shared>,
    _: Administrator,
    Path(user): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let user = users::known(&api, &user)?;
    listing::list(&query, LimitedUser::of(user).into_iter().collect()).await
}

/// The value of a limit. A negative one is no limit.
#[derive(Deserialize, ToSchema)]
pub(super) struct LimitBody {
    #[schema(value_type = i64, required = true)]
    pub(super) value: Option<Value>,
}

/// Sets a limit of a user: `max-connections` or `max-channels`.
#[utoipa::path(
    put, path = "/api/user-limits/{user}/{limit}", tag = "limits",
    params(("user" = String, Path), ("limit" = String, Path)), request_body = LimitBody,
    responses((status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn put(
    State(api): State<Shared>,
    _: Administrator,
    Path((user, limit)): Path<(String, String)>,
    Json(body): Json<LimitBody>,
) -> Result<StatusCode, ApiError> {
    let value = required(body.value, "value")?;
    let set = UserLimits::from_json(&Map::from_iter([(limit, value)]))?;
    let merge = |limits: &mut UserLimits| {
        limits.max_connections = set.max_connections.or(limits.max_connections);
        limits.max_channels = set.max_channels.or(limits.max_channels);
    };
    match api.broker.users().set_limits(&user, merge).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(UserError::NoSuchUser(user)) => {
            Err(ApiError::BadRequest(format!("no_such_user: '{user}'")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Lifts a limit of a user.
#[utoipa::path(
    delete, path = "/api/user-limits/{user}/{limit}", tag = "limits",
    params(("user" = String, Path), ("limit" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn delete(
    State(api): State<Shared>,
    _: Administrator,
    Path((user, limit)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let clear = |limits: &mut UserLimits| match limit.as_str() {
        "max-connections" => limits.max_connections = None,
        "max-channels" => limits.max_channels = None,
        // A limit that does not exist is lifted already, as in RabbitMQ.
        _ => {}
    };
    api.broker.users().set_limits(&user, clear).await?;
    Ok(StatusCode::NO_CONTENT)
}
