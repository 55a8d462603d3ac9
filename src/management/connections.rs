//! Connections: lists, one connection, closing them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Shared;
use super::caller::Caller;
use super::error::{ApiError, Refusal};
use super::listing::{self, ListQuery, Listing, Row};
use super::path::Path;
use super::ranges::{RangeQuery, Ranges};
use super::stats_json::Look;
use crate::model::TlsInfo;
use crate::views::{ConnectionView, Depth};
use crate::wire::table_to_json;

/// The header with the reason that the client of a closed connection sees.
const REASON_HEADER: &str = "x-reason";
const DEFAULT_REASON: &str = "Closed via management plugin";

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_vhost))
        .routes(routes!(get, close))
        .routes(routes!(list_sessions))
        .routes(routes!(list_of_user, close_of_user))
}

/// A connection of an AMQP client.
#[derive(Serialize, ToSchema)]
struct ConnectionJson {
    name: String,
    vhost: String,
    user: String,
    user_who_performed_action: String,
    node: String,
    r#type: &'static str,
    protocol: &'static str,
    auth_mechanism: String,
    /// The name that the client has given to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_provided_name: Option<String>,
    client_properties: Map<String, Value>,
    /// Milliseconds since the Unix epoch.
    connected_at: u64,
    state: &'static str,
    channels: usize,
    channel_max: u16,
    frame_max: u32,
    /// Heartbeat interval in seconds; 0 is none.
    timeout: u16,
    host: String,
    port: u16,
    peer_host: String,
    peer_port: u16,
    ssl: bool,
    #[serde(flatten)]
    tls: TlsJson,
    recv_oct: u64,
    recv_oct_details: Value,
    recv_cnt: u64,
    send_oct: u64,
    send_oct_details: Value,
    send_cnt: u64,
    /// Bytes that wait to be sent.
    send_pend: u64,
}

/// TLS and the certificate of the client; empty texts without.
#[derive(Default, Serialize, ToSchema)]
struct TlsJson {
    ssl_protocol: &'static str,
    ssl_key_exchange: &'static str,
    ssl_cipher: &'static str,
    ssl_hash: &'static str,
    peer_cert_subject: String,
    peer_cert_issuer: String,
    peer_cert_serial_number: String,
    peer_cert_validity: String,
}

impl TlsJson {
    fn of(tls: Option<&TlsInfo>) -> TlsJson {
        let Some(tls) = tls else {
            return TlsJson::default();
        };
        let mut json = TlsJson {
            ssl_protocol: tls.protocol,
            ssl_key_exchange: tls.key_exchange,
            ssl_cipher: tls.cipher,
            ssl_hash: tls.hash,
            ..TlsJson::default()
        };
        if let Some(certificate) = &tls.certificate {
            json.peer_cert_subject.clone_from(&certificate.subject);
            json.peer_cert_issuer.clone_from(&certificate.issuer);
            json.peer_cert_serial_number
                .clone_from(&certificate.serial_number);
            json.peer_cert_validity.clone_from(&certificate.validity);
        }
        json
    }
}

struct ConnectionRow {
    api: Shared,
    view: ConnectionView,
    name: String,
    depth: Depth,
    ranges: Ranges,
}

impl ConnectionRow {
    fn new(api: &Shared, view: ConnectionView, depth: Depth, ranges: Ranges) -> ConnectionRow {
        ConnectionRow {
            api: Arc::clone(api),
            name: view.info.name(),
            view,
            depth,
            ranges,
        }
    }
}

impl Row for ConnectionRow {
    type Json = ConnectionJson;

    fn json(&self) -> ConnectionJson {
        let ConnectionView { info, status } = &self.view;
        let subject = self.view.subject();
        let look = Look::at(&self.api.views, &subject, self.depth, self.ranges);
        let client_properties = table_to_json(&info.client_properties);
        let name = client_properties.get("connection_name");
        ConnectionJson {
            name: self.name.clone(),
            vhost: info.vhost.to_string(),
            user: info.user.to_string(),
            user_who_performed_action: info.user.to_string(),
            node: self.api.node.clone(),
            r#type: "network",
            protocol: "AMQP 0-9-1",
            auth_mechanism: info.auth_mechanism.to_string(),
            user_provided_name: name.and_then(Value::as_str).map(str::to_owned),
            client_properties,
            connected_at: info.connected_at_ms,
            state: status.state.as_str(),
            channels: status.channels.len(),
            channel_max: info.channel_max,
            frame_max: info.frame_max,
            timeout: info.heartbeat_secs,
            host: info.local.ip().to_string(),
            port: info.local.port(),
            peer_host: info.peer.ip().to_string(),
            peer_port: info.peer.port(),
            ssl: info.tls.is_some(),
            tls: TlsJson::of(info.tls.as_deref()),
            recv_oct: status.received_bytes,
            recv_oct_details: look.bytes(|values| values.received_bytes),
            recv_cnt: status.reads,
            send_oct: status.sent_bytes,
            send_oct_details: look.bytes(|values| values.sent_bytes),
            send_cnt: status.writes,
            send_pend: status.pending_bytes,
        }
    }

    fn vhost(&self) -> &str {
        &self.view.info.vhost
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// The connections that the caller may see, of one virtual host if one is chosen.
pub(super) fn seen(api: &Shared, caller: &Caller, vhost: Option<&str>) -> Vec<ConnectionView> {
    let mut all = api.views.connections();
    all.retain(|view| {
        vhost.is_none_or(|vhost| *view.info.vhost == *vhost) && caller.sees_connection(&view.info)
    });
    all
}

fn rows(api: &Shared, caller: &Caller, vhost: Option<&str>, ranges: Ranges) -> Vec<ConnectionRow> {
    let views = seen(api, caller, vhost).into_iter();
    views
        .map(|view| ConnectionRow::new(api, view, Depth::Rate, ranges))
        .collect()
}

/// The connection of a path, if the caller may see it.
pub(super) fn find(api: &Shared, caller: &Caller, name: &str) -> Result<ConnectionView, ApiError> {
    let view = api.views.connection(name).ok_or(ApiError::NotFound)?;
    match caller.sees_connection(&view.info) {
        true => Ok(view),
        false => Err(not_authorised()),
    }
}

fn not_authorised() -> ApiError {
    ApiError::NotAuthorised("User not authorised to access object".to_owned())
}

/// All open connections; a user who is no monitor sees its own.
#[utoipa::path(
    get, path = "/api/connections", tag = "connections", params(ListQuery, RangeQuery),
    responses((status = 200, body = Listing<ConnectionJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn list(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let rows = rows(&api, &caller, caller.chosen_vhost(), ranges);
    listing::list(&query, rows).await
}

/// The open connections to a virtual host.
#[utoipa::path(
    get, path = "/api/vhosts/{vhost}/connections", tag = "connections",
    params(("vhost" = String, Path), ListQuery, RangeQuery),
    responses(
        (status = 200, body = Listing<ConnectionJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_of_vhost(
    State(api): State<Shared>,
    caller: Caller,
    Path(vhost): Path<String>,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let vhost = caller.visible_vhost(&api, &vhost)?;
    let rows = rows(&api, &caller, Some(vhost.name()), ranges);
    listing::list(&query, rows).await
}

/// One connection.
#[utoipa::path(
    get, path = "/api/connections/{name}", tag = "connections",
    params(("name" = String, Path), ("columns" = Option<String>, Query), RangeQuery),
    responses(
        (status = 200, body = ConnectionJson), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn get(
    State(api): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let view = find(&api, &caller, &name)?;
    let row = ConnectionRow::new(&api, view, Depth::History, ranges);
    listing::object(&query, &row.json())
}

/// Closes a connection with 320. The header `X-Reason` has the reason for its client.
#[utoipa::path(
    delete, path = "/api/connections/{name}", tag = "connections", params(("name" = String, Path)),
    responses(
        (status = 204, description = "It is closing."), (status = 401, body = Refusal), (status = 404, body = Refusal)
    )
)]
async fn close(
    State(api): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let view = api.views.connection(&name).ok_or(ApiError::NotFound)?;
    check_closes(&caller, &view.info.user)?;
    let id = view.info.id;
    let connections = api.broker.connections();
    connections.close_where(&reason(&headers), |info| info.id == id);
    Ok(StatusCode::NO_CONTENT)
}

/// Users close their own connections, administrators all.
fn check_closes(caller: &Caller, user: &str) -> Result<(), ApiError> {
    match caller.is_administrator() || *caller.user.name == *user {
        true => Ok(()),
        false => Err(not_authorised()),
    }
}

fn reason(headers: &HeaderMap) -> String {
    let given = headers.get(REASON_HEADER);
    let given = given.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
    given.unwrap_or_else(|| DEFAULT_REASON.to_owned())
}

/// The sessions of a connection, which AMQP 0-9-1 does not have.
#[utoipa::path(
    get, path = "/api/connections/{name}/sessions", tag = "connections", params(("name" = String, Path)),
    responses((status = 400, body = Refusal), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn list_sessions(
    State(api): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    find(&api, &caller, &name)?;
    let reason = "connection does not use AMQP 1.0";
    Err(ApiError::BadRequest(reason.to_owned()))
}

/// A connection of a user.
#[derive(Serialize, ToSchema)]
struct UserConnection {
    name: String,
    vhost: String,
    user: String,
    node: String,
}

struct UserConnectionRow(ConnectionRow);

impl Row for UserConnectionRow {
    type Json = UserConnection;

    fn json(&self) -> UserConnection {
        let row = &self.0;
        UserConnection {
            name: row.name.clone(),
            vhost: row.view.info.vhost.to_string(),
            user: row.view.info.user.to_string(),
            node: row.api.node.clone(),
        }
    }

    fn vhost(&self) -> &str {
        self.0.vhost()
    }

    fn name(&self) -> &str {
        self.0.name()
    }
}

/// The open connections of a user.
#[utoipa::path(
    get, path = "/api/connections/username/{user}", tag = "connections", params(("user" = String, Path), ListQuery),
    responses((status = 200, body = Listing<UserConnection>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn list_of_user(
    State(api): State<Shared>,
    caller: Caller,
    Path(user): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    if !caller.is_monitor() && *caller.user.name != *user {
        return Err(not_authorised());
    }
    let mut rows = rows(&api, &caller, caller.chosen_vhost(), Ranges::default());
    rows.retain(|row| *row.view.info.user == *user);
    let rows = rows.into_iter().map(UserConnectionRow).collect();
    listing::list(&query, rows).await
}

/// Closes all connections of a user with 320. The header `X-Reason` has the reason for its clients.
#[utoipa::path(
    delete, path = "/api/connections/username/{user}", tag = "connections", params(("user" = String, Path)),
    responses((status = 204, description = "They are closing."), (status = 401, body = Refusal))
)]
async fn close_of_user(
    State(api): State<Shared>,
    caller: Caller,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    check_closes(&caller, &user)?;
    let connections = api.broker.connections();
    connections.close_where(&reason(&headers), |info| *info.user == *user);
    Ok(StatusCode::NO_CONTENT)
}
