//! The consuming side of a load.

use super::argument::Argument;

#[derive(Debug, clap::Args)]
pub(crate) struct ConsumeOptions {
    /// Consumers, one connection each.
    #[arg(long, conflicts_with = "pairs", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) consumers: Option<usize>,
    /// Unacknowledged messages per consumer and queue; 0: no limit.
    #[arg(long, default_value_t = 500)]
    pub(crate) prefetch: u16,
    /// An argument for every consumer, such as x-stream-offset=first. May be repeated.
    #[arg(long = "consume-argument", value_name = "NAME=VALUE")]
    pub(crate) consume_arguments: Vec<Argument>,
}

/// Acknowledgements of a load at full speed.
#[derive(Debug, clap::Args)]
pub(crate) struct BatchedAcks {
    /// Messages per acknowledgement; 0: automatic acknowledgement.
    #[arg(long, default_value_t = 100)]
    pub(crate) ack_batch: u32,
}
