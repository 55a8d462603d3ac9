//! Counters as JSON: each number under RabbitMQ's name, with its rate beside it.

use serde_json::{Map, Value, json};

use super::ranges::Ranges;
use crate::broker::stats::MessageStats;
use crate::views::{Depth, History, Subject, Values, Views, Window};

/// The names of counters, and how to read them.
type Counter = (&'static str, fn(&MessageStats) -> u64);

/// What queues count.
pub(super) const QUEUE: &[Counter] = &[
    ("publish", |stats| stats.publish),
    ("deliver_get", deliver_get),
    ("deliver", |stats| stats.deliver),
    ("deliver_no_ack", |stats| stats.deliver_no_ack),
    ("get", |stats| stats.get),
    ("get_no_ack", |stats| stats.get_no_ack),
    ("get_empty", |stats| stats.get_empty),
    ("redeliver", |stats| stats.redeliver),
    ("ack", |stats| stats.ack),
];

/// What channels count.
pub(super) const CHANNEL: &[Counter] = &[
    ("publish", |stats| stats.publish),
    ("confirm", |stats| stats.confirm),
    ("return_unroutable", |stats| stats.return_unroutable),
    ("drop_unroutable", |stats| stats.drop_unroutable),
    ("deliver_get", deliver_get),
    ("deliver", |stats| stats.deliver),
    ("deliver_no_ack", |stats| stats.deliver_no_ack),
    ("get", |stats| stats.get),
    ("get_no_ack", |stats| stats.get_no_ack),
    ("get_empty", |stats| stats.get_empty),
    ("redeliver", |stats| stats.redeliver),
    ("ack", |stats| stats.ack),
];

/// What virtual hosts and the whole broker count.
pub(super) const TOTALS: &[Counter] = &[
    ("publish", |stats| stats.publish),
    ("confirm", |stats| stats.confirm),
    ("return_unroutable", |stats| stats.return_unroutable),
    ("drop_unroutable", |stats| stats.drop_unroutable),
    ("deliver_get", deliver_get),
    ("deliver", |stats| stats.deliver),
    ("deliver_no_ack", |stats| stats.deliver_no_ack),
    ("get", |stats| stats.get),
    ("get_no_ack", |stats| stats.get_no_ack),
    ("get_empty", |stats| stats.get_empty),
    ("redeliver", |stats| stats.redeliver),
    ("ack", |stats| stats.ack),
    ("disk_reads", |stats| stats.disk_reads),
    ("disk_writes", |stats| stats.disk_writes),
];

/// What exchanges count.
pub(super) const EXCHANGE: &[Counter] = &[
    ("publish_in", |stats| stats.publish_in),
    ("publish_out", |stats| stats.publish_out),
];

fn deliver_get(stats: &MessageStats) -> u64 {
    stats.deliver + stats.deliver_no_ack + stats.get + stats.get_no_ack
}

/// What is known of an object over time, and how much of that the client asks for.
pub(super) struct Look {
    history: History,
    ranges: Ranges,
}

impl Look {
    pub(super) fn at(views: &Views, subject: &Subject, depth: Depth, ranges: Ranges) -> Look {
        Look {
            history: views.history(subject, depth),
            ranges,
        }
    }

    /// Counters as an object. `None` if nothing has happened yet, as in RabbitMQ.
    pub(super) fn message_stats(
        &self,
        counters: &[Counter],
        stats: &MessageStats,
    ) -> Option<Map<String, Value>> {
        let is_used = counters.iter().any(|(_, read)| read(stats) > 0);
        is_used.then(|| self.all_message_stats(counters, stats))
    }

    /// Counters as an object.
    pub(super) fn all_message_stats(
        &self,
        counters: &[Counter],
        stats: &MessageStats,
    ) -> Map<String, Value> {
        let mut object = Map::new();
        for (name, read) in counters {
            let number = |values: &Values| read(&values.messages);
            object.insert((*name).to_owned(), read(stats).into());
            let details = self.counter(self.ranges.msg_rates, number);
            object.insert(format!("{name}_details"), details);
        }
        object
    }

    /// The `_details` of a queue's length.
    pub(super) fn length(&self, number: impl Fn(&Values) -> u64) -> Value {
        let rate = self.history.change(&number);
        self.details(rate, self.ranges.lengths, number)
    }

    /// The `_details` of a counter of bytes.
    pub(super) fn bytes(&self, number: impl Fn(&Values) -> u64) -> Value {
        self.counter(self.ranges.data_rates, number)
    }

    /// The `_details` of a number of the node.
    pub(super) fn node(&self, number: impl Fn(&Values) -> u64) -> Value {
        let rate = self.history.change(&number);
        self.details(rate, self.ranges.node_stats, number)
    }

    /// The `_details` of a counter that is not of messages.
    pub(super) fn counted(&self, number: impl Fn(&Values) -> u64) -> Value {
        self.counter(self.ranges.node_stats, number)
    }

    fn counter(&self, window: Option<Window>, number: impl Fn(&Values) -> u64) -> Value {
        let rate = self.history.rate(&number);
        self.details(rate, window, number)
    }

    fn details(&self, rate: f64, window: Option<Window>, number: impl Fn(&Values) -> u64) -> Value {
        let rated = window.and_then(|window| self.history.within(window, number));
        let Some(rated) = rated else {
            return json!({ "rate": rate });
        };
        let sample = |(at_ms, value): &(u64, u64)| json!({ "sample": value, "timestamp": at_ms });
        json!({
            "rate": rate,
            "avg": rated.avg,
            "avg_rate": rated.avg_rate,
            "samples": rated.samples.iter().map(sample).collect::<Vec<_>>(),
        })
    }
}
