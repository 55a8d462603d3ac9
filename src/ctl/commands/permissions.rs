//! Permissions and topic permissions: set, clear, list.

use super::lookup::{user_exists, vhost_exists, vhost_to_set};
use crate::broker::permissions::Grant;
use crate::broker::users::UserError;
use crate::ctl::context::Context;
use crate::ctl::exit_code::EX_NOUSER;
use crate::ctl::outcome::{Failure, Outcome, Reply, rows};
use crate::ctl::protocol::{Cell, Request};

/// Verbs that set permissions do not quote the user, as other verbs do.
fn failure(error: UserError) -> Failure {
    match error {
        UserError::NoSuchUser(name) => {
            Failure::error(EX_NOUSER, format!("User {name} does not exist"))
        }
        other => other.into(),
    }
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
    vhost_exists(ctx, vhost)?;
    let of_vhost = ctx.users().with_permissions(|table| {
        let of_vhost = table.grants().filter(|(_, own, _)| ***own == *vhost);
        of_vhost.map(|(user, _, grant)| row(user, grant)).collect()
    });
    rows(&["user", "configure", "write", "read"], of_vhost)
}

pub(super) fn list_of_user(ctx: &Context, request: &Request) -> Outcome {
    let user = request.arg(0);
    user_exists(ctx, user)?;
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
    vhost_exists(ctx, vhost)?;
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
    user_exists(ctx, user)?;
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
