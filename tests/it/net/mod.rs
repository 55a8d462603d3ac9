//! Sockets under the front doors: TLS.

pub(crate) mod certificates;
mod client_certificates; // who has to show one, and which are valid
mod door; // a front door of the tests
mod handshakes; // peers that stall, lie or leave in the TLS handshake
mod tls_stream; // bytes through TLS
