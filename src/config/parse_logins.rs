//! Parses the values of options about OAuth 2 and LDAP. An error is the reason that follows "invalid value".

use std::path::PathBuf;

use super::parse::path;
use crate::auth::Url;
use crate::auth::ldap::{
    Bind, Encryption, InvalidQuery, Query, TagQueries, is_attribute, parse_tag_queries,
};
use crate::auth::oauth2::{KeySource, is_algorithm, is_safe};
use crate::model::Name;

pub(super) fn text(text: &str) -> Result<Name, String> {
    match text {
        "" => Err("it is not empty".to_owned()),
        text => Ok(text.into()),
    }
}

pub(super) fn text_or_none(value: &str) -> Result<Option<Name>, String> {
    match value {
        "none" => Ok(None),
        value => text(value).map(Some),
    }
}

/// `None` for `auto`.
pub(super) fn scope_prefix(value: &str) -> Result<Option<Name>, String> {
    match value {
        "auto" => Ok(None),
        "none" => Ok(Some("".into())),
        prefix => text(prefix).map(Some),
    }
}

pub(super) fn alias_or_none(value: &str) -> Result<Option<(Name, Vec<Name>)>, String> {
    let alias = || {
        let (role, scopes) = value.split_once('=')?;
        let scopes: Vec<Name> = scopes.split_whitespace().map(Name::from).collect();
        (!role.is_empty() && !scopes.is_empty()).then(|| Some((role.into(), scopes)))
    };
    match value {
        "none" => Ok(None),
        _ => alias()
            .ok_or_else(|| "expected ROLE=SCOPES, such as reader=rabbitmq.read:*/*".to_owned()),
    }
}

pub(super) fn algorithm_or_none(value: &str) -> Result<Option<Name>, String> {
    match value {
        "none" => Ok(None),
        name if is_algorithm(name) => Ok(Some(name.into())),
        _ => Err("expected an algorithm, such as RS256, PS384, ES256, EdDSA or HS512".to_owned()),
    }
}

pub(super) fn key_file_or_none(value: &str) -> Result<Option<(Name, PathBuf)>, String> {
    match value.split_once('=') {
        None if value == "none" => Ok(None),
        Some((id, file)) if !id.is_empty() => Ok(Some((id.into(), path(file)?))),
        _ => Err("expected ID=FILE, such as key-1=/etc/leveret/key-1.pem".to_owned()),
    }
}

pub(super) fn jwks_or_none(value: &str) -> Result<KeySource, String> {
    match value {
        "none" => Ok(KeySource::None),
        address if address.contains("://") => safe_url(address).map(KeySource::Jwks),
        file => path(file).map(KeySource::File),
    }
}

pub(super) fn safe_url_or_none(value: &str) -> Result<Option<Url>, String> {
    match value {
        "none" => Ok(None),
        address => safe_url(address).map(Some),
    }
}

fn safe_url(value: &str) -> Result<Url, String> {
    let url = Url::parse(value).ok().filter(is_safe);
    url.ok_or_else(|| "expected an https address, or an http address of this machine".to_owned())
}

pub(super) fn encryption(value: &str) -> Result<Encryption, String> {
    match value {
        "none" => Ok(Encryption::None),
        "tls" => Ok(Encryption::Tls),
        "starttls" => Ok(Encryption::StartTls),
        _ => Err("it is none, tls or starttls".to_owned()),
    }
}

pub(super) fn attribute_or_none(value: &str) -> Result<Option<Name>, String> {
    match value {
        "none" => Ok(None),
        name if is_attribute(name) => Ok(Some(name.into())),
        _ => Err("expected the name of an attribute, such as uid".to_owned()),
    }
}

/// A distinguished name gets its password later.
pub(super) fn bind(value: &str) -> Result<Bind, String> {
    match value {
        "as_user" => Ok(Bind::AsUser),
        "anon" => Ok(Bind::Anonymous),
        dn if dn.contains('=') => Ok(Bind::Dn {
            dn: dn.to_owned(),
            password: String::new(),
        }),
        _ => Err("it is as_user, anon or a distinguished name".to_owned()),
    }
}

pub(super) fn query(value: &str) -> Result<Query, String> {
    Query::parse(value).map_err(|error: InvalidQuery| error.to_string())
}

pub(super) fn tag_queries(value: &str) -> Result<TagQueries, String> {
    parse_tag_queries(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_parsed() {
        assert_eq!(scope_prefix("auto"), Ok(None));
        assert_eq!(scope_prefix("none"), Ok(Some("".into())));
        assert_eq!(scope_prefix("p:"), Ok(Some("p:".into())));
        let alias = ("r".into(), vec!["a:*/*".into(), "b".into()]);
        assert_eq!(alias_or_none("r=a:*/*  b"), Ok(Some(alias)));
        assert_eq!(
            key_file_or_none("k=/a=b"),
            Ok(Some(("k".into(), "/a=b".into())))
        );
        assert_eq!(
            jwks_or_none("/keys.json"),
            Ok(KeySource::File("/keys.json".into()))
        );
        let url: Url = "https://idp/keys".parse().unwrap();
        assert_eq!(jwks_or_none("https://idp/keys"), Ok(KeySource::Jwks(url)));
        assert!(matches!(bind("cn=a,dc=b"), Ok(Bind::Dn { dn, .. }) if dn == "cn=a,dc=b"));
    }

    #[test]
    fn invalid_values_are_refused() {
        assert!(text("").is_err() && text_or_none("").is_err());
        for alias in ["", "r", "r=", "=a", "r= "] {
            assert!(alias_or_none(alias).is_err(), "{alias}");
        }
        for algorithm in ["", "rs256", "ES256K"] {
            assert!(algorithm_or_none(algorithm).is_err(), "{algorithm}");
        }
        for key in ["", "k", "k=", "=f"] {
            assert!(key_file_or_none(key).is_err(), "{key}");
        }
        for url in ["http://idp.example.com/keys", "ftp://localhost/keys"] {
            assert!(
                jwks_or_none(url).is_err() && safe_url_or_none(url).is_err(),
                "{url}"
            );
        }
        assert!(attribute_or_none("a)(b").is_err() && bind("me").is_err());
        assert!(encryption("ssl").is_err() && query("{constant}").is_err());
        assert!(tag_queries("{constant, true}").is_err());
    }
}
