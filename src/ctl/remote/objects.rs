//! Virtual hosts, policies, parameters, limits, queues, connections.

use serde_json::{Map, Value, json};

use super::cells::{field, items, text};
use super::http::Http;
use super::listings::{no_such_vhost, of_vhost};
use crate::ctl::exit_code::{EX_DATAERR, EX_UNAVAILABLE, EX_USAGE};
use crate::ctl::outcome::{Failure, Outcome, Reply, rows};
use crate::ctl::protocol::{Cell, Request};

/// The API's paths of both kinds of policies.
pub(super) const POLICIES: &str = "policies";
pub(super) const OPERATOR_POLICIES: &str = "operator-policies";

/// Done, or the refusal if the API found nothing.
fn done_or(found: bool, refusal: impl FnOnce() -> Failure) -> Outcome {
    match found {
        true => Ok(Reply::Done),
        false => Err(refusal()),
    }
}

fn no_parameter() -> Failure {
    Failure::error(EX_UNAVAILABLE, "Parameter does not exist")
}

/// An argument that is JSON.
fn parsed(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|_| {
        let text = format!(
            "Could not parse JSON document: {{error,{{failed_to_decode_json,<<\"{text}\">>}}}}"
        );
        Failure::error(EX_UNAVAILABLE, text)
    })
}

/// Adds a virtual host. If it exists, the API sets what the options name.
pub(super) fn add_vhost(http: &Http, request: &Request) -> Outcome {
    let mut body = Map::new();
    for (option, field) in [
        ("description", "description"),
        ("tags", "tags"),
        ("default-queue-type", "default_queue_type"),
    ] {
        if let Some(value) = request.options.get(option) {
            body.insert(field.to_owned(), value.clone().into());
        }
    }
    http.put(&["vhosts", request.arg(0)], &Value::Object(body))?;
    Ok(Reply::Done)
}

pub(super) fn delete_vhost(http: &Http, request: &Request) -> Outcome {
    let found = http.delete(&["vhosts", request.arg(0)])?;
    done_or(found, || no_such_vhost(request.arg(0)))
}

pub(super) fn protect(http: &Http, request: &Request) -> Outcome {
    let path = ["vhosts", request.arg(0), "deletion", "protection"];
    let found = http.post(&path, &json!({}))?.is_some();
    done_or(found, || no_such_vhost(request.arg(0)))
}

pub(super) fn unprotect(http: &Http, request: &Request) -> Outcome {
    let found = http.delete(&["vhosts", request.arg(0), "deletion", "protection"])?;
    done_or(found, || no_such_vhost(request.arg(0)))
}

/// Turns tracing on or off. The API replaces all of a virtual host, so the request repeats the rest.
pub(super) fn set_tracing(http: &Http, request: &Request, tracing: bool) -> Outcome {
    let vhost = request.vhost();
    let known = http.find(&["vhosts", vhost])?;
    let known = known.ok_or_else(|| no_such_vhost(vhost))?;
    let mut body = Map::from_iter([("tracing".to_owned(), tracing.into())]);
    for name in ["description", "tags", "default_queue_type"] {
        if let Some(value) = known.get(name) {
            body.insert(name.to_owned(), value.clone());
        }
    }
    http.put(&["vhosts", vhost], &Value::Object(body))?;
    let word = if tracing { "enabled" } else { "disabled" };
    Ok(Reply::tracing(word, vhost))
}

pub(super) fn set_policy(http: &Http, request: &Request, kind: &str) -> Outcome {
    let mut body = Map::new();
    body.insert("pattern".to_owned(), request.arg(1).into());
    body.insert("definition".to_owned(), parsed(request.arg(2))?);
    if let Some(priority) = request.options.get("priority") {
        body.insert("priority".to_owned(), parsed(priority)?);
    }
    if let Some(kind) = request.options.get("apply-to") {
        body.insert("apply-to".to_owned(), kind.clone().into());
    }
    let path = [kind, request.vhost(), request.arg(0)];
    let found = http.put(&path, &Value::Object(body))?;
    done_or(found, || no_such_vhost(request.vhost()))
}

pub(super) fn clear_policy(http: &Http, request: &Request, kind: &str) -> Outcome {
    let found = http.delete(&[kind, request.vhost(), request.arg(0)])?;
    done_or(found, no_parameter)
}

/// Lists policies, the lowest priority first.
pub(super) fn list_policies(http: &Http, request: &Request, kind: &str) -> Outcome {
    let mut policies = of_vhost(http, request, &[kind, request.vhost()])?;
    let priority = |policy: &Value| field(policy, "priority").as_f64().unwrap_or(0.0);
    policies.sort_by(|a, b| priority(a).total_cmp(&priority(b)));
    let row = |policy: &Value| {
        vec![
            Cell::from(request.vhost()),
            text(policy, "name").into(),
            text(policy, "pattern").into(),
            text(policy, "apply-to").into(),
            field(policy, "definition").to_string().into(),
            super::cells::cell(field(policy, "priority")),
        ]
    };
    let columns = [
        "vhost",
        "name",
        "pattern",
        "apply-to",
        "definition",
        "priority",
    ];
    rows(&columns, policies.iter().map(row).collect())
}

pub(super) fn set_parameter(http: &Http, request: &Request) -> Outcome {
    let path = [
        "parameters",
        request.arg(0),
        request.vhost(),
        request.arg(1),
    ];
    let found = http.put(&path, &json!({"value": parsed(request.arg(2))?}))?;
    done_or(found, || no_such_vhost(request.vhost()))
}

pub(super) fn clear_parameter(http: &Http, request: &Request) -> Outcome {
    let path = [
        "parameters",
        request.arg(0),
        request.vhost(),
        request.arg(1),
    ];
    done_or(http.delete(&path)?, no_parameter)
}

pub(super) fn list_parameters(http: &Http, request: &Request) -> Outcome {
    if http.find(&["vhosts", request.vhost()])?.is_none() {
        return Err(no_such_vhost(request.vhost()));
    }
    let mut all = items(http.get(&["parameters"])?);
    all.sort_by(|a, b| {
        let key = |own: &Value| {
            [
                text(own, "component").to_owned(),
                text(own, "name").to_owned(),
            ]
        };
        key(a).cmp(&key(b))
    });
    let own = all
        .iter()
        .filter(|own| text(own, "vhost") == request.vhost());
    let row = |own: &Value| {
        vec![
            Cell::from(text(own, "component")),
            text(own, "name").into(),
            field(own, "value").to_string().into(),
        ]
    };
    rows(&["component", "name", "value"], own.map(row).collect())
}

pub(super) fn set_global_parameter(http: &Http, request: &Request) -> Outcome {
    let value = json!({"value": parsed(request.arg(1))?});
    http.put(&["global-parameters", request.arg(0)], &value)?;
    Ok(Reply::Done)
}

pub(super) fn clear_global_parameter(http: &Http, request: &Request) -> Outcome {
    let found = http.delete(&["global-parameters", request.arg(0)])?;
    done_or(found, no_parameter)
}

pub(super) fn list_global_parameters(http: &Http) -> Outcome {
    let all = items(http.get(&["global-parameters"])?);
    let row = |own: &Value| {
        vec![
            Cell::from(text(own, "name")),
            field(own, "value").to_string().into(),
        ]
    };
    rows(&["name", "value"], all.iter().map(row).collect())
}

pub(super) fn set_cluster_name(http: &Http, request: &Request) -> Outcome {
    http.put(&["cluster-name"], &json!({"name": request.arg(0)}))?;
    Ok(Reply::Done)
}

pub(super) fn enable_feature_flag(http: &Http, request: &Request) -> Outcome {
    let name = request.arg(0);
    let flags = items(http.get(&["feature-flags"])?);
    let chosen: Vec<&Value> = flags
        .iter()
        .filter(|flag| name == "all" || text(flag, "name") == name)
        .collect();
    if chosen.is_empty() {
        let text = "This feature flag is not supported by the broker";
        return Err(Failure::error(EX_USAGE, text));
    }
    for flag in chosen
        .iter()
        .filter(|flag| text(flag, "state") != "enabled")
    {
        let name = text(flag, "name");
        http.put(&["feature-flags", name, "enable"], &json!({ "name": name }))?;
    }
    Ok(Reply::Done)
}

/// Sets each limit of a definition, which is an object with numbers.
fn set_limits(http: &Http, path: &[&str], definition: &str) -> Result<bool, Failure> {
    let definition = parsed(definition)?;
    let Some(limits) = definition.as_object() else {
        return Err(Failure::error(EX_DATAERR, "the definition is no object"));
    };
    for (limit, value) in limits {
        let path: Vec<&str> = path.iter().copied().chain([limit.as_str()]).collect();
        if !http.put(&path, &json!({ "value": value }))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn no_such_user(name: &str) -> Failure {
    Failure::error(EX_UNAVAILABLE, format!("{{:no_such_user, \"{name}\"}}"))
}

pub(super) fn set_user_limits(http: &Http, request: &Request) -> Outcome {
    let user = request.arg(0);
    let found = set_limits(http, &["user-limits", user], request.arg(1))?;
    done_or(found, || no_such_user(user))
}

pub(super) fn clear_user_limits(http: &Http, request: &Request) -> Outcome {
    let user = request.arg(0);
    if http.find(&["users", user])?.is_none() {
        return Err(no_such_user(user));
    }
    let limits: &[&str] = match request.arg(1) {
        "all" => &["max-connections", "max-channels"],
        one => &[one],
    };
    for limit in limits {
        http.delete(&["user-limits", user, limit])?;
    }
    Ok(Reply::Done)
}

pub(super) fn list_user_limits(http: &Http, request: &Request) -> Outcome {
    if request.has("global") {
        return all_limits(http, "user-limits", "user");
    }
    let user = request.options.get("user").map_or("guest", String::as_str);
    let found = http.find(&["user-limits", user])?;
    let found = found.ok_or_else(|| no_such_user(user))?;
    Ok(Reply::Message(own_limits(found)))
}

/// The limits in a list of one object or none.
fn own_limits(found: Value) -> String {
    let first = items(found).into_iter().next().unwrap_or_default();
    match field(&first, "value") {
        Value::Object(limits) => Value::Object(limits.clone()).to_string(),
        _ => "{}".to_owned(),
    }
}

fn all_limits(http: &Http, path: &str, name: &str) -> Outcome {
    let all = items(http.get(&[path])?);
    if all.is_empty() {
        return Ok(Reply::Report {
            text: String::new(),
            json: json!([]),
        });
    }
    let row = |own: &Value| {
        vec![
            text(own, name).into(),
            field(own, "value").to_string().into(),
        ]
    };
    rows(&[name, "limits"], all.iter().map(row).collect())
}

pub(super) fn set_vhost_limits(http: &Http, request: &Request) -> Outcome {
    let vhost = request.vhost();
    let found = set_limits(http, &["vhost-limits", vhost], request.arg(0))?;
    done_or(found, || no_such_vhost(vhost))
}

pub(super) fn clear_vhost_limits(http: &Http, request: &Request) -> Outcome {
    let found = http.find(&["vhost-limits", request.vhost()])?;
    let found = found.map(items).unwrap_or_default();
    let limits = found
        .first()
        .and_then(|own| field(own, "value").as_object());
    let Some(limits) = limits else {
        return Err(no_parameter());
    };
    for limit in limits.keys() {
        http.delete(&["vhost-limits", request.vhost(), limit])?;
    }
    Ok(Reply::Done)
}

pub(super) fn list_vhost_limits(http: &Http, request: &Request) -> Outcome {
    if request.has("global") {
        return all_limits(http, "vhost-limits", "vhost");
    }
    let found = http.find(&["vhost-limits", request.vhost()])?;
    let found = found.ok_or_else(|| no_such_vhost(request.vhost()))?;
    let text = own_limits(found);
    let json = json!({"node": http.node()?, "result": "ok", "value": text});
    Ok(Reply::Report { text, json })
}

/// The number of ready messages is what the queue had just before.
pub(super) fn delete_queue(http: &Http, request: &Request) -> Outcome {
    let path = ["queues", request.vhost(), request.arg(0)];
    let not_found = || Failure::error(EX_USAGE, "Queue not found");
    let queue = http.find(&path)?.ok_or_else(not_found)?;
    let conditions = ["if-empty", "if-unused"].into_iter();
    let conditions: Vec<(&str, &str)> = conditions
        .filter(|condition| request.has(condition))
        .map(|condition| (condition, "true"))
        .collect();
    if !http.delete_if(&path, &conditions)? {
        return Err(not_found());
    }
    let ready = match text(&queue, "type") {
        "stream" => 0,
        _ => field(&queue, "messages_ready").as_u64().unwrap_or(0),
    };
    Ok(Reply::Message(format!(
        "Queue was successfully deleted with {ready} ready messages"
    )))
}

pub(super) fn purge_queue(http: &Http, request: &Request) -> Outcome {
    let path = ["queues", request.vhost(), request.arg(0), "contents"];
    done_or(http.delete(&path)?, || {
        Failure::plain(
            EX_DATAERR,
            "Object (queue, stream, exchange, etc) was not found",
        )
    })
}

pub(super) fn rewind(http: &Http, request: &Request) -> Outcome {
    let to = request.options.get("to").map_or("", String::as_str);
    let path = [
        "leveret",
        "queues",
        request.vhost(),
        request.arg(0),
        "rewind",
    ];
    let rewound = http.post(&path, &json!({ "to": to }))?;
    let rewound = rewound.ok_or_else(|| Failure::error(EX_DATAERR, "Queue not found"))?;
    let from = field(&rewound, "from_offset").as_u64();
    let from = from.map_or(String::new(), |offset| {
        format!(", the first with offset {offset}")
    });
    Ok(Reply::Message(format!(
        "Messages that are ready again: {}{from}",
        field(&rewound, "rewound")
    )))
}

/// Closes one after the other, since the API closes a connection by its name.
pub(super) fn close_all_connections(http: &Http, request: &Request) -> Outcome {
    let limit = match request.options.get("limit").map(|limit| limit.parse()) {
        None | Some(Ok(0)) => usize::MAX,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => return Err(Failure::error(EX_DATAERR, "Bad argument: --limit")),
    };
    let all = items(http.get(&["connections"])?);
    let chosen = all
        .iter()
        .filter(|own| request.has("global") || text(own, "vhost") == request.vhost());
    let mut closed = 0_u64;
    for connection in chosen.take(limit) {
        let path = ["connections", text(connection, "name")];
        closed += u64::from(http.close(&path, request.arg(0))?);
    }
    Ok(Reply::Message(format!("Closed {closed} connections")))
}

pub(super) fn close_all_user_connections(http: &Http, request: &Request) -> Outcome {
    let path = ["connections", "username", request.arg(0)];
    http.close(&path, request.arg(1))?;
    Ok(Reply::Done)
}
