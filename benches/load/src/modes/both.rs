//! Publishing and consuming at the same time.

use super::mode::Mode;
use super::session::Session;
use crate::error::BenchError;
use crate::load::{ConsumerPlan, Load, Progress, PublishPlan};
use crate::options::{BatchedAcks, ConsumeOptions, LengthOptions, PublishOptions};
use crate::report::{NoDetails, Summary};
use crate::setup::Setup;

#[derive(Debug, clap::Args)]
pub(crate) struct Both {
    #[command(flatten)]
    publish: PublishOptions,
    #[command(flatten)]
    consume: ConsumeOptions,
    #[command(flatten)]
    acks: BatchedAcks,
    /// Messages per second to offer, all producers together [default: as many as possible].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    #[command(flatten)]
    length: LengthOptions,
}

impl Mode for Both {
    type Details = NoDetails;

    fn run(&self, progress: Progress) -> Result<Summary<NoDetails>, BenchError> {
        let consume = ConsumerPlan::new(self.consume.prefetch, self.acks.ack_batch)?;
        let session = Session {
            mode: "both",
            setup: Setup::new(&self.publish, Some(&self.consume))?,
            produce: PublishPlan {
                confirm_window: self.publish.confirm_window(),
                rate: self.rate,
            },
            consume: Some(consume),
            keep: self.publish.keep,
            progress,
        };
        session.run(|loads| {
            let load = Load::new(
                &session.setup,
                "both",
                session.produce,
                session.consume,
                &self.length,
            );
            loads.run(&load)?;
            Ok(NoDetails {})
        })
    }
}
