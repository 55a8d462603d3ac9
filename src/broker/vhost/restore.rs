//! What was stored is taken over at the start, before anybody else sees the virtual host.

use std::sync::Arc;

use tracing::info;

use super::Vhost;
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
        self.apply(|routing| {
            routing.insert_exchange(Arc::clone(&exchange));
            if record.was_bound() {
                routing.note_bound(&exchange.name);
            }
        });
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
        let _changes = self.changes.lock();
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

    /// Everything that was stored is here: what would be gone if the broker had stopped in good order goes now. An
    /// exchange that deletes itself goes with its last binding, which may have led to a queue that no restart keeps.
    /// (Queues that delete themselves stay until a consumer has come and gone, as in RabbitMQ.)
    pub(in crate::broker) fn tidy(&self) {
        let mut changes = self.changes.lock();
        let forsaken = self.routing().forsaken();
        for name in forsaken {
            let removed = self.apply(|routing| routing.remove_exchange(&name));
            for exchange in &removed.exchanges {
                info!(vhost = %self.name, exchange = %exchange.name, "auto-delete exchange deleted: its last binding went with the restart");
            }
            // Not waited for: if it does not happen, it will at the next start.
            self.append_removed(&mut changes, &removed, Vec::new());
        }
    }

    /// Everything that was stored is here: the queues begin to work.
    pub(in crate::broker) fn start_queues(&self) {
        // None of them is new, so nobody waits for the routing meanwhile.
        self.queues().iter().for_each(|queue| queue.start());
    }
}
