//! A backlog that outlives a restart.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::fill_and_drain::FillAndDrain;
use super::mode::Mode;
use crate::broker::restart;
use crate::error::BenchError;
use crate::load::Progress;
use crate::report::Summary;

#[derive(Debug, clap::Args)]
pub(crate) struct Backlog {
    #[command(flatten)]
    options: FillAndDrain,
    /// Messages of the backlog, all queues together.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// A shell command that restarts the broker and returns when it accepts connections.
    #[arg(long)]
    restart_hook: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct BacklogDetails {
    /// Time from the restart hook until the broker accepted a client again.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_seconds: Option<f64>,
}

impl Mode for Backlog {
    type Details = BacklogDetails;

    fn run(&self, progress: Progress) -> Result<Summary<BacklogDetails>, BenchError> {
        let session = self.options.session("backlog", None, progress)?;
        session.run(|loads| {
            let filled = loads.run(&self.options.fill(&session, self.count))?;
            let hook = self.restart_hook.as_deref();
            let restart_seconds = hook
                .map(|hook| restart(&session.setup.broker.target, hook))
                .transpose()?;
            loads.run(&self.options.drain(&session, "drain", filled.sent)?)?;
            Ok(BacklogDetails { restart_seconds })
        })
    }
}

impl Display for BacklogDetails {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.restart_seconds {
            Some(seconds) => writeln!(f, "restart between them: {seconds:.2} s"),
            None => Ok(()),
        }
    }
}
