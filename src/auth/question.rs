//! What a backend is asked about a user.

use std::net::IpAddr;

use crate::model::Name;

/// The three permissions on a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Create, delete or alter.
    Configure,
    /// Publish to, or bind as a destination.
    Write,
    /// Consume, get, purge, or bind as a source.
    Read,
}

impl Permission {
    /// The word in refusals.
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::Configure => "configure",
            Permission::Write => "write",
            Permission::Read => "read",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    Queue,
    /// An exchange; the default exchange goes by `amq.default`.
    Exchange,
}

impl ResourceKind {
    /// The word in refusals.
    pub fn as_str(self) -> &'static str {
        match self {
            ResourceKind::Queue => "queue",
            ResourceKind::Exchange => "exchange",
        }
    }
}

/// May a user do this?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// Open the virtual host, from this address if it is known.
    Vhost { vhost: Name, peer: Option<IpAddr> },
    /// Use a queue or exchange. The default exchange goes by `amq.default`.
    Resource {
        vhost: Name,
        kind: ResourceKind,
        name: Name,
        permission: Permission,
    },
    /// Use a routing key on a topic exchange: write to publish, read to bind.
    Topic {
        vhost: Name,
        exchange: Name,
        permission: Permission,
        routing_key: Name,
    },
}
