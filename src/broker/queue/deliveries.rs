//! How the deliveries of one turn reach their sinks: as one run for each.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::ConsumerId;

use super::consumer::{Delivery, DeliverySink};
use super::machine::Machine;

/// Gives the deliveries of a turn to their sinks. Consumers that share a sink (a connection) share a run, so that it
/// sees their messages in the order in which they left the queue.
pub(super) fn hand_out(state: &mut Machine, served: &mut Vec<ConsumerId>) {
    if let [only] = served[..] {
        if let Some(consumer) = state.served_consumer(only) {
            consumer.new.sink.deliver(&mut consumer.pending);
        }
        served.clear();
        return;
    }
    let mut runs: Vec<Run> = Vec::new();
    let mut by_sink: HashMap<*const (), usize> = HashMap::new();
    for id in served.drain(..) {
        let Some(consumer) = state.served_consumer(id) else {
            continue;
        };
        let sink = Arc::as_ptr(&consumer.new.sink).cast::<()>();
        match by_sink.get(&sink).and_then(|index| runs.get_mut(*index)) {
            Some(run) => {
                run.deliveries.append(&mut consumer.pending);
                run.is_shared = true;
            }
            None => {
                by_sink.insert(sink, runs.len());
                let deliveries = std::mem::take(&mut consumer.pending);
                let sink = Arc::clone(&consumer.new.sink);
                runs.push(Run {
                    sink,
                    first: id,
                    deliveries,
                    is_shared: false,
                });
            }
        }
    }
    for mut run in runs {
        if run.is_shared {
            run.deliveries
                .sort_unstable_by_key(|delivery| (delivery.order, delivery.lease.offset));
        }
        run.sink.deliver(&mut run.deliveries);
        // The room that the sink gave in exchange is used again.
        if let Some(consumer) = state.served_consumer(run.first) {
            consumer.pending = run.deliveries;
        }
    }
}

/// What one sink gets in a turn.
struct Run {
    sink: Arc<dyn DeliverySink>,
    /// The consumer that it began with.
    first: ConsumerId,
    deliveries: Vec<Delivery>,
    /// More than one consumer has a part in it.
    is_shared: bool,
}
