//! Definitions files.

use serde_json::{Value, json};

use super::http::Http;
use crate::ctl::exit_code::EX_USAGE;
use crate::ctl::outcome::{Failure, Outcome, Reply};
use crate::ctl::protocol::Request;

pub(super) fn export(http: &Http) -> Outcome {
    let text = http.text(&["definitions"])?;
    Ok(Reply::Text(text.unwrap_or_default()))
}

pub(super) fn import(http: &Http, request: &Request, content: &[u8]) -> Outcome {
    if request.has("skip-if-unchanged") {
        let text = "--skip-if-unchanged is not available by --url";
        return Err(Failure::error(EX_USAGE, text));
    }
    let report = http.post_bytes(&["definitions"], content.to_vec())?;
    let report = report.unwrap_or_default();
    let mut text = "Imported definitions.".to_owned();
    // What was left out has a line each.
    for line in report["skipped"].as_array().into_iter().flatten() {
        text += &format!("\nNot imported: {}", line_of(line));
    }
    let json = json!({"result": "ok", "report": report});
    Ok(Reply::Report { text, json })
}

fn line_of(line: &Value) -> String {
    line.as_str()
        .map_or_else(|| line.to_string(), str::to_owned)
}
