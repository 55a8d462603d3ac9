//! Finds what requests name. Refuses users and virtual hosts that do not exist in the words that rabbitmqctl has for each
//! kind of verb.

use std::sync::Arc;

use crate::broker::vhost::Vhost;
use crate::ctl::context::Context;
use crate::ctl::exit_code::{EX_DATAERR, EX_UNAVAILABLE};
use crate::ctl::outcome::Failure;
use crate::ctl::protocol::Request;

/// For verbs that set something in a virtual host.
pub(super) fn vhost_to_set(ctx: &Context, vhost: &str) -> Result<(), Failure> {
    match ctx.has_vhost(vhost) {
        true => Ok(()),
        false => Err(Failure::error(
            EX_UNAVAILABLE,
            format!("Virtual host {vhost} does not exist"),
        )),
    }
}

/// For all other verbs.
pub(super) fn vhost_exists(ctx: &Context, vhost: &str) -> Result<(), Failure> {
    match ctx.has_vhost(vhost) {
        true => Ok(()),
        false => Err(no_such_vhost(vhost)),
    }
}

pub(super) fn no_such_vhost(vhost: &str) -> Failure {
    Failure::plain(EX_DATAERR, format!("Virtual host '{vhost}' does not exist"))
}

pub(super) fn user_exists(ctx: &Context, user: &str) -> Result<(), Failure> {
    match ctx.users().get(user) {
        Some(_) => Ok(()),
        None => Err(Failure::error(
            EX_UNAVAILABLE,
            format!("{{:no_such_user, \"{user}\"}}"),
        )),
    }
}

/// The virtual host of a request.
pub(super) fn vhost(ctx: &Context, request: &Request) -> Option<Arc<Vhost>> {
    ctx.broker.vhost(request.vhost())
}
