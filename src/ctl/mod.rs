//! `leveret ctl`: rabbitmqctl's verbs over a Unix socket in the data directory. The client side parses words and
//! prints; the broker's side carries verbs out. Knows nothing of AMQP frames.

pub mod args;
mod banner;
pub mod client;
mod columns;
mod format;
mod handle;
mod pretty;
pub mod protocol;
pub mod service;
pub mod verbs;
