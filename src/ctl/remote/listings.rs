//! Listings with columns: queues, exchanges, bindings, consumers, connections, channels, virtual hosts.

use serde_json::Value;

use super::cells::{cell, definition, field, items, text, words};
use super::http::Http;
use crate::ctl::exit_code::{EX_DATAERR, EX_USAGE};
use crate::ctl::outcome::{Failure, Outcome, listing};
use crate::ctl::protocol::{Cell, Request};

/// Refuses columns that the API does not have.
fn without(request: &Request, missing: &[&str]) -> Result<(), Failure> {
    let named: Vec<&str> = request
        .args
        .iter()
        .map(String::as_str)
        .filter(|column| missing.contains(column))
        .collect();
    match named.is_empty() {
        true => Ok(()),
        false => Err(Failure::error(
            EX_USAGE,
            format!("Info key(s) {} are not available by --url", named.join(",")),
        )),
    }
}

/// The objects of a virtual host, which must exist.
pub(super) fn of_vhost(
    http: &Http,
    request: &Request,
    path: &[&str],
) -> Result<Vec<Value>, Failure> {
    let found = http.find(path)?;
    found
        .map(items)
        .ok_or_else(|| no_such_vhost(request.vhost()))
}

pub(super) fn no_such_vhost(vhost: &str) -> Failure {
    Failure::plain(EX_DATAERR, format!("Virtual host '{vhost}' does not exist"))
}

/// The field that has the column's name.
fn same(object: &Value, column: &str) -> Cell {
    object.get(column).map_or(Cell::Nothing, cell)
}

pub(super) fn queues(http: &Http, request: &Request) -> Outcome {
    without(
        request,
        &[
            "pid",
            "owner_pid",
            "exclusive_consumer_pid",
            "exclusive_consumer_tag",
            "messages_rewindable",
            "message_bytes_rewindable",
            "messages_damaged",
        ],
    )?;
    // As over the socket, an unknown virtual host has no queues.
    let all = http.find(&["queues", request.vhost()])?.map(items);
    let all = match request.has("offline") {
        true => Vec::new(),
        false => all.unwrap_or_default(),
    };
    listing(request, all, |queue, column| match column {
        "effective_policy_definition" => definition(field(queue, column)),
        "leader" if queue.get("leader").is_none() => same(queue, "node"),
        "members" if queue.get("members").is_none() => {
            Cell::Words(vec![text(queue, "node").to_owned()])
        }
        _ => same(queue, column),
    })
}

pub(super) fn exchanges(http: &Http, request: &Request) -> Outcome {
    let all = http.find(&["exchanges", request.vhost()])?.map(items);
    listing(request, all.unwrap_or_default(), same)
}

pub(super) fn bindings(http: &Http, request: &Request) -> Outcome {
    let all = http.find(&["bindings", request.vhost()])?.map(items);
    listing(
        request,
        all.unwrap_or_default(),
        |binding, column| match column {
            "source_name" => same(binding, "source"),
            "source_kind" => "exchange".into(),
            "destination_name" => same(binding, "destination"),
            "destination_kind" => same(binding, "destination_type"),
            _ => same(binding, column),
        },
    )
}

pub(super) fn consumers(http: &Http, request: &Request) -> Outcome {
    let all = http.find(&["consumers", request.vhost()])?.map(items);
    listing(request, all.unwrap_or_default(), |consumer, column| {
        match column {
            "queue_name" => text(field(consumer, "queue"), "name").into(),
            // The API names channels, and knows no process ids.
            "channel_pid" => text(field(consumer, "channel_details"), "name").into(),
            _ => same(consumer, column),
        }
    })
}

pub(super) fn connections(http: &Http, request: &Request) -> Outcome {
    without(request, &["pid"])?;
    let all = items(http.get(&["connections"])?);
    listing(request, all, |connection, column| match column {
        // As RabbitMQ's own listing shows it.
        "protocol" => match text(connection, "protocol") {
            "AMQP 0-9-1" => "{0,9,1}".into(),
            other => other.into(),
        },
        _ => same(connection, column),
    })
}

pub(super) fn channels(http: &Http, request: &Request) -> Outcome {
    // The API has no process ids: the name stands for the first column of the default ones.
    without(request, &["connection"])?;
    let all = items(http.get(&["channels"])?);
    listing(request, all, |channel, column| match column {
        "pid" => same(channel, "name"),
        _ => same(channel, column),
    })
}

pub(super) fn vhosts(http: &Http, request: &Request) -> Outcome {
    let all = items(http.get(&["vhosts"])?);
    listing(request, all, |vhost, column| match column {
        "tags" => words(vhost.get("tags")),
        _ => same(vhost, column),
    })
}

pub(super) fn feature_flags(http: &Http, request: &Request) -> Outcome {
    let all = items(http.get(&["feature-flags"])?);
    listing(request, all, same)
}
