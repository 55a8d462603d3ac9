//! Sending over CMQ's API.

use super::cmq_options::CmqOptions;
use super::mode::Mode;
use crate::error::BenchError;
use crate::load::Progress;
use crate::options::TimeOptions;
use crate::report::{NoDetails, Summary};

#[derive(Debug, clap::Args)]
pub(crate) struct CmqSend {
    #[command(flatten)]
    options: CmqOptions,
    #[command(flatten)]
    time: TimeOptions,
}

impl Mode for CmqSend {
    type Details = NoDetails;

    fn run(&self, _: Progress) -> Result<Summary<NoDetails>, BenchError> {
        self.options.run("cmq-send", |plan| {
            plan.send(self.time.warm_up, self.time.seconds)
        })
    }
}
