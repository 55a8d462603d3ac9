//! Exchanges: listing them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Shared;
use super::caller::Caller;
use super::error::{ApiError, Refusal};
use super::listing::{self, ListQuery, Row};
use super::path::{Path, exchange_name};
use crate::broker::exchange::Exchange;
use crate::broker::vhost::Vhost;
use crate::wire::table_to_json;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_vhost))
        .routes(routes!(get))
}

/// An exchange.
#[derive(Serialize, ToSchema)]
struct ExchangeJson {
    name: String,
    vhost: String,
    r#type: &'static str,
    durable: bool,
    auto_delete: bool,
    /// Whether clients may not publish to it.
    internal: bool,
    arguments: Map<String, Value>,
    user_who_performed_action: &'static str,
}

struct ExchangeRow {
    vhost: Arc<Vhost>,
    exchange: Arc<Exchange>,
}

impl Row for ExchangeRow {
    type Json = ExchangeJson;

    fn json(&self) -> ExchangeJson {
        let Exchange {
            name,
            kind,
            durable,
            auto_delete,
            internal,
            arguments,
            ..
        } = &*self.exchange;
        ExchangeJson {
            name: name.to_string(),
            vhost: self.vhost.name().to_string(),
            r#type: kind.as_str(),
            durable: *durable,
            auto_delete: *auto_delete,
            internal: *internal,
            arguments: table_to_json(arguments),
            user_who_performed_action: "rmq-internal",
        }
    }

    fn vhost(&self) -> &str {
        self.vhost.name()
    }

    fn name(&self) -> &str {
        &self.exchange.name
    }
}

fn rows(vhosts: Vec<Arc<Vhost>>) -> Vec<ExchangeRow> {
    let of_vhost = |vhost: Arc<Vhost>| {
        let exchanges = vhost.exchanges().into_iter();
        exchanges.map(move |exchange| ExchangeRow {
            vhost: Arc::clone(&vhost),
            exchange,
        })
    };
    vhosts.into_iter().flat_map(of_vhost).collect()
}

/// All exchanges.
#[utoipa::path(
    get, path = "/api/exchanges", tag = "exchanges", params(ListQuery),
    responses((status = 200, body = Vec<ExchangeJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn list(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhosts = caller.vhosts(&api, None)?;
    listing::list(&query, rows(vhosts)).await
}

/// The exchanges of a virtual host.
#[utoipa::path(
    get, path = "/api/exchanges/{vhost}", tag = "exchanges", params(("vhost" = String, Path), ListQuery),
    responses(
        (status = 200, body = Vec<ExchangeJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_of_vhost(
    State(api): State<Shared>,
    caller: Caller,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhosts = caller.vhosts(&api, Some(&vhost))?;
    listing::list(&query, rows(vhosts)).await
}

/// One exchange. `amq.default` is the default exchange.
#[utoipa::path(
    get, path = "/api/exchanges/{vhost}/{exchange}", tag = "exchanges",
    params(("vhost" = String, Path), ("exchange" = String, Path), ("columns" = Option<String>, Query)),
    responses((status = 200, body = ExchangeJson), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn get(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, exchange)): Path<(String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhost = caller.vhost(&api, &vhost)?;
    let exchange = vhost.exchange(exchange_name(&exchange));
    let exchange = exchange.ok_or(ApiError::NotFound)?;
    let row = ExchangeRow { vhost, exchange };
    listing::object(&query, &row.json())
}
