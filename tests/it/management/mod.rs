//! The management HTTP API over real sockets.

mod client; // a small client of the API
mod framework; // logins, methods, bodies, lists, slow clients

use client::Client;
