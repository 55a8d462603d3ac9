//! What was stored is taken over at the start, before anybody else sees the virtual host.

use std::sync::Arc;

use super::{Vhost, lock};
use crate::broker::access_records::DefinitionError;
use crate::broker::definitions::{BindingRecord, ExchangeRecord};
use crate::broker::queue::{Queue, QueueSpec};
use crate::model::{LogId, QueueOverrides};
use crate::store::LogState;

impl Vhost {
    /// Takes over what was stored. Before anybody else sees the virtual host.
    pub(in crate::broker) fn restore_exchange(
        &self,
        record: &ExchangeRecord,
    ) -> Result<(), DefinitionError> {
        let exchange = Arc::new(record.exchange()?);
        self.apply(|routing| routing.insert_exchange(exchange));
        Ok(())
    }

    /// Takes over a queue that was stored, with what the store knows of its logs.
    pub(in crate::broker) fn restore_queue(
        &self,
        spec: QueueSpec,
        overrides: QueueOverrides,
        logs: Vec<(LogId, LogState)>,
    ) {
        // So that it cannot go before it has come.
        let _changes = lock(&self.changes);
        let name = spec.name.clone();
        let queue = Queue::open_with(spec, overrides, self.queue_services(), logs);
        self.apply(|routing| routing.insert_queue(name, queue));
    }

    /// Takes over a binding that was stored.
    pub(in crate::broker) fn restore_binding(
        &self,
        record: &BindingRecord,
    ) -> Result<(), DefinitionError> {
        let binding = Arc::new(record.binding()?);
        self.apply(|routing| {
            // A binding goes with the things it binds, in one batch.
            if routing.exists(&binding.destination) {
                routing.bind(binding);
            }
        });
        Ok(())
    }

    /// Everything that was stored is here: the queues begin to work.
    pub(in crate::broker) fn start_queues(&self) {
        // None of them is new, so nobody waits for the routing meanwhile.
        self.queues().iter().for_each(|queue| queue.start());
    }
}
