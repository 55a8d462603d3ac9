//! Exchanges, and for each type the table that finds the destinations of a message. Pure: knows no queue
//! beyond its name, no virtual host, no disk. `routing` follows bindings from exchange to exchange.

mod binding;
mod consistent_hash;
mod content; // the part of a message that decides its route
mod declared; // an exchange and its checks
mod delayed;
mod direct;
mod headers;
mod kind; // the types
mod modulus_hash;
mod search; // a step of a search
mod table; // the bindings of one exchange
mod targets;
mod topic;

pub use binding::{Binding, Destination};
pub(super) use content::Content;
pub use content::RouteKeys;
pub use declared::{ALTERNATE_EXCHANGE, Exchange};
pub use delayed::{delay_message, delay_ms};
pub use kind::ExchangeKind;
pub(super) use table::{Matches, Table};
