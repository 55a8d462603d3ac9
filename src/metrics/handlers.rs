//! The paths. Responses about many objects are written while the client reads, a few of them concurrently.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::body::ScrapeBody;
use super::exposition::{Exposition, Format};
use super::families;
use super::negotiation::format_for;
use super::pieces::Scrape;
use super::query;
use crate::http::Peer;
use crate::views::Views;

/// Maximum number of responses about single objects under way. Each may hold the numbers of all channels.
const SCRAPES_MAX: usize = 4;
/// Time that such a request waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(10);

pub(super) struct Metrics {
    views: Arc<Views>,
    scrapes: Arc<Semaphore>,
}

pub(super) fn router(views: Arc<Views>) -> Router {
    let metrics = Arc::new(Metrics {
        views,
        scrapes: Arc::new(Semaphore::new(SCRAPES_MAX)),
    });
    Router::new()
        .route("/metrics", get(aggregated))
        .route("/metrics/{registry}", get(registry))
        .fallback(not_found)
        .with_state(metrics)
        .layer(from_fn(admit))
}

/// There is no log-in: every client that sends a request is a known one.
pub(super) async fn admit(
    Extension(peer): Extension<Arc<Peer>>,
    request: Request,
    next: Next,
) -> Response {
    peer.admit();
    next.run(request).await
}

pub(super) async fn not_found(uri: Uri) -> Response {
    let text = format!(
        "There is nothing at {}; metrics are at /metrics\n",
        uri.path()
    );
    (StatusCode::NOT_FOUND, text).into_response()
}

async fn aggregated(State(metrics): State<Arc<Metrics>>, headers: HeaderMap) -> Response {
    let Some(format) = accepted(&headers) else {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    };
    let mut out = Exposition::new(format);
    families::aggregated(&metrics.views, &mut out);
    whole(format, out)
}

async fn registry(
    State(metrics): State<Arc<Metrics>>,
    Path(registry): Path<String>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let Some(format) = accepted(&headers) else {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    };
    let mut out = Exposition::new(format);
    let views = &metrics.views;
    match &*registry {
        "default" => {
            families::aggregated(views, &mut out);
            return whole(format, out);
        }
        "memory-breakdown" => {
            families::memory(views, &mut out);
            return whole(format, out);
        }
        "per-object" | "detailed" => {}
        _ => return (StatusCode::NOT_FOUND, "Unknown Registry").into_response(),
    }
    let Some(turn) = metrics.turn().await else {
        let text = "too many requests for the metrics of single objects are under way\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let parts = match &*registry {
        "detailed" => {
            let query = query::Query::of(parameters);
            families::detailed(views, &query, &mut out)
        }
        _ => families::per_object(views, &mut out),
    };
    in_pieces(format, Scrape::new(out, parts), turn)
}

impl Metrics {
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.scrapes).acquire_owned();
        // The semaphore is never closed.
        timeout(TURN_WITHIN, turn).await.ok()?.ok()
    }
}

pub(super) fn accepted(headers: &HeaderMap) -> Option<Format> {
    let accept = headers.get(ACCEPT).map(|accept| accept.to_str());
    format_for(accept.and_then(Result::ok))
}

/// Sends a short response.
pub(super) fn whole(format: Format, mut out: Exposition) -> Response {
    out.end();
    ([(CONTENT_TYPE, format.content_type())], out.take()).into_response()
}

/// Sends pieces.
fn in_pieces(format: Format, scrape: Scrape, turn: OwnedSemaphorePermit) -> Response {
    let turn = Some(turn);
    let body = Body::new(ScrapeBody { scrape, turn });
    ([(CONTENT_TYPE, format.content_type())], body).into_response()
}
