//! Definitions files.

use serde_json::{Value, json};

use super::cells::{field, text};
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
    let mut lines = "Imported definitions.".to_owned();
    for entry in field(&report, "not_imported")
        .as_array()
        .into_iter()
        .flatten()
    {
        lines += &format!("\nNot imported: {}", line_of(entry));
    }
    let json = json!({"result": "ok", "report": report});
    Ok(Reply::Report { text: lines, json })
}

/// An entry that was left out, in a line.
fn line_of(entry: &Value) -> String {
    let (category, name) = (text(entry, "category"), text(entry, "name"));
    let reason = text(entry, "reason");
    match text(entry, "vhost") {
        "" => format!("{category} '{name}': {reason}"),
        vhost => format!("{category} '{name}' in vhost '{vhost}': {reason}"),
    }
}
