//! Policies and operator policies: listing, setting and clearing them.

mod operator; // paths of operator policies
mod policy_json; // what both have in common
mod user; // paths of policies

use utoipa_axum::router::OpenApiRouter;

use super::api::Shared;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    user::routes().merge(operator::routes())
}
