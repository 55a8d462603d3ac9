//! Bindings: lists in all forms, one binding, making and removing them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use xxhash_rust::xxh3::xxh3_64;

use super::api::Shared;
use super::caller::Caller;
use super::error::{ApiError, Refusal};
use super::json::{Json, table};
use super::listing::{self, ListQuery, Listing, Row};
use super::path::{Path, exchange_name};
use crate::broker::exchange::{Binding, Destination};
use crate::broker::vhost::Vhost;
use crate::wire::table_to_json;

/// How a key without text is written.
const NO_KEY: &str = "~";
/// Bytes that stay as they are in keys.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b' ');

/// Bytes that stay as they are in a path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_vhost))
        .routes(routes!(list_between, bind))
        .routes(routes!(get, unbind))
        .routes(routes!(list_from))
        .routes(routes!(list_to_exchange))
        .routes(routes!(list_to_queue))
}

/// A binding.
#[derive(Serialize, ToSchema)]
struct BindingJson {
    /// The exchange that messages come from; empty for the default exchange.
    source: String,
    vhost: String,
    destination: String,
    /// `queue` or `exchange`.
    destination_type: &'static str,
    routing_key: String,
    arguments: Map<String, Value>,
    /// Names the binding among those of its source and destination.
    properties_key: String,
}

struct BindingRow {
    vhost: Arc<Vhost>,
    binding: Arc<Binding>,
}

impl Row for BindingRow {
    type Json = BindingJson;

    fn json(&self) -> BindingJson {
        let binding = &self.binding;
        BindingJson {
            source: binding.source.to_string(),
            vhost: self.vhost.name().to_string(),
            destination: binding.destination.name().to_string(),
            destination_type: match binding.destination {
                Destination::Queue(_) => "queue",
                Destination::Exchange(_) => "exchange",
            },
            routing_key: binding.routing_key.to_string(),
            arguments: table_to_json(&binding.arguments),
            properties_key: properties_key(binding),
        }
    }

    fn vhost(&self) -> &str {
        self.vhost.name()
    }

    fn name(&self) -> &str {
        &self.binding.source
    }
}

/// The routing key, quoted, and a hash of the arguments.
fn properties_key(binding: &Binding) -> String {
    let key = utf8_percent_encode(&binding.routing_key, QUOTED).to_string();
    let key = key.replace(' ', "+");
    match (key.as_str(), binding.encoded_arguments()) {
        ("", []) => NO_KEY.to_owned(),
        (_, []) => key,
        (_, arguments) => {
            let hash = xxh3_64(arguments).to_be_bytes();
            format!("{key}~{}", BASE64_URL_SAFE_NO_PAD.encode(hash))
        }
    }
}

/// Whether a path means this binding. As RabbitMQ, it also takes a key that was quoted once less.
fn is_meant(binding: &Binding, properties: &str) -> bool {
    let unquoted = properties.replace('+', " ");
    let unquoted = percent_decode_str(&unquoted).decode_utf8_lossy();
    let is_plain = binding.encoded_arguments().is_empty();
    properties_key(binding) == properties || (is_plain && *binding.routing_key == *unquoted)
}

/// The bindings of some virtual hosts that `is_shown` selects.
fn rows(vhosts: &[Arc<Vhost>], is_shown: impl Fn(&Binding) -> bool) -> Vec<BindingRow> {
    let of_vhost = |vhost: &Arc<Vhost>| {
        let vhost = Arc::clone(vhost);
        let bindings = vhost.bindings().into_iter();
        bindings.map(move |binding| BindingRow {
            vhost: Arc::clone(&vhost),
            binding,
        })
    };
    let all = vhosts.iter().flat_map(of_vhost);
    all.filter(|row| is_shown(&row.binding)).collect()
}

/// The destination that a path names: `q` before a queue, `e` before an exchange.
fn destination(kind: &str, name: &str) -> Result<Destination, ApiError> {
    match kind {
        "q" => Ok(Destination::Queue(name.into())),
        "e" => Ok(Destination::Exchange(exchange_name(name).into())),
        _ => Err(ApiError::NotFound),
    }
}

/// Source and destination of a path, which have to exist.
fn ends(
    vhost: &Vhost,
    source: &str,
    kind: &str,
    name: &str,
) -> Result<(String, Destination), ApiError> {
    let source = exchange_name(source).to_owned();
    let destination = destination(kind, name)?;
    let has_destination = match &destination {
        Destination::Queue(name) => vhost.queue(name).is_some(),
        Destination::Exchange(name) => vhost.exchange(name).is_some(),
    };
    match has_destination && vhost.exchange(&source).is_some() {
        true => Ok((source, destination)),
        false => Err(ApiError::NotFound),
    }
}

/// All bindings.
#[utoipa::path(
    get, path = "/api/bindings", tag = "bindings", params(ListQuery),
    responses((status = 200, body = Listing<BindingJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn list(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhosts = caller.visible_vhosts(&api, None)?;
    listing::list(&query, rows(&vhosts, |_| true)).await
}

/// The bindings of a virtual host.
#[utoipa::path(
    get, path = "/api/bindings/{vhost}", tag = "bindings", params(("vhost" = String, Path), ListQuery),
    responses(
        (status = 200, body = Listing<BindingJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_of_vhost(
    State(api): State<Shared>,
    caller: Caller,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhosts = caller.visible_vhosts(&api, Some(&vhost))?;
    listing::list(&query, rows(&vhosts, |_| true)).await
}

/// The bindings from an exchange to a queue (`q`) or exchange (`e`).
#[utoipa::path(
    get, path = "/api/bindings/{vhost}/e/{source}/{kind}/{destination}", tag = "bindings",
    params(
        ("vhost" = String, Path), ("source" = String, Path), ("kind" = String, Path),
        ("destination" = String, Path), ListQuery
    ),
    responses(
        (status = 200, body = Listing<BindingJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_between(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, source, kind, name)): Path<(String, String, String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhost = caller.visible_vhost(&api, &vhost)?;
    let (source, destination) = ends(&vhost, &source, &kind, &name)?;
    let is_shown =
        |binding: &Binding| *binding.source == *source && binding.destination == destination;
    listing::list(&query, rows(&[vhost], is_shown)).await
}

/// What distinguishes a new binding.
#[derive(Debug, Deserialize, ToSchema)]
struct NewBinding {
    /// Empty unless given.
    #[schema(value_type = Option<String>)]
    routing_key: Option<Value>,
    #[schema(value_type = Option<Object>)]
    arguments: Option<Value>,
}

/// Binds a queue (`q`) or exchange (`e`) to an exchange. The answer's `location` ends with the properties key.
#[utoipa::path(
    post, path = "/api/bindings/{vhost}/e/{source}/{kind}/{destination}", tag = "bindings",
    params(
        ("vhost" = String, Path), ("source" = String, Path), ("kind" = String, Path), ("destination" = String, Path)
    ),
    request_body = NewBinding,
    responses(
        (status = 201, description = "Bound."), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn bind(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, source, kind, name)): Path<(String, String, String, String)>,
    Json(body): Json<NewBinding>,
) -> Result<Response, ApiError> {
    let vhost = caller.vhost_to_change(&api, &vhost)?;
    let (source, destination) = (exchange_name(&source), destination(&kind, &name)?);
    let routing_key = match body.routing_key {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(key)) => key,
        Some(other) => return Err(ApiError::BadValue("not_string", other)),
    };
    if routing_key.len() > usize::from(u8::MAX) {
        let reason = "the routing key is longer than 255 bytes";
        return Err(ApiError::BadRequest(reason.to_owned()));
    }
    let arguments = table(body.arguments.as_ref())?;
    let made = Binding::new(
        source.into(),
        destination.clone(),
        routing_key.as_str().into(),
        arguments.clone(),
    );
    let session = caller.session(&api, vhost);
    session
        .bind(destination, source, &routing_key, arguments)
        .await?;
    let quote = |text: &str| utf8_percent_encode(text, IN_PATH).to_string();
    let location = format!("{}/{}", quote(&name), quote(&properties_key(&made)));
    let location = HeaderValue::try_from(location);
    let location = location.map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok((StatusCode::CREATED, [(LOCATION, location)]).into_response())
}

/// The one binding of a path.
fn find(
    vhost: &Arc<Vhost>,
    source: &str,
    kind: &str,
    name: &str,
    properties: &str,
) -> Result<BindingRow, ApiError> {
    let (source, destination) = ends(vhost, source, kind, name)?;
    let is_shown = |binding: &Binding| {
        *binding.source == *source
            && binding.destination == destination
            && is_meant(binding, properties)
    };
    let found = rows(std::slice::from_ref(vhost), is_shown);
    found.into_iter().next().ok_or(ApiError::NotFound)
}

/// One binding.
#[utoipa::path(
    get, path = "/api/bindings/{vhost}/e/{source}/{kind}/{destination}/{properties}", tag = "bindings",
    params(
        ("vhost" = String, Path), ("source" = String, Path), ("kind" = String, Path),
        ("destination" = String, Path), ("properties" = String, Path), ("columns" = Option<String>, Query)
    ),
    responses((status = 200, body = BindingJson), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn get(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, source, kind, name, properties)): Path<(String, String, String, String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhost = caller.visible_vhost(&api, &vhost)?;
    let row = find(&vhost, &source, &kind, &name, &properties)?;
    listing::object(&query, &row.json())
}

/// Removes a binding.
#[utoipa::path(
    delete, path = "/api/bindings/{vhost}/e/{source}/{kind}/{destination}/{properties}", tag = "bindings",
    params(
        ("vhost" = String, Path), ("source" = String, Path), ("kind" = String, Path),
        ("destination" = String, Path), ("properties" = String, Path)
    ),
    responses(
        (status = 204, description = "Removed."), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn unbind(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, source, kind, name, properties)): Path<(String, String, String, String, String)>,
) -> Result<StatusCode, ApiError> {
    let vhost = caller.vhost(&api, &vhost)?;
    let BindingRow { binding, .. } = find(&vhost, &source, &kind, &name, &properties)?;
    let Binding {
        source,
        destination,
        routing_key,
        arguments,
        ..
    } = &*binding;
    let session = caller.session(&api, vhost);
    session
        .unbind(destination.clone(), source, routing_key, arguments.clone())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The bindings from an exchange.
#[utoipa::path(
    get, path = "/api/exchanges/{vhost}/{name}/bindings/source", tag = "bindings",
    params(("vhost" = String, Path), ("name" = String, Path), ListQuery),
    responses(
        (status = 200, body = Listing<BindingJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_from(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhost = caller.visible_vhost(&api, &vhost)?;
    let name = exchange_name(&name);
    vhost.exchange(name).ok_or(ApiError::NotFound)?;
    let rows = rows(&[vhost], |binding| *binding.source == *name);
    listing::list(&query, rows).await
}

/// The bindings to an exchange.
#[utoipa::path(
    get, path = "/api/exchanges/{vhost}/{name}/bindings/destination", tag = "bindings",
    params(("vhost" = String, Path), ("name" = String, Path), ListQuery),
    responses(
        (status = 200, body = Listing<BindingJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_to_exchange(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhost = caller.visible_vhost(&api, &vhost)?;
    let name = exchange_name(&name);
    vhost.exchange(name).ok_or(ApiError::NotFound)?;
    let destination = Destination::Exchange(name.into());
    let rows = rows(&[vhost], |binding| binding.destination == destination);
    listing::list(&query, rows).await
}

/// The bindings to a queue.
#[utoipa::path(
    get, path = "/api/queues/{vhost}/{name}/bindings", tag = "bindings",
    params(("vhost" = String, Path), ("name" = String, Path), ListQuery),
    responses(
        (status = 200, body = Listing<BindingJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_to_queue(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhost = caller.visible_vhost(&api, &vhost)?;
    vhost.queue(&name).ok_or(ApiError::NotFound)?;
    let destination = Destination::Queue(name.as_str().into());
    let rows = rows(&[vhost], |binding| binding.destination == destination);
    listing::list(&query, rows).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{AMQPValue, FieldTable};

    fn binding(key: &str, arguments: &[(&str, i64)]) -> Binding {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), AMQPValue::LongLongInt(*value));
        }
        let to = Destination::Queue("q".into());
        Binding::new("e".into(), to, key.into(), table)
    }

    #[test]
    fn the_properties_key_quotes_the_routing_key_and_hashes_the_arguments() {
        for (key, expected) in [
            ("", "~"),
            ("k", "k"),
            ("a b/c", "a+b%2Fc"),
            ("a~b", "a%7Eb"),
            ("ä.*#", "%C3%A4.%2A%23"),
        ] {
            assert_eq!(properties_key(&binding(key, &[])), expected);
        }
        let (one, two) = (binding("k", &[("n", 1)]), binding("k", &[("n", 2)]));
        assert!(properties_key(&one).starts_with("k~"));
        assert_ne!(properties_key(&one), properties_key(&two));
        assert!(properties_key(&binding("", &[("n", 1)])).starts_with('~'));
    }

    #[test]
    fn a_path_means_the_binding_with_its_key() {
        let plain = binding("a b/c", &[]);
        for meant in ["a+b%2Fc", "a b/c", "a+b/c"] {
            assert!(is_meant(&plain, meant), "{meant}");
        }
        assert!(!is_meant(&plain, "a+b"));
        let other = binding("a b/c", &[("n", 1)]);
        assert!(!is_meant(&other, "a b/c"));
        assert!(is_meant(&other, &properties_key(&other)));
        assert!(is_meant(&binding("", &[]), "~"));
    }
}
