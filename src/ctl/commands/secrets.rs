//! Keys that sign CMQ requests: add, delete, list. Only `add_secret_key` shows a key.

use super::lookup::vhost_to_set;
use crate::broker::secrets::Secret;
use crate::ctl::context::Context;
use crate::ctl::exit_code::EX_USAGE;
use crate::ctl::outcome::{Failure, Outcome, Reply, rows};
use crate::ctl::protocol::Request;

pub(super) async fn add(ctx: &Context, request: &Request) -> Outcome {
    vhost_to_set(ctx, request.vhost())?;
    let chosen = match request.args.len() {
        0 | 1 => None,
        2 => {
            return Err(Failure::error(
                EX_USAGE,
                "A secret id and its key are given together, or neither",
            ));
        }
        _ => Some((request.arg(1), request.arg(2))),
    };
    let secret = Secret::new(request.arg(0), request.vhost(), chosen);
    let shown = vec![(&*secret.id).into(), (&*secret.key).into()];
    ctx.users().add_secret(secret).await?;
    rows(&["secret_id", "secret_key"], vec![shown])
}

pub(super) async fn delete(ctx: &Context, request: &Request) -> Outcome {
    ctx.users().delete_secret(request.arg(0)).await?;
    Ok(Reply::Done)
}

pub(super) fn list(ctx: &Context, request: &Request) -> Outcome {
    let user = request.args.first();
    let secrets = ctx.users().secrets();
    let shown = secrets
        .iter()
        .filter(|secret| user.is_none_or(|user| **user == *secret.user));
    rows(
        &["secret_id", "user", "vhost"],
        shown
            .map(|secret| {
                vec![
                    (&*secret.id).into(),
                    (&*secret.user).into(),
                    (&*secret.vhost).into(),
                ]
            })
            .collect(),
    )
}
