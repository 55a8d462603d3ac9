//! Where to connect: an AMQP URI, taken apart.

use std::str::FromStr;

use super::BenchError;

/// A broker to connect to, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) vhost: String,
}

impl FromStr for Target {
    type Err = BenchError;

    /// `amqp://user:password@host:port/vhost`; every part after the scheme may be left out, as in RabbitMQ's clients.
    fn from_str(uri: &str) -> Result<Self, BenchError> {
        let bad = |why: &str| BenchError::Usage(format!("{uri}: {why}"));
        let rest = uri
            .strip_prefix("amqp://")
            .ok_or_else(|| bad("the URI must begin with amqp://"))?;
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (rest, None),
        };
        let (login, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, password),
            None if login.is_empty() => ("guest", "guest"),
            None => (login, ""),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| bad("not a port"))?)
            }
            _ => (address, 5672),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let decoded = |text: &str| percent_decode(text).ok_or_else(|| bad("bad % escape"));
        Ok(Target {
            host: if host.is_empty() { "127.0.0.1" } else { host }.to_owned(),
            port,
            user: decoded(user)?,
            password: decoded(password)?,
            vhost: path.map_or(Ok("/".to_owned()), decoded)?,
        })
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        let target = |host: &str, port, user: &str, password: &str, vhost: &str| Target {
            host: host.into(),
            port,
            user: user.into(),
            password: password.into(),
            vhost: vhost.into(),
        };
        for (uri, expected) in [
            ("amqp://", target("127.0.0.1", 5672, "guest", "guest", "/")),
            ("amqp://h", target("h", 5672, "guest", "guest", "/")),
            ("amqp://h:1/", target("h", 1, "guest", "guest", "")),
            ("amqp://u:p@h:1/%2f", target("h", 1, "u", "p", "/")),
            ("amqp://u:p%40@h/a%20b", target("h", 5672, "u", "p@", "a b")),
            (
                "amqp://[::1]:5673/v",
                target("::1", 5673, "guest", "guest", "v"),
            ),
        ] {
            assert_eq!(uri.parse::<Target>().unwrap(), expected, "{uri}");
        }
        for uri in ["http://h", "amqp://h:x", "amqp://h/%2", "amqp://h/%zz"] {
            assert!(uri.parse::<Target>().is_err(), "{uri}");
        }
    }
}
