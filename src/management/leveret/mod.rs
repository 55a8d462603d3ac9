//! What this broker has and RabbitMQ has not: paths under `/api/leveret`.

mod cmq; // topics, subscriptions and queues of CMQ's API
mod moving; // moves messages to another queue
mod queues; // leases, delayed and rewindable messages, sources of settings
mod rewind; // makes acked messages ready again
mod secret_keys; // keys that sign CMQ requests
mod set; // the set of nodes
mod streams; // streams

use utoipa_axum::router::OpenApiRouter;

use super::api::Shared;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .merge(queues::routes())
        .merge(moving::routes())
        .merge(rewind::routes())
        .merge(streams::routes())
        .merge(cmq::routes())
        .merge(secret_keys::routes())
        .merge(set::routes())
}
