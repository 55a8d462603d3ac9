//! Plain data that all rooms share: identities, messages, queue arguments. No behaviour of queues, no I/O.

pub mod arguments; // queue arguments, parsed and compared
mod id;
mod ip_range;
mod message;
mod overrides;
pub mod stream; // arguments of stream consumers

pub use id::{ConnectionId, ConsumerId, Lease, LogId, MessageId, QueueId, Ticket};
pub use ip_range::{IpRange, NoRange};
pub use message::{Body, Message, Name, Origin};
pub use overrides::QueueOverrides;
