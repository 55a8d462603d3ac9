//! SASL mechanisms: what a `connection.start-ok` response says. Pure parsing; whether the password is right is decided
//! in `broker::users`.

use std::fmt;

use thiserror::Error;

use crate::wire::table::{Entries, TableError, check_fields};

/// The mechanisms on offer, as `connection.start` lists them.
pub const MECHANISMS: &str = "PLAIN AMQPLAIN ANONYMOUS";

/// Whom an anonymous peer logs in as, and with what: RabbitMQ's defaults. It may do no more than anyone who tries
/// the default user, and nothing once that user's password was changed.
const ANONYMOUS: (&[u8], &[u8]) = (b"guest", b"guest");

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616, without an authorization identity: RabbitMQ takes none.
    Plain,
    /// AMQP 0-8's own: a field table, without its length, with the fields `LOGIN` and `PASSWORD`.
    AmqPlain,
    /// RFC 4505: the default user with its default password. What the response says is not looked at.
    Anonymous,
}

/// What a peer logs in with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name. What is not UTF-8 in it is replaced, so that it names no user.
    pub user: String,
    /// The password.
    pub password: Vec<u8>,
}

/// Why a response cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SaslError {
    /// Not offered.
    #[error("unknown authentication mechanism '{0}'")]
    UnknownMechanism(String),
    /// Not of the form NUL, name, NUL, password.
    #[error("PLAIN response is not NUL, name, NUL, password")]
    Plain,
    /// Not the fields of a table.
    #[error("AMQPLAIN response: {0}")]
    Table(#[from] TableError),
    /// One of the two fields is not there, or not a string.
    #[error("AMQPLAIN auth info is missing LOGIN or PASSWORD field")]
    MissingField,
}

impl Mechanism {
    /// The mechanism called `name`. Case matters, as it does to RabbitMQ.
    pub fn named(name: &str) -> Result<Mechanism, SaslError> {
        match name {
            "PLAIN" => Ok(Mechanism::Plain),
            "AMQPLAIN" => Ok(Mechanism::AmqPlain),
            "ANONYMOUS" => Ok(Mechanism::Anonymous),
            other => Err(SaslError::UnknownMechanism(other.to_owned())),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::AmqPlain => "AMQPLAIN",
            Mechanism::Anonymous => "ANONYMOUS",
        }
    }

    /// Reads a response made by this mechanism.
    pub fn credentials(self, response: &[u8]) -> Result<Credentials, SaslError> {
        match self {
            Mechanism::Plain => plain(response),
            Mechanism::AmqPlain => amqplain(response),
            Mechanism::Anonymous => Ok(Credentials::new(ANONYMOUS.0, ANONYMOUS.1)),
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Credentials {
    /// Without the password: these end up in logs.
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
    // The first of several fields counts, whatever its type.
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

    fn credentials(user: &str, password: &[u8]) -> Result<Credentials, SaslError> {
        Ok(Credentials {
            user: user.to_owned(),
            password: password.to_vec(),
        })
    }

    #[test]
    fn plain_is_read_as_rabbitmq_reads_it() {
        let cases: &[(&[u8], Result<Credentials, SaslError>)] = &[
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
            assert_eq!(
                Mechanism::Plain.credentials(response),
                *expected,
                "{response:?}"
            );
        }
    }

    #[test]
    fn amqplain_is_read_as_rabbitmq_reads_it() {
        let cases: &[(&[u8], Result<Credentials, SaslError>)] = &[
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
                Mechanism::AmqPlain.credentials(response),
                *expected,
                "{response:?}"
            );
        }
    }

    #[test]
    fn nobody_is_the_default_user() {
        for response in [&b""[..], b"trace@example", b"\0other\0password"] {
            assert_eq!(
                Mechanism::Anonymous.credentials(response),
                credentials("guest", b"guest")
            );
        }
    }

    #[test]
    fn what_is_offered_can_be_named_and_nothing_else() {
        for name in MECHANISMS.split(' ') {
            assert_eq!(Mechanism::named(name).map(Mechanism::name), Ok(name));
        }
        for name in ["", "plain", "EXTERNAL", "PLAIN AMQPLAIN"] {
            assert_eq!(
                Mechanism::named(name),
                Err(SaslError::UnknownMechanism(name.to_owned()))
            );
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let printed = format!("{:?}", Mechanism::Plain.credentials(b"\0guest\0secret"));
        assert!(
            printed.contains("guest") && !printed.contains("secret"),
            "{printed}"
        );
    }
}
