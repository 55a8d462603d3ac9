//! Rich authorization requests (RFC 9396): the entries of `authorization_details` as scopes. Pure.

use serde_json::Value;

use super::claims::{Claims, words};
use super::settings::ResourceServer;
use super::wildcard;

/// Actions that are a permission on each location.
const PERMISSIONS: [&str; 3] = ["read", "write", "configure"];
/// Actions that are a tag.
const TAGS: [&str; 4] = ["monitoring", "administrator", "management", "policymaker"];

/// The scopes of all entries of the resource server's type, with its id as prefix.
pub(super) fn scopes(claims: &Claims, server: &ResourceServer) -> Vec<String> {
    let entries = claims
        .get("authorization_details")
        .and_then(Value::as_array);
    let of_type = entries.into_iter().flatten().filter(|entry| {
        let own = server.resource_server_type.as_deref();
        own.is_some_and(|own| entry.get("type").and_then(Value::as_str) == Some(own))
    });
    of_type
        .flat_map(|entry| entry_scopes(entry, &server.id))
        .collect()
}

fn entry_scopes(entry: &Value, server_id: &str) -> Vec<String> {
    let locations = one_or_many(entry.get("locations"));
    let paths: Vec<String> = locations
        .iter()
        .filter_map(|location| resource_path(location, server_id))
        .collect();
    if paths.is_empty() {
        return Vec::new();
    }
    let mut scopes = Vec::new();
    for action in one_or_many(entry.get("actions")) {
        if TAGS.contains(&action.as_str()) {
            scopes.push(format!("{server_id}.tag:{action}"));
        } else if PERMISSIONS.contains(&action.as_str()) {
            scopes.extend(
                paths
                    .iter()
                    .map(|path| format!("{server_id}.{action}:{path}")),
            );
        }
    }
    scopes
}

/// A text stands for a list of one.
fn one_or_many(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        value => words(value),
    }
}

/// The patterns of a location such as `cluster:prod/vhost:a/queue:q*`. `None` if it is on another cluster, or names a
/// queue and another exchange.
fn resource_path(location: &str, server_id: &str) -> Option<String> {
    let attribute = |key: &str| {
        let mut values = location.split('/').filter_map(|part| {
            let mut words = part.split(':').filter(|word| !word.is_empty());
            (words.next() == Some(key)).then(|| words.next()).flatten()
        });
        values.next_back()
    };
    if !wildcard::matches(server_id, attribute("cluster")?) {
        return None;
    }
    let name = match (attribute("queue"), attribute("exchange")) {
        (Some(queue), Some(exchange)) if queue != exchange => return None,
        (queue, exchange) => queue.or(exchange).unwrap_or("*"),
    };
    let vhost = attribute("vhost").unwrap_or("*");
    let routing_key = attribute("routing-key").unwrap_or("*");
    Some(format!("{vhost}/{name}/{routing_key}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scopes_of(details: Value, own_type: Option<&str>) -> Vec<String> {
        let server = ResourceServer {
            resource_server_type: own_type.map(str::to_owned),
            ..ResourceServer::new("rabbitmq-prod")
        };
        let claims = json!({"authorization_details": details});
        scopes(claims.as_object().expect("claims"), &server)
    }

    #[test]
    fn actions_on_locations_become_scopes() {
        for (locations, actions, expected) in [
            (
                json!(["cluster:rabbitmq-prod"]),
                json!(["read"]),
                &["read:*/*/*"][..],
            ),
            (
                json!("cluster:rabbitmq-*/vhost:a"),
                json!(["read", "configure"]),
                &["read:a/*/*", "configure:a/*/*"],
            ),
            (
                json!([
                    "cluster:*/vhost:a/queue:q*",
                    "cluster:*/exchange:e/routing-key:k"
                ]),
                json!("write"),
                &["write:a/q*/*", "write:*/e/k"],
            ),
            (
                json!(["cluster:*/queue:x/exchange:x"]),
                json!("read"),
                &["read:*/x/*"],
            ),
            (json!(["cluster:*/queue:x/exchange:y"]), json!("read"), &[]),
            (
                json!(["cluster:other"]),
                json!(["read", "administrator"]),
                &[],
            ),
            (json!(["vhost:a"]), json!("read"), &[]),
            (json!([]), json!("administrator"), &[]),
            (
                json!(["cluster:rabbitmq-prod"]),
                json!(["administrator", "unknown", "impersonator"]),
                &["tag:administrator"],
            ),
            (
                json!(["cluster:rabbitmq-prod/unknown:a/b/vhost:v"]),
                json!("read"),
                &["read:v/*/*"],
            ),
        ] {
            let details = json!([{"type": "rabbitmq", "locations": locations, "actions": actions}]);
            let expected: Vec<String> = expected
                .iter()
                .map(|scope| format!("rabbitmq-prod.{scope}"))
                .collect();
            assert_eq!(
                scopes_of(details.clone(), Some("rabbitmq")),
                expected,
                "{details}"
            );
        }
    }

    #[test]
    fn entries_of_other_types_give_nothing() {
        let entry = json!({"type": "rabbitmq", "locations": ["cluster:*"], "actions": ["read"]});
        assert_eq!(scopes_of(json!([entry]), None), [""; 0]);
        assert_eq!(scopes_of(json!([entry]), Some("other")), [""; 0]);
        assert_eq!(scopes_of(json!(entry), Some("rabbitmq")), [""; 0]);
        assert_eq!(scopes_of(json!([7]), Some("rabbitmq")), [""; 0]);
        assert_eq!(scopes_of(json!([entry]), Some("rabbitmq")).len(), 1);
    }
}
