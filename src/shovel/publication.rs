//! How a shovel publishes: its exchange and routing key, properties that it sets, and headers that tell where messages came
//! through. Properties and headers that it does not set keep their octets.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::link::LinkError;
use super::pump::{Delivery, Forward, Publication};
use crate::clock::Clock;
use crate::model::shovel::{PublishProperties, ShovelDefinition, ShovelDestination};
use crate::wire::table::{find, replace_field};
use crate::wire::{PropertiesEdit, PropertiesView};

const FORWARD_HEADER: &str = "x-shovelled";
const TIMESTAMP_HEADER: &str = "x-shovelled-timestamp";
const EMPTY_TABLE: [u8; 4] = [0; 4];
/// Tags of values in tables.
const ARRAY: u8 = b'A';
const TABLE: u8 = b'F';
const LONG_STRING: u8 = b'S';
const LONG: u8 = b'l';

/// Who moves messages, and between which brokers.
#[derive(Clone, Debug)]
pub(super) struct Way<'a> {
    pub(super) cluster_name: &'a str,
    pub(super) vhost: &'a str,
    pub(super) name: &'a str,
    /// Without credentials.
    pub(super) source_uri: String,
    pub(super) destination_uri: String,
}

/// A shovel's [`Forward`].
pub(super) struct ShovelForward {
    exchange: Option<String>,
    routing_key: Option<String>,
    /// A message for a queue that is gone comes back, instead of being lost.
    mandatory: bool,
    properties: PublishProperties,
    /// The element that goes first into the array of [`FORWARD_HEADER`], with its tag.
    forward_element: Option<Vec<u8>>,
    add_timestamp: bool,
    clock: Arc<Clock>,
}

impl ShovelForward {
    pub(super) fn new(
        definition: &ShovelDefinition,
        way: &Way<'_>,
        clock: Arc<Clock>,
    ) -> ShovelForward {
        let (exchange, routing_key, mandatory) = match &definition.to {
            ShovelDestination::Queue(queue) => {
                (Some(String::new()), Some(queue.name.clone()), true)
            }
            ShovelDestination::Exchange { exchange, key } => (exchange.clone(), key.clone(), false),
        };
        let adds = definition.add_forward_headers;
        ShovelForward {
            exchange,
            routing_key,
            mandatory,
            properties: definition.properties.clone(),
            forward_element: adds.then(|| forward_element(definition, way)),
            add_timestamp: definition.add_timestamp_header,
            clock,
        }
    }

    fn changes_properties(&self) -> bool {
        self.forward_element.is_some()
            || self.add_timestamp
            || self.properties != PublishProperties::default()
    }

    fn change(&self, properties: &[u8]) -> Result<Bytes, LinkError> {
        let view = PropertiesView::parse(properties)?;
        let mut edit = view.edit();
        set_properties(&mut edit, &self.properties);
        if self.forward_element.is_some() || self.add_timestamp {
            let headers = view.headers_raw().unwrap_or(&EMPTY_TABLE);
            edit.set_headers_raw(self.changed_headers(headers));
        }
        Ok(edit.finish())
    }

    fn changed_headers(&self, headers: &[u8]) -> Vec<u8> {
        let mut headers = headers.to_vec();
        if let Some(element) = &self.forward_element {
            // What earlier shovels wrote follows.
            let earlier = find(&headers, FORWARD_HEADER).filter(|field| field.tag == ARRAY);
            let earlier = earlier.map_or(&[][..], |field| field.value);
            let array = with_length(&[&element[..], earlier].concat());
            headers = replace_field(&headers, FORWARD_HEADER, ARRAY, &array);
        }
        if self.add_timestamp {
            let seconds = (self.clock.wall_ms() / 1000).to_be_bytes();
            headers = replace_field(&headers, TIMESTAMP_HEADER, LONG, &seconds);
        }
        headers
    }
}

impl Forward for ShovelForward {
    fn publication<'a>(
        &'a mut self,
        delivery: &'a Delivery,
        properties: Bytes,
    ) -> Result<Publication<'a>, LinkError> {
        let properties = match self.changes_properties() {
            true => self.change(&properties)?,
            false => properties,
        };
        Ok(Publication {
            exchange: self.exchange.as_ref().unwrap_or(&delivery.exchange),
            routing_key: self.routing_key.as_ref().unwrap_or(&delivery.routing_key),
            mandatory: self.mandatory,
            properties,
            mark: delivery.tag,
        })
    }
}

fn set_properties(edit: &mut PropertiesEdit<'_>, properties: &PublishProperties) {
    let PublishProperties {
        texts,
        delivery_mode,
        priority,
        timestamp,
    } = properties;
    for (property, text) in texts {
        edit.set_text(*property, text);
    }
    if let Some(mode) = delivery_mode {
        edit.set_delivery_mode(*mode);
    }
    if let Some(priority) = priority {
        edit.set_priority(*priority);
    }
    if let Some(seconds) = timestamp {
        edit.set_timestamp(*seconds);
    }
}

/// The table of one shovel in the array of [`FORWARD_HEADER`], with RabbitMQ's fields in its order.
fn forward_element(definition: &ShovelDefinition, way: &Way<'_>) -> Vec<u8> {
    let way = [
        ("shovelled-by", way.cluster_name),
        ("shovel-type", "dynamic"),
        ("shovel-name", way.name),
        ("shovel-vhost", way.vhost),
        ("src-uri", &way.source_uri),
        ("dest-uri", &way.destination_uri),
    ];
    let mut table = Vec::new();
    for (name, text) in way.into_iter().chain(definition.ends()) {
        table.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        table.put_slice(name.as_bytes());
        table.put_u8(LONG_STRING);
        table.extend(with_length(text.as_bytes()));
    }
    let mut element = vec![TABLE];
    element.extend(with_length(&table));
    element
}

/// The bytes with their length before them.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::{AMQPProperties, AMQPValue, FieldTable, encode_properties, table_to_json};

    fn definition(more: serde_json::Value) -> ShovelDefinition {
        let mut value = json!({"src-uri": "amqp://", "src-queue": "from", "dest-uri": "amqp://h"});
        for (key, term) in more.as_object().unwrap() {
            value[key] = term.clone();
        }
        ShovelDefinition::parse("s", &value).unwrap()
    }

    fn forward(more: serde_json::Value) -> ShovelForward {
        let way = Way {
            cluster_name: "leveret",
            vhost: "v",
            name: "s",
            source_uri: "amqp://".to_owned(),
            destination_uri: "amqp://h".to_owned(),
        };
        ShovelForward::new(&definition(more), &way, Arc::default())
    }

    fn delivery() -> Delivery {
        Delivery {
            tag: 7,
            redelivered: false,
            exchange: "x".to_owned(),
            routing_key: "k".to_owned(),
        }
    }

    /// Exchange, routing key and `mandatory`.
    fn place(more: serde_json::Value) -> (String, String, bool) {
        let (mut forward, delivery) = (forward(more), delivery());
        let publication = forward.publication(&delivery, Bytes::from_static(&[0, 0]));
        let publication = publication.unwrap();
        assert_eq!(&publication.properties[..], [0, 0]);
        let Publication {
            exchange,
            routing_key,
            mandatory,
            ..
        } = publication;
        (exchange.to_owned(), routing_key.to_owned(), mandatory)
    }

    #[test]
    fn messages_keep_what_the_definition_does_not_set() {
        for (more, (exchange, key, mandatory)) in [
            (json!({}), ("x", "k", false)),
            (json!({"dest-exchange": "y"}), ("y", "k", false)),
            (json!({"dest-exchange-key": "l"}), ("x", "l", false)),
            (
                json!({"dest-exchange": "", "dest-exchange-key": "l"}),
                ("", "l", false),
            ),
            (json!({"dest-queue": "q"}), ("", "q", true)),
        ] {
            let expected = (exchange.to_owned(), key.to_owned(), mandatory);
            assert_eq!(place(more), expected);
        }
    }

    #[test]
    fn properties_are_set_and_others_stay() {
        let properties = json!({"type": "t", "delivery_mode": 2, "timestamp": 9});
        let mut forward = forward(json!({"publish-properties": properties}));
        let before = AMQPProperties::default()
            .with_app_id("app".into())
            .with_type("old".into())
            .with_priority(3);
        let delivery = delivery();
        let publication = forward
            .publication(&delivery, encode_properties(&before))
            .unwrap();
        let expected = before
            .with_type("t".into())
            .with_delivery_mode(2)
            .with_timestamp(9);
        assert_eq!(publication.properties, encode_properties(&expected));
    }

    #[test]
    fn headers_tell_the_way_newest_first() {
        let more =
            json!({"dest-queue": "to", "add-forward-headers": true, "add-timestamp-header": true});
        let mut forward = forward(more);
        let mut headers = FieldTable::default();
        headers.insert("own".into(), AMQPValue::ShortInt(1));
        let mut properties = encode_properties(&AMQPProperties::default().with_headers(headers));
        let delivery = delivery();
        for _ in 0..2 {
            properties = forward
                .publication(&delivery, properties)
                .unwrap()
                .properties;
        }
        let headers = PropertiesView::parse(&properties)
            .unwrap()
            .headers()
            .unwrap();
        let mut headers = table_to_json(&headers);
        let stamp = headers.remove("x-shovelled-timestamp").unwrap();
        assert!(stamp.as_i64().unwrap() > 1_700_000_000);
        let one = json!({
            "shovelled-by": "leveret", "shovel-type": "dynamic", "shovel-name": "s", "shovel-vhost": "v",
            "src-uri": "amqp://", "dest-uri": "amqp://h", "src-queue": "from", "dest-queue": "to",
        });
        assert_eq!(
            serde_json::Value::from(headers),
            json!({"own": 1, "x-shovelled": [one, one]})
        );
    }
}
