//! The records of virtual hosts, exchanges, queues and bindings. Pure encoding.

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::kind::Kind;
use super::record::{DefinitionError, NamedRecord};
use crate::broker::exchange::{Binding, Destination, Exchange, ExchangeKind};
use crate::broker::queue::QueueSpec;
use crate::model::arguments::QueueArguments;
use crate::model::{Name, QueueId, QueueOverrides};
use crate::wire::{FieldTable, decode_table, encode_table};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::broker) struct VhostRecord {
    pub(in crate::broker) name: Name,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub(in crate::broker) description: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::broker) tags: Vec<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::broker) default_queue_type: Option<Name>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::broker) protected_from_deletion: bool,
}

/// A durable exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::broker) struct ExchangeRecord {
    vhost: Name,
    name: Name,
    kind: Name,
    auto_delete: bool,
    internal: bool,
    arguments: StoredTable,
    /// Something was bound to it, maybe by a transient binding: an auto-delete exchange then goes at a start that finds no
    /// binding.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    was_bound: bool,
}

/// A durable queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::broker) struct QueueRecord {
    vhost: Name,
    name: Name,
    id: u64,
    auto_delete: bool,
    arguments: StoredTable,
    #[serde(default, skip_serializing_if = "QueueOverrides::is_empty")]
    overrides: QueueOverrides,
}

/// A binding between durable ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::broker) struct BindingRecord {
    vhost: Name,
    source: Name,
    to_queue: bool,
    destination: Name,
    routing_key: Name,
    arguments: StoredTable,
    /// Tells bindings that differ only in arguments apart, in a key of limited length.
    arguments_hash: Name,
}

/// An argument table: its encoding on the wire in base64; empty for an empty table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct StoredTable(String);

impl StoredTable {
    fn new(table: &FieldTable) -> StoredTable {
        if table.inner().is_empty() {
            return StoredTable::default();
        }
        let mut bytes = BytesMut::new();
        encode_table(table, &mut bytes);
        StoredTable(BASE64_STANDARD_NO_PAD.encode(&bytes))
    }

    fn table(&self, of: &str) -> Result<FieldTable, DefinitionError> {
        if self.0.is_empty() {
            return Ok(FieldTable::default());
        }
        let bytes = BASE64_STANDARD_NO_PAD
            .decode(&self.0)
            .map_err(|error| damaged(of, error))?;
        decode_table(&bytes).map_err(|error| damaged(of, error))
    }
}

fn damaged(of: &str, reason: impl std::fmt::Display) -> DefinitionError {
    DefinitionError::Damaged {
        key: of.to_owned(),
        reason: reason.to_string(),
    }
}

impl NamedRecord for VhostRecord {
    const KIND: Kind = Kind::Vhost;
    fn names(&self) -> Vec<&str> {
        vec![&self.name]
    }
}

impl NamedRecord for ExchangeRecord {
    const KIND: Kind = Kind::Exchange;
    fn names(&self) -> Vec<&str> {
        vec![&self.vhost, &self.name]
    }
}

impl ExchangeRecord {
    pub(in crate::broker) fn new(
        vhost: &Name,
        exchange: &Exchange,
        was_bound: bool,
    ) -> ExchangeRecord {
        ExchangeRecord {
            vhost: vhost.clone(),
            name: exchange.name.clone(),
            kind: exchange.kind.as_str().into(),
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            arguments: StoredTable::new(&exchange.arguments),
            was_bound,
        }
    }

    pub(in crate::broker) fn vhost(&self) -> &Name {
        &self.vhost
    }

    pub(in crate::broker) fn was_bound(&self) -> bool {
        self.was_bound
    }

    pub(in crate::broker) fn exchange(&self) -> Result<Exchange, DefinitionError> {
        Ok(Exchange {
            name: self.name.clone(),
            kind: ExchangeKind::parse(&self.kind).map_err(|error| damaged(&self.name, error))?,
            durable: true,
            auto_delete: self.auto_delete,
            internal: self.internal,
            arguments: self.arguments.table(&self.name)?,
            stats: std::sync::Arc::default(),
        })
    }
}

impl NamedRecord for QueueRecord {
    const KIND: Kind = Kind::Queue;
    fn names(&self) -> Vec<&str> {
        vec![&self.vhost, &self.name]
    }
}

impl QueueRecord {
    pub(in crate::broker) fn new(
        vhost: &Name,
        queue: &QueueSpec,
        overrides: QueueOverrides,
    ) -> QueueRecord {
        QueueRecord {
            vhost: vhost.clone(),
            name: queue.name.clone(),
            id: queue.id.0,
            auto_delete: queue.auto_delete,
            arguments: StoredTable::new(&queue.arguments.raw),
            overrides,
        }
    }

    pub(in crate::broker) fn vhost(&self) -> &Name {
        &self.vhost
    }

    pub(in crate::broker) fn overrides(&self) -> &QueueOverrides {
        &self.overrides
    }

    pub(in crate::broker) fn spec(&self) -> Result<QueueSpec, DefinitionError> {
        let arguments = self.arguments.table(&self.name)?;
        Ok(QueueSpec {
            id: QueueId(self.id),
            name: self.name.clone(),
            durable: true,
            exclusive_owner: None,
            auto_delete: self.auto_delete,
            arguments: QueueArguments::shared(&arguments)
                .map_err(|error| damaged(&self.name, error.fault))?,
        })
    }
}

impl NamedRecord for BindingRecord {
    const KIND: Kind = Kind::Binding;
    fn names(&self) -> Vec<&str> {
        let kind = if self.to_queue { "queue" } else { "exchange" };
        vec![
            &self.vhost,
            &self.source,
            kind,
            &self.destination,
            &self.routing_key,
            &self.arguments_hash,
        ]
    }
}

impl BindingRecord {
    pub(in crate::broker) fn new(vhost: &Name, binding: &Binding) -> BindingRecord {
        let encoded = binding.encoded_arguments();
        let hash = match encoded {
            [] => String::new(),
            some => BASE64_STANDARD_NO_PAD.encode(Sha256::digest(some)),
        };
        BindingRecord {
            vhost: vhost.clone(),
            source: binding.source.clone(),
            to_queue: binding.destination.is_queue(),
            destination: binding.destination.name().clone(),
            routing_key: binding.routing_key.clone(),
            arguments: StoredTable::new(&binding.arguments),
            arguments_hash: hash.into(),
        }
    }

    pub(in crate::broker) fn vhost(&self) -> &Name {
        &self.vhost
    }

    pub(in crate::broker) fn binding(&self) -> Result<Binding, DefinitionError> {
        let destination = match self.to_queue {
            true => Destination::Queue(self.destination.clone()),
            false => Destination::Exchange(self.destination.clone()),
        };
        let arguments = self.arguments.table(&self.source)?;
        let (source, key) = (self.source.clone(), self.routing_key.clone());
        let mut binding = Binding::new(source, destination, key, arguments);
        binding.durable = true;
        Ok(binding)
    }
}
