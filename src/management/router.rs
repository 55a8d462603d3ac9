//! All paths, and what holds for every response.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, HeaderName, HeaderValue, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::api::Shared;
use super::config::ManagementConfig;
use super::error::ApiError;
use super::json::BodyPlace;
use super::limits::CORS_AGE;
use super::{
    bindings, certificates, channels, connections, consumers, definitions, exchanges, features,
    global_parameters, health, leveret, logins, maintenance, nodes, openapi, overview, parameters,
    permissions, policies, queues, shovels, static_files, topic_permissions, user_limits, users,
    vhost_limits, vhosts,
};

/// Any origin may call.
const ANY_ORIGIN: &str = "*";

/// All paths on this API.
pub(super) fn router(api: Shared) -> Router {
    let (subjects, document) = subjects().split_for_parts();
    let cors = cors(&api.config);
    let leads = from_fn_with_state(api.clone(), while_it_leads);
    let paths = subjects
        .merge(openapi::route(&document))
        .fallback(fallback)
        .with_state(api);
    // Around the whole router: it adds the methods that a path has to its answer only at the end.
    let paths = Router::new()
        .fallback_service(paths)
        .layer(leads)
        .layer(from_fn(complete));
    match cors {
        Some(cors) => paths.layer(cors),
        None => paths,
    }
}

/// The paths of each subject.
fn subjects() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .merge(bindings::routes())
        .merge(channels::routes())
        .merge(connections::routes())
        .merge(consumers::routes())
        .merge(definitions::routes())
        .merge(exchanges::routes())
        .merge(features::routes())
        .merge(global_parameters::routes())
        .merge(health::routes())
        .merge(certificates::routes())
        .merge(leveret::routes())
        .merge(logins::routes())
        .merge(maintenance::routes())
        .merge(nodes::routes())
        .merge(overview::routes())
        .merge(parameters::routes())
        .merge(permissions::routes())
        .merge(policies::routes())
        .merge(queues::routes())
        .merge(shovels::routes())
        .merge(topic_permissions::routes())
        .merge(user_limits::routes())
        .merge(users::routes())
        .merge(vhost_limits::routes())
        .merge(vhosts::routes())
}

/// Answers from this node's memory only while no other node can lead.
async fn while_it_leads(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    match api.broker.mandate().decided().await {
        true => response,
        false => ApiError::Unavailable("this node does not lead its set any more".to_owned())
            .into_response(),
    }
}

/// Paths that no handler has: files of the page, or nothing.
async fn fallback(request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let path = parts.uri.path();
    let is_api = path == "/api" || path.starts_with("/api/");
    match parts.method {
        _ if is_api => ApiError::NotFound.into_response(),
        Method::GET | Method::HEAD => static_files::serve(parts.uri, parts.headers).await,
        _ => ApiError::MethodNotAllowed.into_response(),
    }
}

/// Keeps the place of a large body until the request is answered, and completes the response: headers that all have,
/// JSON for a method that the path does not have, and the answer to OPTIONS.
async fn complete(mut request: Request, next: Next) -> Response {
    let place = BodyPlace::default();
    request.extensions_mut().insert(place.clone());
    drop_trailing_slash(&mut request);
    let asks_options = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    drop(place);
    if response.status() == StatusCode::METHOD_NOT_ALLOWED
        && let Some(allowed) = response.headers_mut().remove(ALLOW)
    {
        response = match asks_options {
            true => StatusCode::OK.into_response(),
            false => ApiError::MethodNotAllowed.into_response(),
        };
        response.headers_mut().insert(ALLOW, with_options(&allowed));
    }
    let headers = response.headers_mut();
    let mut add = |name: HeaderName, value: &'static str| {
        let value = HeaderValue::from_static(value);
        headers.entry(name).or_insert(value);
    };
    add(CACHE_CONTROL, "no-cache");
    add(X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(REFERRER_POLICY, "no-referrer");
    add(VARY, "accept, accept-encoding, origin");
    response
}

/// Paths of the API mean the same with a slash behind them, as in RabbitMQ.
fn drop_trailing_slash(request: &mut Request) {
    let uri = request.uri();
    let shorter = uri.path().strip_suffix('/');
    let Some(path) = shorter.filter(|path| path.starts_with("/api/")) else {
        return;
    };
    let query = uri
        .query()
        .map_or(String::new(), |query| format!("?{query}"));
    if let Ok(uri) = format!("{path}{query}").parse() {
        *request.uri_mut() = uri;
    }
}

fn with_options(allowed: &HeaderValue) -> HeaderValue {
    let allowed = allowed.to_str().unwrap_or_default().replace(',', ", ");
    HeaderValue::try_from(format!("{allowed}, OPTIONS"))
        .unwrap_or(HeaderValue::from_static("OPTIONS"))
}

/// Lets pages of the configured origins call. With named origins they may send logins, with any origin they may not.
fn cors(config: &ManagementConfig) -> Option<CorsLayer> {
    let origins = &config.cors_origins;
    if origins.is_empty() {
        return None;
    }
    let layer = CorsLayer::new()
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .max_age(CORS_AGE);
    if origins.iter().any(|origin| origin == ANY_ORIGIN) {
        return Some(layer.allow_origin(AllowOrigin::any()));
    }
    let origins = origins.iter().filter_map(|origin| origin.parse().ok());
    let named = AllowOrigin::list(origins.collect::<Vec<HeaderValue>>());
    Some(layer.allow_origin(named).allow_credentials(true))
}
