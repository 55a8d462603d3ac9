//! An exchange as the API shows it.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::broker::exchange::Exchange;
use crate::broker::vhost::Vhost;
use crate::management::api::Shared;
use crate::management::listing::Row;
use crate::management::policies_json::PoliciesJson;
use crate::management::ranges::Ranges;
use crate::management::stats_json::{self, Look};
use crate::views::{Depth, ExchangeView};
use crate::wire::table_to_json;

/// An exchange.
#[derive(Serialize, ToSchema)]
pub(in crate::management) struct ExchangeJson {
    /// Empty for the default exchange.
    name: String,
    vhost: String,
    r#type: &'static str,
    durable: bool,
    auto_delete: bool,
    /// Whether clients may not publish to it.
    internal: bool,
    arguments: Map<String, Value>,
    #[serde(flatten)]
    policies: PoliciesJson,
    user_who_performed_action: &'static str,
    /// Counters and their rates; absent before the first message.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<Map<String, Value>>,
    /// Who publishes to it; of one exchange, and always empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    incoming: Option<Vec<Value>>,
    /// Where it leads; of one exchange, and always empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    outgoing: Option<Vec<Value>>,
}

/// An exchange in a list.
pub(super) struct ExchangeRow {
    pub(super) api: Shared,
    pub(super) vhost: Arc<Vhost>,
    pub(super) exchange: Arc<Exchange>,
    /// `None` leaves the statistics out.
    pub(super) stats: Option<(Depth, Ranges)>,
}

impl Row for ExchangeRow {
    type Json = ExchangeJson;

    fn json(&self) -> ExchangeJson {
        let view = ExchangeView::of(&self.vhost, Arc::clone(&self.exchange));
        let exchange = &view.exchange;
        let stats = self.stats.and_then(|(depth, ranges)| {
            let look = Look::at(&self.api.views, &view.subject(), depth, ranges);
            look.message_stats(stats_json::EXCHANGE, &view.message_stats)
        });
        let is_alone = matches!(self.stats, Some((Depth::History, _)));
        ExchangeJson {
            name: exchange.name.to_string(),
            vhost: view.vhost.to_string(),
            r#type: exchange.kind.as_str(),
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            arguments: table_to_json(&exchange.arguments),
            policies: PoliciesJson::of(&view.policies),
            user_who_performed_action: "rmq-internal",
            message_stats: stats,
            incoming: is_alone.then(Vec::new),
            outgoing: is_alone.then(Vec::new),
        }
    }

    fn vhost(&self) -> &str {
        self.vhost.name()
    }

    fn name(&self) -> &str {
        &self.exchange.name
    }
}
