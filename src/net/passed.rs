//! A client's connection that another node has accepted and passes on.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;

use super::client_facts::ClientFacts;
use super::transport::Transport;

/// A connection that another node passes on.
#[derive(Debug)]
pub struct Passed {
    transport: Transport,
    /// What the other node waits for: a front door serves the connection.
    welcome: u8,
}

impl Passed {
    /// When a front door takes the connection, it writes the octet `welcome` to the other node, before all else.
    pub fn new(transport: Transport, facts: ClientFacts, welcome: u8) -> Passed {
        Passed {
            transport: transport.passed_by_node(facts),
            welcome,
        }
    }

    /// The client's address.
    pub(super) fn peer(&self) -> io::Result<SocketAddr> {
        self.transport.passed_client()
    }

    pub(super) async fn welcome(mut self) -> io::Result<Transport> {
        self.transport.write_u8(self.welcome).await?;
        self.transport.flush().await?;
        Ok(self.transport)
    }
}
