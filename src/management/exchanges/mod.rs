//! Exchanges: lists, one exchange, declaring, deleting and publishing.

mod change; // declares and deletes
mod exchange_json; // an exchange as the API shows it
mod publish; // publishes a message
mod read; // lists and shows exchanges

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Shared;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(read::list))
        .routes(routes!(read::list_of_vhost))
        .routes(routes!(read::get, change::declare, change::delete))
        .routes(routes!(publish::publish))
}
