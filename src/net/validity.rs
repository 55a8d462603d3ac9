//! How long certificates are valid.

use std::path::Path;

use x509_parser::parse_x509_certificate;

use super::tls_settings::{TlsError, certificates};

/// When a certificate is valid, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: i64,
    pub not_after: i64,
}

impl Validity {
    /// Of all certificates in a file, in their order.
    pub fn of_file(path: &Path) -> Result<Vec<Validity>, TlsError> {
        let certificates = certificates(path)?;
        let validities = certificates.iter().map(|certificate| {
            let (_, parsed) = parse_x509_certificate(certificate)?;
            let validity = parsed.validity();
            Ok(Validity {
                not_before: validity.not_before.timestamp(),
                not_after: validity.not_after.timestamp(),
            })
        });
        let validities: Result<_, x509_parser::nom::Err<x509_parser::error::X509Error>> =
            validities.collect();
        validities.map_err(|_| TlsError::Missing {
            path: path.to_owned(),
            what: "certificate that can be read",
        })
    }
}
