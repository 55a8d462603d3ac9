//! Builds a dead letter: its `x-death` history, its first and last death, its exchange and routing keys.
//! Pure: `publish` routes and publishes it.
//! Source: RabbitMQ's "Dead Letter Exchanges" page, checked against RabbitMQ 4.0.

use std::sync::Arc;

use crate::broker::queue::death::DeathReason;
use crate::broker::queue::spec::QueueSpec;
use crate::model::{Message, Name, Origin};
use crate::wire::{
    AMQPValue, FieldArray, FieldTable, HeaderError, LongString, PropertiesView, ShortString,
};

/// A message as it goes to a dead letter exchange.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The message with its history.
    pub message: Arc<Message>,
    /// Its routing keys: the queue's `x-dead-letter-routing-key`, or the message's own key and those of its
    /// CC header.
    pub routing_keys: Vec<Name>,
    /// Its deaths, newest first: the queue, and whether a consumer rejected it there.
    deaths: Vec<(Vec<u8>, bool)>,
}

impl DeadLetter {
    /// The dead letter exchange.
    pub fn exchange(&self) -> &Name {
        &self.message.origin.exchange
    }

    /// Whether publishing it to `queue` would close a cycle without a rejection. Such a message would go
    /// round forever, so it is dropped.
    pub fn would_cycle(&self, queue: &str) -> bool {
        let before = self
            .deaths
            .iter()
            .position(|(died_in, _)| died_in == queue.as_bytes());
        before.is_some_and(|before| {
            !self
                .deaths
                .iter()
                .take(before + 1)
                .any(|(_, rejected)| *rejected)
        })
    }
}

/// Builds the dead letter of a message that leaves the queue `spec` for `reason`.
///
/// # Errors
/// When the message's headers cannot be read or the history does not fit.
pub(in crate::broker::queue) fn write(
    spec: &QueueSpec,
    message: &Message,
    reason: DeathReason,
    now_ms: u64,
) -> Result<DeadLetter, HeaderError> {
    let view = PropertiesView::parse(&message.properties)?;
    let mut headers = view.headers()?;
    let cc = carbon_copies(&headers);
    let mut deaths = Vec::new();
    if message.dead_lettered {
        if let Some(AMQPValue::FieldArray(known)) = headers.inner().get("x-death") {
            deaths = known.as_slice().to_vec();
        }
    } else {
        headers = without_first_death(&headers);
    }
    let queue = spec.name.as_bytes();
    let same = deaths
        .iter()
        .position(|death| is_death(death, queue, reason));
    let death = match same.map(|index| deaths.remove(index)) {
        Some(AMQPValue::FieldTable(mut death)) => {
            let count = count_of(&death).saturating_add(1);
            death.insert(short("count"), AMQPValue::LongLongInt(count));
            death
        }
        _ => first_death(spec, message, reason, &cc, &view, now_ms),
    };
    deaths.insert(0, AMQPValue::FieldTable(death));
    let history = deaths.iter().filter_map(death_key).collect();
    headers.insert(
        short("x-death"),
        AMQPValue::FieldArray(FieldArray::from(deaths)),
    );
    mark(&mut headers, "first", spec, message, reason, true);
    mark(&mut headers, "last", spec, message, reason, false);

    let mut edit = view.edit();
    edit.set_headers(&headers).remove_expiration();
    let exchange = spec
        .arguments
        .dead_letter_exchange
        .clone()
        .unwrap_or_default();
    let routing_key = spec.arguments.dead_letter_routing_key.clone();
    let routing_keys = match &routing_key {
        Some(key) => vec![Arc::clone(key)],
        None => std::iter::once(Arc::clone(&message.origin.routing_key))
            .chain(cc)
            .collect(),
    };
    let origin = Origin {
        exchange,
        routing_key: routing_key.unwrap_or_else(|| Arc::clone(&message.origin.routing_key)),
    };
    let message = Message {
        origin: Arc::new(origin),
        properties: edit.finish(),
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: true,
        ..message.clone()
    };
    Ok(DeadLetter {
        message: Arc::new(message),
        routing_keys,
        deaths: history,
    })
}

fn first_death(
    spec: &QueueSpec,
    message: &Message,
    reason: DeathReason,
    cc: &[Name],
    view: &PropertiesView<'_>,
    now_ms: u64,
) -> FieldTable {
    let mut death = FieldTable::default();
    let keys = std::iter::once(&message.origin.routing_key)
        .chain(cc)
        .map(|key| text(key));
    death.insert(short("count"), AMQPValue::LongLongInt(1));
    death.insert(short("reason"), text(reason.as_str()));
    death.insert(short("queue"), text(&spec.name));
    death.insert(short("time"), AMQPValue::Timestamp(now_ms / 1000));
    death.insert(short("exchange"), text(&message.origin.exchange));
    death.insert(
        short("routing-keys"),
        AMQPValue::FieldArray(FieldArray::from(keys.collect::<Vec<_>>())),
    );
    if let Some(expiration) = view.expiration() {
        death.insert(
            short("original-expiration"),
            AMQPValue::LongString(LongString::from(expiration)),
        );
    }
    death
}

/// Sets the `x-first-death-*` or `x-last-death-*` headers. Never overwrites the first ones.
fn mark(
    headers: &mut FieldTable,
    which: &str,
    spec: &QueueSpec,
    message: &Message,
    reason: DeathReason,
    once: bool,
) {
    for (what, value) in [
        ("queue", &*spec.name),
        ("reason", reason.as_str()),
        ("exchange", &*message.origin.exchange),
    ] {
        let name = format!("x-{which}-death-{what}");
        if !(once && headers.contains_key(&name)) {
            headers.insert(short(&name), text(value));
        }
    }
}

/// Removes `x-first-death-*` headers that a publisher made up.
fn without_first_death(headers: &FieldTable) -> FieldTable {
    let mut kept = headers.inner().clone();
    kept.retain(|name, _| !name.as_str().starts_with("x-first-death-"));
    FieldTable::from(kept)
}

fn carbon_copies(headers: &FieldTable) -> Vec<Name> {
    let Some(AMQPValue::FieldArray(keys)) = headers.inner().get("CC") else {
        return Vec::new();
    };
    keys.as_slice()
        .iter()
        .filter_map(|key| bytes_of(key))
        .map(|key| Name::from(String::from_utf8_lossy(key)))
        .collect()
}

fn is_death(death: &AMQPValue, queue: &[u8], reason: DeathReason) -> bool {
    let AMQPValue::FieldTable(death) = death else {
        return false;
    };
    death.inner().get("queue").and_then(bytes_of) == Some(queue)
        && death.inner().get("reason").and_then(bytes_of) == Some(reason.as_str().as_bytes())
}

fn death_key(death: &AMQPValue) -> Option<(Vec<u8>, bool)> {
    let AMQPValue::FieldTable(death) = death else {
        return None;
    };
    let queue = death.inner().get("queue").and_then(bytes_of)?;
    let rejected = death.inner().get("reason").and_then(bytes_of) == Some(b"rejected");
    Some((queue.to_vec(), rejected))
}

fn count_of(death: &FieldTable) -> i64 {
    match death.inner().get("count") {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => i64::from(*count),
        _ => 0,
    }
}

fn bytes_of(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ShortString(text) => Some(text.as_str().as_bytes()),
        _ => None,
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

fn short(name: &str) -> ShortString {
    ShortString::from(name)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::arguments::QueueArguments;
    use crate::model::{Body, QueueId};
    use crate::wire::{AMQPProperties, encode_properties};

    fn queue(name: &str, dead_letter_routing_key: Option<&str>) -> QueueSpec {
        let mut table = FieldTable::default();
        table.insert(short("x-dead-letter-exchange"), text("dlx"));
        if let Some(key) = dead_letter_routing_key {
            table.insert(short("x-dead-letter-routing-key"), text(key));
        }
        let arguments = QueueArguments::shared(&table).expect("valid arguments");
        QueueSpec {
            id: QueueId(1),
            name: name.into(),
            durable: true,
            exclusive_owner: None,
            auto_delete: false,
            arguments,
        }
    }

    fn message(properties: &AMQPProperties) -> Message {
        Message {
            origin: Arc::new(Origin {
                exchange: "ex".into(),
                routing_key: "key".into(),
            }),
            properties: encode_properties(properties),
            body: Body::Whole(Bytes::from_static(b"body")),
            persistent: true,
            priority: 0,
            expiration_ms: Some(5),
            delay_ms: None,
            dead_lettered: false,
            failures: 0,
            handed_out: false,
        }
    }

    fn headers(letter: &DeadLetter) -> FieldTable {
        PropertiesView::parse(&letter.message.properties)
            .and_then(|view| view.headers())
            .expect("readable headers")
    }

    #[test]
    fn the_first_death_names_queue_reason_exchange_keys_and_expiration() {
        let properties = AMQPProperties::default().with_expiration("5".into());
        let letter = write(
            &queue("q", None),
            &message(&properties),
            DeathReason::Expired,
            12_345,
        )
        .expect("a letter");
        let table = headers(&letter);
        let Some(AMQPValue::FieldArray(deaths)) = table.inner().get("x-death") else {
            panic!("no x-death")
        };
        let [AMQPValue::FieldTable(death)] = deaths.as_slice() else {
            panic!("not one death")
        };
        let field = |name: &str| death.inner().get(name).cloned();
        assert_eq!(field("count"), Some(AMQPValue::LongLongInt(1)));
        assert_eq!(field("reason"), Some(text("expired")));
        assert_eq!(field("queue"), Some(text("q")));
        assert_eq!(field("time"), Some(AMQPValue::Timestamp(12)));
        assert_eq!(field("exchange"), Some(text("ex")));
        assert_eq!(field("original-expiration"), Some(text("5")));
        assert_eq!(
            field("routing-keys"),
            Some(AMQPValue::FieldArray(FieldArray::from(vec![text("key")])))
        );
        assert_eq!(table.inner().get("x-first-death-queue"), Some(&text("q")));
        let view = PropertiesView::parse(&letter.message.properties).expect("properties");
        assert_eq!(
            (view.expiration(), letter.message.expiration_ms),
            (None, None)
        );
        assert_eq!(
            (&**letter.exchange(), &*letter.message.origin.routing_key),
            ("dlx", "key")
        );
    }

    #[test]
    fn the_same_death_again_is_counted_and_comes_first() {
        let first = write(
            &queue("a", None),
            &message(&AMQPProperties::default()),
            DeathReason::Rejected,
            1,
        )
        .expect("a letter");
        let second = write(
            &queue("b", Some("other")),
            &first.message,
            DeathReason::Expired,
            2,
        )
        .expect("a letter");
        let third =
            write(&queue("a", None), &second.message, DeathReason::Rejected, 3).expect("a letter");
        let table = headers(&third);
        let Some(AMQPValue::FieldArray(deaths)) = table.inner().get("x-death") else {
            panic!("no x-death")
        };
        let counts: Vec<_> = deaths
            .as_slice()
            .iter()
            .filter_map(|death| match death {
                AMQPValue::FieldTable(death) => {
                    Some((death.inner().get("queue").cloned()?, count_of(death)))
                }
                _ => None,
            })
            .collect();
        assert_eq!(counts, [(text("a"), 2), (text("b"), 1)]);
        assert_eq!(table.inner().get("x-first-death-queue"), Some(&text("a")));
        assert_eq!(
            table.inner().get("x-last-death-exchange"),
            Some(&text("dlx"))
        );
        assert_eq!(second.routing_keys, [Name::from("other")]);
    }

    #[test]
    fn a_history_that_the_publisher_made_up_does_not_count() {
        let known = write(
            &queue("a", None),
            &message(&AMQPProperties::default()),
            DeathReason::Rejected,
            1,
        )
        .expect("a letter");
        let claimed = Message {
            dead_lettered: false,
            failures: 0,
            handed_out: false,
            ..Message::clone(&known.message)
        };
        let letter =
            write(&queue("b", None), &claimed, DeathReason::Rejected, 2).expect("a letter");
        let table = headers(&letter);
        let Some(AMQPValue::FieldArray(deaths)) = table.inner().get("x-death") else {
            panic!("no x-death")
        };
        assert_eq!(deaths.as_slice().len(), 1);
        assert_eq!(table.inner().get("x-first-death-queue"), Some(&text("b")));
    }

    #[test]
    fn a_cycle_without_a_rejection_is_cut() {
        let expired = write(
            &queue("a", None),
            &message(&AMQPProperties::default()),
            DeathReason::Expired,
            1,
        )
        .expect("a letter");
        assert!(expired.would_cycle("a"));
        assert!(!expired.would_cycle("b"));
        let rejected = write(
            &queue("b", None),
            &expired.message,
            DeathReason::Rejected,
            2,
        )
        .expect("a letter");
        assert!(!rejected.would_cycle("a"));
        assert!(!rejected.would_cycle("b"));
        let again = write(
            &queue("c", None),
            &expired.message,
            DeathReason::MaxLength,
            3,
        )
        .expect("a letter");
        assert!(again.would_cycle("a") && again.would_cycle("c"));
    }
}
