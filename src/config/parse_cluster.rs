//! From text to the values of options about a set of nodes.

use std::time::Duration;

use super::parse::{name, positive_milliseconds};
use super::values::ClusterPeer;
use crate::model::Name;

/// What comes before a node's name where operators see it.
const PREFIX: &str = "leveret@";
/// Bytes of a node's name.
const NAME_BYTES_MAX: usize = 63;
/// Bytes of a shared secret: fewer can be guessed.
const SECRET_BYTES_MIN: usize = 16;
/// Milliseconds of an election timeout: the pauses of a busy disk must not end a leadership.
const ELECTION_MS_MIN: u64 = 50;

/// A node's name, with or without `leveret@`.
pub(super) fn node_name_or_none(text: &str) -> Result<Option<Name>, String> {
    match text {
        "none" => Ok(None),
        text => node_name(text).map(Some),
    }
}

fn node_name(text: &str) -> Result<Name, String> {
    let name = text.strip_prefix(PREFIX).unwrap_or(text);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_plain) {
        true => Ok(name.into()),
        false => Err(format!(
            "a node's name has up to {NAME_BYTES_MAX} letters, digits, '-', '_' and '.'"
        )),
    }
}

/// `NAME=HOST:PORT` with commas between; `none` is an empty list.
pub(super) fn peers(text: &str) -> Result<Vec<ClusterPeer>, String> {
    match text {
        "none" => Ok(Vec::new()),
        text => text.split(',').map(|part| peer(part.trim())).collect(),
    }
}

fn peer(text: &str) -> Result<ClusterPeer, String> {
    let expected = || "expected NAME=HOST:PORT, such as a=10.0.0.1:25672".to_owned();
    let (name, address) = text.split_once('=').ok_or_else(expected)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(expected)?;
    let has_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_host = !host.is_empty()
        && !host.contains(|c: char| c.is_whitespace() || "/@=".contains(c))
        && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')));
    match has_port && is_host {
        true => Ok(ClusterPeer {
            name: node_name(name)?,
            address: address.into(),
        }),
        false => Err(expected()),
    }
}

/// The shared secret.
pub(super) fn secret_or_none(text: &str) -> Result<Option<Name>, String> {
    match text {
        "none" => Ok(None),
        text if text.len() < SECRET_BYTES_MIN => {
            Err(format!("a secret has at least {SECRET_BYTES_MIN} bytes"))
        }
        text => name(text).map(Some),
    }
}

pub(super) fn election_timeout(text: &str) -> Result<Duration, String> {
    let timeout = positive_milliseconds(text)?;
    match timeout >= Duration::from_millis(ELECTION_MS_MIN) {
        true => Ok(timeout),
        false => Err(format!("it is at least {ELECTION_MS_MIN}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_have_a_name_and_an_address() {
        for (text, name, address) in [
            ("a=10.0.0.1:25672", "a", "10.0.0.1:25672"),
            ("leveret@b=rabbit-1.hares:1", "b", "rabbit-1.hares:1"),
            ("c=[::1]:65535", "c", "[::1]:65535"),
        ] {
            let peer = peer(text).unwrap();
            assert_eq!((&*peer.name, &*peer.address), (name, address));
        }
        assert_eq!(peers("none"), Ok(Vec::new()));
        assert_eq!(peers("a=h:1, b=h:2").unwrap().len(), 2);
        for text in [
            "a,",
            "a",
            "a=",
            "a=h",
            "a=h:",
            "a=h:0",
            "a=h:65536",
            "a=:1",
            "=h:1",
            "a b=h:1",
            "a=::1:1",
            "a=u@h:1",
            "a=h h:1",
        ] {
            assert!(peers(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_the_same_with_and_without_leveret() {
        assert_eq!(node_name_or_none("leveret@a"), node_name_or_none("a"));
        assert_eq!(node_name_or_none("none"), Ok(None));
        assert!(node_name_or_none("leveret@").is_err());
        assert!(node_name_or_none("rabbit@a").is_err());
        assert!(node_name_or_none(&"a".repeat(NAME_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn short_secrets_and_timeouts_are_refused() {
        assert!(secret_or_none("fifteen bytes!!").is_err());
        assert!(secret_or_none("sixteen bytes!!!").is_ok());
        assert!(election_timeout("49").is_err());
        assert!(election_timeout("50").is_ok());
    }
}
