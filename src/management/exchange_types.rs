//! The types of exchanges, as the overview and the node list them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::exchange::ExchangeKind;

/// A type of exchange.
#[derive(Serialize, ToSchema)]
pub(super) struct ExchangeType {
    name: &'static str,
    description: &'static str,
    enabled: bool,
}

pub(super) fn exchange_types() -> Vec<ExchangeType> {
    let all = ExchangeKind::ALL.into_iter();
    all.map(|kind| ExchangeType {
        name: kind.as_str(),
        description: description(kind),
        enabled: true,
    })
    .collect()
}

fn description(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::Direct => "Routes by equal keys",
        ExchangeKind::Fanout => "Routes to all bindings",
        ExchangeKind::Topic => "Routes by patterns over the words of the key",
        ExchangeKind::Headers => "Routes by header values",
        ExchangeKind::ConsistentHash => "Routes to one binding by hash and weight",
        ExchangeKind::Delayed => "Routes as another type, after a delay",
        ExchangeKind::LocalRandom | ExchangeKind::Random => "Routes to a random binding",
        ExchangeKind::ModulusHash => "Routes to one binding by hash",
    }
}
