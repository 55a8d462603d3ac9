//! The exchanges that every virtual host has from the start.

use std::sync::{Arc, LazyLock};

use crate::broker::exchange::{Exchange, ExchangeKind};
use crate::wire::FieldTable;

/// Name, type, internal.
pub(super) const PREDECLARED: [(&str, ExchangeKind, bool); 7] = [
    ("", ExchangeKind::Direct, false),
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
    ("amq.topic", ExchangeKind::Topic, false),
];

/// A message published here is a request to rewind a queue. Clients may declare it as a durable direct exchange. It is
/// in no table: it cannot be bound, routes nothing and is not listed.
pub const REWIND_EXCHANGE: &str = "amq.leveret.rewind";

pub(super) static REWIND: LazyLock<Arc<Exchange>> = LazyLock::new(|| {
    Arc::new(Exchange {
        name: REWIND_EXCHANGE.into(),
        kind: ExchangeKind::Direct,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
        stats: Arc::default(),
    })
});
