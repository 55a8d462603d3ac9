//! Definitions: what clients and operators declare and a restart finds again. Every change of one, of whatever kind,
//! goes through the same three steps:
//!
//! 1. **Propose**: a decision, pure but for the lock or claim that keeps contradicting changes apart. It looks at the
//!    definitions as they are and comes to an error, to nothing to change, or to a `Proposal`.
//! 2. **Commit**: the proposal's records are written in one batch, and it is awaited that this is durable. Proposals
//!    that are on their way together share a sync. What is not durable has no records and is committed at once.
//! 3. **Apply**: memory changes, as one function of the owner says (`Table::apply`, `Vhost::apply`), which the start
//!    calls too, with the records that it reads. So what can be seen is durable, and memory after a start is what it
//!    was before.
//!
//! If the commit fails, memory stays as it was. Two ways keep changes apart that contradict each other: users, limits
//! and the list of virtual hosts change one after the other (`table`); in a virtual host, where many
//! connections declare, a proposal claims what it depends on (`vhost::claims`), so that others go on meanwhile.

pub(super) mod access; // users, permissions, limits
mod kind; // the table of all kinds
pub mod proposal; // from the decision to the change in memory
pub(super) mod queue_ids; // the counter of queue ids
pub mod record; // kind, identity and value of a definition
pub mod table; // definitions in memory
#[cfg(test)]
mod tests;
pub(super) mod topology; // virtual hosts, exchanges, queues, bindings

pub use kind::Kind;
