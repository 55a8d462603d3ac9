//! Feature flags, deprecated features, and RabbitMQ's plugins whose function is built in.

use regex::Regex;
use serde_json::json;

use crate::ctl::context::Context;
use crate::ctl::exit_code::{EX_DATAERR, EX_UNAVAILABLE, EX_USAGE};
use crate::ctl::outcome::{Failure, Outcome, Reply, listing, rows};
use crate::ctl::protocol::{Cell, Request};
use crate::node;
use crate::views::{DeprecatedFeature, FEATURE_FLAGS, Protocol};

pub(super) fn list_flags(request: &Request) -> Outcome {
    listing(
        request,
        FEATURE_FLAGS,
        |(name, desc), column| match column {
            "name" => (*name).into(),
            "state" => "enabled".into(),
            "stability" => "required".into(),
            "provided_by" => "leveret".into(),
            "desc" => (*desc).into(),
            _ => Cell::Nothing,
        },
    )
}

/// All flags that there are, are enabled.
pub(super) fn enable_flag(request: &Request) -> Outcome {
    let name = request.arg(0);
    let is_known = name == "all" || FEATURE_FLAGS.iter().any(|(known, _)| *known == name);
    match is_known {
        true => Ok(Reply::Done),
        false => Err(Failure::error(
            EX_USAGE,
            format!(
                "This feature flag is not supported by node {}",
                node::name()
            ),
        )),
    }
}

pub(super) fn list_deprecated(ctx: &Context, request: &Request) -> Outcome {
    let is_shown =
        |feature: &DeprecatedFeature| !request.has("used") || feature.is_used(&ctx.broker);
    let shown: Vec<_> = DeprecatedFeature::ALL
        .into_iter()
        .filter(is_shown)
        .collect();
    if shown.is_empty() {
        return Ok(Reply::Report {
            text: String::new(),
            json: json!([]),
        });
    }
    let row = |feature: DeprecatedFeature| {
        vec![
            feature.as_str().into(),
            feature.phase().into(),
            feature.state().into(),
        ]
    };
    let columns = ["name", "deprecation_phase", "state"];
    rows(&columns, shown.into_iter().map(row).collect())
}

pub(super) fn check_deprecated(ctx: &Context) -> Outcome {
    let used = DeprecatedFeature::ALL
        .into_iter()
        .filter(|feature| feature.is_used(&ctx.broker));
    let used: Vec<&str> = used.map(DeprecatedFeature::as_str).collect();
    match used.is_empty() {
        true => Ok(Reply::Report {
            text: "Cluster reported no deprecated features in use".to_owned(),
            json: json!({"result": "ok"}),
        }),
        false => Err(Failure {
            json: Some(json!({"result": "error", "features": used})),
            ..Failure::plain(
                EX_UNAVAILABLE,
                format!("Deprecated features in use: {}", used.join(", ")),
            )
        }),
    }
}

/// A plugin of RabbitMQ.
struct Plugin {
    name: &'static str,
    about: &'static str,
    /// The listener without which the function is off.
    needs: Option<Protocol>,
}

const fn plugin(name: &'static str, about: &'static str) -> Plugin {
    Plugin {
        name,
        about,
        needs: None,
    }
}

/// Those whose function is built in.
const PLUGINS: &[Plugin] = &[
    plugin(
        "rabbitmq_consistent_hash_exchange",
        "Exchanges of type x-consistent-hash",
    ),
    plugin(
        "rabbitmq_delayed_message_exchange",
        "Exchanges of type x-delayed-message",
    ),
    Plugin {
        needs: Some(Protocol::Management),
        ..plugin("rabbitmq_management", "The management HTTP API and page")
    },
    Plugin {
        needs: Some(Protocol::Management),
        ..plugin(
            "rabbitmq_management_agent",
            "Numbers for the management API",
        )
    },
    Plugin {
        needs: Some(Protocol::Prometheus),
        ..plugin("rabbitmq_prometheus", "Numbers for Prometheus")
    },
    plugin("rabbitmq_random_exchange", "Exchanges of type x-random"),
];

impl Plugin {
    fn is_on(&self, ctx: &Context) -> bool {
        let listeners = ctx.views.node().listeners;
        self.needs
            .is_none_or(|needs| listeners.iter().any(|own| own.protocol == needs))
    }
}

pub(super) fn list_plugins(ctx: &Context, request: &Request) -> Outcome {
    let pattern = Regex::new(match request.arg(0) {
        "" => ".*",
        given => given,
    });
    let pattern =
        pattern.map_err(|error| Failure::error(EX_DATAERR, format!("invalid pattern: {error}")))?;
    let only_on = request.has("enabled") || request.has("implicitly-enabled");
    let shown: Vec<&Plugin> = PLUGINS
        .iter()
        .filter(|plugin| pattern.is_match(plugin.name))
        .filter(|plugin| !only_on || plugin.is_on(ctx))
        .collect();
    let version = env!("CARGO_PKG_VERSION");
    let json = shown.iter().map(|plugin| {
        let is_on = plugin.is_on(ctx);
        let enabled = if is_on { "enabled" } else { "not_enabled" };
        json!({"name": plugin.name, "enabled": enabled, "running": is_on, "version": version})
    });
    let json =
        json!({"status": "running", "format": "normal", "plugins": json.collect::<Vec<_>>()});
    let lines = shown.iter().map(|plugin| {
        let marks = if plugin.is_on(ctx) { "E*" } else { "  " };
        match (request.has("minimal"), request.has("verbose")) {
            (true, _) => plugin.name.to_owned(),
            (false, true) => format!(
                "[{marks}] {}\n     Version:     \t{version}\n     Description: \t{}",
                plugin.name, plugin.about
            ),
            (false, false) => format!("[{marks}] {:40} {version}", plugin.name),
        }
    });
    let lines: Vec<String> = lines.collect();
    let mut text = lines.join("\n");
    if !request.has("minimal") {
        text = format!(
            " Configured: E = built in; e = implicitly enabled\n | Status: * = running on {}\n |/\n{text}",
            node::name()
        );
    }
    Ok(Reply::Report { text, json })
}

/// The names that no plugin has that is built in.
fn unknown(request: &Request, is_known: impl Fn(&str) -> bool) -> Vec<&str> {
    let names = request.args.iter().map(String::as_str);
    names.filter(|name| !is_known(name)).collect()
}

pub(super) fn is_plugin_enabled(ctx: &Context, request: &Request) -> Outcome {
    let enabled: Vec<&str> = PLUGINS
        .iter()
        .filter(|plugin| plugin.is_on(ctx))
        .map(|plugin| plugin.name)
        .collect();
    let missing = unknown(request, |name| enabled.contains(&name));
    let node = node::name();
    let (noun, verb) = match request.args.len() {
        1 => ("Plugin", "is"),
        _ => ("Plugins", "are"),
    };
    match missing.is_empty() {
        true => Ok(Reply::Message(format!(
            "{noun} {} {verb} enabled on node {node}",
            request.args.join(", ")
        ))),
        false => Err(Failure::error(
            EX_UNAVAILABLE,
            format!(
                "Plugin {} is not enabled on node {node}. Enabled plugins and dependencies: {}",
                missing.join(", "),
                enabled.join(", ")
            ),
        )),
    }
}

pub(super) fn enable_plugins(ctx: &Context, request: &Request) -> Outcome {
    let missing = unknown(request, |name| PLUGINS.iter().any(|own| own.name == name));
    if !missing.is_empty() {
        let text = format!(
            "The following plugins could not be found: {}. Leveret has no plugins; 'leveret ctl list' shows those \
             whose function is built in.",
            missing.join(", ")
        );
        return Err(Failure::error(EX_UNAVAILABLE, text));
    }
    let off = PLUGINS
        .iter()
        .find(|own| request.args.iter().any(|name| name == own.name) && !own.is_on(ctx));
    match off {
        None => Ok(Reply::Message("Plugin configuration unchanged.".to_owned())),
        Some(plugin) => Err(Failure::error(
            EX_UNAVAILABLE,
            format!(
                "The function of {} is off, since it has no listener. An option of the broker opens one.",
                plugin.name
            ),
        )),
    }
}
