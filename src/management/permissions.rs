//! Permissions of users in virtual hosts.

use std::sync::Arc;

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
use super::path::Path;
use super::users;
use crate::broker::users::UserError;
use crate::broker::vhost::Vhost;
use crate::model::Name;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_vhost))
        .routes(routes!(list_of_user))
        .routes(routes!(get, put, delete))
}

/// What a user may do in a virtual host: patterns of the names that it may configure, write and read.
#[derive(Clone, Serialize, ToSchema)]
struct PermissionJson {
    #[schema(value_type = String)]
    user: Name,
    #[schema(value_type = String)]
    vhost: Name,
    #[schema(value_type = String)]
    configure: Name,
    #[schema(value_type = String)]
    write: Name,
    #[schema(value_type = String)]
    read: Name,
}

impl Row for PermissionJson {
    type Json = PermissionJson;

    fn json(&self) -> PermissionJson {
        self.clone()
    }

    fn vhost(&self) -> &str {
        &self.vhost
    }

    fn name(&self) -> &str {
        &self.user
    }
}

/// The permissions of the users and virtual hosts that `is_shown` selects.
fn rows(api: &Api, is_shown: impl Fn(&str, &str) -> bool) -> Vec<PermissionJson> {
    api.broker.users().with_permissions(|permissions| {
        let grants = permissions.grants();
        let shown = grants.filter(|(user, vhost, _)| is_shown(user, vhost));
        shown
            .map(|(user, vhost, grant)| PermissionJson {
                user: user.clone(),
                vhost: vhost.clone(),
                configure: grant.configure.text().clone(),
                write: grant.write.text().clone(),
                read: grant.read.text().clone(),
            })
            .collect()
    })
}

/// All permissions.
#[utoipa::path(
    get, path = "/api/permissions", tag = "permissions", params(ListQuery),
    responses((status = 200, body = Vec<PermissionJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn list(
    State(api): State<Shared>,
    _: Administrator,
    query: ListQuery,
) -> Result<Response, ApiError> {
    listing::list(&query, rows(&api, |_, _| true)).await
}

/// The permissions in a virtual host.
#[utoipa::path(
    get, path = "/api/vhosts/{vhost}/permissions", tag = "permissions", params(("vhost" = String, Path), ListQuery),
    responses(
        (status = 200, body = Vec<PermissionJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
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
    listing::list(&query, rows(&api, |_, of| of == vhost)).await
}

/// The permissions of a user.
#[utoipa::path(
    get, path = "/api/users/{user}/permissions", tag = "permissions", params(("user" = String, Path), ListQuery),
    responses(
        (status = 200, body = Vec<PermissionJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
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
    listing::list(&query, rows(&api, |of, _| of == user)).await
}

/// The permissions of a user in a virtual host.
#[utoipa::path(
    get, path = "/api/permissions/{vhost}/{user}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path), ("columns" = Option<String>, Query)),
    responses((status = 200, body = PermissionJson), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn get(
    State(api): State<Shared>,
    _: Administrator,
    Path((vhost, user)): Path<(String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let mut found = rows(&api, |of_user, of_vhost| {
        of_user == user && of_vhost == vhost
    });
    let permission = found.pop().ok_or(ApiError::NotFound)?;
    listing::object(&query, &permission)
}

/// Patterns of names.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"configure": "^mine", "write": ".*", "read": ".*"}))]
struct PermissionBody {
    #[schema(required = true)]
    configure: Option<String>,
    #[schema(required = true)]
    write: Option<String>,
    #[schema(required = true)]
    read: Option<String>,
}

/// Sets the permissions of a user in a virtual host.
#[utoipa::path(
    put, path = "/api/permissions/{vhost}/{user}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path)), request_body = PermissionBody,
    responses(
        (status = 201, description = "The user had none there."), (status = 204, description = "They are replaced."),
        (status = 400, body = Refusal), (status = 401, body = Refusal)
    )
)]
async fn put(
    State(api): State<Shared>,
    _: Administrator,
    Path((vhost, user)): Path<(String, String)>,
    Json(body): Json<PermissionBody>,
) -> Result<StatusCode, ApiError> {
    let fields = [
        ("configure", body.configure),
        ("write", body.write),
        ("read", body.read),
    ];
    let patterns = require_all(fields)?;
    vhost_and_user(&api, &vhost, &user)?;
    let users = api.broker.users();
    let exists = users.may_enter(&user, &vhost);
    let patterns = patterns.each_ref().map(String::as_str);
    let set = users.set_permissions(&user, &vhost, patterns).await;
    set.map_err(not_found_in_body)?;
    match exists {
        true => Ok(StatusCode::NO_CONTENT),
        false => Ok(StatusCode::CREATED),
    }
}

/// Takes a user's permissions in a virtual host away.
#[utoipa::path(
    delete, path = "/api/permissions/{vhost}/{user}", tag = "permissions",
    params(("vhost" = String, Path), ("user" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn delete(
    State(api): State<Shared>,
    _: Administrator,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let users = api.broker.users();
    if !users.may_enter(&user, &vhost) {
        return Err(ApiError::NotFound);
    }
    users.clear_permissions(&user, &vhost).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Both must exist before permissions can be set.
pub(super) fn vhost_and_user(api: &Api, vhost: &str, user: &str) -> Result<Arc<Vhost>, ApiError> {
    let vhost = api.broker.vhost(vhost);
    match (vhost, api.broker.users().get(user)) {
        (Some(vhost), Some(_)) => Ok(vhost),
        (None, _) | (_, None) => Err(vhost_or_user_not_found()),
    }
}

/// Refuses a change whose user is gone in the meantime, as if it had not been there before.
pub(super) fn not_found_in_body(error: UserError) -> ApiError {
    match error {
        UserError::NoSuchUser(_) => vhost_or_user_not_found(),
        UserError::AlreadyExists(_)
        | UserError::InvalidPattern(_)
        | UserError::SecretExists(_)
        | UserError::NoSuchSecret(_)
        | UserError::SecretLength
        | UserError::Store(_) => error.into(),
    }
}

fn vhost_or_user_not_found() -> ApiError {
    ApiError::BadRequest("vhost_or_user_not_found".to_owned())
}
