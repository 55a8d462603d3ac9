//! The scopes in a token's claims: from the places where identity providers put them, with aliases replaced. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::claims::{Claims, words};
use super::rich_authorization;
use super::settings::ResourceServer;

/// Where requesting party tokens of Keycloak and others hold scopes.
const REQUESTING_PARTY_PATH: &str = "authorization.permissions.scopes";
/// Most scopes of one token, as in RabbitMQ.
pub(super) const SCOPES_MAX: usize = 2048;

/// The token has more than [`SCOPES_MAX`] scopes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyScopes;

/// The scopes of the token for this resource server, sorted and without the prefix.
pub(super) fn scopes(
    claims: &Claims,
    server: &ResourceServer,
) -> Result<BTreeSet<String>, TooManyScopes> {
    let paths = [REQUESTING_PARTY_PATH].into_iter();
    let paths = paths.chain(server.additional_scopes_key.split_whitespace());
    let mut found: Vec<String> = words(claims.get("scope"));
    for path in paths {
        let path: Vec<&str> = path.split('.').filter(|key| !key.is_empty()).collect();
        if let Some((key, rest)) = path.split_first() {
            at_path(claims.get(*key), rest, server, &mut found);
        }
    }
    let aliases = found
        .iter()
        .filter_map(|scope| server.scope_aliases.get(scope.as_str()));
    let aliases: Vec<String> = aliases.flatten().cloned().collect();
    found.extend(aliases);
    found.extend(rich_authorization::scopes(claims, server));
    let prefix = server.scope_prefix.as_str();
    let own = found.iter().filter_map(|scope| scope.strip_prefix(prefix));
    let own: BTreeSet<String> = own.map(str::to_owned).collect();
    match own.len() {
        0..=SCOPES_MAX => Ok(own),
        _ => Err(TooManyScopes),
    }
}

/// Collects the scopes at a path. A list on the way stands for all its elements.
fn at_path(value: Option<&Value>, path: &[&str], server: &ResourceServer, found: &mut Vec<String>) {
    match (value, path.split_first()) {
        (Some(Value::Object(fields)), Some((key, rest))) => {
            at_path(fields.get(*key), rest, server, found);
        }
        (Some(Value::Array(list)), Some(_)) => {
            for element in list {
                at_path(Some(element), path, server, found);
            }
        }
        (Some(Value::Object(fields)), None) => {
            let own = words(fields.get(&server.id));
            found.extend(own.iter().map(|scope| format!("{}.{scope}", server.id)));
        }
        (value, None) => found.extend(words(value)),
        (_, Some(_)) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server() -> ResourceServer {
        ResourceServer {
            additional_scopes_key: "roles realm.access.roles complex".to_owned(),
            scope_aliases: [(
                "reader".to_owned(),
                vec!["rabbitmq.read:*/*".to_owned(), "rabbitmq.x".to_owned()],
            )]
            .into(),
            ..ResourceServer::new("rabbitmq")
        }
    }

    fn scopes_of(claims: Value) -> Vec<String> {
        let claims = claims.as_object().expect("claims");
        let scopes = scopes(claims, &server()).expect("few scopes");
        scopes.into_iter().collect()
    }

    #[test]
    fn scopes_are_found_in_all_places() {
        for (claims, expected) in [
            (json!({}), &[][..]),
            (
                json!({"scope": "rabbitmq.b  rabbitmq.a other.c rabbitmq.a"}),
                &["a", "b"],
            ),
            (
                json!({"scope": ["rabbitmq.a", "rabbitmq.b c", 7]}),
                &["a", "b c"],
            ),
            (json!({"scope": 7}), &[]),
            (json!({"scope": "reader"}), &["read:*/*", "x"]),
            (
                json!({"roles": "rabbitmq.a reader"}),
                &["a", "read:*/*", "x"],
            ),
            (
                json!({"roles": ["rabbitmq.a"], "scope": "rabbitmq.b"}),
                &["a", "b"],
            ),
            (
                json!({"realm": {"access": {"roles": ["rabbitmq.a"]}}}),
                &["a"],
            ),
            (
                json!({"realm": {"access": [{"roles": ["rabbitmq.a"]}, 3, {"roles": "rabbitmq.b"}]}}),
                &["a", "b"],
            ),
            (json!({"realm": "rabbitmq.a"}), &[]),
            (
                json!({"complex": {"rabbitmq": ["a", "b"], "other": ["c"]}}),
                &["a", "b"],
            ),
            (json!({"complex": {"rabbitmq": "a b"}}), &["a", "b"]),
            (
                json!({"authorization": {"permissions": [{"scopes": ["rabbitmq.a"], "rsid": "1"}, {"rsname": "x"}]}}),
                &["a"],
            ),
        ] {
            assert_eq!(scopes_of(claims.clone()), expected, "{claims}");
        }
    }

    #[test]
    fn an_empty_prefix_takes_all_scopes() {
        let server = ResourceServer {
            scope_prefix: String::new(),
            ..ResourceServer::new("rabbitmq")
        };
        let claims = json!({"scope": "read:*/* rabbitmq.a"});
        let scopes = scopes(claims.as_object().expect("claims"), &server).expect("few");
        assert_eq!(Vec::from_iter(scopes), ["rabbitmq.a", "read:*/*"]);
    }

    #[test]
    fn a_token_has_a_limited_number_of_scopes() {
        let claims = |count: usize| {
            let scopes: Vec<String> = (0..count).map(|n| format!("rabbitmq.{n}")).collect();
            json!({"scope": scopes})
        };
        let count = |claims: Value| scopes(claims.as_object().expect("claims"), &server());
        assert_eq!(
            count(claims(SCOPES_MAX)).map(|scopes| scopes.len()),
            Ok(SCOPES_MAX)
        );
        assert_eq!(count(claims(SCOPES_MAX + 1)), Err(TooManyScopes));
    }
}
