//! Restores a virtual host from its records, before any client sees it.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::info;

use super::change::Change;
use super::host::Vhost;
use crate::broker::definitions::record::{DefinitionError, Records};
use crate::broker::definitions::topology::{BindingRecord, ExchangeRecord, QueueRecord};
use crate::broker::queue::Queue;
use crate::model::{LogId, QueueId};
use crate::store::LogState;

impl Vhost {
    pub(in crate::broker) fn restore_exchange(
        &self,
        record: &ExchangeRecord,
    ) -> Result<(), DefinitionError> {
        self.apply(vec![Change::PutExchange {
            exchange: Arc::new(record.exchange()?),
            was_bound: record.was_bound(),
        }]);
        Ok(())
    }

    /// Restores a queue, with the state of its logs.
    pub(in crate::broker) fn restore_queue(
        &self,
        record: &QueueRecord,
        logs: &mut HashMap<QueueId, Vec<(LogId, LogState)>>,
    ) -> Result<(), DefinitionError> {
        let spec = record.spec()?;
        let logs = logs.remove(&spec.id).unwrap_or_default();
        // So that it cannot be deleted before it is inserted.
        let _changes = self.changes.lock();
        let overrides = record.overrides().clone();
        let policies = self.policy_set();
        let queue = Queue::open_with(spec, overrides, &policies, self.queue_services(), logs);
        self.apply(vec![Change::PutQueue(queue)]);
        Ok(())
    }

    pub(in crate::broker) fn restore_binding(
        &self,
        record: &BindingRecord,
    ) -> Result<(), DefinitionError> {
        self.apply(vec![Change::PutBinding(Arc::new(record.binding()?))]);
        Ok(())
    }

    /// Deletes auto-delete exchanges whose last binding led to a transient queue, as an orderly shutdown
    /// would have done. Auto-delete queues stay until a consumer has come and gone, as in RabbitMQ. Called
    /// when all records are restored.
    pub(in crate::broker) fn tidy(&self) {
        let _changes = self.changes.lock();
        let forsaken = self.routing().forsaken();
        for name in forsaken {
            let removal = self.routing().removal_of_exchange(&name);
            for exchange in &removal.exchanges {
                info!(vhost = %self.name, exchange = %exchange.name, "auto-delete exchange deleted: its last binding went with the restart");
            }
            let exchanges = removal.exchanges.into_iter().map(Change::RemoveExchange);
            let bindings = removal.bindings.into_iter().map(Change::RemoveBinding);
            let changes: Vec<_> = exchanges.chain(bindings).collect();
            let mut records = Records::default();
            changes
                .iter()
                .for_each(|change| change.write(&self.name, &mut records));
            self.apply(changes);
            if !records.is_empty() {
                // Not waited for: the next start would remove them.
                records.write_soon(&self.shared.committer);
            }
        }
    }

    /// Starts the queues. All records are restored.
    pub(in crate::broker) fn start_queues(&self) {
        // The predeclared exchanges were there before the policies.
        self.set_alternates(&self.exchanges());
        self.queues().iter().for_each(|queue| queue.start());
    }
}
