//! Plain data that all rooms share: identities, messages, queue arguments. No behaviour of queues, no I/O.

pub mod amqp_uri; // URIs of brokers
pub mod arguments; // queue arguments, parsed and compared
mod compatibility; // the RabbitMQ release that clients may expect
pub mod effective; // the merge of arguments, policies and overrides
mod id;
mod ip_range;
mod json_term; // JSON values in RabbitMQ's texts
mod message;
mod overrides;
pub mod policy; // policies, and which of them apply
mod provenance; // what a restored message says of itself
pub mod shovel; // definitions of shovels
pub mod stream; // arguments of stream consumers
mod tls_info; // a TLS connection and its client's certificate
pub mod vhost_defaults; // what new virtual hosts get

pub use compatibility::COMPATIBLE_VERSION;
pub use id::{ConnectionId, ConsumerId, Lease, LogId, MessageId, QueueId, Ticket};
pub use ip_range::{IpRange, NoRange};
pub use json_term::json_term;
pub use message::{Body, Message, Name, Origin};
pub use overrides::QueueOverrides;
pub use provenance::{Provenance, RESTORE_EXCHANGE, with_provenance};
pub use tls_info::{PeerCertificate, TlsInfo};
