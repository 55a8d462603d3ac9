//! How virtual hosts, exchanges, queues and bindings are stored, and the counter of queue ids. Pure encoding but for
//! the counter; what they mean is in `vhost`.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::BytesMut;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::access_records::{DefinitionError, Record};
use super::exchange::{Binding, Destination, Exchange, ExchangeKind};
use super::queue::QueueSpec;
use crate::model::arguments::QueueArguments;
use crate::model::{Name, QueueId, QueueOverrides};
use crate::store::commit::Committer;
use crate::store::{Op, Store};
use crate::wire::{FieldTable, decode_table, encode_table};

/// A virtual host as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VhostRecord {
    pub(super) name: Name,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub(super) description: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) default_queue_type: Option<Name>,
}

/// A durable exchange as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExchangeRecord {
    vhost: Name,
    name: Name,
    kind: Name,
    auto_delete: bool,
    internal: bool,
    arguments: StoredTable,
    /// Something was bound to it, which need not be stored: if it deletes itself, it does so at a start that finds
    /// nothing bound.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    was_bound: bool,
}

/// A durable queue as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct QueueRecord {
    vhost: Name,
    name: Name,
    id: u64,
    auto_delete: bool,
    arguments: StoredTable,
    #[serde(default, skip_serializing_if = "QueueOverrides::is_empty")]
    overrides: QueueOverrides,
}

/// A binding between durable things as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BindingRecord {
    vhost: Name,
    source: Name,
    to_queue: bool,
    destination: Name,
    routing_key: Name,
    arguments: StoredTable,
    /// Tells bindings apart that differ only in arguments, in a key of bounded length.
    arguments_hash: Name,
}

/// An argument table: the bytes that it has on the wire, in base64; empty for an empty table.
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

impl Record for VhostRecord {
    const KIND: &'static str = "vhost";
    fn identity(&self) -> Vec<&str> {
        vec![&self.name]
    }
}

impl Record for ExchangeRecord {
    const KIND: &'static str = "exchange";
    fn identity(&self) -> Vec<&str> {
        vec![&self.vhost, &self.name]
    }
}

impl ExchangeRecord {
    pub(super) fn new(vhost: &Name, exchange: &Exchange, was_bound: bool) -> ExchangeRecord {
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

    pub(super) fn vhost(&self) -> &Name {
        &self.vhost
    }

    pub(super) fn was_bound(&self) -> bool {
        self.was_bound
    }

    pub(super) fn exchange(&self) -> Result<Exchange, DefinitionError> {
        Ok(Exchange {
            name: self.name.clone(),
            kind: ExchangeKind::parse(&self.kind).map_err(|error| damaged(&self.name, error))?,
            durable: true,
            auto_delete: self.auto_delete,
            internal: self.internal,
            arguments: self.arguments.table(&self.name)?,
        })
    }
}

impl Record for QueueRecord {
    const KIND: &'static str = "queue";
    fn identity(&self) -> Vec<&str> {
        vec![&self.vhost, &self.name]
    }
}

impl QueueRecord {
    pub(super) fn new(vhost: &Name, queue: &QueueSpec, overrides: QueueOverrides) -> QueueRecord {
        QueueRecord {
            vhost: vhost.clone(),
            name: queue.name.clone(),
            id: queue.id.0,
            auto_delete: queue.auto_delete,
            arguments: StoredTable::new(&queue.arguments.raw),
            overrides,
        }
    }

    pub(super) fn vhost(&self) -> &Name {
        &self.vhost
    }

    pub(super) fn overrides(&self) -> &QueueOverrides {
        &self.overrides
    }

    pub(super) fn spec(&self) -> Result<QueueSpec, DefinitionError> {
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

impl Record for BindingRecord {
    const KIND: &'static str = "binding";
    fn identity(&self) -> Vec<&str> {
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
    pub(super) fn new(vhost: &Name, binding: &Binding) -> BindingRecord {
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

    pub(super) fn vhost(&self) -> &Name {
        &self.vhost
    }

    pub(super) fn binding(&self) -> Result<Binding, DefinitionError> {
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

/// How many ids are reserved on disk at a time. What is left of a reservation at a crash is skipped.
const IDS_RESERVED: u64 = 1024;
/// The key of the first id that is not reserved.
const IDS_KEY: &[u8] = b"queue-ids";

/// The counter of queue ids: none is used twice, whatever happens.
pub(super) struct QueueIds {
    committer: Arc<Committer>,
    state: Mutex<Ids>,
}

struct Ids {
    next: u64,
    reserved: u64,
}

impl QueueIds {
    /// Goes on behind what the store has reserved, and behind `seen`, the highest id of any log.
    pub(super) fn open(
        committer: Arc<Committer>,
        seen: Option<QueueId>,
    ) -> Result<QueueIds, DefinitionError> {
        let stored = committer.store().definitions(IDS_KEY)?;
        let reserved = match stored.as_slice() {
            [] => 1,
            [(_, value), ..] => match value.as_slice().try_into() {
                Ok(bytes) => u64::from_be_bytes(bytes),
                Err(_) => return Err(damaged("queue-ids", "not a number")),
            },
        };
        let next = seen.map_or(reserved, |seen| reserved.max(seen.0 + 1));
        Ok(QueueIds {
            committer,
            state: Mutex::new(Ids {
                next,
                reserved: next,
            }),
        })
    }

    /// An id that was never used. The reservation is in a batch no later than whatever is written under the id.
    pub(super) fn next(&self) -> QueueId {
        let mut ids = self.state.lock();
        if ids.next >= ids.reserved {
            ids.reserved = ids.next + IDS_RESERVED;
            self.committer.append(vec![Op::PutDefinition {
                key: IDS_KEY.to_vec(),
                value: ids.reserved.to_be_bytes().to_vec(),
            }]);
        }
        let id = ids.next;
        ids.next += 1;
        QueueId(id)
    }
}

/// Everything that is stored.
pub(super) struct Definitions {
    pub(super) vhosts: Vec<VhostRecord>,
    pub(super) exchanges: Vec<ExchangeRecord>,
    pub(super) queues: Vec<QueueRecord>,
    pub(super) bindings: Vec<BindingRecord>,
}

impl Definitions {
    /// Reads them.
    pub(super) fn load(store: &dyn Store) -> Result<Definitions, DefinitionError> {
        Ok(Definitions {
            vhosts: VhostRecord::load(store)?,
            exchanges: ExchangeRecord::load(store)?,
            queues: QueueRecord::load(store)?,
            bindings: BindingRecord::load(store)?,
        })
    }
}
