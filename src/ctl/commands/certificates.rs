//! Certificates of TLS: shows them, and checks when they end.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ctl::context::Context;
use crate::ctl::exit_code::{EX_DATAERR, EX_UNAVAILABLE, EX_USAGE};
use crate::ctl::outcome::{Failure, Outcome, Reply};
use crate::ctl::protocol::Request;
use crate::node;
use crate::views::{CertificateView, unit_secs};

/// What `--within` counts unless `--unit` and a number say otherwise.
const WITHIN: i64 = 4;
const UNIT: &str = "weeks";

pub(super) fn list(ctx: &Context) -> Outcome {
    let certificates = read(ctx)?;
    let lines = certificates.iter().map(|own| {
        format!(
            "{}\n\tsubject: {}\n\tissuer: {}\n\tvalid from {} until {}",
            own.file.display(),
            own.subject,
            own.issuer,
            moment(own.not_before),
            moment(own.not_after)
        )
    });
    let text = match certificates.is_empty() {
        true => format!("Node {} has no certificates", node::name()),
        false => lines.collect::<Vec<_>>().join("\n"),
    };
    let json = certificates.iter().map(as_json).collect::<Vec<_>>();
    let json = json!({"node": node::name(), "result": "ok", "certificates": json});
    Ok(Reply::Report { text, json })
}

fn read(ctx: &Context) -> Result<Vec<CertificateView>, Failure> {
    let certificates = ctx.views.certificates();
    certificates.map_err(|error| Failure::error(EX_UNAVAILABLE, error))
}

fn as_json(own: &CertificateView) -> Value {
    json!({
        "file": own.file.display().to_string(), "subject": own.subject, "issuer": own.issuer,
        "not_before": moment(own.not_before), "not_after": moment(own.not_after),
    })
}

/// A time as people read it.
fn moment(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

pub(super) fn check(ctx: &Context, request: &Request) -> Outcome {
    let within = match request.options.get("within").map(|text| text.parse()) {
        None => WITHIN,
        Some(Ok(count)) if count >= 0 => count,
        Some(_) => return Err(Failure::error(EX_DATAERR, "Bad argument: --within")),
    };
    let unit = request.options.get("unit").map_or(UNIT, String::as_str);
    let unit_secs = unit_secs(unit).ok_or_else(|| {
        Failure::error(
            EX_USAGE,
            format!(
                "unit '{unit}' is not supported. Please use one of: days, weeks, months, years"
            ),
        )
    })?;
    let seconds = within.saturating_mul(unit_secs);
    let now = i64::try_from(ctx.broker.clock().wall_ms() / 1000).unwrap_or(i64::MAX);
    let until = now.saturating_add(seconds);
    let certificates = read(ctx)?;
    let ending: Vec<&CertificateView> = certificates
        .iter()
        .filter(|own| own.has_ended_at(until))
        .collect();
    let period = match within {
        1 => format!("1 {}", unit.trim_end_matches('s')),
        _ => format!("{within} {unit}"),
    };
    if ending.is_empty() {
        return Ok(Reply::Report {
            text: format!("No certificates are expiring within {period}."),
            json: json!({"result": "ok"}),
        });
    }
    let lines = ending.iter().map(|own| {
        let until = moment(own.not_after);
        format!(
            "{}: {}, valid until {until}",
            own.file.display(),
            own.subject
        )
    });
    let lines: Vec<String> = lines.collect();
    let json: Vec<Value> = ending.iter().map(|own| as_json(own)).collect();
    Err(Failure {
        json: Some(json!({"result": "error", "expired": json})),
        ..Failure::plain(
            EX_UNAVAILABLE,
            format!(
                "Certificates are expiring within {period}:\n{}",
                lines.join("\n")
            ),
        )
    })
}
