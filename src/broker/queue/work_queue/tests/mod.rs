//! Tests of the work queue's state machine without I/O: one file for each subject.

mod consumer_timeouts;
mod damage;
mod delayed;
mod durability;
mod effects;
mod expiry;
mod leases;
mod limits;
mod memory;
mod model;
mod purge;
mod rests;
mod returns;
pub(in crate::broker::queue) mod rig;
mod serving;
