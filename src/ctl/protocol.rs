//! The protocol between `leveret ctl` and the broker: one JSON object per line, each line bounded. The client sends one
//! request, for some verbs with content behind it; the broker sends events until `Done` or `Failed`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::verbs::{Verb, secret_argument};

/// Length of a line in bytes: of a request, or of a row of a listing.
pub(super) const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Length of a piece of a text, in bytes. Its line has six times as many at most.
pub(super) const TEXT_BYTES_MAX: usize = 64 * 1024;
/// The name of the socket in the data directory.
pub(crate) const SOCKET: &str = "ctl.sock";
/// The kind of the links' streams between nodes that carry a conversation with the leader.
pub(crate) const CTL_STREAM: u8 = 33;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) verb: Verb,
    #[serde(default)]
    pub(super) args: Vec<String>,
    /// The verb's own options by long name. Switches have an empty value.
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
    /// Number of bytes behind the line: the content of a file.
    #[serde(default)]
    pub(super) content: usize,
}

impl Request {
    /// An argument by position. The client has checked how many there are.
    pub(super) fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    /// `--vhost`, or `/`.
    pub(super) fn vhost(&self) -> &str {
        self.options.get("vhost").map_or("/", String::as_str)
    }

    /// Arguments and options for the log, without secrets.
    pub(super) fn for_log(&self) -> Vec<String> {
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

    pub(super) fn has(&self, option: &str) -> bool {
        self.options.contains_key(option)
    }
}

/// A part of the reply.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// The columns of the rows that follow.
    Columns(Vec<String>),
    Row(Vec<Cell>),
    Message(String),
    /// Text for people, JSON for programs.
    Report {
        text: String,
        json: serde_json::Value,
    },
    /// A piece of a text, which may be long.
    Text(String),
    /// How many steps of a long verb are done.
    Progress {
        done: usize,
        total: usize,
    },
    /// The verb was carried out.
    Done,
    /// The verb failed: exit code, and for standard error text or JSON.
    Failed {
        exit: u8,
        text: String,
        json: Option<serde_json::Value>,
    },
}

/// A value in a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cell {
    /// Unknown or not set.
    Nothing,
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// Names such as user tags.
    Words(Vec<String>),
    List(Vec<TypedCell>),
    /// The keys and values of a policy.
    Pairs(Vec<(String, Cell)>),
    /// An AMQP table, as names with values.
    Table(Vec<(String, TypedCell)>),
}

/// A value with RabbitMQ's name of its AMQP type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct TypedCell {
    /// Such as `longstr`.
    pub(super) kind: String,
    pub(super) cell: Cell,
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
