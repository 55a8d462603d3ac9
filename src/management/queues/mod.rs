//! Queues: lists, one queue, declaring, deleting, purging, and fetching messages.

mod change; // declares, deletes and purges
mod fetch; // fetches messages
mod queue_json; // a queue as the API shows it
mod read; // lists and shows queues

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Shared;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(read::list))
        .routes(routes!(read::list_detailed))
        .routes(routes!(read::list_of_vhost))
        .routes(routes!(read::get, change::declare, change::delete))
        .routes(routes!(change::purge))
        .routes(routes!(change::act))
        .routes(routes!(fetch::fetch))
        .routes(routes!(read::quorum_status))
}
