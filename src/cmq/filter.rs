//! Filters: which messages of a topic a subscription gets, as headers of messages and bindings of exchanges. A tag is a
//! header, and a subscription's binding matches any of its tags; binding keys are those of a topic exchange. Pure.

use serde::{Deserialize, Serialize};

use crate::broker::exchange::{Binding, Destination, ExchangeKind};
use crate::model::Name;
use crate::model::arguments::integer_value;
use crate::wire::{AMQPValue, FieldTable, PropertiesView};

/// Prefix of the header of a tag. The header may have any value: publishers over AMQP choose one.
pub(crate) const TAG_HEADER: &str = "cmq-tag-";
/// The argument of a binding that names its subscription, so that two subscriptions of one queue do not share a binding.
const SUBSCRIPTION: &str = "x-cmq-subscription";

/// `filterType` of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FilterKind {
    /// 1: by tags.
    Tags,
    /// 2: by binding keys.
    Keys,
}

impl FilterKind {
    pub(crate) fn numbered(number: u64) -> Option<FilterKind> {
        match number {
            1 => Some(FilterKind::Tags),
            2 => Some(FilterKind::Keys),
            _ => None,
        }
    }

    pub(crate) fn number(self) -> u64 {
        match self {
            FilterKind::Tags => 1,
            FilterKind::Keys => 2,
        }
    }

    /// The exchange type of such topics.
    pub(crate) fn exchange(self) -> ExchangeKind {
        match self {
            FilterKind::Tags => ExchangeKind::Headers,
            FilterKind::Keys => ExchangeKind::Topic,
        }
    }
}

/// The filter of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Filter {
    /// Messages with any of these tags; all messages without tags.
    Tags(Vec<String>),
    /// Messages whose routing key matches one of these.
    Keys(Vec<String>),
}

impl Filter {
    /// `filterTag`.
    pub(crate) fn tags(&self) -> &[String] {
        match self {
            Filter::Tags(tags) => tags,
            Filter::Keys(_) => &[],
        }
    }

    /// `bindingKey`.
    pub(crate) fn keys(&self) -> &[String] {
        match self {
            Filter::Keys(keys) => keys,
            Filter::Tags(_) => &[],
        }
    }

    /// The bindings from a topic to a queue for this filter of a subscription.
    pub(crate) fn bindings(&self, topic: &Name, subscription: &str, queue: &Name) -> Vec<Binding> {
        let mut arguments = FieldTable::default();
        arguments.insert(SUBSCRIPTION.into(), text(subscription));
        let binding = |key: &str, arguments| {
            let to = Destination::Queue(queue.clone());
            Binding::new(topic.clone(), to, key.into(), arguments)
        };
        match self {
            Filter::Tags(tags) => {
                let mode = if tags.is_empty() { "all" } else { "any" };
                arguments.insert("x-match".into(), text(mode));
                for tag in tags {
                    // No value: any.
                    arguments.insert(format!("{TAG_HEADER}{tag}").into(), AMQPValue::Void);
                }
                vec![binding("", arguments)]
            }
            Filter::Keys(keys) => keys
                .iter()
                .map(|key| binding(key, arguments.clone()))
                .collect(),
        }
    }
}

/// Whether a binding belongs to a subscription.
pub(crate) fn is_of_subscription(binding: &Binding) -> bool {
    binding.arguments.inner().contains_key(SUBSCRIPTION)
}

/// The headers of a message with these tags. The value is the tag's index.
pub(crate) fn headers_of(tags: &[&str]) -> FieldTable {
    let mut headers = FieldTable::default();
    for (place, tag) in (0..).zip(tags) {
        headers.insert(
            format!("{TAG_HEADER}{tag}").into(),
            AMQPValue::LongInt(place),
        );
    }
    headers
}

/// The tags of a message, in the order of their indexes.
pub(crate) fn tags_of(properties: &PropertiesView<'_>) -> Vec<String> {
    let headers = properties.headers().unwrap_or_default();
    let mut tags: Vec<(i64, String)> = headers
        .inner()
        .iter()
        .filter_map(|(name, value)| {
            let tag = name.as_str().strip_prefix(TAG_HEADER)?;
            let place = integer_value(value).unwrap_or(i64::MAX);
            Some((place, tag.to_owned()))
        })
        .collect();
    tags.sort();
    tags.into_iter().map(|(_, tag)| tag).collect()
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::broker::exchange::{Exchange, RouteKeys};
    use crate::broker::routing::Routing;
    use crate::wire::{AMQPProperties, encode_properties};

    /// Whether a subscription with `filter` gets a message with these tags and key.
    fn delivers(kind: FilterKind, filter: &Filter, tags: &[&str], key: &str) -> bool {
        let topic: Name = "t".into();
        let mut routing = Routing::default();
        routing.insert_exchange(Arc::new(Exchange {
            name: topic.clone(),
            kind: kind.exchange(),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::default(),
            stats: Arc::default(),
        }));
        routing.insert_queue("q".into(), "q");
        for binding in filter.bindings(&topic, "s", &"q".into()) {
            assert!(routing.bind(Arc::new(binding)));
        }
        let properties = AMQPProperties::default().with_headers(headers_of(tags));
        let keys = RouteKeys {
            routing_key: key,
            cc: &[],
            properties: &encode_properties(&properties),
        };
        let mut queues = Vec::new();
        assert_eq!(routing.route("t", &keys, &mut queues), None);
        assert!(queues.len() <= 1, "each message once");
        !queues.is_empty()
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn tags_meet() {
        for (wanted, tags, delivered) in [
            (&[][..], &[][..], true),
            (&[], &["a"], true),
            (&["a"], &[], false),
            (&["a"], &["a"], true),
            (&["a"], &["A"], false),
            (&["a"], &["ab"], false),
            (&["a", "b"], &["c", "b"], true),
            (&["a", "b"], &["c", "d"], false),
            (&["你好"], &["你好", "x"], true),
            (&["a", "b"], &["a", "b"], true),
        ] {
            let filter = Filter::Tags(owned(wanted));
            let got = delivers(FilterKind::Tags, &filter, tags, "");
            assert_eq!(got, delivered, "{wanted:?} {tags:?}");
        }
    }

    #[test]
    fn keys_match_as_in_amqp() {
        for (wanted, key, delivered) in [
            (&["1.#.0"][..], "1.0", true),
            (&["1.#.0"], "1.2.3.4.0", true),
            (&["1.#.0"], "1.2", false),
            (&["1.*.0"], "1.0", false),
            (&["1.*.0"], "1.2.0", true),
            (&["#"], "anything.at.all", true),
            (&["*"], "two.words", false),
            (&["a", "b"], "b", true),
            (&["a.*", "a.b"], "a.b", true),
            (&["a", "b"], "c", false),
        ] {
            let filter = Filter::Keys(owned(wanted));
            let got = delivers(FilterKind::Keys, &filter, &["tag"], key);
            assert_eq!(got, delivered, "{wanted:?} {key}");
        }
    }

    #[test]
    fn subscriptions_of_one_queue_share_no_binding() {
        let topic: Name = "t".into();
        let queue: Name = "q".into();
        for filter in [Filter::Tags(owned(&["a"])), Filter::Keys(owned(&["a"]))] {
            let one = filter.bindings(&topic, "one", &queue);
            let other = filter.bindings(&topic, "other", &queue);
            assert!(one != other && one == filter.bindings(&topic, "one", &queue));
        }
    }

    #[test]
    fn tags_come_back_in_their_order() {
        let tags = ["z", "a", "m"];
        let properties =
            encode_properties(&AMQPProperties::default().with_headers(headers_of(&tags)));
        let view = PropertiesView::parse(&properties).unwrap();
        assert_eq!(tags_of(&view), tags);
        let none = PropertiesView::parse(&[0, 0]).unwrap();
        assert!(tags_of(&none).is_empty());
    }
}
