//! Users: listing, setting and deleting them, and the caller's own.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{Api, Shared};
use super::caller::{Administrator, Caller};
use super::error::{ApiError, Refusal};
use super::json::{Answer, Flag, Json, required};
use super::limits::USER_NAME_BYTES_MAX;
use super::listing::{self, ListQuery, Row};
use super::path::Path;
use super::words::Words;
use crate::broker::password::{HashingAlgorithm, PasswordHash};
use crate::broker::users::{PutUser, TAG_ADMINISTRATOR, User};
use crate::model::Name;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(whoami))
        .routes(routes!(list))
        .routes(routes!(without_permissions))
        .routes(routes!(bulk_delete))
        .routes(routes!(get, put, delete))
}

/// The user who calls.
#[derive(Serialize, ToSchema)]
struct WhoAmI {
    name: String,
    tags: Vec<String>,
    /// Whether this broker knows its password.
    is_internal_user: bool,
}

/// Who the caller is.
#[utoipa::path(
    get, path = "/api/whoami", tag = "users",
    responses((status = 200, body = WhoAmI), (status = 401, body = Refusal))
)]
async fn whoami(caller: Caller) -> Answer<WhoAmI> {
    Ok(Json(WhoAmI {
        name: caller.user.name.to_string(),
        tags: strings(&caller.user.tags),
        is_internal_user: caller.user.is_internal(),
    }))
}

/// A user.
#[derive(Serialize, ToSchema)]
struct UserJson {
    name: String,
    /// Empty for a user who cannot log in with a password.
    password_hash: String,
    hashing_algorithm: &'static str,
    tags: Vec<String>,
    limits: Map<String, Value>,
}

struct UserRow(Arc<User>);

impl Row for UserRow {
    type Json = UserJson;

    fn json(&self) -> UserJson {
        let hash = self.0.password_hash();
        let algorithm = hash.map_or(HashingAlgorithm::RabbitSha256, PasswordHash::algorithm);
        UserJson {
            name: self.0.name.to_string(),
            password_hash: hash.map_or_else(String::new, |hash| hash.text().to_owned()),
            hashing_algorithm: algorithm.as_str(),
            tags: strings(&self.0.tags),
            limits: self.0.limits.to_json(),
        }
    }

    fn vhost(&self) -> &str {
        ""
    }

    fn name(&self) -> &str {
        &self.0.name
    }
}

fn rows(users: Vec<Arc<User>>) -> Vec<UserRow> {
    users.into_iter().map(UserRow).collect()
}

fn strings(names: &[Name]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// All users.
#[utoipa::path(
    get, path = "/api/users", tag = "users", params(ListQuery),
    responses((status = 200, body = Vec<UserJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn list(
    State(api): State<Shared>,
    _: Administrator,
    query: ListQuery,
) -> Result<Response, ApiError> {
    listing::list(&query, rows(api.broker.users().list())).await
}

/// The users without permissions in any virtual host.
#[utoipa::path(
    get, path = "/api/users/without-permissions", tag = "users", params(ListQuery),
    responses((status = 200, body = Vec<UserJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn without_permissions(
    State(api): State<Shared>,
    _: Administrator,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let users = api.broker.users();
    let permitted: HashSet<Name> = users.with_permissions(|permissions| {
        let grants = permissions.grants();
        grants.map(|(user, _, _)| user.clone()).collect()
    });
    let mut all = users.list();
    all.retain(|user| !permitted.contains(&user.name));
    listing::list(&query, rows(all)).await
}

/// One user.
#[utoipa::path(
    get, path = "/api/users/{user}", tag = "users",
    params(("user" = String, Path), ("columns" = Option<String>, Query)),
    responses((status = 200, body = UserJson), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn get(
    State(api): State<Shared>,
    _: Administrator,
    Path(user): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    listing::object(&query, &UserRow(known(&api, &user)?).json())
}

/// The user of a path.
pub(super) fn known(api: &Api, name: &str) -> Result<Arc<User>, ApiError> {
    api.broker.users().get(name).ok_or(ApiError::NotFound)
}

/// A user to set. Without a password and hash, the user cannot log in with a password.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"password": "secret", "tags": ["monitoring"]}))]
struct UserBody {
    password: Option<String>,
    /// A hash as RabbitMQ exports it.
    password_hash: Option<String>,
    /// How the hash was made: salted SHA-256 unless it says otherwise.
    hashing_algorithm: Option<String>,
    tags: Option<Words>,
    /// An old way to write the tag `administrator`.
    administrator: Option<Flag>,
}

impl UserBody {
    fn tags(&self) -> Result<Vec<Name>, ApiError> {
        let administrator = self.administrator.clone().map(Flag::read).transpose()?;
        match (&self.tags, administrator) {
            (Some(tags), _) => Ok(tags.0.clone()),
            (None, Some(true)) => Ok(vec![TAG_ADMINISTRATOR.into()]),
            (None, Some(false)) => Ok(Vec::new()),
            (None, None) => Err(ApiError::BadRequest("tags_not_present".to_owned())),
        }
    }
}

/// Creates a user, or replaces its password and tags.
#[utoipa::path(
    put, path = "/api/users/{user}", tag = "users", params(("user" = String, Path)), request_body = UserBody,
    responses(
        (status = 201, description = "The user is new."), (status = 204, description = "The user is replaced."),
        (status = 400, body = Refusal), (status = 401, body = Refusal)
    )
)]
async fn put(
    State(api): State<Shared>,
    _: Administrator,
    Path(user): Path<String>,
    Json(body): Json<UserBody>,
) -> Result<StatusCode, ApiError> {
    if user.len() > USER_NAME_BYTES_MAX {
        let text = format!("the name of a user has at most {USER_NAME_BYTES_MAX} bytes");
        return Err(ApiError::BadRequest(text));
    }
    let tags = body.tags()?;
    let password = password(&api, &user, body).await?;
    let users = api.broker.users();
    let exists = users.get(&user).is_some();
    let put = PutUser {
        name: user.into(),
        password,
        tags,
        limits: None,
    };
    users.put_all(vec![put]).await?;
    match exists {
        true => Ok(StatusCode::NO_CONTENT),
        false => Ok(StatusCode::CREATED),
    }
}

/// The hash to store. An empty password or hash never logs in, so there is none for it.
async fn password(api: &Api, user: &str, body: UserBody) -> Result<Option<PasswordHash>, ApiError> {
    let empty = |text: &String| text.is_empty();
    match (body.password, body.password_hash) {
        (Some(_), Some(_)) => {
            let text = "both_password_and_password_hash_are_provided";
            Err(ApiError::BadRequest(text.to_owned()))
        }
        (Some(password), None) if !empty(&password) => {
            let hash = api.broker.users().hash_password(user, password.as_bytes());
            Ok(Some(hash.await?))
        }
        (None, Some(hash)) if !empty(&hash) => {
            let name = body.hashing_algorithm.as_deref();
            let algorithm = HashingAlgorithm::of_definition(name, None).ok_or_else(|| {
                ApiError::BadRequest(format!(
                    "unknown hashing algorithm '{}'",
                    name.unwrap_or_default()
                ))
            })?;
            let hash = PasswordHash::import(&hash, algorithm);
            hash.map(Some)
                .map_err(|malformed| ApiError::BadRequest(malformed.to_string()))
        }
        (Some(_), None) | (None, _) => Ok(None),
    }
}

/// Deletes a user with its permissions, and closes its connections.
#[utoipa::path(
    delete, path = "/api/users/{user}", tag = "users", params(("user" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn delete(
    State(api): State<Shared>,
    _: Administrator,
    Path(user): Path<String>,
) -> Result<StatusCode, ApiError> {
    match api.broker.users().delete(&user).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::NotFound),
    }
}

/// Users to delete.
#[derive(Deserialize, ToSchema)]
struct UsersBody {
    #[schema(required = true)]
    users: Option<Vec<String>>,
}

/// Deletes users. Names without a user are ignored.
#[utoipa::path(
    post, path = "/api/users/bulk-delete", tag = "users", request_body = UsersBody,
    responses((status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn bulk_delete(
    State(api): State<Shared>,
    _: Administrator,
    Json(body): Json<UsersBody>,
) -> Result<StatusCode, ApiError> {
    for user in required(body.users, "users")? {
        api.broker.users().delete(&user).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
