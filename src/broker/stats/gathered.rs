//! Counts of publishes that gather in plain numbers and go to shared counters batch by batch.

use std::sync::Arc;

use super::exchange_stats::ExchangeStats;
use super::message_stats::Published;
use super::sizes::Sizes;
use super::vhost_stats::{Protocol, VhostStats};

/// What a connection has published since the last flush.
#[derive(Debug, Default)]
pub struct PublishCounts {
    pub published: Published,
    sizes: Sizes,
    /// The latest messages are of one length, as most are, and not in `published` and `sizes` yet.
    length: u64,
    alike: u64,
}

impl PublishCounts {
    /// Counts one message and its copies for queues.
    pub fn add(&mut self, bytes: usize, copies: usize, is_confirmed: bool) {
        if self.length != bytes as u64 {
            self.end_of_alike();
            self.length = bytes as u64;
        }
        self.alike += 1;
        self.published.routed += copies as u64;
        self.published.received_confirm += u64::from(is_confirmed);
    }

    pub fn flush(&mut self, vhost: &VhostStats) {
        self.end_of_alike();
        if !self.published.is_empty() {
            vhost.count_published(Protocol::Amqp, &self.published, &self.sizes);
            self.published = Published::default();
            self.sizes = Sizes::default();
        }
    }

    fn end_of_alike(&mut self) {
        if self.alike > 0 {
            self.published.received += self.alike;
            self.sizes.observe(self.length, self.alike);
            self.alike = 0;
        }
    }
}

/// What a channel has published to one exchange since the last flush.
#[derive(Debug, Default)]
pub struct ExchangeCounts {
    exchange: Option<Arc<ExchangeStats>>,
    messages: u64,
    copies: u64,
}

impl ExchangeCounts {
    /// Counts one message and its copies for queues.
    pub fn add(&mut self, exchange: &Arc<ExchangeStats>, copies: usize) {
        let is_same = |current: &Arc<ExchangeStats>| Arc::ptr_eq(current, exchange);
        if !self.exchange.as_ref().is_some_and(is_same) {
            self.flush();
            self.exchange = Some(Arc::clone(exchange));
        }
        self.messages += 1;
        self.copies += copies as u64;
    }

    pub fn flush(&mut self) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_any_lengths_reach_the_counters_once() {
        let vhost = VhostStats::default();
        let mut counts = PublishCounts::default();
        for bytes in [0, 0, 5, 5, 5, 0, 2_000] {
            counts.add(bytes, 2, bytes > 0);
        }
        counts.flush(&vhost);
        counts.flush(&vhost);
        let totals = vhost.totals();
        let published = totals.published.of(Protocol::Amqp);
        assert_eq!((published.received, published.received_confirm), (7, 4));
        assert_eq!(published.routed, 14);
        let sizes = totals.sizes.of(Protocol::Amqp);
        assert_eq!((&sizes.buckets[..3], sizes.sum), (&[6, 0, 1][..], 2_015));
    }

    #[test]
    fn an_exchange_gets_its_own_counts() {
        let (one, other) = (Arc::<ExchangeStats>::default(), Arc::default());
        let mut counts = ExchangeCounts::default();
        for exchange in [&one, &one, &other] {
            counts.add(exchange, 3);
        }
        drop(counts);
        assert_eq!((one.publish_in.get(), one.publish_out.get()), (2, 6));
        assert_eq!((other.publish_in.get(), other.publish_out.get()), (1, 3));
    }
}
