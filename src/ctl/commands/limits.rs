//! Limits of users and virtual hosts: set, clear, list.

use serde_json::{Map, Value};

use super::lookup::{user_exists, vhost_exists};
use super::parameters::not_json;
use crate::broker::limits::{UserLimits, VhostLimits};
use crate::broker::parameters::ParameterError;
use crate::ctl::context::Context;
use crate::ctl::exit_code::EX_UNAVAILABLE;
use crate::ctl::outcome::{Failure, Outcome, Reply, rows};
use crate::ctl::protocol::Request;

pub(super) async fn set_user(ctx: &Context, request: &Request) -> Outcome {
    let user = request.arg(0);
    let set = UserLimits::from_json(&definition(request.arg(1))?)
        .map_err(|invalid| Failure::error(EX_UNAVAILABLE, invalid))?;
    user_exists(ctx, user)?;
    // Limits that the definition does not name stay as they are.
    let merge = |limits: &mut UserLimits| {
        limits.max_connections = set.max_connections.or(limits.max_connections);
        limits.max_channels = set.max_channels.or(limits.max_channels);
    };
    ctx.users().set_limits(user, merge).await?;
    Ok(Reply::Done)
}

pub(super) async fn clear_user(ctx: &Context, request: &Request) -> Outcome {
    let (user, kind) = (request.arg(0), request.arg(1));
    user_exists(ctx, user)?;
    let clear = |limits: &mut UserLimits| match kind {
        "all" => *limits = UserLimits::default(),
        "max-connections" => limits.max_connections = None,
        "max-channels" => limits.max_channels = None,
        // A limit that does not exist is cleared already, as in RabbitMQ.
        _ => {}
    };
    ctx.users().set_limits(user, clear).await?;
    Ok(Reply::Done)
}

pub(super) fn list_user(ctx: &Context, request: &Request) -> Outcome {
    if request.has("global") {
        let users = ctx.users().list();
        let limited = users
            .iter()
            .filter(|user| user.limits != UserLimits::default());
        let limited = limited
            .map(|user| vec![(*user.name).into(), json(&user.limits).into()])
            .collect::<Vec<_>>();
        if limited.is_empty() {
            return Ok(no_limits());
        }
        return rows(&["user", "limits"], limited);
    }
    let user = request.options.get("user").map_or("guest", String::as_str);
    user_exists(ctx, user)?;
    Ok(Reply::Message(json(&ctx.users().limits(user))))
}

pub(super) async fn set_vhost(ctx: &Context, request: &Request) -> Outcome {
    let vhost = request.vhost();
    let set = VhostLimits::from_json(&definition(request.arg(0))?)
        .map_err(|invalid| ParameterError::Invalid(invalid.to_string()))?;
    vhost_exists(ctx, vhost)?;
    ctx.limits().set(vhost, set).await?;
    Ok(Reply::Done)
}

pub(super) async fn clear_vhost(ctx: &Context, request: &Request) -> Outcome {
    if ctx.limits().clear(request.vhost()).await? {
        Ok(Reply::Done)
    } else {
        Err(Failure::error(EX_UNAVAILABLE, "Parameter does not exist"))
    }
}

pub(super) fn list_vhost(ctx: &Context, request: &Request) -> Outcome {
    if request.has("global") {
        let limited = ctx.limits().list();
        if limited.is_empty() {
            return Ok(no_limits());
        }
        let limited = limited
            .iter()
            .map(|(vhost, limits)| vec![(**vhost).into(), json(limits).into()])
            .collect();
        return rows(&["vhost", "limits"], limited);
    }
    let vhost = request.vhost();
    vhost_exists(ctx, vhost)?;
    let limits = ctx.limits().of_vhost(vhost);
    if limits == VhostLimits::default() {
        return Ok(no_limits());
    }
    let text = json(&limits);
    let json = serde_json::json!({ "node": crate::node::name(), "result": "ok", "value": text });
    Ok(Reply::Report { text, json })
}

/// No limits: an empty line for people, an empty list for programs.
fn no_limits() -> Reply {
    Reply::Report {
        text: String::new(),
        json: Value::Array(Vec::new()),
    }
}

fn json(limits: &impl serde::Serialize) -> String {
    serde_json::to_string(limits).unwrap_or_default()
}

/// Parses a definition, which is a JSON object.
fn definition(text: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(text).map_err(|_| not_json(text))
}
