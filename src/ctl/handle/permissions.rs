//! Permissions and topic permissions.

use super::super::args::{EX_DATAERR, EX_NOUSER, EX_UNAVAILABLE};
use super::super::protocol::{Cell, Request};
use super::super::service::Context;
use super::{Failure, Outcome, Reply, rows};
use crate::broker::permissions::Grant;
use crate::broker::users::UserError;

/// The wording of the verbs that set permissions differs from that of the others.
fn failure(error: UserError) -> Failure {
    match error {
        UserError::NoSuchUser(name) => {
            Failure::error(EX_NOUSER, format!("User {name} does not exist"))
        }
        other => other.into(),
    }
}

pub(super) fn vhost_to_set(ctx: &Context, vhost: &str) -> Result<(), Failure> {
    if ctx.has_vhost(vhost) {
        return Ok(());
    }
    Err(Failure::error(
        EX_UNAVAILABLE,
        format!("Virtual host {vhost} does not exist"),
    ))
}

fn vhost_to_list(ctx: &Context, vhost: &str) -> Result<(), Failure> {
    if ctx.has_vhost(vhost) {
        Ok(())
    } else {
        Err(no_such_vhost(vhost))
    }
}

pub(super) fn no_such_vhost(vhost: &str) -> Failure {
    Failure::plain(EX_DATAERR, format!("Virtual host '{vhost}' does not exist"))
}

fn user_to_list(ctx: &Context, user: &str) -> Result<(), Failure> {
    if ctx.users().get(user).is_some() {
        Ok(())
    } else {
        Err(no_such_user(user))
    }
}

pub(super) fn no_such_user(user: &str) -> Failure {
    Failure::error(EX_UNAVAILABLE, format!("{{:no_such_user, \"{user}\"}}"))
}

pub(super) async fn set(ctx: &Context, request: &Request) -> Outcome {
    vhost_to_set(ctx, request.vhost())?;
    let patterns = [request.arg(1), request.arg(2), request.arg(3)];
    ctx.users()
        .set_permissions(request.arg(0), request.vhost(), patterns)
        .await
        .map_err(failure)?;
    Ok(Reply::Done)
}

pub(super) async fn set_globally(ctx: &Context, request: &Request) -> Outcome {
    let patterns = [request.arg(1), request.arg(2), request.arg(3)];
    for vhost in ctx.vhost_names() {
        ctx.users()
            .set_permissions(request.arg(0), &vhost, patterns)
            .await
            .map_err(failure)?;
    }
    Ok(Reply::Done)
}

pub(super) async fn clear(ctx: &Context, request: &Request) -> Outcome {
    ctx.users()
        .clear_permissions(request.arg(0), request.vhost())
        .await?;
    Ok(Reply::Done)
}

pub(super) fn list(ctx: &Context, request: &Request) -> Outcome {
    let vhost = request.vhost();
    vhost_to_list(ctx, vhost)?;
    let of_vhost = ctx.users().with_permissions(|table| {
        let of_vhost = table.grants().filter(|(_, own, _)| ***own == *vhost);
        of_vhost.map(|(user, _, grant)| row(user, grant)).collect()
    });
    rows(&["user", "configure", "write", "read"], of_vhost)
}

pub(super) fn list_of_user(ctx: &Context, request: &Request) -> Outcome {
    let user = request.arg(0);
    user_to_list(ctx, user)?;
    let of_user = ctx.users().with_permissions(|table| {
        let of_user = table.grants().filter(|(own, _, _)| ***own == *user);
        of_user.map(|(_, vhost, grant)| row(vhost, grant)).collect()
    });
    rows(&["vhost", "configure", "write", "read"], of_user)
}

fn row(first: &str, grant: &Grant) -> Vec<Cell> {
    let patterns = [&grant.configure, &grant.write, &grant.read];
    std::iter::once(first.into())
        .chain(patterns.map(|pattern| (**pattern.text()).into()))
        .collect()
}

pub(super) async fn set_topic(ctx: &Context, request: &Request) -> Outcome {
    vhost_to_set(ctx, request.vhost())?;
    let patterns = [request.arg(2), request.arg(3)];
    let set = ctx.users().set_topic_permissions(
        request.arg(0),
        request.vhost(),
        request.arg(1),
        patterns,
    );
    set.await.map_err(failure)?;
    Ok(Reply::Done)
}

pub(super) async fn clear_topic(ctx: &Context, request: &Request) -> Outcome {
    let exchange = request.args.get(1).map(String::as_str);
    ctx.users()
        .clear_topic_permissions(request.arg(0), request.vhost(), exchange)
        .await?;
    Ok(Reply::Done)
}

pub(super) fn list_topic(ctx: &Context, request: &Request) -> Outcome {
    let vhost = request.vhost();
    vhost_to_list(ctx, vhost)?;
    let of_vhost = ctx.users().with_permissions(|table| {
        let of_vhost = table.topics().filter(|(_, own, _, _)| ***own == *vhost);
        of_vhost
            .map(|(user, _, exchange, topic)| cells([user, exchange, topic.write(), topic.read()]))
            .collect()
    });
    rows(&["user", "exchange", "write", "read"], of_vhost)
}

pub(super) fn list_topic_of_user(ctx: &Context, request: &Request) -> Outcome {
    let user = request.arg(0);
    user_to_list(ctx, user)?;
    let of_user = ctx.users().with_permissions(|table| {
        let of_user = table.topics().filter(|(own, _, _, _)| ***own == *user);
        of_user
            .map(|(_, vhost, exchange, topic)| {
                cells([vhost, exchange, topic.write(), topic.read()])
            })
            .collect()
    });
    rows(&["vhost", "exchange", "write", "read"], of_user)
}

fn cells(names: [&str; 4]) -> Vec<Cell> {
    names.into_iter().map(Cell::from).collect()
}
