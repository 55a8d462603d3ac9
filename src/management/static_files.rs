//! The files of the web page, which are part of the binary. They need no login; all that they show comes from the API.

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use rust_embed::{EmbeddedFile, RustEmbed};

use super::error::ApiError;

/// Scripts, styles and requests come from this broker only; no page of others may frame it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'",
);
/// Browsers ask each time whether a file has changed: after an upgrade no old file is used.
const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("no-cache");

#[derive(RustEmbed)]
#[folder = "src/management/page"]
struct Page;

/// The file of a path outside `/api`.
pub(super) async fn serve(uri: Uri, headers: HeaderMap) -> Response {
    let path = percent_decode_str(uri.path()).decode_utf8_lossy();
    let path = match path.trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    match Page::get(path) {
        Some(file) => respond(path, file, &headers),
        None => ApiError::NotFound.into_response(),
    }
}

fn respond(path: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    let etag = etag(&file);
    let is_known = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .any(|known| known.as_bytes() == etag.as_bytes());
    let (status, body) = match is_known {
        true => (StatusCode::NOT_MODIFIED, Body::empty()),
        false => (StatusCode::OK, Body::from(file.data)),
    };
    let mut response = (status, body).into_response();
    let response_headers = response.headers_mut();
    response_headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    response_headers.insert(ETAG, etag);
    response_headers.insert(CACHE_CONTROL, ASK_EACH_TIME);
    response_headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    response
}

fn etag(file: &EmbeddedFile) -> HeaderValue {
    let hash = file.metadata.sha256_hash();
    let begin = hash.iter().take(16);
    let hex: String = begin.map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

fn content_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension);
    match extension {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("json") => "application/json",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}
