//! Keys of logs. The broker logs to standard error; what runs it keeps and rotates the log.

use crate::rabbitmq_conf::kind::Kind::{Text, Truth, Words};
use crate::rabbitmq_conf::row::Meaning::{Always, Sets, Without};
use crate::rabbitmq_conf::row::{Row, row};

/// The levels above `error` do not exist here: what they name is an error too.
const LEVELS: &[(&str, &str)] = &[
    ("debug", "debug"),
    ("info", "info"),
    ("notice", "info"),
    ("warning", "warn"),
    ("error", "error"),
    ("critical", "error"),
    ("alert", "error"),
    ("emergency", "error"),
    ("none", "error"),
];
const FORMATS: &[(&str, &str)] = &[("plaintext", "text"), ("json", "json")];
const STDERR: &str = "the log goes to standard error; the service manager keeps and rotates it";
const ONE_LEVEL: &str = "one level holds for all";
const ONE_FORM: &str = "the lines have one form as text and one as JSON";

pub(super) const ROWS: &[Row] = &[
    row("log.console", Truth, Always(&["true"], STDERR)),
    row("log.console.level", Words(LEVELS), Sets("log-level")),
    row("log.default.level", Words(LEVELS), Sets("log-level")),
    row("log.file.level", Words(LEVELS), Sets("log-level")),
    row("log.console.formatter", Words(FORMATS), Sets("log-format")),
    row("log.file.formatter", Words(FORMATS), Sets("log-format")),
    row("log.console.stdio", Text, Always(&["stderr"], STDERR)),
    row(
        "log.console.use_colors",
        Text,
        Without("a terminal gets colours, a file none"),
    ),
    row(
        "log.console.color_esc_seqs.$",
        Text,
        Without("a terminal gets colours, a file none"),
    ),
    row("log.file", Text, Always(&["false"], STDERR)),
    row("log.dir", Text, Without(STDERR)),
    row("log.file.rotation.*", Text, Without(STDERR)),
    row(
        "log.exchange",
        Truth,
        Always(&["false"], "there is no amq.rabbitmq.log"),
    ),
    row(
        "log.exchange.*",
        Text,
        Without("there is no amq.rabbitmq.log"),
    ),
    row("log.syslog", Truth, Always(&["false"], STDERR)),
    row("log.syslog.*", Text, Without(STDERR)),
    row("log.journald", Truth, Always(&["false"], STDERR)),
    row("log.journald.*", Text, Without(STDERR)),
    row("log.$.formatter.*", Text, Without(ONE_FORM)),
    row("log.$.level", Words(LEVELS), Without(ONE_LEVEL)),
    row("log.$.file", Text, Without(STDERR)),
    row("log.$.rotation.*", Text, Without(STDERR)),
    row(
        "log.summarize_process_state",
        Truth,
        Without("there are no Erlang processes"),
    ),
    row(
        "log.error_logger_format_depth",
        Text,
        Without("there are no Erlang terms"),
    ),
];
