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
    use super::*;

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
