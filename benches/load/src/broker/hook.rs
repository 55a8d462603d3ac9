//! Shell commands that act on the broker in the middle of a run.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Link, Target};
use crate::error::BenchError;

/// How long a broker may take to come back after the restart hook.
const RESTART_MAX: Duration = Duration::from_secs(600);
/// How often the broker is tried after the restart hook.
const RESTART_POLL: Duration = Duration::from_millis(20);

/// Restarts the broker, and waits until it accepts a client again. Returns the seconds that this took.
pub(crate) fn restart(target: &Target, hook: &str) -> Result<f64, BenchError> {
    let begun = Instant::now();
    run_hook("restart", hook)?;
    loop {
        match Link::open(target) {
            Ok(link) => {
                link.close()?;
                return Ok(begun.elapsed().as_secs_f64());
            }
            Err(error) if begun.elapsed() > RESTART_MAX => return Err(error),
            Err(_) => thread::sleep(RESTART_POLL),
        }
    }
}

/// Runs a shell command to its end.
pub(crate) fn run_hook(name: &str, hook: &str) -> Result<(), BenchError> {
    let mut command = Command::new("sh");
    command.args(["-c", hook]);
    // Standard output holds the summary only.
    let status = command.stdout(Stdio::null()).status();
    let status = status.map_err(BenchError::io("running a hook"))?;
    if status.success() {
        return Ok(());
    }
    Err(BenchError::Usage(format!(
        "the {name} hook failed: {status}"
    )))
}
