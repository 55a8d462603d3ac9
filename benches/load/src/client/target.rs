//! Where to connect: the parts of an AMQP URI.

use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// A broker to connect to, and a user to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Connect through TLS.
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
}

impl FromStr for Target {
    type Err = String;

    /// `amqp://user:password@host:port/vhost`, or `amqps` for TLS; every part after the scheme may be missing, as in RabbitMQ's clients.
    fn from_str(uri: &str) -> Result<Self, String> {
        let url = Url::parse(uri).map_err(|error| error.to_string())?;
        let tls = match url.scheme() {
            "amqp" => false,
            "amqps" => true,
            _ => return Err("the scheme must be amqp or amqps".to_owned()),
        };
        let host = match url.host() {
            None => "127.0.0.1".to_owned(),
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Domain(name)) => decoded(name)?,
        };
        let (user, password) = match (url.username(), url.password()) {
            ("", None) => ("guest", "guest"),
            (user, password) => (user, password.unwrap_or("")),
        };
        Ok(Target {
            tls,
            host,
            port: url.port().unwrap_or(if tls { 5671 } else { 5672 }),
            user: decoded(user)?,
            password: decoded(password)?,
            vhost: url
                .path()
                .strip_prefix('/')
                .map_or(Ok("/".to_owned()), decoded)?,
        })
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|error| error.to_string())?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_have_defaults() {
        let target = |host: &str, port, user: &str, password: &str, vhost: &str| Target {
            tls: port == 5671,
            host: host.into(),
            port,
            user: user.into(),
            password: password.into(),
            vhost: vhost.into(),
        };
        for (uri, expected) in [
            ("amqp://", target("127.0.0.1", 5672, "guest", "guest", "/")),
            ("amqps://h", target("h", 5671, "guest", "guest", "/")),
            ("amqp://h", target("h", 5672, "guest", "guest", "/")),
            ("amqp://h:1/", target("h", 1, "guest", "guest", "")),
            ("amqp://u:p@h:1/%2f", target("h", 1, "u", "p", "/")),
            ("amqp://u:p%40@h/a%20b", target("h", 5672, "u", "p@", "a b")),
            ("amqp://u@10.0.0.1", target("10.0.0.1", 5672, "u", "", "/")),
            (
                "amqp://[::1]:5673/v",
                target("::1", 5673, "guest", "guest", "v"),
            ),
        ] {
            assert_eq!(uri.parse::<Target>().unwrap(), expected, "{uri}");
        }
        for uri in ["h", "http://h", "amqp://h:x", "amqp://h/%ff"] {
            assert!(uri.parse::<Target>().is_err(), "{uri}");
        }
    }
}
