//! Shell commands that do something to the broker in the middle of a run.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::error::BenchError;
use super::link::Link;
use super::target::Target;

/// How long a broker may take to come back after the restart hook.
const RESTART_MAX: Duration = Duration::from_secs(600);

/// How often it is looked for.
const RESTART_POLL: Duration = Duration::from_millis(20);

/// Restarts the broker; returns after how many seconds it let a client in again.
pub(super) fn restart(target: &Target, hook: &str) -> Result<f64, BenchError> {
    let begun = Instant::now();
    run("restart", hook)?;
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

/// Runs a shell command that does something to the broker, to its end.
pub(super) fn run(name: &str, hook: &str) -> Result<(), BenchError> {
    let mut command = Command::new("sh");
    command.args(["-c", hook]);
    // What it says is not to stand among the results.
    let status = command.stdout(Stdio::null()).status();
    let status = status.map_err(BenchError::io("running a hook"))?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| BenchError::Usage(format!("the {name} hook failed: {status}")))
}
