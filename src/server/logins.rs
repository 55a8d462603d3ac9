//! Translates the options about OAuth 2 and LDAP.

use crate::auth::Url;
use crate::auth::ldap::{Bind, DnLookup, LdapSettings};
use crate::auth::oauth2::{KeySource, OAuth2Settings, ResourceServer};
use crate::config::Config;
use crate::model::Name;

pub(super) fn oauth2(config: &Config) -> OAuth2Settings {
    let id = text(&config.oauth2_resource_server_id);
    let defaults = ResourceServer::new(&id.unwrap_or_default());
    let aliases = config.oauth2_scope_aliases.iter().flatten();
    let aliases = aliases.map(|(role, scopes)| {
        let scopes = scopes.iter().map(ToString::to_string);
        (role.to_string(), scopes.collect())
    });
    let claims = texts(&config.oauth2_preferred_username_claims);
    let algorithms = config.oauth2_algorithms.iter().flatten();
    let algorithms: Vec<_> = algorithms.filter_map(|name| name.parse().ok()).collect();
    let issuer = config.oauth2_issuer.as_ref();
    let signing_keys = config.oauth2_signing_keys.iter().flatten();
    OAuth2Settings {
        keys: match (&config.oauth2_jwks, issuer) {
            (KeySource::None, Some(issuer)) => {
                KeySource::Discovery(below(issuer, &config.oauth2_discovery_endpoint_path))
            }
            (keys, _) => keys.clone(),
        },
        signing_keys: signing_keys
            .map(|(id, file)| (id.to_string(), file.clone()))
            .collect(),
        ca: config.oauth2_ca.clone(),
        keys_interval: config.oauth2_jwks_interval,
        server: ResourceServer {
            resource_server_type: text(&config.oauth2_resource_server_type),
            verify_aud: config.oauth2_verify_aud,
            require_exp: config.oauth2_require_exp,
            issuer: issuer
                .filter(|_| config.oauth2_verify_iss)
                .map(|issuer| issuer.as_str().trim_end_matches('/').to_owned()),
            scope_prefix: text(&config.oauth2_scope_prefix).unwrap_or(defaults.scope_prefix),
            scope_aliases: aliases.collect(),
            additional_scopes_key: text(&config.oauth2_additional_scopes_key).unwrap_or_default(),
            preferred_username_claims: match claims.is_empty() {
                true => defaults.preferred_username_claims,
                false => claims,
            },
            default_key: text(&config.oauth2_default_key),
            algorithms: (!algorithms.is_empty()).then_some(algorithms),
            id: defaults.id,
        },
    }
}

pub(super) fn ldap(config: &Config) -> LdapSettings {
    let dn_lookup = text(&config.ldap_dn_lookup_attribute).map(|attribute| DnLookup {
        attribute,
        base: text(&config.ldap_dn_lookup_base).unwrap_or_default(),
        bind: with_password(
            &config.ldap_dn_lookup_bind,
            &config.ldap_dn_lookup_bind_password,
        ),
    });
    LdapSettings {
        servers: texts(&config.ldap_servers),
        port: config.ldap_port,
        encryption: config.ldap_encryption,
        ca: config.ldap_ca.clone(),
        timeout: config.ldap_timeout,
        idle_timeout: config.ldap_idle_timeout,
        pool_size: config.ldap_connection_pool_size,
        user_dn_pattern: config.ldap_user_dn_pattern.to_string(),
        user_bind_pattern: text(&config.ldap_user_bind_pattern),
        dn_lookup,
        other_bind: with_password(&config.ldap_other_bind, &config.ldap_other_bind_password),
        group_lookup_base: text(&config.ldap_group_lookup_base),
        vhost_access: config.ldap_vhost_access_query.clone(),
        resource_access: config.ldap_resource_access_query.clone(),
        topic_access: config.ldap_topic_access_query.clone(),
        tags: config.ldap_tag_queries.clone(),
    }
}

fn text(name: &Option<Name>) -> Option<String> {
    name.as_ref().map(ToString::to_string)
}

fn texts(names: &[Option<Name>]) -> Vec<String> {
    names.iter().flatten().map(ToString::to_string).collect()
}

fn with_password(bind: &Bind, password: &Option<Name>) -> Bind {
    match bind {
        Bind::AsUser => Bind::AsUser,
        Bind::Anonymous => Bind::Anonymous,
        Bind::Dn { dn, password: _ } => Bind::Dn {
            dn: dn.clone(),
            password: password.as_deref().unwrap_or_default().to_owned(),
        },
    }
}

/// A path below an address that may end with a slash or without.
fn below(url: &Url, path: &str) -> Url {
    let mut below = url.clone();
    let base = url.path().trim_end_matches('/');
    below.set_path(&format!("{base}/{}", path.trim_start_matches('/')));
    below
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::ldap::{Encryption, Query};
    use crate::auth::oauth2::Algorithm;
    use crate::config::RawConfig;

    fn config(options: &[(&str, &str)]) -> Config {
        let mut raw = RawConfig::default();
        raw.add_flags(|key| {
            let given = options.iter().filter(|(name, _)| *name == key);
            let values: Vec<String> = given.map(|(_, value)| (*value).to_owned()).collect();
            (!values.is_empty()).then_some(values)
        });
        Config::from_raw(&raw).unwrap()
    }

    #[test]
    fn the_defaults_of_oauth_2_are_rabbitmqs() {
        let settings = oauth2(&config(&[("oauth2-resource-server-id", "rabbitmq")]));
        assert_eq!(settings.server, ResourceServer::new("rabbitmq"));
        assert_eq!((settings.keys, settings.ca), (KeySource::None, None));
        assert!(settings.signing_keys.is_empty());
    }

    #[test]
    fn every_option_of_oauth_2_has_an_effect() {
        let settings = oauth2(&config(&[
            ("oauth2-resource-server-id", "id"),
            ("oauth2-resource-server-type", "type"),
            ("oauth2-scope-prefix", "none"),
            ("oauth2-scope-aliases", "role=a b"),
            ("oauth2-additional-scopes-key", "roles more"),
            ("oauth2-preferred-username-claims", "name"),
            ("oauth2-verify-aud", "false"),
            ("oauth2-require-exp", "false"),
            ("oauth2-verify-iss", "true"),
            ("oauth2-algorithms", "RS256"),
            ("oauth2-signing-keys", "k=/k.pem"),
            ("oauth2-default-key", "k"),
            ("oauth2-issuer", "https://idp/a/"),
            ("oauth2-discovery-endpoint-path", "discovery"),
            ("oauth2-jwks-interval", "7"),
            ("oauth2-ca", "/ca.pem"),
        ]));
        let expected = OAuth2Settings {
            server: ResourceServer {
                id: "id".to_owned(),
                resource_server_type: Some("type".to_owned()),
                verify_aud: false,
                require_exp: false,
                issuer: Some("https://idp/a".to_owned()),
                scope_prefix: String::new(),
                scope_aliases: [("role".to_owned(), ["a", "b"].map(str::to_owned).to_vec())].into(),
                additional_scopes_key: "roles more".to_owned(),
                preferred_username_claims: vec!["name".to_owned()],
                default_key: Some("k".to_owned()),
                algorithms: Some(vec![Algorithm::RS256]),
            },
            keys: KeySource::Discovery("https://idp/a/discovery".parse().unwrap()),
            signing_keys: vec![("k".to_owned(), "/k.pem".into())],
            ca: Some("/ca.pem".into()),
            keys_interval: Duration::from_millis(7),
        };
        assert_eq!(settings, expected);
        let both = [
            ("oauth2-issuer", "https://idp"),
            ("oauth2-jwks", "https://keys"),
        ];
        let keys = KeySource::Jwks("https://keys".parse().unwrap());
        assert_eq!(oauth2(&config(&both)).keys, keys);
    }

    #[test]
    fn every_option_of_ldap_has_an_effect() {
        let settings = ldap(&config(&[
            ("ldap-servers", "a"),
            ("ldap-servers", "b"),
            ("ldap-port", "636"),
            ("ldap-encryption", "tls"),
            ("ldap-ca", "/ca.pem"),
            ("ldap-timeout", "1"),
            ("ldap-idle-timeout", "2"),
            ("ldap-connection-pool-size", "3"),
            ("ldap-user-dn-pattern", "dn"),
            ("ldap-user-bind-pattern", "bind"),
            ("ldap-dn-lookup-attribute", "uid"),
            ("ldap-dn-lookup-base", "base"),
            ("ldap-dn-lookup-bind", "cn=a"),
            ("ldap-dn-lookup-bind-password", "p"),
            ("ldap-other-bind", "cn=b"),
            ("ldap-other-bind-password", "q"),
            ("ldap-group-lookup-base", "groups"),
            ("ldap-vhost-access-query", "{constant, false}"),
            ("ldap-resource-access-query", "{'or', []}"),
            ("ldap-topic-access-query", "{'and', []}"),
            ("ldap-tag-queries", "[{t, {constant, true}}]"),
        ]));
        let bind = |dn: &str, password: &str| Bind::Dn {
            dn: dn.to_owned(),
            password: password.to_owned(),
        };
        let expected = LdapSettings {
            servers: ["a", "b"].map(str::to_owned).to_vec(),
            port: 636,
            encryption: Encryption::Tls,
            ca: Some("/ca.pem".into()),
            timeout: Duration::from_millis(1),
            idle_timeout: Duration::from_millis(2),
            pool_size: 3,
            user_dn_pattern: "dn".to_owned(),
            user_bind_pattern: Some("bind".to_owned()),
            dn_lookup: Some(DnLookup {
                attribute: "uid".to_owned(),
                base: "base".to_owned(),
                bind: bind("cn=a", "p"),
            }),
            other_bind: bind("cn=b", "q"),
            group_lookup_base: Some("groups".to_owned()),
            vhost_access: Query::Constant(false),
            resource_access: Query::Or(vec![]),
            topic_access: Query::And(vec![]),
            tags: vec![("t".to_owned(), Query::Constant(true))],
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn the_discovery_document_is_below_the_issuer() {
        for (issuer, path, expected) in [
            ("https://idp", ".well-known/x", "https://idp/.well-known/x"),
            ("https://idp/", "/x", "https://idp/x"),
            ("https://idp/realms/a", "x", "https://idp/realms/a/x"),
            (
                "https://idp/realms/a/?b=c",
                "x",
                "https://idp/realms/a/x?b=c",
            ),
        ] {
            let url = below(&issuer.parse().unwrap(), path);
            assert_eq!(url.as_str(), expected);
        }
    }
}
