//! The headers of a copy: where a message was published or delivered, by whom, and its own properties. RabbitMQ's
//! names, types and order. Pure.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::broker::properties::keys_in_headers;
use crate::model::{Message, Name};
use crate::node;
use crate::wire::{
    AMQPValue, PropertiesView, put_encoded_table_field, put_i32_field, put_table_field,
    put_text_field, put_texts_field, table_with,
};

/// The name of this node.
static NODE: LazyLock<String> = LazyLock::new(node::name);

/// The client that has published or was sent a message.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// The name of its connection.
    pub connection: &'a str,
    /// 0 outside AMQP.
    pub channel: u16,
    pub user: &'a str,
}

/// A message that was published.
#[derive(Debug)]
pub struct TracedPublish<'a> {
    pub message: &'a Message,
    /// Routing keys in `CC` and `BCC`.
    pub further_keys: &'a [Name],
    /// Where it was routed to.
    pub queues: Vec<&'a Name>,
}

/// A message that was delivered.
#[derive(Debug)]
pub struct TracedDelivery<'a> {
    pub message: &'a Message,
    /// As the client gets them: with the headers that the broker adds.
    pub properties: &'a Bytes,
    pub queue: &'a str,
    pub redelivered: bool,
}

/// The headers table of the copy of a publish, with its length prefix.
pub(super) fn publish_headers(
    vhost: &str,
    client: Client<'_>,
    publish: &TracedPublish<'_>,
) -> Vec<u8> {
    let message = publish.message;
    let view = PropertiesView::parse(&message.properties);
    let view = view.unwrap_or_else(|_| PropertiesView::none());
    let own = std::iter::once(&*message.origin.routing_key);
    let keys: Vec<&str> = own
        .chain(publish.further_keys.iter().map(|key| &**key))
        .collect();
    let mut fields = Vec::new();
    put_first(&mut fields, client, message, &view);
    put_texts_field(&mut fields, "routed_queues", &routed(publish, &keys));
    put_texts_field(&mut fields, "routing_keys", &keys);
    put_last(&mut fields, vhost, client);
    table_with(None, &fields)
}

/// The headers table of the copy of a delivery, with its length prefix.
pub(super) fn delivery_headers(
    vhost: &str,
    client: Client<'_>,
    delivery: &TracedDelivery<'_>,
) -> Vec<u8> {
    let message = delivery.message;
    let view = PropertiesView::parse(delivery.properties);
    let view = view.unwrap_or_else(|_| PropertiesView::none());
    let further = delivered_keys(message, &view);
    let own = std::iter::once(&*message.origin.routing_key);
    let keys: Vec<&str> = own.chain(further.iter().map(|key| &**key)).collect();
    let mut fields = Vec::new();
    put_first(&mut fields, client, message, &view);
    put_i32_field(&mut fields, "redelivered", i32::from(delivery.redelivered));
    put_texts_field(&mut fields, "routing_keys", &keys);
    put_last(&mut fields, vhost, client);
    table_with(None, &fields)
}

/// Fields of both kinds, in the order of their names.
fn put_first(
    fields: &mut Vec<u8>,
    client: Client<'_>,
    message: &Message,
    view: &PropertiesView<'_>,
) {
    put_i32_field(fields, "channel", i32::from(client.channel));
    put_text_field(fields, "connection", client.connection.as_bytes());
    let exchange = message.origin.exchange.as_bytes();
    put_text_field(fields, "exchange_name", exchange);
    put_text_field(fields, "node", NODE.as_bytes());
    put_table_field(fields, "properties", &property_fields(view));
}

fn put_last(fields: &mut Vec<u8>, vhost: &str, client: Client<'_>) {
    put_text_field(fields, "user", client.user.as_bytes());
    put_text_field(fields, "vhost", vhost.as_bytes());
}

/// The queues of a publish, by name. The default exchange leads to the queues that the routing keys name, whether they
/// exist or not: RabbitMQ looks them up later.
fn routed<'a>(publish: &TracedPublish<'a>, keys: &[&'a str]) -> Vec<&'a str> {
    let mut names: Vec<&str> = match publish.message.origin.exchange.is_empty() {
        true => keys.to_vec(),
        false => publish.queues.iter().map(|name| &***name).collect(),
    };
    names.sort_unstable();
    names.dedup();
    names
}

/// The properties as fields of a table, the last one first, as RabbitMQ writes them. A timestamp loses its upper 32 bits
/// there.
fn property_fields(view: &PropertiesView<'_>) -> Vec<u8> {
    let mut fields = Vec::new();
    let text = |name, value: Option<&[u8]>, fields: &mut Vec<u8>| {
        if let Some(value) = value {
            put_text_field(fields, name, value);
        }
    };
    text("cluster_id", view.cluster_id(), &mut fields);
    text("app_id", view.app_id(), &mut fields);
    text("user_id", view.user_id(), &mut fields);
    text("type", view.kind(), &mut fields);
    if let Some(timestamp) = view.timestamp() {
        let [_, _, _, _, lower @ ..] = timestamp.to_be_bytes();
        put_i32_field(&mut fields, "timestamp", i32::from_be_bytes(lower));
    }
    text("message_id", view.message_id(), &mut fields);
    text("expiration", view.expiration(), &mut fields);
    text("reply_to", view.reply_to(), &mut fields);
    text("correlation_id", view.correlation_id(), &mut fields);
    if let Some(priority) = view.priority() {
        put_i32_field(&mut fields, "priority", i32::from(priority));
    }
    if let Some(mode) = view.delivery_mode() {
        put_i32_field(&mut fields, "delivery_mode", i32::from(mode));
    }
    if let Some(headers) = view.headers_raw() {
        put_encoded_table_field(&mut fields, "headers", headers);
    }
    text("content_encoding", view.content_encoding(), &mut fields);
    text("content_type", view.content_type(), &mut fields);
    fields
}

/// The routing keys of a message in a queue, beyond the first: those in `CC`. (No queue knows those in `BCC`.) A queue
/// with a dead letter routing key has replaced all keys of its dead letters, though not the header.
fn delivered_keys(message: &Message, view: &PropertiesView<'_>) -> Vec<Name> {
    if view.header("CC").is_none() {
        return Vec::new();
    }
    let Ok(headers) = view.headers() else {
        return Vec::new();
    };
    let replaced = message.dead_lettered
        && match headers.inner().get("x-death") {
            Some(deaths) => key_at_death(deaths) != Some(message.origin.routing_key.as_bytes()),
            None => false,
        };
    match replaced {
        true => Vec::new(),
        false => keys_in_headers(&headers).unwrap_or_default(),
    }
}

/// The routing key that a dead letter had in the queue where it died last.
fn key_at_death(deaths: &AMQPValue) -> Option<&[u8]> {
    let AMQPValue::FieldArray(deaths) = deaths else {
        return None;
    };
    let AMQPValue::FieldTable(last) = deaths.as_slice().first()? else {
        return None;
    };
    let AMQPValue::FieldArray(keys) = last.inner().get("routing-keys")? else {
        return None;
    };
    match keys.as_slice().first()? {
        AMQPValue::LongString(key) => Some(key.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Body, Origin};
    use crate::wire::{
        AMQPProperties, FieldArray, FieldTable, LongString, decode_table, encode_properties,
    };

    const CLIENT: Client<'_> = Client {
        connection: "1.2.3.4:5 -> 6.7.8.9:10",
        channel: 65_535,
        user: "u",
    };

    fn message(exchange: &str, routing_key: &str, properties: &AMQPProperties) -> Message {
        Message {
            origin: Arc::new(Origin {
                exchange: exchange.into(),
                routing_key: routing_key.into(),
            }),
            properties: encode_properties(properties),
            body: Body::Whole(Bytes::new()),
            persistent: false,
            priority: 0,
            expiration_ms: None,
            delay_ms: None,
            dead_lettered: false,
            failures: 0,
            handed_out: false,
        }
    }

    fn text(text: &str) -> AMQPValue {
        AMQPValue::LongString(LongString::from(text))
    }

    fn texts(texts: &[&str]) -> AMQPValue {
        AMQPValue::FieldArray(FieldArray::from(
            texts.iter().map(|one| text(one)).collect::<Vec<_>>(),
        ))
    }

    fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in fields {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    fn published(message: &Message, further: &[&str], queues: &[&str]) -> FieldTable {
        let names = |all: &[&str]| all.iter().map(|name| Name::from(*name)).collect::<Vec<_>>();
        let (further, queues) = (names(further), names(queues));
        let publish = TracedPublish {
            message,
            further_keys: &further,
            queues: queues.iter().collect(),
        };
        decode_table(&publish_headers("v", CLIENT, &publish)).expect("a table")
    }

    fn delivered(message: &Message, redelivered: bool) -> FieldTable {
        let delivery = TracedDelivery {
            message,
            properties: &message.properties,
            queue: "q",
            redelivered,
        };
        decode_table(&delivery_headers("v", CLIENT, &delivery)).expect("a table")
    }

    fn own_fields(exchange: &str, properties: FieldTable) -> FieldTable {
        table(&[
            ("channel", AMQPValue::LongInt(65_535)),
            ("connection", text("1.2.3.4:5 -> 6.7.8.9:10")),
            ("exchange_name", text(exchange)),
            ("node", text(&node::name())),
            ("properties", AMQPValue::FieldTable(properties)),
            ("user", text("u")),
            ("vhost", text("v")),
        ])
    }

    #[test]
    fn a_publish_names_its_exchange_keys_and_queues() {
        let plain = message("x", "k", &AMQPProperties::default());
        let mut expected = own_fields("x", FieldTable::default());
        expected.insert("routed_queues".into(), texts(&["a", "b"]));
        expected.insert("routing_keys".into(), texts(&["k", "cc", "bcc"]));
        assert_eq!(published(&plain, &["cc", "bcc"], &["b", "a"]), expected);
    }

    #[test]
    fn the_default_exchange_names_a_queue_for_each_routing_key() {
        let plain = message("", "q", &AMQPProperties::default());
        let queues = |further: &[&str], found: &[&str]| {
            published(&plain, further, found)
                .inner()
                .get("routed_queues")
                .cloned()
        };
        assert_eq!(queues(&[], &[]), Some(texts(&["q"])));
        assert_eq!(
            queues(&["c", "q", "b"], &["q"]),
            Some(texts(&["b", "c", "q"]))
        );
    }

    #[test]
    fn a_delivery_says_whether_it_is_one_again() {
        let plain = message("x", "k", &AMQPProperties::default());
        for (redelivered, number) in [(false, 0), (true, 1)] {
            let mut expected = own_fields("x", FieldTable::default());
            expected.insert("redelivered".into(), AMQPValue::LongInt(number));
            expected.insert("routing_keys".into(), texts(&["k"]));
            assert_eq!(delivered(&plain, redelivered), expected);
        }
    }

    #[test]
    fn all_properties_are_fields_with_rabbitmqs_types() {
        let headers = table(&[("a", AMQPValue::ShortInt(5)), ("b", text("c"))]);
        let properties = AMQPProperties::default()
            .with_content_type("1".into())
            .with_content_encoding("2".into())
            .with_headers(headers.clone())
            .with_delivery_mode(2)
            .with_priority(255)
            .with_correlation_id("3".into())
            .with_reply_to("4".into())
            .with_expiration("5".into())
            .with_message_id("6".into())
            .with_timestamp(0x1_8000_0002)
            .with_type("7".into())
            .with_user_id("8".into())
            .with_app_id("9".into())
            .with_cluster_id("10".into());
        let expected = table(&[
            ("content_type", text("1")),
            ("content_encoding", text("2")),
            ("headers", AMQPValue::FieldTable(headers)),
            ("delivery_mode", AMQPValue::LongInt(2)),
            ("priority", AMQPValue::LongInt(255)),
            ("correlation_id", text("3")),
            ("reply_to", text("4")),
            ("expiration", text("5")),
            ("message_id", text("6")),
            ("timestamp", AMQPValue::LongInt(-0x7fff_fffe)),
            ("type", text("7")),
            ("user_id", text("8")),
            ("app_id", text("9")),
            ("cluster_id", text("10")),
        ]);
        let traced = published(&message("x", "k", &properties), &[], &[]);
        assert_eq!(
            traced.inner().get("properties"),
            Some(&AMQPValue::FieldTable(expected))
        );
    }

    #[test]
    fn a_delivery_has_the_routing_keys_of_its_message_or_of_its_dead_letter() {
        let death = |key: &str| {
            let death = table(&[("routing-keys", texts(&[key, "other"]))]);
            AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(death)]))
        };
        let cc = ("CC", texts(&["c", "d"]));
        for (headers, dead_lettered, keys) in [
            (vec![], false, &["k"][..]),
            (vec![cc.clone()], false, &["k", "c", "d"]),
            (vec![("CC", text("no array"))], false, &["k"]),
            // It kept its keys, or its queue gave it another.
            (
                vec![cc.clone(), ("x-death", death("k"))],
                true,
                &["k", "c", "d"],
            ),
            (vec![cc.clone(), ("x-death", death("before"))], true, &["k"]),
            // A publisher made it up.
            (
                vec![cc, ("x-death", death("before"))],
                false,
                &["k", "c", "d"],
            ),
        ] {
            let properties = AMQPProperties::default().with_headers(table(&headers));
            let message = Message {
                dead_lettered,
                ..message("x", "k", &properties)
            };
            assert_eq!(
                delivered(&message, false).inner().get("routing_keys"),
                Some(&texts(keys)),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn malformed_properties_are_no_properties() {
        let message = Message {
            properties: Bytes::from_static(&[0x80]),
            ..message("x", "k", &AMQPProperties::default())
        };
        let expected = Some(&AMQPValue::FieldTable(FieldTable::default()));
        assert_eq!(
            published(&message, &[], &[]).inner().get("properties"),
            expected
        );
        assert_eq!(
            delivered(&message, false).inner().get("properties"),
            expected
        );
    }
}
