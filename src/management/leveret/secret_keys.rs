//! Keys that sign requests of CMQ's API. Only the answer to their creation shows a key itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::broker::secrets::Secret;
use crate::management::api::Shared;
use crate::management::caller::Administrator;
use crate::management::error::{ApiError, Refusal};
use crate::management::json::{Json, require_all};
use crate::management::listing::{self, ListQuery, Row};
use crate::management::path::Path;
use crate::management::permissions::{not_found_in_body, vhost_and_user};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(delete))
}

/// A secret key without the key itself.
#[derive(Serialize, ToSchema)]
struct SecretIdJson {
    id: String,
    user: String,
    vhost: String,
}

struct SecretRow(Arc<Secret>);

impl Row for SecretRow {
    type Json = SecretIdJson;

    fn json(&self) -> SecretIdJson {
        SecretIdJson {
            id: self.0.id.to_string(),
            user: self.0.user.to_string(),
            vhost: self.0.vhost.to_string(),
        }
    }

    fn vhost(&self) -> &str {
        &self.0.vhost
    }

    fn name(&self) -> &str {
        &self.0.id
    }
}

/// All secret keys, by their ids.
#[utoipa::path(
    get, path = "/api/leveret/secret-keys", tag = "leveret", params(ListQuery),
    responses((status = 200, body = Vec<SecretIdJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn list(
    State(api): State<Shared>,
    _: Administrator,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let secrets = api.broker.users().secrets().into_iter();
    listing::list(&query, secrets.map(SecretRow).collect()).await
}

/// A secret key to create. Without id and key, the broker makes both.
#[derive(Deserialize, ToSchema)]
struct SecretBody {
    #[schema(required = true)]
    user: Option<String>,
    #[schema(required = true)]
    vhost: Option<String>,
    id: Option<String>,
    key: Option<String>,
}

/// A new secret key.
#[derive(Serialize, ToSchema)]
struct NewSecretJson {
    id: String,
    /// No other answer shows it.
    key: String,
    user: String,
    vhost: String,
}

/// Creates a secret key for a user in a virtual host.
#[utoipa::path(
    post, path = "/api/leveret/secret-keys", tag = "leveret", request_body = SecretBody,
    responses((status = 201, body = NewSecretJson), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn create(
    State(api): State<Shared>,
    _: Administrator,
    Json(body): Json<SecretBody>,
) -> Result<(StatusCode, Json<NewSecretJson>), ApiError> {
    let [user, vhost] = require_all([("user", body.user), ("vhost", body.vhost)])?;
    let chosen = match (&body.id, &body.key) {
        (Some(id), Some(key)) => Some((id.as_str(), key.as_str())),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let text = "id and key are given together, or neither";
            return Err(ApiError::BadRequest(text.to_owned()));
        }
    };
    vhost_and_user(&api, &vhost, &user)?;
    let secret = Secret::new(&user, &vhost, chosen);
    let shown = NewSecretJson {
        id: secret.id.to_string(),
        key: secret.key.to_string(),
        user,
        vhost,
    };
    let added = api.broker.users().add_secret(secret).await;
    added.map_err(not_found_in_body)?;
    Ok((StatusCode::CREATED, Json(shown)))
}

/// Deletes a secret key. Requests that it signs are refused from then on.
#[utoipa::path(
    delete, path = "/api/leveret/secret-keys/{id}", tag = "leveret", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn delete(
    State(api): State<Shared>,
    _: Administrator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    api.broker.users().delete_secret(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
