//! Address and key of CMQ's API.

use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::Url;

/// `http://SECRETID:SECRETKEY@HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host and port, as they stand in requests.
    pub(super) host: String,
    pub(super) id: String,
    pub(super) key: String,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(uri: &str) -> Result<Endpoint, String> {
        let url = Url::parse(uri).map_err(|error| error.to_string())?;
        let login = Some(url.username()).zip(url.password());
        let address = url.host_str().zip(url.port());
        let (("http", Some((id, key))), Some((host, port))) = ((url.scheme(), login), address)
        else {
            return Err("expected http://SECRETID:SECRETKEY@HOST:PORT".to_owned());
        };
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Ok(Endpoint {
            host: format!("{host}:{port}"),
            id: decoded(id),
            key: decoded(key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_a_key_and_an_address() {
        let endpoint: Endpoint = "http://AKIDx:k:1@127.0.0.1:5680/".parse().unwrap();
        let (id, key, host) = (endpoint.id, endpoint.key, endpoint.host);
        assert_eq!((&*id, &*key, &*host), ("AKIDx", "k:1", "127.0.0.1:5680"));
        for uri in ["127.0.0.1:5680", "http://127.0.0.1:5680", "http://id@h:1"] {
            assert!(uri.parse::<Endpoint>().is_err(), "{uri}");
        }
    }
}
