//! Receiving and deleting over CMQ's API.

use super::cmq_options::CmqOptions;
use super::mode::Mode;
use crate::error::BenchError;
use crate::load::Progress;
use crate::report::{NoDetails, Summary};

#[derive(Debug, clap::Args)]
pub(crate) struct CmqReceive {
    #[command(flatten)]
    options: CmqOptions,
    /// Messages to receive, all queues together.
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
}

impl Mode for CmqReceive {
    type Details = NoDetails;

    fn run(&self, _: Progress) -> Result<Summary<NoDetails>, BenchError> {
        self.options
            .run("cmq-receive", |plan| plan.receive(self.count))
    }
}
