//! The publishing side of a load: producers, queues, routes and messages.

use clap::builder::RangedU64ValueParser;

use super::broker::BrokerOptions;
use super::queues::QueueOptions;
use crate::layout::Routing;
use crate::stamp::STAMP_LEN;

#[derive(Debug, clap::Args)]
pub(crate) struct PublishOptions {
    #[command(flatten)]
    pub(crate) broker: BrokerOptions,
    #[command(flatten)]
    pub(crate) queues: QueueOptions,
    /// Number of producers, of consumers (if any) and of queues: each pair has a queue of its own.
    #[arg(long, conflicts_with_all = ["producers", "queue_count"])]
    pub(crate) pairs: Option<usize>,
    /// Producers, one connection each.
    #[arg(long)]
    pub(crate) producers: Option<usize>,
    /// Queues. Producers and consumers share them evenly.
    #[arg(id = "queue_count", long = "queues", value_name = "QUEUES")]
    pub(crate) queue_count: Option<usize>,
    /// Length of bodies in bytes.
    #[arg(long, default_value_t = 1024, value_parser = body_size())]
    pub(crate) size: usize,
    /// Publish transient messages.
    #[arg(long)]
    pub(crate) transient: bool,
    /// Messages that a producer may have unconfirmed; 0: no confirms.
    #[arg(long, default_value_t = 1000)]
    pub(crate) confirm_window: u32,
    /// The exchange to publish to.
    #[arg(long, value_enum, default_value_t = Routing::Default)]
    pub(crate) exchange_type: Routing,
    /// Bindings of a direct or topic exchange, all queues together. Producers publish to each in turn. 0: one
    /// for each queue.
    #[arg(long, default_value_t = 0)]
    pub(crate) bindings: usize,
    /// Leave queues and exchanges behind.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// A load at a fixed rate, for latencies.
#[derive(Debug, clap::Args)]
pub(crate) struct Paced {
    /// Messages per second to offer, all producers together.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rate: u64,
    /// Messages per acknowledgement; 0: automatic acknowledgement.
    #[arg(long, default_value_t = 1)]
    pub(crate) ack_batch: u32,
}

/// A body holds at least its stamp.
pub(crate) fn body_size() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(STAMP_LEN as u64..)
}

impl PublishOptions {
    pub(crate) fn producer_count(&self) -> usize {
        self.producers.or(self.pairs).unwrap_or(1)
    }

    pub(crate) fn queue_count(&self) -> usize {
        self.queue_count.or(self.pairs).unwrap_or(1)
    }

    pub(crate) fn confirm_window(&self) -> Option<u32> {
        (self.confirm_window > 0).then_some(self.confirm_window)
    }
}
