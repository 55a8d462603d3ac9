//! What passes through one exchange.

use super::counter::Counter;
use super::message_stats::MessageStats;

#[derive(Debug, Default)]
pub struct ExchangeStats {
    /// Messages from publishers.
    pub publish_in: Counter,
    /// Copies for queues.
    pub publish_out: Counter,
}

impl ExchangeStats {
    pub fn messages(&self) -> MessageStats {
        MessageStats {
            publish_in: self.publish_in.get(),
            publish_out: self.publish_out.get(),
            ..MessageStats::default()
        }
    }
}
