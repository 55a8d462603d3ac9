//! The log: its last lines, where it goes, its level.

use serde_json::json;

use crate::config::LogLevel;
use crate::ctl::exit_code::{EX_DATAERR, EX_UNAVAILABLE};
use crate::ctl::outcome::{Failure, Outcome, Reply};
use crate::ctl::protocol::Request;
use crate::logging;
use crate::node;

/// How many lines `log_tail` prints, as in RabbitMQ.
const TAIL_LINES: usize = 50;
/// Where the log goes. A service manager rotates it.
const LOCATION: &str = "<stderr>";

pub(super) fn tail(request: &Request) -> Outcome {
    let count = match request.options.get("number").map(|text| text.parse()) {
        None => TAIL_LINES,
        Some(Ok(count)) => count,
        Some(Err(_)) => return Err(Failure::error(EX_DATAERR, "Bad argument: --number")),
    };
    Ok(Reply::Message(logging::last_lines().last(count).join("\n")))
}

pub(super) fn location() -> Outcome {
    Ok(Reply::Report {
        text: LOCATION.to_owned(),
        json: json!({"result": "ok", "node_name": node::name(), "paths": [LOCATION]}),
    })
}

pub(super) fn set_level(request: &Request) -> Outcome {
    let level = match request.arg(0) {
        "none" => None,
        // Nothing is logged above errors.
        "critical" | "error" => Some(LogLevel::Error),
        "warning" | "warn" => Some(LogLevel::Warn),
        "info" => Some(LogLevel::Info),
        "debug" => Some(LogLevel::Debug),
        "trace" => Some(LogLevel::Trace),
        other => {
            let text = format!(
                "level {other} is not supported. Try one of debug, info, warning, error, critical, none"
            );
            return Err(Failure::error(EX_UNAVAILABLE, text));
        }
    };
    match logging::set_level(level) {
        true => Ok(Reply::Done),
        false => Err(Failure::error(EX_UNAVAILABLE, "this process has no log")),
    }
}
