//! Runs the checks of `checks` and prints one line for each. `support` has the environment, the deadlines and the restart
//! of the broker.

mod checks;
mod support;

use std::process::ExitCode;

use lapin::{Connection, ConnectionProperties, ErrorKind};

use support::{Failure, Outcome, broker_url};

/// The longest that one check may take, with a restart of the broker.
const CHECK_LIMIT: std::time::Duration = std::time::Duration::from_secs(90);

/// Runs one check on a new connection, which the check may close.
async fn run(name: &str) -> Outcome {
    let connection = Connection::connect(&broker_url(), ConnectionProperties::default()).await?;
    let outcome = match tokio::time::timeout(CHECK_LIMIT, checks::run(name, &connection)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::text(format!("still running after {CHECK_LIMIT:?}"))),
    };
    if connection.status().connected()
        && let Err(error) = connection.close(200, "bye".into()).await
        // A channel that the check dropped may still be closing.
        && !matches!(error.kind(), ErrorKind::InvalidChannelState(..))
    {
        return Err(error.into());
    }
    outcome
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut failed = false;
    for name in checks::NAMES {
        match run(name).await {
            Ok(()) => println!("ok {name}"),
            Err(Failure::Skip(why)) => println!("skip {name}: {why}"),
            Err(Failure::Text(text)) => {
                failed = true;
                println!("FAIL {name}: {}", text.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
