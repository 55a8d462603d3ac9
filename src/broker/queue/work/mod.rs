//! A work queue as a pure state machine: each message is handed out until it is acknowledged. Knows no socket, no lock,
//! no disk and no clock.

mod commands; // the commands of a queue
mod consumers; // who is next
mod dead_letters; // which messages wait for their dead letters
mod deadlines; // when leases end
mod deaths; // time to live and length
mod dispatch; // which message is next, and who gets it
mod dying; // messages on their way to the dead letter exchange
mod finish; // what every command ends with
mod leases; // how leases end
mod receive; // receiving without a consumer
mod returns; // what came back to a quorum queue
mod rewind; // acked messages made ready again
mod single_active; // who is served with a single active consumer
mod state; // the state, and where its parts are
mod storage; // what is on disk and in memory
#[cfg(test)]
pub(super) mod tests;

#[cfg(test)]
pub(super) use state::READ_AHEAD_BYTES;
pub(super) use state::WorkQueue;
