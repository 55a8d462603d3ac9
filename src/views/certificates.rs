//! The certificates in the broker's files, and when they end.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::{fs, io};

use x509_parser::pem::Pem;

use super::sources::Views;

/// Bytes that are read of a file of certificates.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

const DAY_SECS: i64 = 24 * 60 * 60;

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateView {
    pub file: PathBuf,
    pub subject: String,
    pub issuer: String,
    /// Seconds since the Unix epoch.
    pub not_before: i64,
    pub not_after: i64,
}

/// A file that cannot be read, or holds something else.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub struct CertificateError {
    file: PathBuf,
    reason: String,
}

impl CertificateView {
    /// Whether it has ended at a time, in seconds since the Unix epoch.
    pub fn has_ended_at(&self, time: i64) -> bool {
        self.not_after <= time
    }
}

/// Seconds of a unit in which operators say how soon an end is too soon.
pub fn unit_secs(unit: &str) -> Option<i64> {
    let days = match unit {
        "days" => 1,
        "weeks" => 7,
        "months" => 30,
        "years" => 365,
        _ => return None,
    };
    Some(days * DAY_SECS)
}

impl Views {
    /// All certificates in the files of TLS: the broker's, those between, those of authorities.
    pub fn certificates(&self) -> Result<Vec<CertificateView>, CertificateError> {
        let mut all = Vec::new();
        for file in &self.node.certificate_files {
            all.extend(read(file)?);
        }
        Ok(all)
    }
}

fn read(file: &Path) -> Result<Vec<CertificateView>, CertificateError> {
    let failed = |reason: String| CertificateError {
        file: file.to_owned(),
        reason,
    };
    let content = content(file).map_err(|error| failed(error.to_string()))?;
    Pem::iter_from_buffer(&content)
        .filter(|pem| pem.as_ref().map_or(true, |pem| pem.label == "CERTIFICATE"))
        .map(|pem| {
            let pem = pem.map_err(|error| failed(error.to_string()))?;
            let certificate = pem.parse_x509();
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            let validity = certificate.validity();
            Ok(CertificateView {
                file: file.to_owned(),
                subject: certificate.subject().to_string(),
                issuer: certificate.issuer().to_string(),
                not_before: validity.not_before.timestamp(),
                not_after: validity.not_after.timestamp(),
            })
        })
        .collect()
}

fn content(file: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(file)?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_certificate_of_a_file_is_read_and_keys_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("chain.pem");
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let text = format!(
            "{}{}{}",
            certificate.pem(),
            key.serialize_pem(),
            certificate.pem()
        );
        fs::write(&file, text).unwrap();
        let all = read(&file).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].not_after, 1_893_542_400);
        assert_eq!(all[0], all[1]);
        fs::write(
            &file,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert!(error.starts_with(&file.display().to_string()), "{error}");
        assert!(read(Path::new("/nonexistent")).is_err());
    }
}
