//! Carries verbs out. One file per kind of thing; the dispatcher is flat and dull.

mod cells;
mod connections;
mod limits;
mod node;
mod permissions;
mod queues;
mod secrets;
mod users;
mod vhosts;

use super::args::EX_UNAVAILABLE;
use super::protocol::{Cell, Request};
use super::service::Context;
use super::verbs::Verb;
use crate::broker::users::UserError;
use crate::store::StoreFailed;

/// What came of a verb.
#[derive(Debug)]
pub(super) enum Reply {
    /// It was carried out.
    Done,
    /// It was carried out, with this to say.
    Message(String),
    /// It was carried out: a report for people and for programs.
    Report {
        text: String,
        json: serde_json::Value,
    },
    /// Rows.
    Table {
        columns: Vec<String>,
        rows: Vec<Vec<Cell>>,
    },
}

/// Why a verb was not carried out: exit code and text.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: u8,
    pub(super) text: String,
}

impl Failure {
    /// rabbitmqctl says `Error:` on a line of its own before most of its texts.
    fn error(exit: u8, text: impl std::fmt::Display) -> Failure {
        Failure {
            exit,
            text: format!("Error:\n{text}"),
        }
    }

    /// It says nothing before some.
    fn plain(exit: u8, text: impl Into<String>) -> Failure {
        Failure {
            exit,
            text: text.into(),
        }
    }
}

impl From<StoreFailed> for Failure {
    fn from(error: StoreFailed) -> Failure {
        Failure::error(EX_UNAVAILABLE, error)
    }
}

impl From<UserError> for Failure {
    fn from(error: UserError) -> Failure {
        users::failure(error)
    }
}

pub(super) type Outcome = Result<Reply, Failure>;

/// Rows with fixed columns.
fn rows(columns: &[&str], rows: Vec<Vec<Cell>>) -> Outcome {
    Ok(Reply::Table {
        columns: columns.iter().map(|&column| column.to_owned()).collect(),
        rows,
    })
}

/// Rows with the columns that the request names: `cell` gives the value of one column of one item.
fn listing<T>(
    request: &Request,
    items: impl IntoIterator<Item = T>,
    cell: impl Fn(&T, &str) -> Cell,
) -> Outcome {
    let columns = super::columns::of(request.verb)
        .map(|columns| columns.choose(&request.args))
        .unwrap_or_default();
    let rows = items
        .into_iter()
        .map(|item| columns.iter().map(|column| cell(&item, column)).collect())
        .collect();
    Ok(Reply::Table { columns, rows })
}

/// Carries a verb out.
pub(super) async fn handle(ctx: &Context, request: &Request) -> Outcome {
    if !ctx.node.is_running() && !works_while_stopped(request.verb) {
        return Err(Failure::plain(
            super::args::EX_USAGE,
            "Error: this command requires the 'rabbit' app to be running on the target node. Start it with 'leveret \
             ctl start_app'.",
        ));
    }
    match request.verb {
        Verb::AwaitStartup => node::await_startup(ctx),
        Verb::StartApp => node::start_app(ctx).await,
        Verb::Stop => node::stop(ctx).await,
        Verb::StopApp => node::stop_app(ctx).await,
        Verb::Ping => node::ping(),
        Verb::Status => node::status(ctx),
        Verb::SetDiskFreeLimit => node::set_disk_free_limit(ctx, request),
        Verb::SetVmMemoryHighWatermark => node::set_memory_watermark(ctx, request),
        Verb::AddUser => users::add(ctx, request).await,
        Verb::AuthenticateUser => users::authenticate(ctx, request).await,
        Verb::ChangePassword => users::change_password(ctx, request).await,
        Verb::ClearPassword => users::clear_password(ctx, request).await,
        Verb::DeleteUser => users::delete(ctx, request).await,
        Verb::HashPassword => users::hash_password(request),
        Verb::ListUsers => users::list(ctx),
        Verb::SetUserTags => users::set_tags(ctx, request).await,
        Verb::AddSecretKey => secrets::add(ctx, request).await,
        Verb::DeleteSecretKey => secrets::delete(ctx, request).await,
        Verb::ListSecretKeys => secrets::list(ctx, request),
        Verb::ClearUserLimits => limits::clear_user(ctx, request).await,
        Verb::ListUserLimits => limits::list_user(ctx, request),
        Verb::SetUserLimits => limits::set_user(ctx, request).await,
        Verb::ClearVhostLimits => limits::clear_vhost(ctx, request).await,
        Verb::ListVhostLimits => limits::list_vhost(ctx, request),
        Verb::SetVhostLimits => limits::set_vhost(ctx, request).await,
        Verb::ClearPermissions => permissions::clear(ctx, request).await,
        Verb::ClearTopicPermissions => permissions::clear_topic(ctx, request).await,
        Verb::ListPermissions => permissions::list(ctx, request),
        Verb::ListTopicPermissions => permissions::list_topic(ctx, request),
        Verb::ListUserPermissions => permissions::list_of_user(ctx, request),
        Verb::ListUserTopicPermissions => permissions::list_topic_of_user(ctx, request),
        Verb::SetPermissions => permissions::set(ctx, request).await,
        Verb::SetPermissionsGlobally => permissions::set_globally(ctx, request).await,
        Verb::SetTopicPermissions => permissions::set_topic(ctx, request).await,
        Verb::AddVhost => vhosts::add(ctx, request).await,
        Verb::DeleteVhost => vhosts::delete(ctx, request).await,
        Verb::ListVhosts => vhosts::list(ctx, request),
        Verb::ListBindings => queues::list_bindings(ctx, request),
        Verb::ListExchanges => queues::list_exchanges(ctx, request),
        Verb::ListQueues => queues::list(ctx, request),
        Verb::ListConsumers => queues::list_consumers(ctx, request),
        Verb::DeleteQueue => queues::delete(ctx, request).await,
        Verb::Rewind => queues::rewind(ctx, request).await,
        Verb::PurgeQueue => queues::purge(ctx, request).await,
        Verb::ListChannels => connections::list_channels(ctx, request),
        Verb::ListConnections => connections::list(ctx, request),
        Verb::CloseConnection => connections::close(ctx, request),
        Verb::CloseAllConnections => connections::close_all(ctx, request),
        Verb::CloseAllUserConnections => connections::close_all_of_user(ctx, request),
    }
}

/// Verbs that need no clients to be served.
fn works_while_stopped(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::AwaitStartup
            | Verb::StartApp
            | Verb::Stop
            | Verb::StopApp
            | Verb::Ping
            | Verb::HashPassword
    )
}
