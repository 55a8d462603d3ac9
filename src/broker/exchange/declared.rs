//! An exchange as it was declared, and the checks of its arguments and bindings.

use std::sync::Arc;

use super::consistent_hash::{self, HashOn};
use super::delayed;
use super::headers::HeaderMatch;
use super::kind::ExchangeKind;
use crate::broker::error::BrokerError;
use crate::broker::stats::ExchangeStats;
use crate::model::Name;
use crate::model::arguments::text_value;
use crate::wire::FieldTable;

/// The argument that names an exchange's alternate exchange.
pub const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// An exchange as it was declared.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Empty for the default exchange.
    pub name: Name,
    pub kind: ExchangeKind,
    pub durable: bool,
    /// Deleted with its last binding as a source.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    pub arguments: FieldTable,
    pub stats: Arc<ExchangeStats>,
}

impl Exchange {
    /// The exchange for messages that no binding matches.
    pub fn alternate(&self) -> Option<Name> {
        self.arguments
            .inner()
            .get(ALTERNATE_EXCHANGE)
            .and_then(text_value)
    }

    /// The type by which it routes. A delayed exchange routes by the type in its arguments.
    pub(super) fn routes_as(&self) -> Result<ExchangeKind, BrokerError> {
        match self.kind {
            ExchangeKind::Delayed => delayed::inner_kind(&self.arguments),
            kind => Ok(kind),
        }
    }

    /// Checks the arguments of a new exchange.
    pub fn check_arguments(&self) -> Result<(), BrokerError> {
        match self.routes_as()? {
            ExchangeKind::ConsistentHash => HashOn::parse(&self.arguments).map(drop),
            ExchangeKind::Direct
            | ExchangeKind::Fanout
            | ExchangeKind::Topic
            | ExchangeKind::Headers
            | ExchangeKind::Delayed
            | ExchangeKind::LocalRandom
            | ExchangeKind::ModulusHash
            | ExchangeKind::Random => Ok(()),
        }
    }

    /// Checks a new binding from this exchange.
    pub fn check_binding(&self, key: &str, arguments: &FieldTable) -> Result<(), BrokerError> {
        match self.routes_as()? {
            ExchangeKind::Headers => HeaderMatch::parse(arguments).map(drop),
            ExchangeKind::ConsistentHash => consistent_hash::weight(key).map(drop),
            ExchangeKind::LocalRandom if !key.is_empty() => Err(BrokerError::Refused(format!(
                "Non empty binding '{key}' key not permitted"
            ))),
            ExchangeKind::Direct
            | ExchangeKind::Fanout
            | ExchangeKind::Topic
            | ExchangeKind::Delayed
            | ExchangeKind::LocalRandom
            | ExchangeKind::ModulusHash
            | ExchangeKind::Random => Ok(()),
        }
    }

    /// Whether this is the default exchange, to which every queue is bound by its name.
    pub fn is_default(&self) -> bool {
        self.name.is_empty()
    }
}
