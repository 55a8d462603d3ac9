//! A work queue as a pure state machine: it hands each message out until a consumer acks it. Knows no socket,
//! no lock, no disk and no clock.

mod commands; // the commands of a queue
mod consumers; // the choice of the next consumer
mod dead_letters; // hands out dying messages for publishing
mod deadlines; // deadlines of leases
mod deaths; // time to live and length limits
mod dispatch; // deliveries to consumers
mod dying; // dying messages in the order of their deaths
mod finish; // the end of each command
mod heads; // the next message, and the heads of lanes
mod leases; // ends and restores leases
mod levels; // the levels of priorities, and their lanes
mod receive; // CMQ's receives
mod rests; // returned messages that wait before their next delivery
mod returns; // the order of returned messages in quorum queues
mod rewind; // makes acked messages ready again
mod single_active; // the choice of a single active consumer
mod state; // the state of the queue
mod storage; // reads, evictions and changes to write
#[cfg(test)]
pub(super) mod tests;

#[cfg(test)]
pub(super) use state::READ_AHEAD_BYTES;
pub(super) use state::WorkQueue;
