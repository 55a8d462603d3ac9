//! Users and permissions.

use serde_json::{Value, json};

use super::cells::{field, items, text, words};
use super::http::Http;
use super::listings::{no_such_vhost, of_vhost};
use crate::ctl::exit_code::{EX_DATAERR, EX_NOUSER, EX_SOFTWARE, EX_UNAVAILABLE};
use crate::ctl::outcome::{Failure, Outcome, Reply, rows};
use crate::ctl::protocol::{Cell, Request};

fn no_such_user(name: &str) -> Failure {
    Failure::error(EX_NOUSER, format!("User \"{name}\" does not exist"))
}

/// The refusal of verbs that list what a user has.
fn user_to_list(name: &str) -> Failure {
    Failure::error(EX_UNAVAILABLE, format!("{{:no_such_user, \"{name}\"}}"))
}

pub(super) fn list_users(http: &Http) -> Outcome {
    let users = items(http.get(&["users"])?);
    let row = |user: &Value| vec![text(user, "name").into(), words(user.get("tags"))];
    rows(&["user", "tags"], users.iter().map(row).collect())
}

/// Two requests: the API would change a user that exists.
pub(super) fn add_user(http: &Http, request: &Request) -> Outcome {
    let (name, secret) = (request.arg(0), request.arg(1));
    if http.find(&["users", name])?.is_some() {
        let text = format!("User \"{name}\" already exists");
        return Err(Failure::error(EX_SOFTWARE, text));
    }
    let body = match request.has("pre-hashed-password") {
        true => json!({"password_hash": secret, "tags": ""}),
        false => json!({"password": secret, "tags": ""}),
    };
    http.put(&["users", name], &body)?;
    Ok(Reply::Done)
}

pub(super) fn authenticate(http: &Http, request: &Request) -> Outcome {
    let name = request.arg(0);
    match http.whoami_as(name, request.arg(1))? {
        true => Ok(Reply::Message("Success".to_owned())),
        false => Err(Failure::error(
            EX_DATAERR,
            format!(
                "Error: failed to authenticate user \"{name}\" at the management API, which needs a tag such as management"
            ),
        )),
    }
}

/// The user's record with some fields changed.
fn change(http: &Http, name: &str, changed: &[(&str, Value)], kept: &[&str]) -> Outcome {
    let user = http.find(&["users", name])?;
    let user = user.ok_or_else(|| no_such_user(name))?;
    let mut body = serde_json::Map::new();
    for name in kept {
        body.insert((*name).to_owned(), field(&user, name).clone());
    }
    for (field, value) in changed {
        body.insert((*field).to_owned(), value.clone());
    }
    http.put(&["users", name], &Value::Object(body))?;
    Ok(Reply::Done)
}

pub(super) fn change_password(http: &Http, request: &Request) -> Outcome {
    let password = Value::from(request.arg(1));
    change(http, request.arg(0), &[("password", password)], &["tags"])
}

pub(super) fn clear_password(http: &Http, request: &Request) -> Outcome {
    let none = Value::from("");
    change(http, request.arg(0), &[("password_hash", none)], &["tags"])
}

pub(super) fn set_tags(http: &Http, request: &Request) -> Outcome {
    let tags: Vec<&str> = request.args.iter().skip(1).map(String::as_str).collect();
    let tags = Value::from(tags.join(","));
    let kept = ["password_hash", "hashing_algorithm"];
    change(http, request.arg(0), &[("tags", tags)], &kept)
}

/// To delete a user that does not exist is no error, as in RabbitMQ.
pub(super) fn delete_user(http: &Http, request: &Request) -> Outcome {
    http.delete(&["users", request.arg(0)])?;
    Ok(Reply::Done)
}

/// A row of the fields of a permission.
fn fields(permission: &Value, names: &[&str]) -> Vec<Cell> {
    names
        .iter()
        .map(|name| text(permission, name).into())
        .collect()
}

fn table(permissions: &[Value], names: &[&str]) -> Outcome {
    let all = permissions.iter().map(|own| fields(own, names));
    rows(names, all.collect())
}

pub(super) fn list_permissions(http: &Http, request: &Request) -> Outcome {
    let all = of_vhost(http, request, &["vhosts", request.vhost(), "permissions"])?;
    table(&all, &["user", "configure", "write", "read"])
}

pub(super) fn list_topic_permissions(http: &Http, request: &Request) -> Outcome {
    let all = of_vhost(
        http,
        request,
        &["vhosts", request.vhost(), "topic-permissions"],
    )?;
    table(&all, &["user", "exchange", "write", "read"])
}

pub(super) fn list_user_permissions(http: &Http, request: &Request) -> Outcome {
    let all = http.find(&["users", request.arg(0), "permissions"])?;
    let all = all.ok_or_else(|| user_to_list(request.arg(0)))?;
    table(&items(all), &["vhost", "configure", "write", "read"])
}

pub(super) fn list_user_topic_permissions(http: &Http, request: &Request) -> Outcome {
    let all = http.find(&["users", request.arg(0), "topic-permissions"])?;
    let all = all.ok_or_else(|| user_to_list(request.arg(0)))?;
    table(&items(all), &["vhost", "exchange", "write", "read"])
}

/// Refuses users and virtual hosts that do not exist, in the words of verbs that set permissions.
fn check(http: &Http, vhost: &str, user: &str) -> Result<(), Failure> {
    if http.find(&["vhosts", vhost])?.is_none() {
        let text = format!("Virtual host {vhost} does not exist");
        return Err(Failure::error(EX_UNAVAILABLE, text));
    }
    match http.find(&["users", user])? {
        Some(_) => Ok(()),
        None => {
            let text = format!("User {user} does not exist");
            Err(Failure::error(EX_NOUSER, text))
        }
    }
}

fn set(http: &Http, vhost: &str, request: &Request) -> Result<(), Failure> {
    let body = json!({
        "configure": request.arg(1), "write": request.arg(2), "read": request.arg(3),
    });
    http.put(&["permissions", vhost, request.arg(0)], &body)?;
    Ok(())
}

pub(super) fn set_permissions(http: &Http, request: &Request) -> Outcome {
    check(http, request.vhost(), request.arg(0))?;
    set(http, request.vhost(), request)?;
    Ok(Reply::Done)
}

pub(super) fn set_permissions_globally(http: &Http, request: &Request) -> Outcome {
    for vhost in items(http.get(&["vhosts"])?) {
        let vhost = text(&vhost, "name");
        check(http, vhost, request.arg(0))?;
        set(http, vhost, request)?;
    }
    Ok(Reply::Done)
}

pub(super) fn set_topic_permissions(http: &Http, request: &Request) -> Outcome {
    check(http, request.vhost(), request.arg(0))?;
    let body = json!({
        "exchange": request.arg(1), "write": request.arg(2), "read": request.arg(3),
    });
    http.put(
        &["topic-permissions", request.vhost(), request.arg(0)],
        &body,
    )?;
    Ok(Reply::Done)
}

pub(super) fn clear_permissions(http: &Http, request: &Request) -> Outcome {
    cleared(
        http,
        request,
        &["permissions", request.vhost(), request.arg(0)],
    )
}

pub(super) fn clear_topic_permissions(http: &Http, request: &Request) -> Outcome {
    let mut path = vec!["topic-permissions", request.vhost(), request.arg(0)];
    path.extend(request.args.get(1).map(String::as_str));
    cleared(http, request, &path)
}

/// Permissions that are not there are cleared already; their user and virtual host must exist.
fn cleared(http: &Http, request: &Request, path: &[&str]) -> Outcome {
    if http.delete(path)? {
        return Ok(Reply::Done);
    }
    if http.find(&["users", request.arg(0)])?.is_none() {
        return Err(no_such_user(request.arg(0)));
    }
    match http.find(&["vhosts", request.vhost()])? {
        Some(_) => Ok(Reply::Done),
        None => Err(no_such_vhost(request.vhost())),
    }
}
