//! `leveret-bench`: loads any AMQP 0-9-1 broker over blocking sockets and measures it. It knows a broker only by its
//! socket, and uses nothing of Leveret but `leveret::wire`.

mod broker;
mod churn;
mod cli;
mod client;
mod cmq;
mod error;
mod findings;
mod latencies;
mod lateness;
mod layout;
mod load;
mod message;
mod modes;
mod observer;
mod options;
mod preallocated_log;
mod random;
mod report;
mod setup;
#[cfg(test)]
mod sink;
mod stamp;
mod stressor;
mod swarm;
#[cfg(test)]
mod tests;
mod witness;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use cli::Cli;
use load::Progress;

/// The run did not come to its end.
const EXIT_ERROR: u8 = 2;

/// Writes the summary of a run to standard output. Fails also if messages were lost, repeated, out of order
/// or refused.
fn main() -> ExitCode {
    let cli = Cli::parse();
    let summary = match cli.mode.run(Progress { quiet: cli.quiet }) {
        Ok(summary) => summary,
        Err(error) => {
            eprintln!("leveret-bench: {error}");
            return ExitCode::from(EXIT_ERROR);
        }
    };
    let text = if cli.json {
        format!("{:#}\n", summary.json())
    } else {
        summary.to_string()
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) if summary.is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
