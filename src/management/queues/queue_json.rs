//! A queue as the API shows it, in lists and alone.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::broker::queue::Queue;
use crate::broker::vhost::Vhost;
use crate::management::api::Shared;
use crate::management::consumers::ConsumerJson;
use crate::management::date_time::date_time;
use crate::management::listing::{ListQuery, Row};
use crate::management::policies_json::PoliciesJson;
use crate::management::ranges::Ranges;
use crate::management::stats_json::{self, Look};
use crate::model::arguments::QueueKind;
use crate::views::{Depth, QueueView};
use crate::wire::table_to_json;

/// How much of a queue is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// What was declared.
    Declared,
    /// Also how many messages it holds.
    WithTotals,
    /// All numbers.
    Full,
    /// Also its consumers.
    WithConsumers,
    /// One queue, with its history.
    Alone,
}

impl Shape {
    pub(super) fn of_list(query: &ListQuery) -> Shape {
        match (query.shows_stats(), query.shows_queue_totals()) {
            (true, _) => Shape::Full,
            (false, true) => Shape::WithTotals,
            (false, false) => Shape::Declared,
        }
    }
}

/// A queue or stream.
#[derive(Serialize, ToSchema)]
pub(in crate::management) struct QueueJson {
    name: String,
    vhost: String,
    /// `classic`, `quorum` or `stream`.
    r#type: &'static str,
    durable: bool,
    auto_delete: bool,
    exclusive: bool,
    /// The declared arguments.
    arguments: Map<String, Value>,
    node: String,
    state: &'static str,
    #[serde(flatten)]
    totals: Option<Totals>,
    #[serde(flatten)]
    numbers: Option<Numbers>,
    #[serde(flatten)]
    replicas: Option<Replicas>,
    #[serde(flatten)]
    alone: Option<Alone>,
}

/// How many messages a queue holds.
#[derive(Serialize, ToSchema)]
struct Totals {
    /// Ready and unacked messages.
    messages: u64,
    messages_ready: u64,
    messages_unacknowledged: u64,
}

/// The numbers of a queue, and its policies.
#[derive(Serialize, ToSchema)]
struct Numbers {
    messages_details: Value,
    messages_ready_details: Value,
    messages_unacknowledged_details: Value,
    /// Messages that wait for their time.
    messages_delayed: u64,
    /// Bytes of the bodies.
    message_bytes: u64,
    message_bytes_ready: u64,
    message_bytes_unacknowledged: u64,
    /// Bytes of messages in memory.
    message_bytes_ram: u64,
    /// Messages in memory are not counted: 0.
    messages_ram: u64,
    /// All messages of a durable queue; persistent ones are not counted apart.
    messages_persistent: u64,
    message_bytes_persistent: u64,
    memory: u64,
    consumers: u64,
    /// 1 if the consumers take all messages now, 0 if some wait.
    consumer_capacity: f64,
    consumer_utilisation: f64,
    #[serde(flatten)]
    policies: PoliciesJson,
    /// The `timestamp` property of the first message; null without one, and if the message is on disk only.
    head_message_timestamp: Option<u64>,
    /// Counters and their rates; absent before the first message.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<Map<String, Value>>,
    /// The connection that owns an exclusive queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_pid_details: Option<Owner>,
}

#[derive(Serialize, ToSchema)]
struct Owner {
    name: String,
    peer_host: String,
    peer_port: u16,
}

/// What quorum queues and streams have besides: their nodes, of which there is one.
#[derive(Serialize, ToSchema)]
struct Replicas {
    leader: String,
    members: Vec<String>,
    online: Vec<String>,
    /// How often a message may return; `unlimited` without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_limit: Option<Value>,
}

/// What is shown of one queue, but not in lists.
#[derive(Serialize, ToSchema)]
struct Alone {
    consumer_details: Vec<ConsumerJson>,
    exclusive_consumer_tag: Option<String>,
    single_active_consumer_tag: Option<String>,
    /// Since when nothing has happened in the queue; absent if something has just happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_since: Option<String>,
    /// Publishers and what they publish; always empty.
    incoming: Vec<Value>,
    /// Channels and what they get; always empty.
    deliveries: Vec<Value>,
}

/// A queue in a list.
pub(super) struct QueueRow {
    pub(super) api: Shared,
    pub(super) vhost: Arc<Vhost>,
    pub(super) queue: Arc<Queue>,
    pub(super) shape: Shape,
    pub(super) ranges: Ranges,
}

impl Row for QueueRow {
    type Json = QueueJson;

    fn json(&self) -> QueueJson {
        let QueueRow {
            api,
            vhost,
            queue,
            shape,
            ranges,
        } = self;
        let view = api.views.queue_view(vhost.name(), queue);
        let shows = |least: Shape| *shape as u8 >= least as u8;
        let kind = view.spec.arguments.kind;
        QueueJson {
            name: view.spec.name.to_string(),
            vhost: view.vhost.to_string(),
            r#type: kind.as_str(),
            durable: view.spec.durable,
            auto_delete: view.spec.auto_delete,
            exclusive: view.spec.exclusive_owner.is_some(),
            arguments: table_to_json(&view.spec.arguments.raw),
            node: api.node.clone(),
            state: view.state.as_str(),
            totals: shows(Shape::WithTotals).then(|| Totals {
                messages: view.messages(),
                messages_ready: view.counts.ready,
                messages_unacknowledged: view.counts.unacked,
            }),
            numbers: shows(Shape::Full).then(|| {
                let depth = match shape {
                    Shape::Alone => Depth::History,
                    _ => Depth::Rate,
                };
                let look = Look::at(&api.views, &view.subject(), depth, *ranges);
                Numbers::of(&view, &look)
            }),
            replicas: (kind != QueueKind::Classic).then(|| Replicas::of(&api.node, &view)),
            alone: shows(Shape::WithConsumers).then(|| Alone::of(api, &view)),
        }
    }

    fn vhost(&self) -> &str {
        self.vhost.name()
    }

    fn name(&self) -> &str {
        self.queue.name()
    }
}

impl Numbers {
    fn of(view: &QueueView, look: &Look) -> Numbers {
        let counts = &view.counts;
        let takes_all = counts.consumers > 0 && counts.ready == 0;
        let capacity = if takes_all { 1.0 } else { 0.0 };
        let if_durable = |number| if view.spec.durable { number } else { 0 };
        Numbers {
            messages_details: look.length(|values| values.ready + values.unacked),
            messages_ready_details: look.length(|values| values.ready),
            messages_unacknowledged_details: look.length(|values| values.unacked),
            messages_delayed: counts.delayed,
            message_bytes: view.message_bytes(),
            message_bytes_ready: counts.ready_bytes,
            message_bytes_unacknowledged: counts.unacked_bytes,
            message_bytes_ram: counts.resident_bytes,
            messages_ram: 0,
            messages_persistent: if_durable(view.messages()),
            message_bytes_persistent: if_durable(view.message_bytes()),
            memory: counts.resident_bytes,
            consumers: counts.consumers,
            consumer_capacity: capacity,
            consumer_utilisation: capacity,
            policies: PoliciesJson::of(view.policies()),
            head_message_timestamp: view.head_timestamp,
            message_stats: look.message_stats(stats_json::QUEUE, &view.message_stats),
            owner_pid_details: view.owner.as_ref().map(|owner| Owner {
                name: owner.name(),
                peer_host: owner.peer.ip().to_string(),
                peer_port: owner.peer.port(),
            }),
        }
    }
}

impl Replicas {
    fn of(node: &str, view: &QueueView) -> Replicas {
        let limit = || match view.arguments.delivery_limit {
            Some(limit) => Value::from(limit),
            None => Value::from("unlimited"),
        };
        Replicas {
            leader: node.to_owned(),
            members: vec![node.to_owned()],
            online: vec![node.to_owned()],
            delivery_limit: (view.spec.arguments.kind == QueueKind::Quorum).then(limit),
        }
    }
}

impl Alone {
    fn of(api: &Shared, view: &QueueView) -> Alone {
        let consumers = api.views.queue_consumers(&view.vhost, &view.spec.name);
        let consumers = consumers.unwrap_or_default().into_iter();
        let tag = |consumer: crate::views::ConsumerView| consumer.info.tag.to_string();
        Alone {
            consumer_details: consumers.map(|view| ConsumerJson::of(api, &view)).collect(),
            exclusive_consumer_tag: api.views.exclusive_consumer(view).map(tag),
            single_active_consumer_tag: api.views.single_active_consumer(view).map(tag),
            idle_since: view.idle_since_ms.and_then(date_time),
            incoming: Vec::new(),
            deliveries: Vec::new(),
        }
    }
}
