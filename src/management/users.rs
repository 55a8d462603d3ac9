//! The caller's own user.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Shared;
use super::caller::Caller;
use super::error::Refusal;
use super::json::{Answer, Json};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(whoami))
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
        tags: caller.user.tags.iter().map(ToString::to_string).collect(),
        is_internal_user: true,
    }))
}
