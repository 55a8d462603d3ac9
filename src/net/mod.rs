//! The sockets under all front doors: listens, accepts within limits, and takes each connection to the point where
//! its protocol begins. Knows no protocol: the front door reports when a peer has logged in.

mod acceptor; // the accept loop
mod admission; // limits of connections, and which newcomer is displaced
mod chain_depth; // checks clients' certificates
mod client_facts; // what a node tells another one of a client
mod distinguished_name; // names in certificates as text
mod handshake_turns; // how many handshakes are worked on at a time
mod listener; // a listening socket, and what its connections begin with
mod passed; // a connection that another node passes on
mod peer_certificate; // what a client's certificate says
mod proxy_header; // the PROXY protocol
mod suspension; // closes and opens the sockets of listeners
mod tls; // certificate and key in use
mod tls_dial; // TLS towards another node
mod tls_handshake; // the handshakes of a front door, few at a time
mod tls_settings; // certificate, key and rules of TLS
mod tls_stream; // TLS over a socket
mod transport; // a connection, plain or TLS
mod validity; // how long certificates are valid

pub use acceptor::{Acceptor, SocketPermit};
pub use admission::Capacity;
pub use client_facts::{ClientFacts, TlsFacts};
pub use listener::Listener;
pub use passed::Passed;
pub use peer_certificate::{AlternativeName, LoginFrom, NoName};
pub use suspension::Suspension;
pub use tls::Tls;
pub use tls_settings::{ClientCertificates, TlsError, TlsSettings, TlsVersion};
pub use transport::{Transport, watch_peer};
pub use validity::Validity;
