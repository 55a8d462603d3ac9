//! Why the broker refuses something, typed and with everything its text needs. Knows no reply code: each front door
//! maps these once. `Display` is the text itself, in RabbitMQ's words, without a code in front.

use std::fmt;

use crate::broker::limits::LimitReached;
use crate::broker::permissions::{AccessRefused, ResourceKind};
use crate::model::Name;
use crate::model::arguments::{ArgumentError, ArgumentFault, Inequivalence, PropertyRefused};

/// A queue or exchange by its full name. Written as in `queue 'q' in vhost '/'`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// Queue or exchange.
    pub kind: ResourceKind,
    /// Its name.
    pub name: Name,
    /// Its virtual host.
    pub vhost: Name,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Resource { kind, name, vhost } = self;
        write!(f, "{} '{name}' in vhost '{vhost}'", kind.as_str())
    }
}

/// Why the broker refuses something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// There is no such queue or exchange.
    #[error("no {0}")]
    NotFound(Resource),
    /// The user lacks a right.
    #[error(transparent)]
    AccessRefused(#[from] AccessRefused),
    /// The default exchange cannot be declared, deleted or bound.
    #[error("operation not permitted on the default exchange")]
    DefaultExchange,
    /// Names that start with `amq.` are the broker's.
    #[error("{} name '{name}' contains reserved prefix 'amq.*'", kind.as_str())]
    ReservedName {
        /// Queue or exchange.
        kind: ResourceKind,
        /// The name asked for.
        name: Name,
    },
    /// The broker's own exchanges stay.
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
    /// Declared again, and meaning something else.
    #[error(
        "inequivalent arg '{}' for {resource}: received {} but current is {}",
        difference.key, difference.received, difference.current
    )]
    Inequivalent {
        /// What was declared again.
        resource: Resource,
        /// The first difference.
        difference: Inequivalence,
    },
    /// A queue argument that is refused.
    #[error("{}", argument_text(queue, error))]
    InvalidArgument {
        /// The queue to be.
        queue: Resource,
        /// The argument and what is wrong with it.
        error: ArgumentError,
    },
    /// An exchange named in an argument, by something that is no string.
    #[error("invalid type '{found}' for arg '{argument}' in {resource}")]
    InvalidArgumentType {
        /// What was to be declared.
        resource: Resource,
        /// The argument.
        argument: &'static str,
        /// The type that came.
        found: &'static str,
    },
    /// A property that the queue's type does not have.
    #[error("invalid property '{}' for {queue}", property.as_str())]
    InvalidProperty {
        /// The queue to be.
        queue: Resource,
        /// The property.
        property: PropertyRefused,
    },
    /// Queues of this type have to be named by whoever declares them.
    #[error("Cannot declare a server-named queue for type {0}")]
    ServerNamed(&'static str),
    /// No such exchange type.
    #[error("unknown exchange type '{0}'")]
    UnknownExchangeType(String),
    /// A word that no exchange type can be called.
    #[error("invalid exchange type '{0}'")]
    InvalidExchangeType(String),
    /// An exchange argument or binding that the exchange's type refuses; the text says why.
    #[error("{0}")]
    Refused(String),
    /// `if-unused`, and it is used.
    #[error("{0} in use")]
    InUse(Resource),
    /// `if-empty`, and it is not.
    #[error("{0} not empty")]
    NotEmpty(Resource),
    /// The virtual host is full.
    #[error(transparent)]
    LimitReached(#[from] LimitReached),
    /// A name longer than `NAME_BYTES_MAX`.
    #[error("{} name is longer than 255 bytes", .0.as_str())]
    NameTooLong(ResourceKind),
    /// Something that this broker, or this type of queue, does not do; the text says what.
    #[error("{0}")]
    NotImplemented(String),
    /// The virtual host does not exist, or was deleted meanwhile.
    #[error("vhost '{0}' not found")]
    VhostNotFound(Name),
    /// The change is made, but cannot be made durable now.
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
