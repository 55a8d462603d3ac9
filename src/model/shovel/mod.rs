//! Dynamic shovels: the value of a runtime parameter `shovel`, checked with RabbitMQ's rules and in its words.

mod terms; // the keys of a value, checked one by one

use std::time::Duration;

use serde_json::{Map, Value};

use self::terms::Terms;
use super::amqp_uri::{AmqpUri, Target, without_credentials};
use crate::wire::{FieldTable, TextProperty};

/// Messages that a shovel has unacked at the source, unless its definition says otherwise.
const DEFAULT_PREFETCH: u16 = 1000;
const DEFAULT_RECONNECT_DELAY: Duration = Duration::from_secs(5);
/// Maximum number of URIs at each end.
const URIS_MAX: usize = 64;
/// Maximum length of a queue's expiry, which bounds the durations of shovels too.
const DURATION_MAX: Duration = Duration::from_millis(u32::MAX as u64);
/// The keys with URIs, which may have passwords.
const URI_KEYS: [&str; 2] = ["src-uri", "dest-uri"];

/// When the source's messages are acked, by RabbitMQ's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckMode {
    /// When the destination has confirmed them: nothing is lost.
    OnConfirm,
    /// When they are written to the destination's socket.
    OnPublish,
    /// The source considers them settled when it has sent them.
    NoAck,
}

/// When a shovel has done its work and deletes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteAfter {
    Never,
    /// After the messages that were in the queue when it started.
    QueueLength,
    Messages(u64),
}

/// A queue at one end of a shovel.
#[derive(Clone, Debug, PartialEq)]
pub struct ShovelQueue {
    pub name: String,
    /// For its declaration, if it does not exist.
    pub arguments: FieldTable,
    /// It must exist.
    pub predeclared: bool,
}

/// Where messages come from.
#[derive(Clone, Debug, PartialEq)]
pub enum ShovelSource {
    Queue(ShovelQueue),
    /// Through a temporary queue, bound with the key.
    Exchange {
        exchange: String,
        key: String,
    },
}

/// Where messages go. What is not set stays as it was at the source.
#[derive(Clone, Debug, PartialEq)]
pub enum ShovelDestination {
    Queue(ShovelQueue),
    Exchange {
        exchange: Option<String>,
        key: Option<String>,
    },
}

/// Properties that a shovel sets on every message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishProperties {
    pub texts: Vec<(TextProperty, String)>,
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub timestamp: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ShovelDefinition {
    pub source_uris: Vec<AmqpUri>,
    pub from: ShovelSource,
    pub prefetch: u16,
    /// Empty: the source generates one.
    pub consumer_tag: String,
    pub consumer_arguments: FieldTable,
    pub delete_after: DeleteAfter,
    /// The shovel deletes itself when it has run without a break for so long.
    pub delete_after_duration: Option<Duration>,
    pub destination_uris: Vec<AmqpUri>,
    pub to: ShovelDestination,
    pub properties: PublishProperties,
    pub add_forward_headers: bool,
    pub add_timestamp_header: bool,
    pub ack_mode: AckMode,
    /// `None`: a shovel that fails is not tried again.
    pub reconnect_delay: Option<Duration>,
    pub protection: Protection,
}

/// Whether operators delete the shovel like any other. Tools protect shovels that they manage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    Unprotected,
    /// `internal`: only by force. What it belongs to, if the definition says so.
    Internal(Option<String>),
}

/// What is wrong with the value of a parameter, one line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct InvalidShovel(pub Vec<String>);

impl ShovelDefinition {
    /// Checks the value of the parameter `name`.
    pub fn parse(name: &str, value: &Value) -> Result<ShovelDefinition, InvalidShovel> {
        let Value::Object(object) = value else {
            let value = super::json_term(value);
            return Err(InvalidShovel(vec![format!("{name} not a list {value}")]));
        };
        let mut terms = Terms::new(object);
        let definition = ShovelDefinition::read(&mut terms);
        let faults = terms.finish(name);
        match (definition, faults.is_empty()) {
            (Some(definition), true) => Ok(definition),
            (_, _) => Err(InvalidShovel(faults)),
        }
    }

    /// Virtual hosts of this broker that the shovel enters without a login.
    pub fn local_vhosts(&self) -> impl Iterator<Item = &str> {
        let all = self.source_uris.iter().chain(&self.destination_uris);
        all.filter(|uri| matches!(uri.target, Target::ThisBroker { .. }))
            .map(|uri| uri.vhost.as_str())
    }

    /// Queue or exchange and key of both ends, by the names of their keys.
    pub fn ends(&self) -> Vec<(&'static str, &str)> {
        let mut ends = match &self.from {
            ShovelSource::Queue(queue) => vec![("src-queue", &*queue.name)],
            ShovelSource::Exchange { exchange, key } => {
                vec![("src-exchange", &**exchange), ("src-exchange-key", key)]
            }
        };
        match &self.to {
            ShovelDestination::Queue(queue) => ends.push(("dest-queue", &queue.name)),
            ShovelDestination::Exchange { exchange, key } => {
                ends.extend(exchange.as_deref().map(|name| ("dest-exchange", name)));
                ends.extend(key.as_deref().map(|key| ("dest-exchange-key", key)));
            }
        }
        ends
    }

    fn read(terms: &mut Terms<'_>) -> Option<ShovelDefinition> {
        let from = source(terms);
        let to = destination(terms);
        for key in ["src-protocol", "dest-protocol"] {
            protocol(terms, key);
        }
        let ack_mode = match terms.choice("ack-mode", &["no-ack", "on-publish", "on-confirm"]) {
            Some("no-ack") => AckMode::NoAck,
            Some("on-publish") => AckMode::OnPublish,
            Some(_) | None => AckMode::OnConfirm,
        };
        // Both names are checked, and the newer one holds.
        let old = delete_after(terms, "delete-after");
        let delete_after = delete_after(terms, "src-delete-after").or(old);
        let delete_after = delete_after.unwrap_or(DeleteAfter::Never);
        if let (DeleteAfter::Messages(_), AckMode::NoAck) = (delete_after, ack_mode) {
            terms.fault("Cannot specify 'no-ack' and numerical 'delete-after'");
        }
        let old = terms.number("prefetch-count");
        let prefetch = terms.number("src-prefetch-count").or(old);
        let prefetch = prefetch.map_or(DEFAULT_PREFETCH, |count| {
            // A consumer cannot ask for more.
            u16::try_from(count).unwrap_or(u16::MAX)
        });
        let old = terms.boolean("add-forward-headers");
        let add_forward_headers = terms.boolean("dest-add-forward-headers").or(old);
        let old = terms.boolean("add-timestamp-header");
        let add_timestamp_header = terms.boolean("dest-add-timestamp-header").or(old);
        let old = properties(terms, "publish-properties");
        let properties = properties(terms, "dest-publish-properties").or(old);
        let consumer_tag = terms.short_text("src-consumer-name");
        let consumer_arguments = terms.table("src-consumer-args");
        let delete_after_duration = delete_after_duration(terms);
        let reconnect_delay = match terms.seconds("reconnect-delay") {
            None => Some(DEFAULT_RECONNECT_DELAY),
            Some(Duration::ZERO) => None,
            Some(delay) => Some(delay),
        };
        let protection = protection(terms);
        let [source_uris, destination_uris] = URI_KEYS.map(|key| uris(terms, key));
        Some(ShovelDefinition {
            source_uris: source_uris?,
            from: from?,
            prefetch,
            consumer_tag: consumer_tag.unwrap_or_default(),
            consumer_arguments,
            delete_after,
            delete_after_duration,
            destination_uris: destination_uris?,
            to: to?,
            properties: properties.unwrap_or_default(),
            add_forward_headers: add_forward_headers.unwrap_or(false),
            add_timestamp_header: add_timestamp_header.unwrap_or(false),
            ack_mode,
            reconnect_delay,
            protection,
        })
    }
}

fn source(terms: &mut Terms<'_>) -> Option<ShovelSource> {
    let exchange = terms.text("src-exchange");
    let key = terms.text("src-exchange-key");
    let name = terms.text("src-queue");
    let arguments = terms.table("src-queue-args");
    let predeclared = terms.boolean("src-predeclared").unwrap_or(false);
    match (exchange, name) {
        (None, None) => {
            terms.fault("Must specify 'src-exchange' or 'src-queue'");
            None
        }
        (Some(_), Some(_)) => {
            terms.fault("Cannot specify 'src-exchange' and 'src-queue'");
            None
        }
        (Some(exchange), None) => Some(ShovelSource::Exchange {
            exchange,
            key: key.unwrap_or_default(),
        }),
        (None, Some(name)) => Some(ShovelSource::Queue(ShovelQueue {
            name,
            arguments,
            predeclared,
        })),
    }
}

fn destination(terms: &mut Terms<'_>) -> Option<ShovelDestination> {
    let exchange = terms.text("dest-exchange");
    let key = terms.text("dest-exchange-key");
    let name = terms.short_text("dest-queue");
    let arguments = terms.table("dest-queue-args");
    let predeclared = terms.boolean("dest-predeclared").unwrap_or(false);
    match (exchange, name) {
        (Some(_), Some(_)) => {
            terms.fault("Cannot specify 'dest-exchange' and 'dest-queue'");
            None
        }
        (None, Some(name)) => Some(ShovelDestination::Queue(ShovelQueue {
            name,
            arguments,
            predeclared,
        })),
        (exchange, None) => Some(ShovelDestination::Exchange { exchange, key }),
    }
}

/// AMQP 0-9-1 is the only protocol here.
fn protocol(terms: &mut Terms<'_>, key: &'static str) {
    if let Some("amqp10" | "local") = terms.choice(key, &["amqp091", "amqp10", "local"]) {
        terms.fault(format!(
            "{key} can only be amqp091: shovels of this broker speak AMQP 0-9-1, also to the broker itself (by a URI \
             without a host)"
        ));
    }
}

fn delete_after(terms: &mut Terms<'_>, key: &'static str) -> Option<DeleteAfter> {
    let value = terms.take(key)?;
    match value {
        Value::String(text) if text == "never" => return Some(DeleteAfter::Never),
        Value::String(text) if text == "queue-length" => return Some(DeleteAfter::QueueLength),
        Value::Number(number) => {
            if let Some(count) = number.as_u64() {
                return Some(DeleteAfter::Messages(count));
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {}
    }
    let value = super::json_term(value);
    terms.fault(format!(
        "{key} should be a number greater than or equal to 0, \"never\" or \"queue-length\", actually was {value}"
    ));
    None
}

fn delete_after_duration(terms: &mut Terms<'_>) -> Option<Duration> {
    let key = "src-delete-after-duration";
    let value = terms.take(key)?;
    match value.as_u64() {
        Some(0) | None => {
            let value = super::json_term(value);
            terms.fault(format!(
                "{key} should be a positive integer (seconds), actually was {value}"
            ));
            None
        }
        Some(seconds) if Duration::from_secs(seconds) > DURATION_MAX => {
            terms.fault(format!(
                "{key} is {seconds} seconds, which exceeds the maximum supported duration"
            ));
            None
        }
        Some(seconds) => Some(Duration::from_secs(seconds)),
    }
}

fn protection(terms: &mut Terms<'_>) -> Protection {
    let internal = terms.boolean("internal").unwrap_or(false);
    let owner = terms.take("internal_owner").and_then(|value| {
        let Value::Object(object) = value else {
            let value = super::json_term(value);
            terms.fault(format!("internal_owner not a list {value}"));
            return None;
        };
        let mut inner = Terms::new(object);
        let kind = inner.choice("kind", &["exchange", "queue"]);
        let (name, vhost) = (inner.text("name"), inner.text("virtual_host"));
        for fault in inner.finish("internal_owner") {
            terms.fault(fault);
        }
        Some(format!("{} '{}' in vhost '{}'", kind?, name?, vhost?))
    });
    match internal {
        true => Protection::Internal(owner),
        false => Protection::Unprotected,
    }
}

fn uris(terms: &mut Terms<'_>, key: &'static str) -> Option<Vec<AmqpUri>> {
    let Some(value) = terms.take(key) else {
        terms.missing(key);
        return None;
    };
    let texts: Vec<&Value> = match value {
        Value::Array(texts) => texts.iter().collect(),
        text => vec![text],
    };
    if texts.is_empty() || texts.len() > URIS_MAX {
        terms.fault(format!("{key} has from 1 to {URIS_MAX} URIs"));
        return None;
    }
    let mut uris = Vec::new();
    for text in texts {
        let Value::String(text) = text else {
            terms.fault(format!("{key} should be binary or a list of them"));
            return None;
        };
        match AmqpUri::parse(text) {
            Ok(uri) => uris.push(uri),
            // The text is not repeated, since it may have a password.
            Err(error) => {
                terms.fault(format!("{key} is not a valid URI: {error}"));
                return None;
            }
        }
    }
    Some(uris)
}

/// The properties with texts, by RabbitMQ's names.
const TEXT_PROPERTIES: [(&str, TextProperty); 10] = [
    ("content_type", TextProperty::ContentType),
    ("content_encoding", TextProperty::ContentEncoding),
    ("correlation_id", TextProperty::CorrelationId),
    ("reply_to", TextProperty::ReplyTo),
    ("expiration", TextProperty::Expiration),
    ("message_id", TextProperty::MessageId),
    ("type", TextProperty::Type),
    ("user_id", TextProperty::UserId),
    ("app_id", TextProperty::AppId),
    ("cluster_id", TextProperty::ClusterId),
];

fn properties(terms: &mut Terms<'_>, key: &'static str) -> Option<PublishProperties> {
    let object = match terms.take(key)? {
        Value::Object(object) => object,
        Value::Array(items) if items.is_empty() => return Some(PublishProperties::default()),
        other => {
            let other = super::json_term(other);
            terms.fault(format!("{key} not a list {other}"));
            return None;
        }
    };
    let mut inner = Terms::new(object);
    let mut properties = PublishProperties::default();
    for (name, property) in TEXT_PROPERTIES {
        if let Some(text) = inner.short_text(name) {
            properties.texts.push((property, text));
        }
    }
    properties.delivery_mode = inner.octet("delivery_mode");
    properties.priority = inner.octet("priority");
    properties.timestamp = inner.number("timestamp");
    for fault in inner.finish(key) {
        terms.fault(fault);
    }
    Some(properties)
}

/// The value of a parameter without the credentials of its URIs.
pub fn redacted(value: &Value) -> Value {
    let Value::Object(object) = value else {
        return value.clone();
    };
    let redact = |(key, value): (&String, &Value)| {
        let value = match URI_KEYS.contains(&key.as_str()) {
            true => redacted_uris(value),
            false => value.clone(),
        };
        (key.clone(), value)
    };
    object.iter().map(redact).collect::<Map<_, _>>().into()
}

fn redacted_uris(value: &Value) -> Value {
    match value {
        Value::String(text) => without_credentials(text).into(),
        Value::Array(texts) => texts.iter().map(redacted_uris).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests;
