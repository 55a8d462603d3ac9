//! What verbs come to: a reply, or a failure with rabbitmqctl's text and exit code.

use super::columns;
use super::exit_code::EX_UNAVAILABLE;
use super::protocol::{Cell, Request};
use crate::store::StoreFailed;

/// The result of a verb that was carried out.
#[derive(Debug)]
pub(super) enum Reply {
    Done,
    Message(String),
    /// The content of a file, as it is.
    Text(String),
    /// Text for people, JSON for programs.
    Report {
        text: String,
        json: serde_json::Value,
    },
    Table {
        columns: Vec<String>,
        rows: Vec<Vec<Cell>>,
    },
}

impl Reply {
    /// Tracing is on or off in a virtual host now.
    pub(super) fn tracing(word: &str, vhost: &str) -> Reply {
        Reply::Message(format!("Trace {word} for vhost {vhost}"))
    }
}

/// Why a verb was not carried out: exit code and text.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: u8,
    pub(super) text: String,
    /// What programs see that ask for JSON.
    pub(super) json: Option<serde_json::Value>,
}

impl Failure {
    /// A text after the line `Error:`, as most of rabbitmqctl's are.
    pub(super) fn error(exit: u8, text: impl std::fmt::Display) -> Failure {
        Failure {
            exit,
            text: format!("Error:\n{text}"),
            json: None,
        }
    }

    /// A text without that line.
    pub(super) fn plain(exit: u8, text: impl Into<String>) -> Failure {
        Failure {
            exit,
            text: text.into(),
            json: None,
        }
    }
}

impl From<StoreFailed> for Failure {
    fn from(error: StoreFailed) -> Failure {
        Failure::error(EX_UNAVAILABLE, error)
    }
}

pub(super) type Outcome = Result<Reply, Failure>;

/// A table with fixed columns.
pub(super) fn rows(columns: &[&str], rows: Vec<Vec<Cell>>) -> Outcome {
    Ok(Reply::Table {
        columns: columns.iter().map(|&column| column.to_owned()).collect(),
        rows,
    })
}

/// A table with the columns that the request names. `cell` returns the value of one column of one item.
pub(super) fn listing<T>(
    request: &Request,
    items: impl IntoIterator<Item = T>,
    cell: impl Fn(&T, &str) -> Cell,
) -> Outcome {
    let columns = columns::of(request.verb)
        .map(|columns| columns.choose(&request.args))
        .unwrap_or_default();
    let rows = items
        .into_iter()
        .map(|item| columns.iter().map(|column| cell(&item, column)).collect())
        .collect();
    Ok(Reply::Table { columns, rows })
}
