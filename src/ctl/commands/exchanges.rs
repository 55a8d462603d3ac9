//! Exchanges and bindings of a virtual host: list.

use super::amqp_values;
use crate::broker::exchange::Destination;
use crate::ctl::context::Context;
use crate::ctl::outcome::{Outcome, listing};
use crate::ctl::protocol::{Cell, Request};
use crate::views::{BindingView, ExchangeView};

pub(super) fn list(ctx: &Context, request: &Request) -> Outcome {
    listing(request, ctx.views.exchanges(request.vhost()), exchange_cell)
}

fn exchange_cell(view: &ExchangeView, column: &str) -> Cell {
    let exchange = &view.exchange;
    match column {
        "policy" => {
            let name = view.policies.policy_name();
            name.map_or(Cell::Nothing, |name| (**name).into())
        }
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
    listing(request, ctx.views.bindings(request.vhost()), binding_cell)
}

fn binding_cell(view: &BindingView, column: &str) -> Cell {
    let binding = &view.binding;
    match column {
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
    }
}
