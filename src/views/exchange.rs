//! Exchanges and bindings.

use std::sync::Arc;

use super::history::Subject;
use super::sources::Views;
use crate::broker::exchange::{Binding, Exchange};
use crate::broker::stats::MessageStats;
use crate::broker::vhost::Vhost;
use crate::model::Name;
use crate::model::policy::Applied;

/// An exchange.
#[derive(Clone, Debug)]
pub struct ExchangeView {
    pub vhost: Name,
    pub exchange: Arc<Exchange>,
    pub policies: Applied,
    pub message_stats: MessageStats,
}

/// A binding.
#[derive(Clone, Debug)]
pub struct BindingView {
    pub vhost: Name,
    pub binding: Arc<Binding>,
}

impl ExchangeView {
    /// An exchange of this virtual host.
    pub fn of(vhost: &Vhost, exchange: Arc<Exchange>) -> ExchangeView {
        ExchangeView {
            vhost: vhost.name().clone(),
            policies: vhost.exchange_policies(&exchange),
            message_stats: exchange.stats.messages(),
            exchange,
        }
    }
}

impl ExchangeView {
    /// Names it for its history.
    pub fn subject(&self) -> Subject {
        Subject::Exchange {
            vhost: self.vhost.clone(),
            name: self.exchange.name.clone(),
        }
    }
}

impl Views {
    /// The exchanges of a virtual host, ordered by name; none without that virtual host.
    pub fn exchanges(&self, vhost: &str) -> Vec<ExchangeView> {
        let Some(vhost) = self.vhost_of(vhost) else {
            return Vec::new();
        };
        let all = vhost.exchanges().into_iter();
        all.map(|exchange| ExchangeView::of(&vhost, exchange))
            .collect()
    }

    pub fn exchange(&self, vhost: &str, name: &str) -> Option<ExchangeView> {
        let vhost = self.vhost_of(vhost)?;
        let exchange = vhost.exchange(name)?;
        Some(ExchangeView::of(&vhost, exchange))
    }

    /// The bindings of a virtual host, those of queues to the default exchange first, ordered by source, destination and
    /// key; none without that virtual host.
    pub fn bindings(&self, vhost: &str) -> Vec<BindingView> {
        let Some(vhost) = self.vhost_of(vhost) else {
            return Vec::new();
        };
        let all = vhost.bindings().into_iter();
        let view = |binding| BindingView {
            vhost: vhost.name().clone(),
            binding,
        };
        all.map(view).collect()
    }
}
