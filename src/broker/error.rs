//! Refusals of the broker, typed, with everything that their texts need. Knows no reply code: each front door maps them
//! once. `Display` is the text in RabbitMQ's words, without a code in front.

use std::fmt;

use crate::broker::limits::LimitReached;
use crate::broker::permissions::{AccessRefused, ResourceKind};
use crate::model::Name;
use crate::model::arguments::{ArgumentError, ArgumentFault, Inequivalence, PropertyRefused};

/// A queue or exchange by its full name. Written as in `queue 'q' in vhost '/'`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    pub kind: ResourceKind,
    pub name: Name,
    pub vhost: Name,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Resource { kind, name, vhost } = self;
        write!(f, "{} '{name}' in vhost '{vhost}'", kind.as_str())
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    #[error("no {0}")]
    NotFound(Resource),
    /// The user lacks a permission.
    #[error(transparent)]
    AccessRefused(#[from] AccessRefused),
    /// The default exchange cannot be declared, deleted or bound.
    #[error("operation not permitted on the default exchange")]
    DefaultExchange,
    /// Names that start with `amq.` are reserved.
    #[error("{} name '{name}' contains reserved prefix 'amq.*'", kind.as_str())]
    ReservedName { kind: ResourceKind, name: Name },
    /// Predeclared exchanges cannot be deleted.
    #[error("deletion of system {0} not allowed")]
    SystemExchange(Resource),
    /// Only other exchanges publish to an internal exchange.
    #[error("cannot publish to internal {0}")]
    InternalExchange(Resource),
    /// The queue belongs to another connection, or is declared again with another `exclusive`.
    #[error(
        "cannot obtain exclusive access to locked {0}. It could be originally declared on another connection \
         or the exclusive property value does not match that of the original declaration."
    )]
    ResourceLocked(Resource),
    /// Declared again with other properties or arguments.
    #[error(
        "inequivalent arg '{}' for {resource}: received {} but current is {}",
        difference.key, difference.received, difference.current
    )]
    Inequivalent {
        resource: Resource,
        difference: Inequivalence,
    },
    #[error("{}", argument_text(queue, error))]
    InvalidArgument {
        queue: Resource,
        error: ArgumentError,
    },
    /// An argument that names an exchange is no string.
    #[error("invalid type '{found}' for arg '{argument}' in {resource}")]
    InvalidArgumentType {
        resource: Resource,
        argument: &'static str,
        found: &'static str,
    },
    /// A property that queues of this type cannot have.
    #[error("invalid property '{}' for {queue}", property.as_str())]
    InvalidProperty {
        queue: Resource,
        property: PropertyRefused,
    },
    /// The client has to name queues of this type.
    #[error("Cannot declare a server-named queue for type {0}")]
    ServerNamed(&'static str),
    #[error("unknown exchange type '{0}'")]
    UnknownExchangeType(String),
    #[error("invalid exchange type '{0}'")]
    InvalidExchangeType(String),
    /// An exchange argument or binding that the exchange's type refuses; the text says why.
    #[error("{0}")]
    Refused(String),
    /// Deleted with `if-unused`.
    #[error("{0} in use")]
    InUse(Resource),
    /// Deleted with `if-empty`.
    #[error("{0} not empty")]
    NotEmpty(Resource),
    #[error(transparent)]
    LimitReached(#[from] LimitReached),
    /// A name longer than `NAME_BYTES_MAX`.
    #[error("{} name is longer than 255 bytes", .0.as_str())]
    NameTooLong(ResourceKind),
    /// The broker, or this type of queue, does not support the feature that the text names.
    #[error("{0}")]
    NotImplemented(String),
    /// The virtual host does not exist, or was deleted meanwhile.
    #[error("vhost '{0}' not found")]
    VhostNotFound(Name),
    /// The store was closed before the change was durable.
    #[error("the store has failed")]
    StoreFailed,
}

fn argument_text(queue: &Resource, error: &ArgumentError) -> String {
    let ArgumentError { argument, fault } = error;
    match fault {
        ArgumentFault::NotForKind(_) => format!("invalid arg '{argument}' for {queue} {fault}"),
        ArgumentFault::ExchangeNameType(_) => format!("{fault} for arg '{argument}' in {queue}"),
        ArgumentFault::NotInteger(_)
        | ArgumentFault::UnacceptableType(_)
        | ArgumentFault::Negative(_)
        | ArgumentFault::Zero(_)
        | ArgumentFault::TooLarge(_)
        | ArgumentFault::MaxValueExceeded(_)
        | ArgumentFault::Unsupported(..)
        | ArgumentFault::Invalid(_) => format!("invalid arg '{argument}' for {queue}: {fault}"),
    }
}
