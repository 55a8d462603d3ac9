//! Exchanges and bindings of a virtual host: list.

use super::amqp_values;
use super::lookup::{sorted, vhost};
use crate::broker::exchange::{Destination, Exchange};
use crate::ctl::context::Context;
use crate::ctl::outcome::{Outcome, listing};
use crate::ctl::protocol::{Cell, Request};

pub(super) fn list(ctx: &Context, request: &Request) -> Outcome {
    let exchanges = sorted(
        vhost(ctx, request).map(|vhost| vhost.exchanges()),
        |exchange| exchange.name.clone(),
    );
    listing(request, exchanges, |exchange, column| {
        exchange_cell(exchange, column)
    })
}

fn exchange_cell(exchange: &Exchange, column: &str) -> Cell {
    match column {
        "name" => (*exchange.name).into(),
        "type" => exchange.kind.as_str().into(),
        "durable" => exchange.durable.into(),
        "auto_delete" => exchange.auto_delete.into(),
        "internal" => exchange.internal.into(),
        "arguments" => amqp_values::table(&exchange.arguments),
        _ => Cell::Nothing,
    }
}

/// Lists bindings, also those to the default exchange that every queue has.
pub(super) fn list_bindings(ctx: &Context, request: &Request) -> Outcome {
    let bindings = vhost(ctx, request)
        .map(|vhost| vhost.bindings())
        .unwrap_or_default();
    listing(request, bindings, |binding, column| match column {
        "source_name" => (*binding.source).into(),
        "source_kind" => "exchange".into(),
        "destination_name" => (**binding.destination.name()).into(),
        "destination_kind" => match binding.destination {
            Destination::Queue(_) => "queue".into(),
            Destination::Exchange(_) => "exchange".into(),
        },
        "routing_key" => (*binding.routing_key).into(),
        "arguments" => amqp_values::table(&binding.arguments),
        _ => Cell::Nothing,
    })
}
