//! What a node knows of a client that it passes on to another one: it stands for what the socket would tell there.

use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, ProtocolVersion};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::peer_certificate::describe;
use crate::model::TlsInfo;

/// What the accepting node knows of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFacts {
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// `None` for plain TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFacts>,
}

/// A client's TLS, as the node that speaks it knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFacts {
    /// The number of the version in TLS's messages.
    version: u16,
    /// The registered number of the cipher suite.
    suite: u16,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "to_base64",
        deserialize_with = "from_base64"
    )]
    certificate: Option<CertificateDer<'static>>,
}

fn to_base64<S: Serializer>(
    certificate: &Option<CertificateDer<'static>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let text = certificate.as_ref().map(|der| BASE64_STANDARD.encode(der));
    text.serialize(serializer)
}

fn from_base64<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<CertificateDer<'static>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let decoded = text.map(|text| BASE64_STANDARD.decode(text)).transpose();
    let decoded = decoded.map_err(serde::de::Error::custom)?;
    Ok(decoded.map(CertificateDer::from))
}

impl TlsFacts {
    pub(super) fn new(
        version: Option<ProtocolVersion>,
        suite: Option<CipherSuite>,
        certificate: Option<&CertificateDer<'static>>,
    ) -> TlsFacts {
        TlsFacts {
            version: version.unwrap_or(ProtocolVersion::TLSv1_2).into(),
            suite: suite.map_or(0, u16::from),
            certificate: certificate.cloned(),
        }
    }

    pub(super) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.certificate.as_ref()
    }

    /// What operators see, in Erlang's names.
    pub(super) fn info(&self) -> TlsInfo {
        let (key_exchange, cipher) = names_of(CipherSuite::from(self.suite));
        TlsInfo {
            protocol: match ProtocolVersion::from(self.version) {
                ProtocolVersion::TLSv1_3 => "tlsv1.3",
                _ => "tlsv1.2",
            },
            key_exchange,
            cipher,
            // All supported ciphers authenticate by themselves.
            hash: "aead",
            certificate: self.certificate().and_then(describe),
        }
    }
}

/// Erlang's names of key exchange and cipher.
fn names_of(suite: CipherSuite) -> (&'static str, &'static str) {
    match suite {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => ("any", "aes_256_gcm"),
        CipherSuite::TLS13_AES_128_GCM_SHA256 => ("any", "aes_128_gcm"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => ("any", "chacha20_poly1305"),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => ("ecdhe_ecdsa", "aes_256_gcm"),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => ("ecdhe_ecdsa", "aes_128_gcm"),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            ("ecdhe_ecdsa", "chacha20_poly1305")
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => ("ecdhe_rsa", "aes_256_gcm"),
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => ("ecdhe_rsa", "aes_128_gcm"),
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
            ("ecdhe_rsa", "chacha20_poly1305")
        }
        _ => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_survive_the_way_to_another_node() {
        let certificate = CertificateDer::from(vec![0, 1, 254, 255]);
        let suite = CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384;
        for certificate in [Some(&certificate), None] {
            let facts = ClientFacts {
                client: "192.0.2.1:1234".parse().unwrap(),
                local: "[2001:db8::1]:5671".parse().unwrap(),
                tls: Some(TlsFacts::new(
                    Some(ProtocolVersion::TLSv1_2),
                    Some(suite),
                    certificate,
                )),
            };
            let text = serde_json::to_string(&facts).unwrap();
            assert_eq!(serde_json::from_str::<ClientFacts>(&text).unwrap(), facts);
            let info = facts.tls.unwrap().info();
            let shown = (info.protocol, info.key_exchange, info.cipher, info.hash);
            assert_eq!(shown, ("tlsv1.2", "ecdhe_rsa", "aes_256_gcm", "aead"));
        }
        let plain = r#"{"client":"192.0.2.1:1234","local":"192.0.2.2:5672","later":1}"#;
        let facts: ClientFacts = serde_json::from_str(plain).unwrap();
        assert_eq!(facts.tls, None);
    }
}
