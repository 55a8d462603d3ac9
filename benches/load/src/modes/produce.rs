//! Publishing only.

use super::mode::Mode;
use super::session::Session;
use crate::error::BenchError;
use crate::load::{Load, Progress, PublishPlan};
use crate::options::{LengthOptions, PublishOptions};
use crate::report::{NoDetails, Summary};
use crate::setup::Setup;

#[derive(Debug, clap::Args)]
pub(crate) struct Produce {
    #[command(flatten)]
    publish: PublishOptions,
    /// Messages per second to offer, all producers together [default: as many as possible].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    #[command(flatten)]
    length: LengthOptions,
}

impl Mode for Produce {
    type Details = NoDetails;

    fn run(&self, progress: Progress) -> Result<Summary<NoDetails>, BenchError> {
        let session = Session {
            mode: "produce",
            setup: Setup::new(&self.publish, None)?,
            produce: PublishPlan {
                confirm_window: self.publish.confirm_window(),
                rate: self.rate,
            },
            consume: None,
            keep: self.publish.keep,
            progress,
        };
        session.run(|loads| {
            let load = Load::new(
                &session.setup,
                "produce",
                session.produce,
                None,
                &self.length,
            );
            loads.run(&load)?;
            Ok(NoDetails {})
        })
    }
}
