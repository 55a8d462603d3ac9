//! The certificate of a client: what operators see of it, and the user that it names.

use std::net::IpAddr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, Class, FromDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use super::distinguished_name::{common_names, distinguished_name, text_of_der};
use crate::model::PeerCertificate;

/// Where in a certificate the name of its user stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFrom {
    DistinguishedName,
    CommonName,
    /// The alternative name of this type, counted from 0 among those of the type.
    AlternativeName(AlternativeName, usize),
}

/// Types of alternative names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    Dns,
    Ip,
    Email,
    Uri,
    Other,
}

/// Why a connection has no name by its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoName {
    #[error("the connection has no TLS")]
    NoTls,
    #[error("connection peer presented no TLS (x.509) certificate")]
    NoCertificate,
    #[error("the peer's certificate cannot be read")]
    Unreadable,
    #[error("no name found in the peer's certificate")]
    NotFound,
}

/// What operators see of a certificate; `None` if it cannot be read.
pub(super) fn describe(certificate: &CertificateDer<'_>) -> Option<PeerCertificate> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let validity = parsed.validity();
    Some(PeerCertificate {
        subject: distinguished_name(parsed.subject()),
        issuer: distinguished_name(parsed.issuer()),
        serial_number: format!("{:X}", parsed.serial),
        validity: format!(
            "{} - {}",
            time(validity.not_before),
            time(validity.not_after)
        ),
    })
}

fn time(time: ASN1Time) -> String {
    match Timestamp::from_second(time.timestamp()) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => time.to_string(),
    }
}

/// The name of the user of a certificate.
pub(super) fn login_name(
    certificate: &CertificateDer<'_>,
    from: LoginFrom,
) -> Result<String, NoName> {
    let parsed = parse_x509_certificate(certificate);
    let (_, parsed) = parsed.map_err(|_| NoName::Unreadable)?;
    let name = match from {
        LoginFrom::DistinguishedName => Some(distinguished_name(parsed.subject())),
        LoginFrom::CommonName => common_names(parsed.subject()),
        LoginFrom::AlternativeName(kind, index) => alternative_name(&parsed, kind, index),
    };
    name.filter(|name| !name.is_empty()).ok_or(NoName::NotFound)
}

fn alternative_name(
    certificate: &X509Certificate<'_>,
    kind: AlternativeName,
    index: usize,
) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    let names = &names.value.general_names;
    names
        .iter()
        .filter(|name| is_of(name, kind))
        .nth(index)
        .and_then(text)
}

fn is_of(name: &GeneralName<'_>, kind: AlternativeName) -> bool {
    match kind {
        AlternativeName::Dns => matches!(name, GeneralName::DNSName(_)),
        AlternativeName::Ip => matches!(name, GeneralName::IPAddress(_)),
        AlternativeName::Email => matches!(name, GeneralName::RFC822Name(_)),
        AlternativeName::Uri => matches!(name, GeneralName::URI(_)),
        AlternativeName::Other => matches!(name, GeneralName::OtherName(..)),
    }
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            Some((*text).to_owned())
        }
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        GeneralName::OtherName(_, value) => other_name(value),
        GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    }
}

/// The text of a name of a type of its own, which stands inside an explicit tag.
fn other_name(value: &[u8]) -> Option<String> {
    let (_, outer) = Any::from_der(value).ok()?;
    match outer.class() {
        Class::ContextSpecific => text_of_der(outer.data),
        Class::Universal | Class::Application | Class::Private => text_of_der(value),
    }
}
