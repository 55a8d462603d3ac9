//! Statistics: what the broker counts. Queues count under their own locks; everything else counts runs and batches of
//! messages with relaxed atomics. Knows no queue and no connection: they come here to count.

mod broker_stats; // churn, and totals of all virtual hosts
mod counter; // a counter, and families of them
mod exchange_stats; // what passes through one exchange
mod gathered; // counts on their way to shared counters
mod message_stats; // the counters of messages
mod queue_stats; // what one queue counts
mod requests; // requests by action and code
mod sizes; // a histogram of message sizes
mod vhost_stats; // what the clients of a virtual host do

pub use broker_stats::{BrokerStats, Churn};
pub use counter::Counter;
pub use exchange_stats::ExchangeStats;
pub use gathered::{ExchangeCounts, PublishCounts};
pub use message_stats::{Deaths, HandedOut, MessageStats, Published};
pub use queue_stats::QueueStats;
pub use requests::RequestCounts;
pub use sizes::{SIZE_BOUNDS, Sizes};
pub use vhost_stats::{ByKind, ByProtocol, Protocol, Totals, VhostStats};
