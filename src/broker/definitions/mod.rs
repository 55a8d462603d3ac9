//! Definitions: facts that clients and operators declare, and that a start restores. Each change of a
//! definition takes three steps:
//!
//! 1. **Propose** decides. It looks at the definitions as they are and returns an error, nothing to change, or a
//!    `Proposal`. The decision is a pure function; a lock or claims keep contradicting changes apart until the proposal is
//!    concluded.
//! 2. **Commit** writes the proposal's records in one batch and waits until they are durable. Proposals that are under way
//!    together share a sync. A change of transient things has no records and is committed immediately.
//! 3. **Apply** changes memory (`Table::apply`; in virtual hosts `Change::apply`). The start calls the same function with
//!    the records that it reads. So everything visible is durable, and a start restores what memory had.
//!
//! If the commit fails, memory stays as it was. There are two ways to keep contradicting changes apart. Users, limits and
//! the list of virtual hosts change one change after the other (`table::Serialised`). In a virtual host, where many
//! connections declare, a proposal claims the definitions that it depends on (`vhost::claims`), and all
//! others go on.

pub(super) mod access; // users, permissions, limits
mod key_text; // the key of a definition as people read it
mod kind; // the table of all kinds
pub(super) mod policies; // policies and operator policies
pub mod proposal; // from the decision to the change in memory
pub(super) mod queue_ids; // the counter of queue ids
mod queue_names; // the names of queues, from their records alone
pub mod record; // kind, identity and value of a definition
pub mod table; // definitions in memory
#[cfg(test)]
mod tests;
pub(super) mod topology; // virtual hosts, exchanges, queues, bindings

pub use key_text::key_text;
pub use kind::Kind;
pub use queue_names::{QueueNames, unreadable_definitions};
