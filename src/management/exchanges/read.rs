//! Lists and shows exchanges.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::exchange_json::{ExchangeJson, ExchangeRow};
use crate::broker::vhost::Vhost;
use crate::management::api::Shared;
use crate::management::caller::Caller;
use crate::management::error::{ApiError, Refusal};
use crate::management::listing::{self, ListQuery, Listing, Row};
use crate::management::path::{Path, exchange_name};
use crate::management::ranges::{RangeQuery, Ranges};
use crate::views::Depth;

fn rows(
    api: &Shared,
    vhosts: &[Arc<Vhost>],
    query: &ListQuery,
    ranges: Ranges,
) -> Vec<ExchangeRow> {
    let stats = query.shows_stats().then_some((Depth::Rate, ranges));
    let of_vhost = |vhost: &Arc<Vhost>| {
        let (api, vhost) = (Arc::clone(api), Arc::clone(vhost));
        let exchanges = vhost.exchanges().into_iter();
        exchanges.map(move |exchange| ExchangeRow {
            api: Arc::clone(&api),
            vhost: Arc::clone(&vhost),
            exchange,
            stats,
        })
    };
    vhosts.iter().flat_map(of_vhost).collect()
}

/// All exchanges.
#[utoipa::path(
    get, path = "/api/exchanges", tag = "exchanges", params(ListQuery, RangeQuery),
    responses((status = 200, body = Listing<ExchangeJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
pub(super) async fn list(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let vhosts = caller.visible_vhosts(&api, None)?;
    listing::list(&query, rows(&api, &vhosts, &query, ranges)).await
}

/// The exchanges of a virtual host.
#[utoipa::path(
    get, path = "/api/exchanges/{vhost}", tag = "exchanges", params(("vhost" = String, Path), ListQuery, RangeQuery),
    responses(
        (status = 200, body = Listing<ExchangeJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
pub(super) async fn list_of_vhost(
    State(api): State<Shared>,
    caller: Caller,
    Path(vhost): Path<String>,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let vhosts = caller.visible_vhosts(&api, Some(&vhost))?;
    listing::list(&query, rows(&api, &vhosts, &query, ranges)).await
}

/// One exchange. `amq.default` is the default exchange.
#[utoipa::path(
    get, path = "/api/exchanges/{vhost}/{name}", tag = "exchanges",
    params(("vhost" = String, Path), ("name" = String, Path), ListQuery, RangeQuery),
    responses((status = 200, body = ExchangeJson), (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
pub(super) async fn get(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let vhost = caller.visible_vhost(&api, &vhost)?;
    let exchange = vhost.exchange(exchange_name(&name));
    let row = ExchangeRow {
        api,
        vhost,
        exchange: exchange.ok_or(ApiError::NotFound)?,
        stats: query.shows_stats().then_some((Depth::History, ranges)),
    };
    listing::object(&query, &row.json())
}
