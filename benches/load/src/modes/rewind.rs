//! A queue that is drained, rewound and drained again.

use std::fmt::{self, Display, Formatter};
use std::time::Instant;

use serde::Serialize;

use super::fill_and_drain::FillAndDrain;
use super::mode::Mode;
use crate::broker::run_hook;
use crate::error::BenchError;
use crate::load::Progress;
use crate::report::Summary;

#[derive(Debug, clap::Args)]
pub(crate) struct Rewind {
    #[command(flatten)]
    options: FillAndDrain,
    /// Messages to drain, all queues together.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// A shell command that rewinds all queues to their beginning, and returns when that is done.
    #[arg(long)]
    rewind_hook: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct RewindDetails {
    /// Run time of the rewind hook.
    rewind_seconds: f64,
}

impl Mode for Rewind {
    type Details = RewindDetails;

    fn run(&self, progress: Progress) -> Result<Summary<RewindDetails>, BenchError> {
        let session = self.options.session("rewind", None, progress)?;
        session.run(|loads| {
            let sent = loads.run(&self.options.fill(&session, self.count))?.sent;
            loads.run(&self.options.drain(&session, "drain", sent.clone())?)?;
            let begun = Instant::now();
            run_hook("rewind", &self.rewind_hook)?;
            let rewind_seconds = begun.elapsed().as_secs_f64();
            loads.run(&self.options.drain(&session, "drain again", sent)?)?;
            Ok(RewindDetails { rewind_seconds })
        })
    }
}

impl Display for RewindDetails {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "rewind between the drains: {:.3} s", self.rewind_seconds)
    }
}
