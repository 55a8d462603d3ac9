//! TLS towards another node: this node shows its certificate too.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tls::Tls;

impl Tls {
    /// Whether both sides have to show certificates of the authorities.
    pub fn is_mutual(&self) -> bool {
        self.dialing().is_some()
    }

    /// Takes a connection to another node through its handshake. That node's certificate has to be valid for the host.
    /// The caller limits the time.
    ///
    /// # Errors
    /// Also when the settings do not require certificates of both sides.
    pub async fn dial(&self, socket: TcpStream, host: &str) -> io::Result<TlsStream<TcpStream>> {
        let config = self.dialing();
        let config = config.ok_or_else(|| io::Error::other("TLS between nodes is not mutual"))?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&config))
            .connect(name, socket)
            .await
    }
}
