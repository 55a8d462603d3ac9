//! What `leveret ctl` and the broker say to each other over the socket: one JSON object per line, each line
//! bounded. One request, then events until `Done` or `Failed`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::verbs::{Verb, secret_argument};

/// Bound on one line in bytes: a request, or one row of a listing.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// The socket's name in the data directory.
pub const SOCKET: &str = "ctl.sock";

/// What to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The verb.
    pub verb: Verb,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its own options by long name; switches have an empty value.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl Request {
    /// An argument by position; the client has counted them.
    pub fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    /// The virtual host that was named, or `/`.
    pub fn vhost(&self) -> &str {
        self.options.get("vhost").map_or("/", String::as_str)
    }

    /// Its arguments and options, without what is secret.
    pub(super) fn shown(&self) -> Vec<String> {
        let secret = secret_argument(self.verb);
        let args = self.args.iter().enumerate().map(|(index, arg)| {
            if secret == Some(index) {
                "***".to_owned()
            } else {
                arg.clone()
            }
        });
        let options = self.options.iter().map(|(name, value)| match &**value {
            "" => format!("--{name}"),
            value => format!("--{name}={value}"),
        });
        args.chain(options).collect()
    }

    /// Whether a switch was given.
    pub fn has(&self, option: &str) -> bool {
        self.options.contains_key(option)
    }
}

/// What came of it, piece by piece.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The columns of the rows that follow.
    Columns(Vec<String>),
    /// One row.
    Row(Vec<Cell>),
    /// A message for the operator.
    Message(String),
    /// A report: text for people, JSON for programs.
    Report {
        /// For people.
        text: String,
        /// For programs.
        json: serde_json::Value,
    },
    /// The verb was carried out.
    Done,
    /// It was not: exit code and text for standard error.
    Failed(u8, String),
}

/// One value in a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// Nothing is known or set.
    Nothing,
    /// Plain text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Words such as user tags.
    Words(Vec<String>),
    /// Values without names.
    List(Vec<TypedCell>),
    /// An AMQP table: name and value.
    Table(Vec<(String, TypedCell)>),
}

/// A value with the name that RabbitMQ has for its AMQP type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypedCell {
    /// The type, such as `longstr`.
    pub kind: String,
    /// The value.
    pub cell: Cell,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<bool> for Cell {
    fn from(truth: bool) -> Cell {
        Cell::Bool(truth)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Cell {
        Cell::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Cell {
        Cell::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Cell {
        Cell::Integer(i64::from(number))
    }
}

impl From<u16> for Cell {
    fn from(number: u16) -> Cell {
        Cell::Integer(i64::from(number))
    }
}
