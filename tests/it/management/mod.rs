//! The management HTTP API over real sockets.

mod check; // tables of requests with their answers
mod client; // a small client of the API
mod framework; // logins, methods, bodies, lists, slow clients
mod users; // users, permissions, limits
mod vhosts; // virtual hosts, policies

use client::Client;
