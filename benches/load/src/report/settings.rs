//! The settings of a run with messages.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::load::{ConsumerPlan, PublishPlan};
use crate::setup::Setup;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Settings {
    producers: usize,
    consumers: usize,
    queues: usize,
    exchange: &'static str,
    routing_keys: usize,
    body_bytes: usize,
    persistent: bool,
    confirm_window: u32,
    prefetch: u16,
    ack_batch: u32,
    offered_per_second: Option<u64>,
}

impl Settings {
    pub(crate) fn new(
        setup: &Setup,
        produce: PublishPlan,
        consume: Option<ConsumerPlan>,
    ) -> Settings {
        let layout = &setup.layout;
        Settings {
            producers: layout.producers,
            consumers: layout.consumers,
            queues: layout.queues,
            exchange: layout.routing.exchange_type().unwrap_or("default"),
            routing_keys: layout.routes,
            body_bytes: setup.shape.size,
            persistent: setup.shape.persistent,
            confirm_window: produce.confirm_window.unwrap_or(0),
            prefetch: consume.map_or(0, |plan| plan.prefetch),
            ack_batch: consume.and_then(|plan| plan.ack_batch).unwrap_or(0),
            offered_per_second: produce.rate,
        }
    }
}

impl Display for Settings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {} producers, {} consumers, {} queues, {} exchange, bodies of {} B, {}",
            self.producers,
            self.consumers,
            self.queues,
            self.exchange,
            self.body_bytes,
            if self.persistent {
                "persistent"
            } else {
                "transient"
            },
        )?;
        writeln!(
            f,
            "  confirm window {}, prefetch {}, {} messages per ack",
            self.confirm_window, self.prefetch, self.ack_batch,
        )
    }
}
