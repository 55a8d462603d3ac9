//! A virtual host: its exchanges, queues and bindings. Every change of them is proposed (`propose`), committed and
//! applied (`change`), as `definitions` says; of two connections that declare the same name, one creates and the other
//! finds. Knows no users and no permissions; `session` checks those first.
//!
//! Locks: `changes`, then the committer's batch guard, then a queue or `routing`, which is held for table
//! operations only. Nothing is held across an await: a change that is on its way to the disk holds claims instead.

mod change; // one change: its records, and its effect in memory
mod changes; // changes under way
mod claims; // definitions that changes under way depend on
mod creation; // newly created definitions
mod deletion; // of queues, and of all
mod exchanges; // and bindings
mod host; // the state of a virtual host
mod metadata;
mod policies; // policies, and their way to queues and exchanges
mod predeclared; // exchanges that every virtual host has
mod propose; // whether a change is valid
mod queues;
mod restore; // the start
mod routes; // where messages go
#[cfg(test)]
mod tests;
mod under_way; // from a proposal to its conclusion

pub use creation::{Created, NAME_BYTES_MAX, NewQueue};
pub(super) use host::Shared;
pub use host::Vhost;
pub use metadata::VhostMetadata;
pub use predeclared::{REWIND_EXCHANGE, TRACE_EXCHANGE, is_unlisted};
