//! Plain data that every room shares: identities and messages. No behaviour of queues, no I/O.

pub mod arguments; // queue arguments, parsed and compared
mod id;
mod ip_range;
mod message;
mod overrides;
pub mod stream; // what consumers of streams ask for

pub use id::{ConnectionId, ConsumerId, Lease, LogId, MessageId, QueueId, Ticket};
pub use ip_range::{IpRange, NoRange};
pub use message::{Body, Message, Name, Origin};
pub use overrides::QueueOverrides;
