//! Definitions: exports and imports those of the whole broker or of one virtual host.

use axum::extract::{Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::watch;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{Api, Shared};
use super::caller::Administrator;
use super::error::{ApiError, Refusal};
use super::json::{Json, RawBody};
use super::multipart::{Upload, boundary};
use super::path::Path;
use crate::definitions_file::{
    self, ImportError, Imported, NotADocument, Progress, Repetition, Scope,
};

/// What a form may ask for after an upload: a page of this server.
const REDIRECT_BYTES_MAX: usize = 1024;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(export, import))
        .routes(routes!(export_vhost, import_vhost))
}

#[derive(Deserialize, IntoParams)]
struct DownloadQuery {
    /// The name of the file under which browsers save the answer.
    download: Option<String>,
}

impl From<ImportError> for ApiError {
    fn from(error: ImportError) -> ApiError {
        match error {
            ImportError::Unreadable(NotADocument::Malformed(error)) if error.is_data() => {
                ApiError::BadRequest(error.to_string())
            }
            ImportError::Unreadable(NotADocument::NoObject | NotADocument::Malformed(_)) => {
                ApiError::BadRequest("failed_to_parse_json".to_owned())
            }
            error @ (ImportError::Unreadable(NotADocument::TooLong) | ImportError::Refused(_)) => {
                ApiError::BadRequest(error.to_string())
            }
            ImportError::Store(failed) => failed.into(),
        }
    }
}

/// Everything that clients and operators declared: users, virtual hosts, permissions, parameters, policies, exchanges,
/// queues and bindings. A RabbitMQ can import it.
#[utoipa::path(
    get, path = "/api/definitions", tag = "definitions", params(DownloadQuery),
    responses((status = 200, body = serde_json::Value), (status = 401, body = Refusal))
)]
async fn export(
    State(api): State<Shared>,
    _: Administrator,
    Query(query): Query<DownloadQuery>,
) -> Result<Response, ApiError> {
    let json = definitions_file::export(&api.broker).to_json();
    Ok(file(json, query.download.as_deref()))
}

/// Exchanges, queues, bindings, policies and parameters of a virtual host.
#[utoipa::path(
    get, path = "/api/definitions/{vhost}", tag = "definitions", params(("vhost" = String, Path), DownloadQuery),
    responses((status = 200, body = serde_json::Value), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn export_vhost(
    State(api): State<Shared>,
    _: Administrator,
    Path(vhost): Path<String>,
    Query(query): Query<DownloadQuery>,
) -> Result<Response, ApiError> {
    let vhost = api.broker.vhost(&vhost);
    let vhost = vhost.ok_or_else(|| ApiError::BadRequest("vhost_not_found".to_owned()))?;
    let json = definitions_file::export_vhost(&api.broker, &vhost).to_json();
    Ok(file(json, query.download.as_deref()))
}

/// The answer with a document, to be saved under a name if the name is one.
fn file(json: String, name: Option<&str>) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let is_token = |name: &&str| {
        let is_token_char = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        !name.is_empty() && name.chars().all(is_token_char)
    };
    if let Some(name) = name.filter(is_token)
        && let Ok(value) = HeaderValue::try_from(format!("attachment; filename={name}"))
    {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    (headers, json).into_response()
}

/// Imports definitions: JSON, or a form with a `file`. Answers 204 if everything was imported, else 200 with what was not.
#[utoipa::path(
    post, path = "/api/definitions", tag = "definitions", request_body = serde_json::Value,
    responses(
        (status = 200, body = serde_json::Value, description = "Some entries were not imported."),
        (status = 204, description = "Everything was imported."),
        (status = 303, description = "Imported; the form asked to go on to a page."),
        (status = 400, body = Refusal), (status = 401, body = Refusal)
    )
)]
async fn import(
    State(api): State<Shared>,
    _: Administrator,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, ApiError> {
    import_into(&api, &headers, &body, Scope::Cluster).await
}

/// Imports definitions into a virtual host.
#[utoipa::path(
    post, path = "/api/definitions/{vhost}", tag = "definitions", params(("vhost" = String, Path)),
    request_body = serde_json::Value,
    responses(
        (status = 200, body = serde_json::Value, description = "Some entries were not imported."),
        (status = 204, description = "Everything was imported."),
        (status = 303, description = "Imported; the form asked to go on to a page."),
        (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 404, body = Refusal)
    )
)]
async fn import_vhost(
    State(api): State<Shared>,
    _: Administrator,
    Path(vhost): Path<String>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, ApiError> {
    let vhost = api.broker.vhost(&vhost);
    let vhost = vhost.ok_or_else(|| ApiError::NotFoundBecause("vhost_not_found".to_owned()))?;
    import_into(&api, &headers, &body, Scope::Vhost(vhost.name().clone())).await
}

async fn import_into(
    api: &Api,
    headers: &HeaderMap,
    body: &[u8],
    scope: Scope,
) -> Result<Response, ApiError> {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let upload = match kind.and_then(boundary) {
        None => Upload {
            file: body,
            redirect: None,
        },
        Some(boundary) => Upload::parse(body, boundary)
            .ok_or_else(|| ApiError::BadRequest("the form has no file".to_owned()))?,
    };
    let broker = std::sync::Arc::clone(&api.broker);
    let (progress, _) = watch::channel(Progress::default());
    let (file, redirect) = (upload.file.to_vec(), upload.redirect.map(str::to_owned));
    // On a task of its own: an import is not cut short when its client leaves.
    let imported = tokio::spawn(async move {
        definitions_file::import(&broker, &file, &scope, Repetition::Import, &progress).await
    });
    let imported = imported
        .await
        .map_err(|error| ApiError::Internal(error.to_string()))??;
    let redirect = redirect.filter(|to| to.len() <= REDIRECT_BYTES_MAX && is_local(to));
    if let Some(to) = redirect
        && let Ok(to) = HeaderValue::try_from(to)
    {
        return Ok((StatusCode::SEE_OTHER, [(LOCATION as HeaderName, to)]).into_response());
    }
    Ok(match imported {
        Imported::Unchanged => StatusCode::NO_CONTENT.into_response(),
        Imported::Now(report) if report.is_complete() => StatusCode::NO_CONTENT.into_response(),
        Imported::Now(report) => Json(report).into_response(),
    })
}

/// Whether an address is a path or fragment of this server's page.
fn is_local(to: &str) -> bool {
    let is_path = to.starts_with('/') && !to.starts_with("//") && !to.contains('\\');
    is_path || to.starts_with('#') || to.starts_with("../") || to.starts_with("./")
}
