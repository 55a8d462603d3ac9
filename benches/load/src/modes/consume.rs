//! Consuming only, from queues that were filled before.

use super::fill_and_drain::FillAndDrain;
use super::mode::Mode;
use crate::error::BenchError;
use crate::load::Progress;
use crate::report::{NoDetails, Summary};

#[derive(Debug, clap::Args)]
pub(crate) struct Consume {
    #[command(flatten)]
    options: FillAndDrain,
    /// Messages to consume, all queues together.
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
}

impl Mode for Consume {
    type Details = NoDetails;

    fn run(&self, progress: Progress) -> Result<Summary<NoDetails>, BenchError> {
        let session = self.options.session("consume", None, progress)?;
        session.run(|loads| {
            let filled = loads.run(&self.options.fill(&session, self.count))?;
            loads.run(&self.options.drain(&session, "consume", filled.sent)?)?;
            Ok(NoDetails {})
        })
    }
}
