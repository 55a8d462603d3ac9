//! Counts of publishes that gather in plain numbers and go to shared counters batch by batch.

use std::sync::Arc;

use crate::broker::stats::{ExchangeStats, Protocol, Published, Sizes, VhostStats};

/// What a connection has published since the last flush.
#[derive(Debug, Default)]
pub(crate) struct PublishCounts {
    pub(crate) published: Published,
    pub(crate) sizes: Sizes,
}

impl PublishCounts {
    pub(crate) fn flush(&mut self, vhost: &VhostStats) {
        if !self.published.is_empty() {
            vhost.count_published(Protocol::Amqp, &self.published, &self.sizes);
            *self = PublishCounts::default();
        }
    }
}

/// What a channel has published to one exchange since the last flush.
#[derive(Debug, Default)]
pub(crate) struct ExchangeCounts {
    exchange: Option<Arc<ExchangeStats>>,
    messages: u64,
    copies: u64,
}

impl ExchangeCounts {
    /// Counts one message and its copies for queues.
    pub(crate) fn add(&mut self, exchange: &Arc<ExchangeStats>, copies: usize) {
        let is_same = |current: &Arc<ExchangeStats>| Arc::ptr_eq(current, exchange);
        if !self.exchange.as_ref().is_some_and(is_same) {
            self.flush();
            self.exchange = Some(Arc::clone(exchange));
        }
        self.messages += 1;
        self.copies += copies as u64;
    }

    pub(crate) fn flush(&mut self) {
        if let Some(exchange) = &self.exchange {
            exchange.publish_in.add(std::mem::take(&mut self.messages));
            exchange.publish_out.add(std::mem::take(&mut self.copies));
        }
    }
}

impl Drop for ExchangeCounts {
    fn drop(&mut self) {
        self.flush();
    }
}
