//! The exchanges that every virtual host has from the start.

use std::sync::{Arc, LazyLock};

use crate::broker::exchange::{Exchange, ExchangeKind};
use crate::model::RESTORE_EXCHANGE;
use crate::wire::FieldTable;

/// Name, type, internal.
pub(super) const PREDECLARED: [(&str, ExchangeKind, bool); 7] = [
    ("", ExchangeKind::Direct, false),
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    (TRACE_EXCHANGE, ExchangeKind::Topic, true),
    ("amq.topic", ExchangeKind::Topic, false),
];

/// Where the firehose publishes its copies.
pub const TRACE_EXCHANGE: &str = "amq.rabbitmq.trace";

/// A message published here is a request to rewind a queue. Clients may declare it as a durable direct exchange. It is
/// in no table: it cannot be bound, routes nothing and is not listed.
pub const REWIND_EXCHANGE: &str = "amq.leveret.rewind";

static REWIND: LazyLock<Arc<Exchange>> = LazyLock::new(|| unlisted(REWIND_EXCHANGE));
static RESTORE: LazyLock<Arc<Exchange>> = LazyLock::new(|| unlisted(RESTORE_EXCHANGE));

/// Whether an exchange is the broker's own, which no binding may name.
pub fn is_unlisted(exchange: &str) -> bool {
    exchange == REWIND_EXCHANGE || exchange == RESTORE_EXCHANGE
}

/// An exchange of the broker's own that is in no table.
pub(super) fn find_unlisted(name: &str) -> Option<Arc<Exchange>> {
    match name {
        REWIND_EXCHANGE => Some(Arc::clone(&REWIND)),
        RESTORE_EXCHANGE => Some(Arc::clone(&RESTORE)),
        _ => None,
    }
}

fn unlisted(name: &str) -> Arc<Exchange> {
    Arc::new(Exchange {
        name: name.into(),
        kind: ExchangeKind::Direct,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
        stats: Arc::default(),
    })
}
