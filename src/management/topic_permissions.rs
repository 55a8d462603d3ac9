//! Topic permissions: the routing keys that users may use on topic exchanges.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{Api, Shared};
use super::caller::Administrator;
use super::error::{ApiError, Refusal};
use super::json::{Json, require_all};
use super::listing::{self, ListQuery, Row};
use super::path::{Path, exchange_name};
use super::permissions::{not_found_in_body, vhost_and_user};
use super::users;
use crate::model::Name;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_vhost))
        .routes(routes!(list_of_user))
        .routes(routes!(get, put, delete))
        .routes(routes!(get_of_exchange, delete_of_exchange))
}

/// Patterns of the routing keys that a user may publish and bind with on an exchange.
#[derive(Clone, Serialize, ToSchema)]
struct TopicPermissionJson {
    #[schema(value_type = String)]
    user: Name,
    #[schema(value_type = String)]
    vhost: Name,
    #[schema(value_type = String)]
    exchange: Name,
    #[schema(value_type = String)]
    write: Name,
    #[schema(value_type = String)]
    read: Name,
}

impl Row for TopicPermissionJson {
    type Json = TopicPermissionJson;

    fn json(&self) -> TopicPermissionJson {
        self.clone()
    }

    fn vhost(&self) -> &str {
        &self.vhost
    }

    fn name(&self) -> &str {
        &self.user
    }
}

/// The topic permissions of the users, virtual hosts and exchanges that `is_shown` selects.
fn rows(api: &Api, is_shown: impl Fn(&str, &str, &str) -> bool) -> Vec<TopicPermissionJson> {
    api.broker.users().with_permissions(|permissions| {
        let topics = permissions.topics();
        let shown = topics.filter(|(user, vhost, exchange, _)| is_shown(user, vhost, exchange));
        shown
            .map(|(user, vhost, exchange, topic)| TopicPermissionJson {
                user: user.clone(),
                vhost: vhost.clone(),
                exchange: exchange.clone(),
                write: topic.write().clone(),
                read: topic.read().clone(),
            })
            .collect()
    })
}

/// All topic permissions.
#[utoipa::path(
    get, path = "/api/topic-permissions", tag = "permissions", params(ListQuery),
    responses(
        (status = 200, body = Vec<TopicPermissionJson>), (status = 400, body = Refusal), (status = 401, body = Refusal)
    )
)]
async fn list(
    State(api): State<Shared>,
    _: Administrator,
    query: ListQuery,
) -> Result<Response, ApiError> {
    listing::list(&query, rows(&api, |_, _, _| true)).await
}

/// The topic permissions in a virtual host.
#[utoipa::path(
    get, path = "/api/vhosts/{vhost}/topic-permissions", tag = "permissions",
    params(("vhost" = String, Path), ListQuery),
    responses(
        (status = 200, body = Vec<TopicPermissionJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_of_vhost(
    State(api): State<Shared>,
    caller: Administrator,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    caller.0.vhost(&api, &vhost)?;
    listing::list(&query, rows(&api, |_, of, _| of == vhost)).await
}

/// The topic permissions of a user.
#[utoipa::path(
    get, path = "/api/users/{user}/topic-permissions", tag = "permissions",
    params(("user" = String, Path), ListQuery),
    responses(
        (status = 200, body = Vec<TopicPermissionJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_of_user(
    State(api): State<Shared>,
    _: Administrator,
    Path(user): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    users::known(&api, &user)?;
    listing::list(&query, rows(&api, |of, _, _| of == user)).await
}

/// The topic permissions of a user in a virtual host; there must be one at least.
fn of_user_in_vhost(
    api: &Api,
    vhost: &str,
    user: &str,
) -> Result<Vec<TopicPermissionJson>, ApiError> {
    let found = rows(api, |of_user, of_vhost, _| {
        of_user == user && of_vhost == vhost
    });
    match found.is_empty() {
        true => Err(ApiError::NotFound),
        false => Ok(found),
    }
}

/// The topic permissions of a user in a virtual host.
#[utoipa::path(
    get, path = "/api/topic-permissions/{vhost}/{user}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path), ListQuery),
    responses(
        (status = 200, body = Vec<TopicPermissionJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn get(
    State(api): State<Shared>,
    _: Administrator,
    Path((vhost, user)): Path<(String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    listing::list(&query, of_user_in_vhost(&api, &vhost, &user)?).await
}

/// The topic permission of a user on an exchange, in a list.
#[utoipa::path(
    get, path = "/api/topic-permissions/{vhost}/{user}/{exchange}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path), ("exchange" = String, Path), ListQuery),
    responses(
        (status = 200, body = Vec<TopicPermissionJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn get_of_exchange(
    State(api): State<Shared>,
    _: Administrator,
    Path((vhost, user, exchange)): Path<(String, String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let exchange = exchange_name(&exchange);
    let mut found = of_user_in_vhost(&api, &vhost, &user)?;
    found.retain(|topic| *topic.exchange == *exchange);
    listing::list(&query, found).await
}

/// A topic exchange, and patterns of routing keys.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"exchange": "amq.topic", "write": "^{username}\\.", "read": ".*"}))]
struct TopicPermissionBody {
    #[schema(required = true)]
    exchange: Option<String>,
    #[schema(required = true)]
    write: Option<String>,
    #[schema(required = true)]
    read: Option<String>,
}

/// Sets the routing keys that a user may use on an exchange.
#[utoipa::path(
    put, path = "/api/topic-permissions/{vhost}/{user}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path)), request_body = TopicPermissionBody,
    responses(
        (status = 201, description = "The user had none in the virtual host."),
        (status = 204, description = "The user had topic permissions there already."),
        (status = 400, body = Refusal), (status = 401, body = Refusal)
    )
)]
async fn put(
    State(api): State<Shared>,
    _: Administrator,
    Path((vhost, user)): Path<(String, String)>,
    Json(body): Json<TopicPermissionBody>,
) -> Result<StatusCode, ApiError> {
    let fields = [
        ("exchange", body.exchange),
        ("write", body.write),
        ("read", body.read),
    ];
    let [exchange, write, read] = require_all(fields)?;
    let host = vhost_and_user(&api, &vhost, &user)?;
    if host.exchange(&exchange).is_none() {
        let text = format!("no_such_exchange: '{exchange}' in vhost '{vhost}'");
        return Err(ApiError::BadRequest(text));
    }
    let exists = of_user_in_vhost(&api, &vhost, &user).is_ok();
    let users = api.broker.users();
    let set = users.set_topic_permissions(&user, &vhost, &exchange, [&write, &read]);
    set.await.map_err(not_found_in_body)?;
    match exists {
        true => Ok(StatusCode::NO_CONTENT),
        false => Ok(StatusCode::CREATED),
    }
}

/// Lifts all topic permissions of a user in a virtual host.
#[utoipa::path(
    delete, path = "/api/topic-permissions/{vhost}/{user}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn delete(
    State(api): State<Shared>,
    _: Administrator,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    of_user_in_vhost(&api, &vhost, &user)?;
    let users = api.broker.users();
    users.clear_topic_permissions(&user, &vhost, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lifts the topic permission of a user on an exchange.
#[utoipa::path(
    delete, path = "/api/topic-permissions/{vhost}/{user}/{exchange}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path), ("exchange" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn delete_of_exchange(
    State(api): State<Shared>,
    _: Administrator,
    Path((vhost, user, exchange)): Path<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    of_user_in_vhost(&api, &vhost, &user)?;
    let exchange = Some(exchange_name(&exchange));
    let users = api.broker.users();
    users
        .clear_topic_permissions(&user, &vhost, exchange)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
