//! The URL of an HTTP endpoint, parsed and checked. Its host name is looked up for each connection and the addresses are
//! checked each time, so that a name that changes its addresses reaches nothing forbidden.
//!
//! `hyper::Uri` parses it. The `url` crate would rewrite host and path, which endpoints receive as they were written.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hyper::Uri;
use tokio::time::timeout;

use super::address::is_allowed;
use super::config::PushConfig;
use super::resolver::Resolver;
use crate::cmq::error::CmqError;

/// Characters of an endpoint.
const URL_CHARS_MAX: usize = 500;
const HTTP_PORT: u16 = 80;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Host and, if there is one, port, as they were written.
    pub(super) authority: String,
    /// Path and query.
    pub(super) path: String,
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Target, CmqError> {
        if url.contains(char::is_whitespace) {
            return Err(CmqError::BlankInEndpoint);
        }
        if url.chars().count() > URL_CHARS_MAX {
            return Err(CmqError::EndpointFormat);
        }
        let uri: Uri = url.parse().map_err(|_| CmqError::EndpointFormat)?;
        let (scheme, authority) = (uri.scheme_str(), uri.authority());
        let authority = authority.filter(|_| scheme == Some("http"));
        let authority = authority.ok_or(CmqError::EndpointFormat)?;
        let host = authority.host();
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(CmqError::EndpointFormat);
        }
        let port = match authority.port() {
            None if authority.as_str() == host => HTTP_PORT,
            None => return Err(CmqError::EndpointFormat),
            Some(port) => port.as_u16(),
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = match (bare, host.parse()) {
            (Some(bare), _) => Host::Address(bare.parse().map_err(|_| CmqError::EndpointFormat)?),
            (None, Ok(address)) => Host::Address(address),
            (None, Err(_)) => Host::Name(host.to_owned()),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Target {
            authority: authority.to_string(),
            path: path.to_owned(),
            host,
            port,
        })
    }

    /// The allowed addresses of the host.
    ///
    /// # Errors
    /// `PermissionDenied` if none of its addresses is allowed; another error if the look-up failed.
    pub(super) async fn addresses(
        &self,
        config: &PushConfig,
        resolver: &Resolver,
    ) -> io::Result<Vec<SocketAddr>> {
        let mut addresses = match &self.host {
            Host::Address(address) => vec![SocketAddr::new(*address, self.port)],
            Host::Name(name) => resolver.addresses(name, self.port).await?,
        };
        addresses.retain(|address| is_allowed(address.ip(), &config.allowed));
        match addresses.is_empty() {
            true => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
            false => Ok(addresses),
        }
    }
}

/// Refuses malformed URLs, and hosts with no allowed address. A name that cannot be looked up now passes: it may exist when
/// it is needed.
pub(crate) async fn check_endpoint(
    url: &str,
    config: &PushConfig,
    resolver: &Resolver,
) -> Result<(), CmqError> {
    let target = Target::parse(url)?;
    match timeout(config.timeout, target.addresses(config, resolver)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(CmqError::IllegalEndpoint)
        }
        Ok(Ok(_) | Err(_)) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed() {
        for (url, authority, path, port) in [
            ("http://example.com", "example.com", "/", 80),
            (
                "http://example.com:8080/a/b?c=d",
                "example.com:8080",
                "/a/b?c=d",
                8080,
            ),
            ("HTTP://Example.com/", "Example.com", "/", 80),
            ("http://1.2.3.4:1/x", "1.2.3.4:1", "/x", 1),
            ("http://[2606:4700::1]:81/x", "[2606:4700::1]:81", "/x", 81),
        ] {
            let target = Target::parse(url).unwrap();
            let parts = (target.authority.as_str(), target.path.as_str(), target.port);
            assert_eq!(parts, (authority, path, port), "{url}");
        }
    }

    #[test]
    fn malformed_endpoints_have_their_errors() {
        let long = format!("http://example.com/{}", "x".repeat(500));
        for (url, error) in [
            ("http://exa mple.com", CmqError::BlankInEndpoint),
            ("http://example.com/\t", CmqError::BlankInEndpoint),
            ("https://example.com", CmqError::EndpointFormat),
            ("ftp://example.com", CmqError::EndpointFormat),
            ("example.com", CmqError::EndpointFormat),
            ("/path", CmqError::EndpointFormat),
            ("http://", CmqError::EndpointFormat),
            ("http:///path", CmqError::EndpointFormat),
            ("http://user:pass@example.com", CmqError::EndpointFormat),
            ("http://example.com:x", CmqError::EndpointFormat),
            ("http://example.com:", CmqError::EndpointFormat),
            ("http://example.com:99999", CmqError::EndpointFormat),
            ("http://[::1", CmqError::EndpointFormat),
            (&long, CmqError::EndpointFormat),
        ] {
            assert_eq!(Target::parse(url), Err(error), "{url}");
        }
    }

    #[tokio::test]
    async fn names_and_unusual_spellings_of_forbidden_addresses_are_refused() {
        let config = PushConfig::closed();
        let resolver = Resolver::default();
        for url in [
            "http://127.0.0.1/",
            "http://localhost:8080/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://169.254.169.254/latest/meta-data",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://0177.0.0.1/",
        ] {
            let checked = check_endpoint(url, &config, &resolver).await;
            assert_eq!(checked, Err(CmqError::IllegalEndpoint), "{url}");
        }
        let checked = check_endpoint("http://1.1.1.1/", &config, &resolver).await;
        assert_eq!(checked, Ok(()));
        let open = PushConfig {
            allowed: vec!["127.0.0.0/8".parse().unwrap()],
            ..config
        };
        let checked = check_endpoint("http://localhost/", &open, &resolver).await;
        assert_eq!(checked, Ok(()));
    }
}
