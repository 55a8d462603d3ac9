//! A parsed command line of `leveret ctl`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::exit_code::EX_UNAVAILABLE;

/// A verb with its arguments and options.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invocation {
    /// The verb's name.
    pub(super) verb: &'static str,
    pub(super) args: Vec<String>,
    /// The verb's own options by long name. Switches have an empty value.
    pub(super) options: BTreeMap<String, String>,
    pub(super) style: Style,
    pub(super) target: Target,
}

/// How results are printed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    /// Prints no banner.
    pub(super) quiet: bool,
    /// Prints neither banner nor headers.
    pub(super) silent: bool,
    pub(super) no_table_headers: bool,
    pub(super) format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    /// Columns separated by tabs.
    #[default]
    Table,
    /// A JSON array of objects.
    Json,
    /// Comma-separated values.
    Csv,
    /// A table with borders.
    PrettyTable,
}

/// The broker to talk to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) data_dir: Option<PathBuf>,
    pub(super) config: Option<PathBuf>,
    /// Only shown: there is one node.
    pub(super) node: Option<String>,
    pub(super) timeout: Option<Duration>,
    /// The management API to use instead of the socket.
    pub(super) remote: Option<RemoteTarget>,
}

/// A management API and a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteTarget {
    pub(super) url: String,
    pub(super) username: String,
    pub(super) password: Password,
    /// Certificates to trust instead of the system's.
    pub(super) ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Password {
    Given(String),
    /// The first line of standard input.
    FromStdin,
}

/// Ends the command: an exit code, and a text for standard error.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CommandError {
    pub(super) exit: u8,
    pub(super) text: String,
}

impl CommandError {
    pub(super) fn unavailable(text: String) -> CommandError {
        CommandError {
            exit: EX_UNAVAILABLE,
            text,
        }
    }
}
