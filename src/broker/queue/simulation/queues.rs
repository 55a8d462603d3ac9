//! The queues of the simulation. Their dead letters go from queue 2 to 0 to 3, and from 1 to 3, so they come to rest.

use std::sync::Arc;

use amq_protocol::types::FieldTable;

use crate::broker::queue::work_queue::tests::rig::{long, text};
use crate::model::QueueId;
use crate::model::arguments::QueueArguments;
use crate::wire::{AMQPValue, ShortString};

/// Number of queues.
pub(super) const QUEUES: usize = 6;
/// The quorum queue.
pub(super) const QUORUM: usize = 1;
/// The queue with a history, and a single active consumer.
pub(super) const REWINDABLE: usize = 4;
/// The stream.
pub(super) const STREAM: usize = 5;

/// How long a lease of queue 1 lasts, in milliseconds.
pub(super) const LEASE_MS: u64 = 500;

/// The arguments of each queue.
pub(super) fn all() -> Vec<Arc<QueueArguments>> {
    let dead_lettered = || ("x-dead-letter-exchange", text("letters"));
    let fields: [Vec<(&str, AMQPValue)>; QUEUES] = [
        vec![dead_lettered()],
        vec![
            dead_lettered(),
            ("x-queue-type", text("quorum")),
            ("x-delivery-limit", long(2)),
            ("x-visibility-timeout", long(LEASE_MS.cast_signed())),
            ("x-delayed-retry-type", text("all")),
            ("x-delayed-retry-min", long(200)),
            ("x-delayed-retry-max", long(300)),
        ],
        vec![
            dead_lettered(),
            ("x-max-length", long(4)),
            ("x-message-ttl", long(2_000)),
        ],
        vec![("x-max-priority", long(2))],
        vec![
            ("x-rewind-seconds", long(3_600)),
            ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ],
        vec![("x-queue-type", text("stream"))],
    ];
    fields.iter().map(|fields| arguments(fields)).collect()
}

/// The queue that gets the dead letters of a queue.
pub(super) fn letters_of(queue: usize) -> Option<usize> {
    match queue {
        0 | 1 => Some(3),
        2 => Some(0),
        _ => None,
    }
}

/// Ids begin at 1.
pub(super) fn id_of(queue: usize) -> QueueId {
    QueueId(queue as u64 + 1)
}

fn arguments(fields: &[(&str, AMQPValue)]) -> Arc<QueueArguments> {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert(ShortString::from(*name), value.clone());
    }
    QueueArguments::shared(&table).expect("valid arguments")
}
