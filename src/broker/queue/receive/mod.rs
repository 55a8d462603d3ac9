//! Receiving: leases that no connection holds.

pub(super) mod receipt_handle; // the names of receives
pub(super) mod received; // one message of a receive
pub(super) mod received_batch; // the messages of a receive
#[cfg(test)]
mod tests;
pub(super) mod waiting; // receives that wait for messages
