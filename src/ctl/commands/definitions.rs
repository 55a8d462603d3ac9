//! Definitions files: export and import.

use crate::ctl::context::Context;
use crate::ctl::exit_code::{EX_DATAERR, EX_UNAVAILABLE};
use crate::ctl::input::Input;
use crate::ctl::outcome::{Failure, Outcome, Reply};
use crate::ctl::protocol::Request;
use crate::definitions_file::{self, ImportError, Imported, NotADocument, Repetition, Scope};

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Failure {
        match error {
            ImportError::Unreadable(
                error @ (NotADocument::NoObject | NotADocument::Malformed(_)),
            ) => {
                let text = format!("Failed to deserialise input (format: JSON) (error: {error})");
                Failure::error(EX_DATAERR, text)
            }
            ImportError::Unreadable(error @ NotADocument::TooLong) => {
                Failure::error(EX_DATAERR, error)
            }
            error @ ImportError::Refused(_) => Failure::error(EX_UNAVAILABLE, error),
            ImportError::Store(error) => error.into(),
        }
    }
}

pub(super) fn export(ctx: &Context) -> Outcome {
    Ok(Reply::Text(definitions_file::export(&ctx.broker).to_json()))
}

pub(super) async fn import(ctx: &Context, request: &Request, input: Input<'_>) -> Outcome {
    let repetition = match request.has("skip-if-unchanged") {
        true => Repetition::Skip,
        false => Repetition::Import,
    };
    let Input { content, progress } = input;
    let scope = Scope::Cluster;
    let imported =
        definitions_file::import(&ctx.broker, &content, &scope, repetition, progress).await?;
    let text = match &imported {
        Imported::Unchanged => {
            "The definitions are unchanged, and were not imported again.".to_owned()
        }
        Imported::Now(report) => {
            let mut text = format!("Imported definitions: {}.", report.summary());
            for line in report.lines() {
                text += &format!("\nNot imported: {line}");
            }
            text
        }
    };
    let json = serde_json::json!({
        "node": crate::node::name(),
        "result": "ok",
        "report": imported,
    });
    Ok(Reply::Report { text, json })
}
