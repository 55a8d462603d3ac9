//! Connections and channels: list, close.

use super::amqp_values;
use crate::ctl::context::Context;
use crate::ctl::exit_code::{EX_DATAERR, EX_UNAVAILABLE};
use crate::ctl::outcome::{Failure, Outcome, Reply, listing};
use crate::ctl::protocol::{Cell, Request};
use crate::model::TlsInfo;
use crate::views::{ChannelView, ConnectionView};

pub(super) fn list(ctx: &Context, request: &Request) -> Outcome {
    listing(request, ctx.views.connections(), cell)
}

fn cell(connection: &ConnectionView, column: &str) -> Cell {
    let status = &connection.status;
    let info = &connection.info;
    match column {
        "pid" => info.pid().into(),
        "name" => info.name().into(),
        "port" => info.local.port().into(),
        "host" => info.local.ip().to_string().into(),
        "peer_port" => info.peer.port().into(),
        "peer_host" => info.peer.ip().to_string().into(),
        "ssl" => info.tls.is_some().into(),
        "state" => status.state.as_str().into(),
        "channels" => status.channels.len().into(),
        "protocol" => "{0,9,1}".into(),
        "auth_mechanism" => (*info.auth_mechanism).into(),
        "user" => (*info.user).into(),
        "vhost" => (*info.vhost).into(),
        "timeout" => info.heartbeat_secs.into(),
        "frame_max" => info.frame_max.into(),
        "channel_max" => info.channel_max.into(),
        "client_properties" => amqp_values::table(&info.client_properties),
        "connected_at" => info.connected_at_ms.into(),
        "recv_oct" => status.received_bytes.into(),
        "recv_cnt" => status.reads.into(),
        "send_oct" => status.sent_bytes.into(),
        "send_cnt" => status.writes.into(),
        "send_pend" => status.pending_bytes.into(),
        _ => tls_cell(info.tls.as_deref(), column),
    }
}

/// Empty without TLS, as in RabbitMQ; so is what concerns a certificate if the client has shown none.
fn tls_cell(tls: Option<&TlsInfo>, column: &str) -> Cell {
    let certificate = tls.and_then(|tls| tls.certificate.as_ref());
    let text = match column {
        "ssl_protocol" => tls.map(|tls| tls.protocol),
        "ssl_key_exchange" => tls.map(|tls| tls.key_exchange),
        "ssl_cipher" => tls.map(|tls| tls.cipher),
        "ssl_hash" => tls.map(|tls| tls.hash),
        "peer_cert_subject" => certificate.map(|certificate| certificate.subject.as_str()),
        "peer_cert_issuer" => certificate.map(|certificate| certificate.issuer.as_str()),
        "peer_cert_validity" => certificate.map(|certificate| certificate.validity.as_str()),
        _ => None,
    };
    text.map_or(Cell::Nothing, Cell::from)
}

pub(super) fn list_channels(ctx: &Context, request: &Request) -> Outcome {
    listing(request, ctx.views.channels(), channel_cell)
}

fn channel_cell(channel: &ChannelView, column: &str) -> Cell {
    let (info, status) = (&channel.connection, &channel.status);
    match column {
        "pid" => channel.pid().into(),
        "connection" => info.pid().into(),
        "name" => channel.name().into(),
        "number" => status.number.into(),
        "user" => (*info.user).into(),
        "vhost" => (*info.vhost).into(),
        "transactional" => status.transactional.into(),
        "confirm" => status.confirm.into(),
        "consumer_count" => status.consumers.into(),
        "messages_unacknowledged" => status.unacknowledged.into(),
        "messages_uncommitted" => status.uncommitted.into(),
        "messages_unconfirmed" => status.unconfirmed.into(),
        "prefetch_count" => status.prefetch.into(),
        _ => Cell::Nothing,
    }
}

/// Closes one connection. To close one that is gone is no error, as in RabbitMQ.
pub(super) fn close(ctx: &Context, request: &Request) -> Outcome {
    let pid = request.arg(0);
    if !(pid.starts_with('<') && pid.ends_with('>') && pid.split('.').count() == 4) {
        let text = format!("Error:\n{{:invalid_pid_syntax, \"{pid}\"}}");
        return Err(Failure::error(EX_UNAVAILABLE, text));
    }
    ctx.connections()
        .close_where(request.arg(1), |info| info.pid() == pid);
    Ok(Reply::Done)
}

pub(super) fn close_all(ctx: &Context, request: &Request) -> Outcome {
    let vhost = (!request.has("global")).then(|| request.vhost());
    let limit = match request
        .options
        .get("limit")
        .map(|limit| limit.parse::<usize>())
    {
        None | Some(Ok(0)) => usize::MAX,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => {
            return Err(Failure::error(EX_DATAERR, "Bad argument: --limit"));
        }
    };
    let all = ctx.connections().list().into_iter();
    let chosen = all
        .filter(|c| vhost.is_none_or(|vhost| *c.info.vhost == *vhost))
        .take(limit);
    let closed = chosen
        .map(|connection| connection.close(request.arg(0)))
        .count();
    Ok(Reply::Message(format!("Closed {closed} connections")))
}

pub(super) fn close_all_of_user(ctx: &Context, request: &Request) -> Outcome {
    ctx.connections()
        .close_where(request.arg(1), |info| *info.user == *request.arg(0));
    Ok(Reply::Done)
}
