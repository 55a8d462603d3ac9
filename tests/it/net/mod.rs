//! Sockets under the front doors: TLS, and the PROXY protocol.

pub(crate) mod certificates;
mod client_certificates; // who has to show one, and which are valid
mod door; // a front door of the tests
mod external_login; // logins by certificates
pub(crate) mod front_doors; // a whole broker with TLS
mod handshakes; // peers that stall, lie or leave in the TLS handshake
mod proxies; // the PROXY protocol
mod tls_stream; // bytes through TLS
