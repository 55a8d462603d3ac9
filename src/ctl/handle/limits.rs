//! Limits of users and virtual hosts.

use serde_json::{Map, Value};

use super::super::args::EX_UNAVAILABLE;
use super::super::protocol::Request;
use super::super::service::Context;
use super::permissions::{no_such_user, no_such_vhost};
use super::{Failure, Outcome, Reply, rows};
use crate::broker::limits::{UserLimits, VhostLimits};

pub(super) async fn set_user(ctx: &Context, request: &Request) -> Outcome {
    let user = request.arg(0);
    let mut set = UserLimits::default();
    for (name, limit) in definition(request.arg(1))? {
        match name.as_str() {
            "max-connections" => set.max_connections = Some(number(&name, &limit)?),
            "max-channels" => set.max_channels = Some(number(&name, &limit)?),
            _ => {
                return Err(Failure::error(
                    EX_UNAVAILABLE,
                    unrecognised(&name, &limit, "user-limits"),
                ));
            }
        }
    }
    known_user(ctx, user)?;
    // Limits that are not named stay as they are.
    let merge = |limits: &mut UserLimits| {
        limits.max_connections = set.max_connections.or(limits.max_connections);
        limits.max_channels = set.max_channels.or(limits.max_channels);
    };
    ctx.users().set_limits(user, merge).await?;
    Ok(Reply::Done)
}

pub(super) async fn clear_user(ctx: &Context, request: &Request) -> Outcome {
    let (user, kind) = (request.arg(0), request.arg(1));
    known_user(ctx, user)?;
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
            return Ok(none());
        }
        return rows(&["user", "limits"], limited);
    }
    let user = request.options.get("user").map_or("guest", String::as_str);
    known_user(ctx, user)?;
    Ok(Reply::Message(json(&ctx.users().limits(user))))
}

pub(super) async fn set_vhost(ctx: &Context, request: &Request) -> Outcome {
    let vhost = request.vhost();
    let mut set = VhostLimits::default();
    for (name, limit) in definition(request.arg(0))? {
        match name.as_str() {
            "max-connections" => set.max_connections = Some(number(&name, &limit)?),
            "max-queues" => set.max_queues = Some(number(&name, &limit)?),
            _ => {
                let text = format!(
                    "Validation failed\n\n{}\n",
                    unrecognised(&name, &limit, "limits")
                );
                return Err(Failure::error(EX_UNAVAILABLE, text));
            }
        }
    }
    if !ctx.has_vhost(vhost) {
        return Err(no_such_vhost(vhost));
    }
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
            return Ok(none());
        }
        let limited = limited
            .iter()
            .map(|(vhost, limits)| vec![(**vhost).into(), json(limits).into()])
            .collect();
        return rows(&["vhost", "limits"], limited);
    }
    let vhost = request.vhost();
    if !ctx.has_vhost(vhost) {
        return Err(no_such_vhost(vhost));
    }
    let limits = ctx.limits().of_vhost(vhost);
    if limits == VhostLimits::default() {
        return Ok(none());
    }
    let text = json(&limits);
    let json = serde_json::json!({ "node": crate::node::name(), "result": "ok", "value": text });
    Ok(Reply::Report { text, json })
}

/// No limits are set: an empty line for people, an empty list for programs.
fn none() -> Reply {
    Reply::Report {
        text: String::new(),
        json: Value::Array(Vec::new()),
    }
}

fn known_user(ctx: &Context, user: &str) -> Result<(), Failure> {
    if ctx.users().get(user).is_some() {
        Ok(())
    } else {
        Err(no_such_user(user))
    }
}

fn json(limits: &impl serde::Serialize) -> String {
    serde_json::to_string(limits).unwrap_or_default()
}

/// The object that a definition is.
fn definition(text: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(text).map_err(|_| {
        let text = format!(
            "Could not parse JSON document: {{error,{{failed_to_decode_json,<<\"{text}\">>}}}}"
        );
        Failure::error(EX_UNAVAILABLE, text)
    })
}

fn number(name: &str, limit: &Value) -> Result<i64, Failure> {
    limit.as_i64().ok_or_else(|| {
        Failure::error(
            EX_UNAVAILABLE,
            format!("{name} should be a number, actually was {}", erlang(limit)),
        )
    })
}

fn unrecognised(name: &str, limit: &Value, of: &str) -> String {
    format!(
        "Unrecognised terms [{{<<\"{name}\">>,{}}}] in {of}",
        erlang(limit)
    )
}

/// A JSON value the way RabbitMQ's messages show it.
fn erlang(value: &Value) -> String {
    match value {
        Value::String(text) => format!("<<\"{text}\">>"),
        other => other.to_string(),
    }
}
