//! Dynamic shovels: their state, deleting and restarting them.

use jiff::Timestamp;

use crate::ctl::context::Context;
use crate::ctl::exit_code::EX_DATAERR;
use crate::ctl::outcome::{Failure, Outcome, Reply, rows};
use crate::ctl::protocol::Request;
use crate::node;
use crate::views::{Force, ShovelState, ShovelStatus};

/// The columns, by the names of RabbitMQ and in its order.
const COLUMNS: [&str; 16] = [
    "destination",
    "destination_exchange",
    "destination_exchange_key",
    "destination_queue",
    "forwarded",
    "last_changed",
    "name",
    "pending",
    "remaining",
    "source",
    "source_exchange",
    "source_exchange_key",
    "source_queue",
    "state",
    "termination_reason",
    "vhost",
];

pub(super) fn status(ctx: &Context) -> Outcome {
    let all = ctx.views.shovels().list().into_iter();
    let rows_shown = all.map(|shovel| {
        let cells = COLUMNS.map(|column| cell(&shovel, column).into());
        cells.to_vec()
    });
    rows(&COLUMNS, rows_shown.collect())
}

fn cell(shovel: &ShovelStatus, column: &str) -> String {
    let numbers = &shovel.numbers;
    let (ends, reason) = match &shovel.state {
        ShovelState::Starting => (None, ""),
        ShovelState::Running(ends) => (Some(ends), ""),
        ShovelState::Terminated { reason } => (None, reason.as_str()),
    };
    let of_end = |key: &str| {
        let names = ends.map(|ends| ends.names()).unwrap_or_default();
        let found = names.into_iter().find(|(name, _)| *name == key);
        found.map(|(_, text)| text.to_owned()).unwrap_or_default()
    };
    match column {
        "destination" => ends
            .map(|ends| ends.destination_uri.clone())
            .unwrap_or_default(),
        "destination_exchange" => of_end("dest_exchange"),
        "destination_exchange_key" => of_end("dest_exchange_key"),
        "destination_queue" => of_end("dest_queue"),
        "forwarded" => numbers.forwarded.to_string(),
        "last_changed" => last_changed(shovel.changed_ms),
        "name" => shovel.name.to_string(),
        "pending" => numbers.unconfirmed.to_string(),
        "remaining" => numbers
            .remaining
            .map_or_else(|| "unlimited".to_owned(), |left| left.to_string()),
        "source" => ends.map(|ends| ends.source_uri.clone()).unwrap_or_default(),
        "source_exchange" => of_end("src_exchange"),
        "source_exchange_key" => of_end("src_exchange_key"),
        "source_queue" => of_end("src_queue"),
        "state" => shovel.state_name().to_owned(),
        "termination_reason" => reason.to_owned(),
        "vhost" => shovel.vhost.to_string(),
        other => unreachable!("{other} is no column"),
    }
}

fn last_changed(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let time = Timestamp::from_millisecond(ms).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

pub(super) async fn delete(ctx: &Context, request: &Request) -> Outcome {
    let (vhost, name) = (request.vhost(), request.arg(0));
    let force = match request.has("force") {
        true => Force::Yes,
        false => Force::No,
    };
    match ctx.views.shovels().delete(vhost, name, force).await? {
        true => Ok(Reply::Done),
        false => Err(not_found(vhost)),
    }
}

pub(super) async fn restart(ctx: &Context, request: &Request) -> Outcome {
    let (vhost, name) = (request.vhost(), request.arg(0));
    match ctx.views.shovels().restart(vhost, name).await {
        true => Ok(Reply::Done),
        false => Err(not_found(vhost)),
    }
}

fn not_found(vhost: &str) -> Failure {
    let node = node::name();
    let text = format!(
        "Shovel with the given name was not found on the target node '{node}' and / or virtual host '{vhost}'"
    );
    Failure::error(EX_DATAERR, text)
}
