//! A client of AMQP 0-9-1 on one blocking socket with one channel.

mod incoming;
mod link;
mod target;
mod tls_relay; // TLS between a load and its broker

#[cfg(test)]
pub(crate) use incoming::FRAME_MAX;
pub(crate) use incoming::{Delivery, Event, Incoming};
pub(crate) use link::{CHANNEL, Link, QueueToDeclare, refuse_close, server_name};
pub(crate) use target::Target;
pub(crate) use tls_relay::relay_cpu_seconds;
