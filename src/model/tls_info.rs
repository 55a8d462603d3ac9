//! What operators see of a TLS connection and of its client's certificate.

/// A TLS connection, in Erlang's names, as RabbitMQ shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// Such as `tlsv1.3`.
    pub protocol: &'static str,
    pub key_exchange: &'static str,
    pub cipher: &'static str,
    pub hash: &'static str,
    /// The client's certificate, if it has shown one.
    pub certificate: Option<PeerCertificate>,
}

/// A client's certificate, as RabbitMQ prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    pub subject: String,
    pub issuer: String,
    /// Hexadecimal.
    pub serial_number: String,
    /// From when to when it is valid.
    pub validity: String,
}
