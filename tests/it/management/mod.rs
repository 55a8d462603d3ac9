//! The management HTTP API over real sockets.

mod admin_rights; // tags, for administration
mod check; // tables of requests with their answers
pub(crate) mod client; // a small client of the API
mod connections; // connections, channels, consumers, the broker as a whole
mod definitions; // definitions and parameters
mod framework; // logins, methods, bodies, lists, slow clients
mod health; // health checks, features, small services
mod leveret; // what RabbitMQ has not
mod moves; // moves messages from queue to queue
mod objects; // queues, exchanges, bindings, messages
mod rights; // tags
mod users; // users, permissions, limits
mod vhosts; // virtual hosts, policies

pub(crate) use client::Client;
