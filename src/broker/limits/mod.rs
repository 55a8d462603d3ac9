//! Limits per user and per virtual host, and the live counts that they bound. The front door decides what a
//! refusal means to its client.

mod json; // limits as operators write them
mod limit; // limits that an operator sets
mod table; // the limits of all virtual hosts
mod usage; // connections and channels that are open

pub use json::InvalidLimits;
pub use limit::{LimitReached, UserLimits, VhostLimits};
pub use table::Limits;
pub use usage::ConnectionPermit;
