//! The chain of backends that logins go through. Pure.

use std::fmt;
use std::str::FromStr;

/// Decides about logins or permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// The broker's own users and permissions.
    Internal,
    External(External),
}

/// A backend that is another system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum External {
    Http,
    OAuth2,
    Ldap,
}

impl External {
    /// RabbitMQ's name of the backend, which its errors have.
    pub fn module(self) -> &'static str {
        match self {
            External::Http => "rabbit_auth_backend_http",
            External::OAuth2 => "rabbit_auth_backend_oauth2",
            External::Ldap => "rabbit_auth_backend_ldap",
        }
    }
}

impl Backend {
    const ALL: [Backend; 4] = [
        Backend::Internal,
        Backend::External(External::Http),
        Backend::External(External::OAuth2),
        Backend::External(External::Ldap),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Backend::Internal => "internal",
            Backend::External(External::Http) => "http",
            Backend::External(External::OAuth2) => "oauth2",
            Backend::External(External::Ldap) => "ldap",
        }
    }
}

/// A backend that authenticates users, and the one that authorises those it knows. Mostly they are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    pub authn: Backend,
    pub authz: Backend,
}

/// The backends in the order in which a login asks them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain(Vec<Link>);

/// A text that is no chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no backend; there are {names}, and A+B, where A authenticates and B authorises", names = names())]
pub struct InvalidChain(String);

impl Chain {
    pub fn new(links: impl IntoIterator<Item = Link>) -> Chain {
        Chain(links.into_iter().collect())
    }

    pub fn links(&self) -> &[Link] {
        &self.0
    }

    /// Whether a link of the chain has this backend.
    pub fn names(&self, backend: Backend) -> bool {
        let is_in = |link: &Link| link.authn == backend || link.authz == backend;
        self.0.iter().any(is_in)
    }
}

impl Default for Chain {
    fn default() -> Chain {
        Chain::new([Link::same(Backend::Internal)])
    }
}

impl Link {
    pub fn same(backend: Backend) -> Link {
        Link {
            authn: backend,
            authz: backend,
        }
    }
}

impl FromStr for Backend {
    type Err = InvalidChain;

    fn from_str(text: &str) -> Result<Backend, InvalidChain> {
        let found = Backend::ALL.into_iter().find(|one| one.as_str() == text);
        found.ok_or_else(|| InvalidChain(text.to_owned()))
    }
}

impl FromStr for Link {
    type Err = InvalidChain;

    fn from_str(text: &str) -> Result<Link, InvalidChain> {
        match text.split_once('+') {
            None => text.parse().map(Link::same),
            Some((authn, authz)) => Ok(Link {
                authn: authn.parse()?,
                authz: authz.parse()?,
            }),
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.authn.as_str())?;
        match self.authn == self.authz {
            true => Ok(()),
            false => write!(f, "+{}", self.authz.as_str()),
        }
    }
}

fn names() -> String {
    Backend::ALL.map(Backend::as_str).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_one_backend_or_two() {
        for text in [
            "internal",
            "http",
            "oauth2",
            "ldap",
            "http+internal",
            "internal+ldap",
        ] {
            assert_eq!(
                text.parse::<Link>().map(|link| link.to_string()),
                Ok(text.to_owned())
            );
        }
        for (text, wrong) in [
            ("", ""),
            ("Internal", "Internal"),
            ("http+", ""),
            ("+http", ""),
            ("http+x", "x"),
            ("http+internal+http", "internal+http"),
            ("rabbit_auth_backend_http", "rabbit_auth_backend_http"),
        ] {
            assert_eq!(text.parse::<Link>(), Err(InvalidChain(wrong.to_owned())));
        }
    }

    #[test]
    fn a_chain_knows_its_backends() {
        let chain = Chain::default();
        assert!(chain.names(Backend::Internal));
        assert!(!chain.names(Backend::External(External::Http)));
        let split = Chain::new(["http+internal".parse().unwrap()]);
        assert!(split.names(Backend::External(External::Http)) && split.names(Backend::Internal));
    }
}
