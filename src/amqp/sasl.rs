//! SASL mechanisms: parses the response in `connection.start-ok`. Pure; `broker::users` checks the password.

use std::fmt;

use thiserror::Error;

use crate::wire::table::{Entries, TableError, check_fields};

/// User and password of an anonymous peer: RabbitMQ's default user. Such a login fails once the default
/// user's password has been changed.
const ANONYMOUS: (&[u8], &[u8]) = (b"guest", b"guest");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616, without an authorization identity: RabbitMQ takes none.
    Plain,
    /// AMQP 0-8's own: a field table, without its length, with the fields `LOGIN` and `PASSWORD`.
    AmqPlain,
    /// RFC 4505: the default user with its default password. The response is ignored.
    Anonymous,
    /// The client's certificate names the user. The response is ignored, as in RabbitMQ.
    External,
}

/// What a client proves itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Password(Credentials),
    Certificate,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    /// Malformed UTF-8 is replaced, so that it names no user.
    pub(super) user: String,
    pub(super) password: Vec<u8>,
}

/// Why a response is malformed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum SaslError {
    #[error("unknown authentication mechanism '{0}'")]
    UnknownMechanism(String),
    /// A mechanism that was not offered.
    #[error("invalid authentication mechanism '{0}'")]
    NotOffered(&'static str),
    /// Not of the form NUL, name, NUL, password.
    #[error("PLAIN response is not NUL, name, NUL, password")]
    Plain,
    #[error("AMQPLAIN response: {0}")]
    Table(#[from] TableError),
    /// A field is missing or not a string.
    #[error("AMQPLAIN auth info is missing LOGIN or PASSWORD field")]
    MissingField,
}

impl Mechanism {
    /// The mechanism called `name`. Case matters, as in RabbitMQ.
    pub(super) fn named(name: &str) -> Result<Mechanism, SaslError> {
        match name {
            "PLAIN" => Ok(Mechanism::Plain),
            "AMQPLAIN" => Ok(Mechanism::AmqPlain),
            "ANONYMOUS" => Ok(Mechanism::Anonymous),
            "EXTERNAL" => Ok(Mechanism::External),
            other => Err(SaslError::UnknownMechanism(other.to_owned())),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::AmqPlain => "AMQPLAIN",
            Mechanism::Anonymous => "ANONYMOUS",
            Mechanism::External => "EXTERNAL",
        }
    }

    /// Parses a response of this mechanism.
    pub(super) fn proof(self, response: &[u8]) -> Result<Proof, SaslError> {
        let credentials = match self {
            Mechanism::Plain => plain(response)?,
            Mechanism::AmqPlain => amqplain(response)?,
            Mechanism::Anonymous => Credentials::new(ANONYMOUS.0, ANONYMOUS.1),
            Mechanism::External => return Ok(Proof::Certificate),
        };
        Ok(Proof::Password(credentials))
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Credentials {
    /// Omits the password, since credentials may be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    fn new(user: &[u8], password: &[u8]) -> Credentials {
        Credentials {
            user: String::from_utf8_lossy(user).into_owned(),
            password: password.to_vec(),
        }
    }
}

fn plain(response: &[u8]) -> Result<Credentials, SaslError> {
    let mut parts = response.split(|byte| *byte == 0);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some([]), Some(user), Some(password), None) => Ok(Credentials::new(user, password)),
        _ => Err(SaslError::Plain),
    }
}

fn amqplain(response: &[u8]) -> Result<Credentials, SaslError> {
    check_fields(response)?;
    // The first field of a name counts, whatever its type.
    let string = |name: &[u8]| {
        let field = Entries::of_fields(response).find(|field| field.name == name)?;
        (field.tag == b'S').then_some(field.value)
    };
    match (string(b"LOGIN"), string(b"PASSWORD")) {
        (Some(user), Some(password)) => Ok(Credentials::new(user, password)),
        _ => Err(SaslError::MissingField),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(user: &str, password: &[u8]) -> Result<Proof, SaslError> {
        Ok(Proof::Password(Credentials {
            user: user.to_owned(),
            password: password.to_vec(),
        }))
    }

    #[test]
    fn plain_is_read_as_rabbitmq_reads_it() {
        let cases: &[(&[u8], Result<Proof, SaslError>)] = &[
            (b"\0guest\0guest", credentials("guest", b"guest")),
            (b"\0guest\0", credentials("guest", b"")),
            (b"\0\0", credentials("", b"")),
            (b"\0g\0\xff\xfe", credentials("g", b"\xff\xfe")),
            (b"\0\xff\0p", credentials("\u{fffd}", b"p")),
            (b"", Err(SaslError::Plain)),
            (b"\0guest", Err(SaslError::Plain)),
            (b"guest guest", Err(SaslError::Plain)),
            (b"other\0guest\0guest", Err(SaslError::Plain)),
            (b"\0guest\0guest\0", Err(SaslError::Plain)),
        ];
        for (response, expected) in cases {
            assert_eq!(Mechanism::Plain.proof(response), *expected, "{response:?}");
        }
    }

    #[test]
    fn amqplain_is_read_as_rabbitmq_reads_it() {
        let cases: &[(&[u8], Result<Proof, SaslError>)] = &[
            (
                b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x01p",
                credentials("guest", b"p"),
            ),
            (
                b"\x08PASSWORDS\0\0\0\0\x01xV\x05LOGINS\0\0\0\x01g",
                credentials("g", b""),
            ),
            (
                b"\x05LOGINS\0\0\0\x01a\x05LOGINS\0\0\0\x01b\x08PASSWORDS\0\0\0\x01p",
                credentials("a", b"p"),
            ),
            (b"", Err(SaslError::MissingField)),
            (b"\x05LOGINS\0\0\0\x05guest", Err(SaslError::MissingField)),
            (
                b"\x05LOGINV\x08PASSWORDS\0\0\0\x01p",
                Err(SaslError::MissingField),
            ),
            (b"nonsense", Err(SaslError::Table(TableError::Truncated))),
            (
                b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05p",
                Err(SaslError::Table(TableError::Truncated)),
            ),
        ];
        for (response, expected) in cases {
            assert_eq!(
                Mechanism::AmqPlain.proof(response),
                *expected,
                "{response:?}"
            );
        }
    }

    #[test]
    fn an_anonymous_peer_is_the_default_user() {
        for response in [&b""[..], b"trace@example", b"\0other\0password"] {
            assert_eq!(
                Mechanism::Anonymous.proof(response),
                credentials("guest", b"guest")
            );
        }
    }

    #[test]
    fn a_certificate_needs_no_response() {
        for response in [&b""[..], b"guest"] {
            assert_eq!(Mechanism::External.proof(response), Ok(Proof::Certificate));
        }
    }

    #[test]
    fn mechanisms_have_names() {
        for name in ["PLAIN", "AMQPLAIN", "ANONYMOUS", "EXTERNAL"] {
            assert_eq!(Mechanism::named(name).map(Mechanism::name), Ok(name));
        }
        for name in ["", "plain", "GSSAPI", "PLAIN AMQPLAIN"] {
            assert_eq!(
                Mechanism::named(name),
                Err(SaslError::UnknownMechanism(name.to_owned()))
            );
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let printed = format!("{:?}", Mechanism::Plain.proof(b"\0guest\0secret"));
        assert!(
            printed.contains("guest") && !printed.contains("secret"),
            "{printed}"
        );
    }
}
