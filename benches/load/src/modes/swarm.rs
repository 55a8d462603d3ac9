//! Many slow pairs.

use clap::builder::RangedU64ValueParser;

use super::mode::Mode;
use super::session::Session;
use crate::error::BenchError;
use crate::layout::{Layout, Routing};
use crate::load::{ConsumerPlan, Progress, PublishPlan};
use crate::message::MessageShape;
use crate::options::{Argument, BrokerOptions, QueueOptions, TimeOptions, body_size};
use crate::report::{NoDetails, Summary};
use crate::setup::Setup;
use crate::swarm::{SwarmPlan, measure};

/// Messages per second of each pair, without `--rate`.
const RATE_PER_PAIR: u64 = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct Swarm {
    #[command(flatten)]
    broker: BrokerOptions,
    #[command(flatten)]
    queues: QueueOptions,
    /// Pairs of a producer and a consumer, each with a queue of its own.
    #[arg(long, default_value_t = 100, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pairs: usize,
    /// Messages per second to offer, all pairs together [default: 100 per pair].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Length of bodies in bytes.
    #[arg(long, default_value_t = 1024, value_parser = body_size())]
    size: usize,
    /// Publish transient messages.
    #[arg(long)]
    transient: bool,
    /// Messages that a producer may have unconfirmed.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    confirm_window: u32,
    /// Unacknowledged messages per consumer; 0: no limit.
    #[arg(long, default_value_t = 500)]
    prefetch: u16,
    /// Messages per acknowledgement.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    ack_batch: u32,
    /// Leave the queues behind.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    time: TimeOptions,
}

impl Mode for Swarm {
    type Details = NoDetails;

    fn run(&self, progress: Progress) -> Result<Summary<NoDetails>, BenchError> {
        let rate = self.rate.unwrap_or(RATE_PER_PAIR * self.pairs as u64);
        let session = Session {
            mode: "swarm",
            setup: self.setup()?,
            produce: PublishPlan {
                confirm_window: Some(self.confirm_window),
                rate: Some(rate),
            },
            consume: Some(ConsumerPlan::new(self.prefetch, self.ack_batch)?),
            keep: self.keep,
            progress,
        };
        let plan = SwarmPlan {
            rate,
            confirm_window: self.confirm_window,
            prefetch: self.prefetch,
            ack_batch: self.ack_batch,
            warm_up: self.time.warm_up,
            time: self.time.seconds,
        };
        session.run(|loads| {
            let outcome = measure(&session.setup, plan)?;
            loads.add("swarm", &outcome, Some(rate));
            Ok(NoDetails {})
        })
    }
}

impl Swarm {
    fn setup(&self) -> Result<Setup, BenchError> {
        let counts = (self.pairs, self.pairs, self.pairs);
        Ok(Setup {
            broker: self.broker.clone(),
            layout: Layout::new(&self.queues.prefix, counts, Routing::Default, 0)?,
            shape: MessageShape {
                size: self.size,
                persistent: !self.transient,
                delay_ms: None,
            },
            durable: !self.queues.transient_queues,
            queue_arguments: Argument::table(&self.queues.queue_arguments),
            consume_arguments: Argument::table(&[]),
        })
    }
}
