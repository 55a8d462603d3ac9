//! Why a migration, or the move of one queue, fails.

use std::io;
use std::path::PathBuf;

use crate::shovel::link::LinkError;
use crate::shovel::pump::PumpError;

#[derive(Debug, thiserror::Error)]
pub(super) enum MigrateError {
    #[error("{what}: {error}")]
    Http { what: String, error: reqwest::Error },
    /// The management API refuses a request.
    #[error("{what}: {status}: {body}")]
    Refused {
        what: String,
        status: reqwest::StatusCode,
        body: String,
    },
    #[error("{what}: the answer is larger than {limit} bytes")]
    TooLarge { what: String, limit: usize },
    #[error("{what}: the answer is no JSON that it should be: {why}")]
    Answer { what: String, why: String },
    #[error("state file {}: {error}", path.display())]
    State { path: PathBuf, error: io::Error },
    #[error("state file {} belongs to another migration: from {from} to {to}", path.display())]
    OtherState {
        path: PathBuf,
        from: String,
        to: String,
    },
    #[error("report {}: {error}", path.display())]
    Report { path: PathBuf, error: io::Error },
    #[error(
        "user '{0}' of the target needs the tag administrator, or the messages could not keep their exchanges and keys"
    )]
    NoAdministrator(String),
    #[error("interrupted: run again with the same state file to continue")]
    Interrupted,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Why a queue is not moved, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum MoveError {
    #[error("source: {0}")]
    Source(LinkError),
    #[error("target: {0}")]
    Target(LinkError),
    #[error(transparent)]
    Pump(#[from] PumpError),
    #[error("source: {0}")]
    Consumers(Box<MigrateError>),
    #[error("another run of leveret migrate consumes from it")]
    OtherRun,
    #[error("the target has no such queue")]
    NoQueue,
    #[error("the source has no such queue any more")]
    Gone,
    #[error("the target has refused messages of the stream")]
    StreamRefused,
}

impl MoveError {
    /// Whether another attempt may succeed: the connection broke, or a broker is not there now.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            MoveError::Source(error) | MoveError::Target(error) => passes(error),
            MoveError::Pump(PumpError::Source(error) | PumpError::Destination(error)) => {
                passes(error)
            }
            MoveError::Consumers(error) => match &**error {
                MigrateError::Http { .. } => true,
                MigrateError::Refused { status, .. } => status.is_server_error(),
                MigrateError::TooLarge { .. }
                | MigrateError::Answer { .. }
                | MigrateError::State { .. }
                | MigrateError::OtherState { .. }
                | MigrateError::Report { .. }
                | MigrateError::NoAdministrator(_)
                | MigrateError::Interrupted
                | MigrateError::Io(_) => false,
            },
            MoveError::Pump(PumpError::Returned { .. })
            | MoveError::OtherRun
            | MoveError::NoQueue
            | MoveError::Gone
            | MoveError::StreamRefused => false,
        }
    }
}

fn passes(error: &LinkError) -> bool {
    // CONNECTION_FORCED, and errors of a broker in trouble.
    const PASSING_CODES: [u16; 3] = [320, 506, 541];
    match error {
        LinkError::Connect(_)
        | LinkError::Timeout(_)
        | LinkError::Lost(_)
        | LinkError::Gone
        | LinkError::Silent
        | LinkError::Cancelled => true,
        LinkError::Closed { code, .. } => PASSING_CODES.contains(code),
        LinkError::Tls(_)
        | LinkError::NoMechanism(_)
        | LinkError::Protocol(_)
        | LinkError::Refused(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_connections_pass_and_refusals_do_not() {
        let closed = |code| {
            let text = "a reason".to_owned();
            LinkError::Closed { code, text }
        };
        for (error, passes) in [
            (MoveError::Source(LinkError::Gone), true),
            (MoveError::Target(LinkError::Silent), true),
            (MoveError::Pump(PumpError::Source(closed(320))), true),
            (MoveError::Pump(PumpError::Destination(closed(541))), true),
            (MoveError::Source(closed(403)), false),
            (MoveError::Target(closed(530)), false),
            (MoveError::Pump(PumpError::Destination(closed(406))), false),
            (MoveError::NoQueue, false),
            (MoveError::OtherRun, false),
        ] {
            assert_eq!(error.is_passing(), passes, "{error}");
        }
    }
}
