//! Exchanges.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::exchange::Exchange;
use crate::broker::stats::{MessageStats, Protocol};
use crate::metrics::exposition::{Exposition, Kind, Labels};
use crate::metrics::family::{Family, Prefix, families};
use crate::metrics::pieces::{Object, PerObject, Pieces};
use crate::metrics::query::Query;
use crate::model::Name;
use crate::views::Views;

families! {
    PUBLISHED: MessageStats, RabbitMq;
    Counter "exchange_messages_published_total", "Messages published to an exchange", |n| n.publish_in;
}

families! {
    ROUTED: MessageStats, Leveret;
    Counter "exchange_messages_routed_total", "Copies that an exchange passed to queues", |n| n.publish_out;
}

const GROUP: &str = "exchange_metrics";

struct ExchangeObject {
    vhost: Name,
    exchange: Arc<Exchange>,
}

impl Object for ExchangeObject {
    type Numbers = MessageStats;

    fn numbers(&self) -> MessageStats {
        self.exchange.stats.messages()
    }

    fn with_labels<R>(&self, use_labels: impl FnOnce(Labels<'_>) -> R) -> R {
        use_labels(&[("vhost", &self.vhost), ("exchange", &self.exchange.name)])
    }
}

pub(super) fn aggregated(views: &Views, out: &mut Exposition) {
    let totals = views.broker().stats().totals();
    let mut numbers = MessageStats::default();
    for published in Protocol::ALL.map(|protocol| totals.published.of(protocol)) {
        numbers.publish_in += published.received;
        numbers.publish_out += published.routed;
    }
    for family in all() {
        let name = family.full_name(Prefix::Plain);
        out.single(&name, family.kind, family.help, (family.value)(&numbers));
    }
}

pub(super) fn parts(
    views: &Views,
    query: &Query,
    prefix: Prefix,
    is_wanted: impl Fn(&str) -> bool,
) -> Option<Box<dyn Pieces>> {
    if !is_wanted(GROUP) {
        return None;
    }
    let vhosts = views.broker().vhost_list().into_iter();
    let objects: Arc<[ExchangeObject]> = vhosts
        .filter(|vhost| query.shows(vhost.name()))
        .flat_map(|vhost| {
            let name = vhost.name().clone();
            let exchanges = vhost.exchanges().into_iter();
            exchanges.map(move |exchange| ExchangeObject {
                vhost: name.clone(),
                exchange,
            })
        })
        .collect();
    Some(Box::new(PerObject::new(objects, all(), prefix)))
}

fn all() -> impl Iterator<Item = &'static Family<MessageStats>> {
    PUBLISHED.iter().chain(ROUTED)
}

/// The names of all exchanges, or the numbers of bindings from them.
pub(super) fn cluster(views: &Views, query: &Query, with_bindings: bool, out: &mut Exposition) {
    let (name, help) = match with_bindings {
        true => (
            "rabbitmq_cluster_exchange_bindings",
            "Bindings from an exchange",
        ),
        false => ("rabbitmq_cluster_exchange_name", "An exchange, always 1"),
    };
    out.family(name, Kind::Gauge, help);
    let vhosts = views.broker().vhost_list().into_iter();
    for vhost in vhosts.filter(|vhost| query.shows(vhost.name())) {
        let mut bindings: HashMap<Name, u64> = HashMap::new();
        if with_bindings {
            for binding in vhost.bindings() {
                *bindings.entry(binding.source.clone()).or_default() += 1;
            }
        }
        for exchange in vhost.exchanges() {
            let value = match with_bindings {
                true => bindings.get(&exchange.name).copied().unwrap_or(0),
                false => 1,
            };
            let labels: Labels<'_> = &[
                ("vhost", vhost.name()),
                ("exchange", &exchange.name),
                ("type", exchange.kind.as_str()),
            ];
            out.sample(name, labels, value);
        }
    }
}
