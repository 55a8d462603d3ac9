//! Settings, memory, TLS and the machine.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use crate::broker::users::{LoginAttempts, LoginDoor};
use crate::ctl::context::Context;
use crate::ctl::exit_code::{EX_DATAERR, EX_USAGE};
use crate::ctl::outcome::{Failure, Outcome, Reply, rows};
use crate::ctl::protocol::{Cell, Request};
use crate::node;
use crate::views::MemoryView;

pub(super) fn server_version() -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    Ok(Reply::Report {
        text: version.to_owned(),
        json: json!({"result": "ok", "value": version}),
    })
}

/// The settings as a file; as JSON an object with their values.
pub(super) fn environment(ctx: &Context) -> Outcome {
    let text = ctx.views.configuration().trim_end().to_owned();
    let parsed: toml::Table = toml::from_str(&text).unwrap_or_default();
    Ok(Reply::Report {
        text,
        json: json!({"leveret": parsed}),
    })
}

/// The variables that set options.
pub(super) fn os_env() -> Outcome {
    let own = std::env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        let is_shown = name.starts_with("LEVERET_") || name.starts_with("RABBITMQ_");
        let is_secret = ["PASS", "SECRET", "KEY", "TOKEN"]
            .iter()
            .any(|word| name.contains(word));
        is_shown.then(|| (name, if is_secret { "***".to_owned() } else { value }))
    });
    let mut own: Vec<(String, String)> = own.collect();
    own.sort();
    let lines: Vec<String> = own.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let variables: Map<String, Value> = own.into_iter().map(|(n, v)| (n, v.into())).collect();
    Ok(Reply::Report {
        text: lines.join("\n"),
        json: json!({"node": node::name(), "result": "ok", "variables": variables}),
    })
}

pub(super) fn memory_breakdown(ctx: &Context, request: &Request) -> Outcome {
    let MemoryView { resident, kinds } = ctx.views.memory();
    memory_report(kinds, resident, request)
}

/// The kinds of memory, the largest first.
pub(in crate::ctl) fn memory_report(
    mut kinds: Vec<(&str, u64)>,
    resident: u64,
    request: &Request,
) -> Outcome {
    let unit = request.options.get("unit").map_or("gb", String::as_str);
    kinds.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let lines: Option<Vec<String>> = kinds
        .iter()
        .map(|(kind, bytes)| {
            let share = percentage(*bytes, resident);
            Some(format!("{kind}: {} ({share}%)", in_unit(*bytes, unit)?))
        })
        .collect();
    let lines = lines.ok_or_else(|| {
        Failure::error(
            EX_USAGE,
            format!("unit '{unit}' is not supported. Please use one of: bytes, mb, gb"),
        )
    })?;
    let json: Map<String, Value> = kinds
        .iter()
        .map(|(kind, bytes)| {
            let share = percentage(*bytes, resident);
            (
                (*kind).to_owned(),
                json!({"bytes": bytes, "percentage": share}),
            )
        })
        .collect();
    Ok(Reply::Report {
        text: lines.join("\n"),
        json: Value::Object(json),
    })
}

/// Bytes in a unit, with RabbitMQ's rounding; `None` without such a unit.
fn in_unit(bytes: u64, unit: &str) -> Option<String> {
    let scaled = |scale: u64| (thousandths(bytes, scale, 10_000) / 10_000.0).to_string();
    match unit {
        "bytes" => Some(format!("{bytes} bytes")),
        "mb" => Some(format!("{} mb", scaled(1_000_000))),
        "gb" => Some(format!("{} gb", scaled(1_000_000_000))),
        _ => None,
    }
}

/// The share of a whole in percent, with two digits.
fn percentage(part: u64, whole: u64) -> f64 {
    thousandths(part.saturating_mul(100), whole, 100) / 100.0
}

/// `part / whole` in steps of `1 / steps`, as a whole number.
#[expect(
    clippy::cast_precision_loss,
    reason = "four digits are shown, and the product stays below 2^53"
)]
fn thousandths(part: u64, whole: u64, steps: u64) -> f64 {
    let steps = u128::from(part) * u128::from(steps) / u128::from(whole.max(1));
    u64::try_from(steps).unwrap_or(u64::MAX) as f64
}

pub(super) fn tls_versions() -> Outcome {
    let versions = ["tlsv1.3", "tlsv1.2"];
    Ok(Reply::Report {
        text: versions.join("\n"),
        json: json!({ "versions": versions }),
    })
}

/// All suites are on by default, so `--all` shows the same.
pub(super) fn cipher_suites(request: &Request) -> Outcome {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let names = provider.cipher_suites.iter().map(|suite| {
        let suite = format!("{:?}", suite.suite());
        suite.replace("TLS13_", "TLS_")
    });
    let names: Vec<String> = match request.options.get("format").map(String::as_str) {
        None | Some("openssl") => names.map(|name| openssl_name(&name)).collect(),
        Some("iana") => names.collect(),
        Some(other) => {
            let text = format!("Bad argument: format '{other}' is not supported: openssl or iana");
            return Err(Failure::error(EX_DATAERR, text));
        }
    };
    Ok(Reply::Report {
        text: names.join("\n"),
        json: json!(names),
    })
}

/// OpenSSL's name of a suite. Those of TLS 1.3 are the same.
fn openssl_name(name: &str) -> String {
    match name
        .strip_prefix("TLS_")
        .and_then(|rest| rest.split_once("_WITH_"))
    {
        None => name.to_owned(),
        Some((exchange, cipher)) => {
            let cipher = cipher
                .replace("AES_", "AES")
                .replace("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305");
            format!("{exchange}-{cipher}").replace('_', "-")
        }
    }
}

pub(super) async fn resolve_hostname(request: &Request) -> Outcome {
    let hostname = request.arg(0);
    let family = request.options.get("address-family");
    let is_wanted = |address: &SocketAddr| match family.map(|family| family.to_lowercase()) {
        Some(family) if family == "ipv6" => address.is_ipv6(),
        Some(_) | None => address.is_ipv4(),
    };
    if family.is_some_and(|family| !["ipv4", "ipv6"].contains(&&*family.to_lowercase())) {
        return Err(Failure::error(
            EX_USAGE,
            "unsupported IP address family: ipv4 or ipv6",
        ));
    }
    let found = tokio::net::lookup_host((hostname, 0)).await;
    let found: Vec<String> = found
        .map(|all| all.filter(is_wanted).map(|a| a.ip().to_string()).collect())
        .unwrap_or_default();
    match found.is_empty() {
        true => Err(Failure::error(
            EX_DATAERR,
            "Hostname does not resolve (resolution failed with an nxdomain)",
        )),
        false => Ok(Reply::Report {
            text: found.join("\n"),
            json: json!(found),
        }),
    }
}

/// How many logins there were, by protocol; `--by-source` by address and user.
pub(super) fn login_attempts(ctx: &Context, request: &Request) -> Outcome {
    let counts = |attempts: LoginAttempts| -> [Cell; 3] {
        [
            attempts.total().into(),
            attempts.failed.into(),
            attempts.succeeded.into(),
        ]
    };
    if !request.has("by-source") {
        let row = |door: LoginDoor| {
            let attempts = ctx.users().login_attempts(door);
            [vec![door.protocol().into()], counts(attempts).into()].concat()
        };
        return rows(
            &[&["protocol"], &ATTEMPTS[..]].concat(),
            LoginDoor::ALL.map(row).into(),
        );
    }
    let of_door = |door: LoginDoor| {
        let sources = ctx.users().login_sources(door).into_iter();
        sources.map(move |(source, attempts)| {
            let source = [
                source.address.to_string().into(),
                (*source.user).into(),
                door.protocol().into(),
            ];
            [source.to_vec(), counts(attempts).into()].concat()
        })
    };
    let sources: Vec<_> = LoginDoor::ALL.into_iter().flat_map(of_door).collect();
    if sources.is_empty() {
        return Ok(Reply::Report {
            text: format!(
                "Node {} reported no authentication attempt stats",
                node::name()
            ),
            json: json!([]),
        });
    }
    rows(
        &[&["remote_address", "username", "protocol"], &ATTEMPTS[..]].concat(),
        sources,
    )
}

/// The columns of counts.
const ATTEMPTS: [&str; 3] = [
    "auth_attempts",
    "auth_attempts_failed",
    "auth_attempts_succeeded",
];

pub(super) fn track_login_sources(ctx: &Context) -> Outcome {
    ctx.users().track_login_sources();
    Ok(Reply::Done)
}

pub(super) fn ignore_login_sources(ctx: &Context) -> Outcome {
    ctx.users().ignore_login_sources();
    Ok(Reply::Done)
}

pub(super) fn forget_login_attempts(ctx: &Context) -> Outcome {
    ctx.users().forget_login_attempts();
    Ok(Reply::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_units_with_rabbitmqs_digits() {
        for (bytes, unit, shown) in [
            (67_620_864, "bytes", "67620864 bytes"),
            (67_825_700, "mb", "67.8257 mb"),
            (67_825_700, "gb", "0.0678 gb"),
            (0, "gb", "0 gb"),
        ] {
            assert_eq!(in_unit(bytes, unit).as_deref(), Some(shown));
        }
        assert_eq!(in_unit(1, "kb"), None);
        assert!((percentage(1, 3) - 33.33).abs() < 1e-9);
        assert!(percentage(5, 0).is_finite());
    }

    #[test]
    fn suites_have_openssls_names() {
        for (name, openssl) in [
            ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
            (
                "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                "ECDHE-ECDSA-AES256-GCM-SHA384",
            ),
            (
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
                "ECDHE-RSA-CHACHA20-POLY1305",
            ),
        ] {
            assert_eq!(openssl_name(name), openssl);
        }
    }
}
