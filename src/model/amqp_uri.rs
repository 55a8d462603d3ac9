//! URIs of brokers: `amqp://user:password@host:port/vhost?heartbeat=10`, with RabbitMQ's query parameters. Shows none of
//! them with their credentials.

use std::fmt;
use std::time::Duration;

use percent_encoding::percent_decode_str;

/// RabbitMQ's defaults for its own clients.
const DEFAULT_HEARTBEAT_SECS: u16 = 10;
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_USER: &str = "guest";
const PORT: u16 = 5672;
const TLS_PORT: u16 = 5671;

/// Why a text is no URI of a broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmqpUriError {
    #[error("it does not begin with amqp:// or amqps://")]
    Scheme,
    #[error("it has characters that are not percent-encoded text")]
    Encoding,
    #[error("its port is not a number from 1 to 65535")]
    Port,
    #[error("its host is not a name or an address")]
    Host,
    #[error("a virtual host is one part of a path; '/' in its name is written %2f")]
    Path,
    #[error("amqps needs a host: a connection to this broker itself is never encrypted")]
    LocalTls,
    #[error("the value of its parameter {0} is invalid")]
    Parameter(&'static str),
    #[error("its parameter {0} is not supported: {1}")]
    Unsupported(&'static str, &'static str),
}

/// Where a URI leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// No host: the broker that reads the URI.
    ThisBroker {
        /// Acts as this user; without one, as the broker itself.
        user: Option<String>,
    },
    Network {
        host: String,
        port: u16,
        credentials: UriCredentials,
        tls: Option<UriTls>,
    },
}

/// A login. Its `Debug` has no password.
#[derive(Clone, PartialEq, Eq)]
pub struct UriCredentials {
    pub user: String,
    pub password: String,
    /// From the parameter `auth_mechanism`; empty lets the client choose.
    pub mechanisms: Vec<UriMechanism>,
}

impl fmt::Debug for UriCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {:?}", self.user, self.mechanisms)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriMechanism {
    Plain,
    AmqPlain,
    External,
}

/// Settings of TLS: paths of files in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UriTls {
    /// Trusted authorities; without it, those of the system.
    pub cacertfile: Option<String>,
    pub certfile: Option<String>,
    pub keyfile: Option<String>,
    /// False with `verify=verify_none`: any certificate will do.
    pub verify_peer: bool,
    /// Expected name in the peer's certificate instead of the host.
    pub server_name: Option<String>,
}

/// The URI of a broker. Its `Debug` and `Display` have neither credentials nor parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpUri {
    pub target: Target,
    pub vhost: String,
    /// 0 is none.
    pub heartbeat_secs: u16,
    pub connect_timeout: Duration,
    /// 0 accepts what the peer offers.
    pub channel_max: u16,
    /// As written, without credentials and parameters.
    shown: String,
}

impl fmt::Debug for AmqpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for AmqpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl AmqpUri {
    pub fn parse(text: &str) -> Result<AmqpUri, AmqpUriError> {
        let parts = Parts::split(text)?;
        let (host, port) = host_and_port(parts.host)?;
        let vhost = match parts.path {
            None => "/".to_owned(),
            Some(path) if path.contains('/') => return Err(AmqpUriError::Path),
            Some(path) => decoded(path)?,
        };
        let mut parameters = Parameters::default();
        for (key, value) in form_urlencoded::parse(parts.query.as_bytes()) {
            parameters.read(&key, &value)?;
        }
        let user = parts.user_info.map(user_and_password).transpose()?;
        let target = match (host, parts.tls) {
            (None, true) => return Err(AmqpUriError::LocalTls),
            (None, false) => Target::ThisBroker {
                user: user.map(|(user, _)| user),
            },
            (Some(host), tls) => {
                let (user, password) = user
                    .unwrap_or_else(|| (DEFAULT_USER.to_owned(), Some(DEFAULT_USER.to_owned())));
                Target::Network {
                    host: host.to_owned(),
                    port: port.unwrap_or(if tls { TLS_PORT } else { PORT }),
                    credentials: UriCredentials {
                        user,
                        password: password.unwrap_or_default(),
                        mechanisms: parameters.mechanisms,
                    },
                    tls: tls.then_some(parameters.tls),
                }
            }
        };
        Ok(AmqpUri {
            target,
            vhost,
            heartbeat_secs: parameters.heartbeat_secs,
            connect_timeout: parameters.connect_timeout,
            channel_max: parameters.channel_max,
            shown: parts.shown(),
        })
    }
}

/// `text` without user, password and parameters. Text that is no URI is hidden, since any part of it may be a secret.
pub fn without_credentials(text: &str) -> String {
    AmqpUri::parse(text)
        .map(|uri| uri.shown)
        .unwrap_or_default()
}

/// The parts of a URI, still encoded.
struct Parts<'a> {
    tls: bool,
    user_info: Option<&'a str>,
    /// With the port.
    host: &'a str,
    /// What follows the slash behind the host.
    path: Option<&'a str>,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Parts<'a>, AmqpUriError> {
        let (scheme, rest) = text.split_once("://").ok_or(AmqpUriError::Scheme)?;
        let tls = match scheme {
            _ if scheme.eq_ignore_ascii_case("amqp") => false,
            _ if scheme.eq_ignore_ascii_case("amqps") => true,
            _ => return Err(AmqpUriError::Scheme),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (rest, None),
        };
        let (user_info, host) = match authority.rsplit_once('@') {
            Some((user_info, host)) => (Some(user_info), host),
            None => (None, authority),
        };
        Ok(Parts {
            tls,
            user_info,
            host,
            path,
            query,
        })
    }

    fn shown(&self) -> String {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        let path = self.path.map(|path| format!("/{path}")).unwrap_or_default();
        format!("{scheme}://{}{path}", self.host)
    }
}

fn decoded(text: &str) -> Result<String, AmqpUriError> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_| AmqpUriError::Encoding)?.into_owned())
}

fn user_and_password(info: &str) -> Result<(String, Option<String>), AmqpUriError> {
    Ok(match info.split_once(':') {
        Some((user, password)) => (decoded(user)?, Some(decoded(password)?)),
        None => (decoded(info)?, None),
    })
}

/// An empty host is none. IPv6 addresses are in brackets.
fn host_and_port(text: &str) -> Result<(Option<&str>, Option<u16>), AmqpUriError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').ok_or(AmqpUriError::Host)?;
            match behind.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if behind.is_empty() => (host, None),
                None => return Err(AmqpUriError::Host),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None | Some("") => None,
        Some(digits) => match digits.parse() {
            Ok(0) | Err(_) => return Err(AmqpUriError::Port),
            Ok(port) => Some(port),
        },
    };
    match host {
        "" if port.is_some() => Err(AmqpUriError::Host),
        "" => Ok((None, None)),
        host if host.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err(AmqpUriError::Host)
        }
        host => Ok((Some(host), port)),
    }
}

/// The parameters behind the question mark. RabbitMQ ignores those it does not know.
struct Parameters {
    heartbeat_secs: u16,
    connect_timeout: Duration,
    channel_max: u16,
    mechanisms: Vec<UriMechanism>,
    tls: UriTls,
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters {
            heartbeat_secs: DEFAULT_HEARTBEAT_SECS,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            channel_max: 0,
            mechanisms: Vec::new(),
            tls: UriTls {
                verify_peer: true,
                ..UriTls::default()
            },
        }
    }
}

impl Parameters {
    fn read(&mut self, key: &str, value: &str) -> Result<(), AmqpUriError> {
        let text = || Some(value.to_owned());
        match key {
            "heartbeat" => self.heartbeat_secs = number("heartbeat", value)?,
            "connection_timeout" => {
                let ms = number("connection_timeout", value)?;
                self.connect_timeout = Duration::from_millis(ms);
            }
            "channel_max" => self.channel_max = number("channel_max", value)?,
            "auth_mechanism" => self
                .mechanisms
                .push(match value.to_ascii_lowercase().as_str() {
                    "plain" => UriMechanism::Plain,
                    "amqplain" => UriMechanism::AmqPlain,
                    "external" => UriMechanism::External,
                    _ => return Err(AmqpUriError::Parameter("auth_mechanism")),
                }),
            "cacertfile" => self.tls.cacertfile = text(),
            "certfile" => self.tls.certfile = text(),
            "keyfile" => self.tls.keyfile = text(),
            "server_name_indication" => self.tls.server_name = text(),
            "verify" => {
                self.tls.verify_peer = match value {
                    "verify_peer" => true,
                    "verify_none" => false,
                    _ => return Err(AmqpUriError::Parameter("verify")),
                }
            }
            "password" => {
                let why = "keys of certificates are read without a password";
                return Err(AmqpUriError::Unsupported("password", why));
            }
            _ => {}
        }
        Ok(())
    }
}

fn number<N: std::str::FromStr>(key: &'static str, value: &str) -> Result<N, AmqpUriError> {
    value.parse().map_err(|_| AmqpUriError::Parameter(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> (String, u16, String, String, String) {
        let uri = AmqpUri::parse(text).unwrap();
        match uri.target {
            Target::Network {
                host,
                port,
                credentials,
                ..
            } => (
                host,
                port,
                credentials.user,
                credentials.password,
                uri.vhost,
            ),
            Target::ThisBroker { .. } => panic!("{text} has no host"),
        }
    }

    #[test]
    fn uris_name_host_port_login_and_virtual_host() {
        let cases = [
            ("amqp://h", ("h", 5672, "guest", "guest", "/")),
            ("AMQPS://h", ("h", 5671, "guest", "guest", "/")),
            ("amqp://h/", ("h", 5672, "guest", "guest", "")),
            ("amqp://u:p@h:1/%2f", ("h", 1, "u", "p", "/")),
            (
                "amqp://u%3a:p%40%2F@h/a%20b",
                ("h", 5672, "u:", "p@/", "a b"),
            ),
            ("amqp://u@[::1]:5/v", ("::1", 5, "u", "", "v")),
            ("amqp://u:p@h:/v?heartbeat=5", ("h", 5672, "u", "p", "v")),
        ];
        for (text, (host, port, user, password, vhost)) in cases {
            let expected = [host, user, password, vhost].map(str::to_owned);
            let [host, user, password, vhost] = expected;
            assert_eq!(network(text), (host, port, user, password, vhost), "{text}");
        }
    }

    #[test]
    fn a_uri_without_host_is_this_broker() {
        for (text, user, vhost) in [
            ("amqp://", None, "/"),
            ("amqp:///v", None, "v"),
            ("amqp:///%2f", None, "/"),
            ("amqp://alice@/v", Some("alice"), "v"),
        ] {
            let uri = AmqpUri::parse(text).unwrap();
            let user = user.map(str::to_owned);
            assert_eq!(
                (uri.target, uri.vhost.as_str()),
                (Target::ThisBroker { user }, vhost)
            );
        }
    }

    #[test]
    fn parameters_are_read_and_unknown_ones_ignored() {
        let uri = AmqpUri::parse(
            "amqps://h?heartbeat=7&connection_timeout=1500&channel_max=3&auth_mechanism=external&cacertfile=/a%2fb\
             &certfile=c&keyfile=k&verify=verify_none&server_name_indication=n&depth=2",
        )
        .unwrap();
        assert_eq!((uri.heartbeat_secs, uri.channel_max), (7, 3));
        assert_eq!(uri.connect_timeout, Duration::from_millis(1500));
        let Target::Network {
            credentials,
            tls: Some(tls),
            ..
        } = uri.target
        else {
            panic!("no TLS");
        };
        assert_eq!(credentials.mechanisms, [UriMechanism::External]);
        let text = |text: &str| Some(text.to_owned());
        let expected = UriTls {
            cacertfile: text("/a/b"),
            certfile: text("c"),
            keyfile: text("k"),
            verify_peer: false,
            server_name: text("n"),
        };
        assert_eq!(tls, expected);
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for (text, error) in [
            ("", AmqpUriError::Scheme),
            ("http://h", AmqpUriError::Scheme),
            ("amqp:h", AmqpUriError::Scheme),
            ("amqp://h:0", AmqpUriError::Port),
            ("amqp://h:70000", AmqpUriError::Port),
            ("amqp://:5672", AmqpUriError::Host),
            ("amqp://[::1", AmqpUriError::Host),
            ("amqp://h/a/b", AmqpUriError::Path),
            ("amqps:///v", AmqpUriError::LocalTls),
            ("amqp://%ff@h", AmqpUriError::Encoding),
            (
                "amqp://h?heartbeat=-1",
                AmqpUriError::Parameter("heartbeat"),
            ),
            ("amqps://h?verify=maybe", AmqpUriError::Parameter("verify")),
        ] {
            assert_eq!(AmqpUri::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn credentials_are_never_shown() {
        for (text, shown) in [
            (
                "amqp://u:secret@h:1/%2f?cacertfile=secret",
                "amqp://h:1/%2f",
            ),
            ("amqp://u:p@w@h/a@b", "amqp://h/a@b"),
            ("amqp://u:sec/ret@h/v", ""),
            ("amqp://secret@", "amqp://"),
            ("secret", ""),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
        let uri = AmqpUri::parse("amqp://u:secret@h/v?heartbeat=1").unwrap();
        assert_eq!(format!("{uri} {uri:?}"), "amqp://h/v amqp://h/v");
        let Target::Network { credentials, .. } = &uri.target else {
            panic!("no network");
        };
        assert!(!format!("{credentials:?} {:?}", uri.target).contains("secret"));
    }
}
