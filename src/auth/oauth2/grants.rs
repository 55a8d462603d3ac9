//! What the scopes of a token allow: `read`, `write` and `configure` on resources, and tags. Pure.

use super::wildcard;
use crate::auth::question::Permission;

/// Begins the scopes that give a tag to the user.
const TAG_PREFIX: &str = "tag:";
/// Stands for the virtual host in a scope.
const VHOST_VARIABLE: &str = "vhost";

/// The permissions of a token.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Grants {
    scopes: Vec<Scope>,
}

/// A scope that gives a permission.
#[derive(Debug, PartialEq, Eq)]
enum Scope {
    /// Means the same in every virtual host.
    Fixed(Grant),
    /// Pieces between which the name of the virtual host stands.
    PerVhost(Vec<String>),
}

/// A permission on the resources that match.
#[derive(Debug, PartialEq, Eq)]
struct Grant {
    permission: Permission,
    vhost: String,
    name: String,
    routing_key: Option<String>,
}

impl Grants {
    /// Reads scopes without their prefix. `claim` gives the text of the token's claims, which variables name.
    pub(super) fn new<'a>(
        scopes: impl IntoIterator<Item = &'a str>,
        claim: impl Fn(&str) -> Option<&'a str>,
    ) -> Grants {
        let scopes = scopes.into_iter().filter_map(|scope| {
            let pieces = expand(scope, &claim)?;
            match pieces.as_slice() {
                [whole] => parse(whole).map(Scope::Fixed),
                _ => Some(Scope::PerVhost(pieces)),
            }
        });
        Grants {
            scopes: scopes.collect(),
        }
    }

    /// Whether any scope concerns the virtual host.
    pub(super) fn allow_vhost(&self, vhost: &str) -> bool {
        self.any(vhost, |_| true)
    }

    pub(super) fn allow_resource(&self, vhost: &str, permission: Permission, name: &str) -> bool {
        self.any(vhost, |grant| {
            grant.permission == permission && wildcard::matches(name, &grant.name)
        })
    }

    /// Whether a scope names the routing key. One without a pattern for it allows no topic.
    pub(super) fn allow_topic(
        &self,
        vhost: &str,
        permission: Permission,
        exchange: &str,
        routing_key: &str,
    ) -> bool {
        self.any(vhost, |grant| {
            let key = grant.routing_key.as_deref();
            grant.permission == permission
                && wildcard::matches(exchange, &grant.name)
                && key.is_some_and(|pattern| wildcard::matches(routing_key, pattern))
        })
    }

    /// Whether a grant for `vhost` is as asked.
    fn any(&self, vhost: &str, fits: impl Fn(&Grant) -> bool) -> bool {
        let fits = |grant: &Grant| wildcard::matches(vhost, &grant.vhost) && fits(grant);
        self.scopes.iter().any(|scope| match scope {
            Scope::Fixed(grant) => fits(grant),
            Scope::PerVhost(pieces) => parse(&pieces.join(vhost)).is_some_and(|grant| fits(&grant)),
        })
    }
}

/// The tags among scopes, sorted.
pub(super) fn tags<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let tags = scopes
        .into_iter()
        .filter_map(|scope| scope.strip_prefix(TAG_PREFIX));
    let mut tags: Vec<&str> = tags.collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// Replaces `{claim}` by the claim's text, and by its own name if the token has no such text. The virtual host's name
/// belongs between the pieces. RabbitMQ ignores a scope whose variable has one of `{`, `.` and `*` in its name.
fn expand<'a>(scope: &'a str, claim: &impl Fn(&str) -> Option<&'a str>) -> Option<Vec<String>> {
    let mut pieces = vec![String::new()];
    let mut rest = scope;
    while let Some((before, after)) = rest.split_once('{') {
        let piece = pieces.last_mut()?;
        piece.push_str(before);
        let end = after.find(['{', '.', '*', '}']).unwrap_or(after.len());
        let (variable, closing) = after.split_at(end);
        rest = match closing.strip_prefix('}') {
            Some(rest) => rest,
            None if closing.is_empty() => "",
            None => return None,
        };
        match variable {
            VHOST_VARIABLE => pieces.push(String::new()),
            name => piece.push_str(claim(name).unwrap_or(name)),
        }
    }
    pieces.last_mut()?.push_str(rest);
    Some(pieces)
}

/// Reads `PERMISSION:VHOST/NAME` and `PERMISSION:VHOST/NAME/ROUTING-KEY`.
fn parse(scope: &str) -> Option<Grant> {
    let (permission, resource) = scope.split_once(':')?;
    let permission = match permission {
        "configure" => Permission::Configure,
        "write" => Permission::Write,
        "read" => Permission::Read,
        _ => return None,
    };
    let mut patterns = resource.split('/').map(str::to_owned);
    let grant = Grant {
        permission,
        vhost: patterns.next()?,
        name: patterns.next()?,
        routing_key: patterns.next(),
    };
    patterns.next().is_none().then_some(grant)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERMISSIONS: [Permission; 3] =
        [Permission::Configure, Permission::Write, Permission::Read];

    fn grants(scopes: &'static [&'static str]) -> Grants {
        Grants::new(scopes.iter().copied(), |claim| match claim {
            "sub" => Some("app"),
            "any" => Some("*"),
            _ => None,
        })
    }

    #[test]
    fn a_scope_allows_its_permission_on_matching_resources() {
        for (scope, vhost, name, expected) in [
            (&["configure:*/*"], "/", "q", [true, false, false]),
            (&["write:*/*"], "v", "q", [false, true, false]),
            (&["read:v/q"], "v", "q", [false, false, true]),
            (&["read:v/q"], "v", "other", [false; 3]),
            (&["read:v/q"], "/", "q", [false; 3]),
            (&["read:%2F/q*"], "/", "q1", [false, false, true]),
            (&["read:v/q/key"], "v", "q", [false, false, true]),
            (&["read:v/q/key/more"], "v", "q", [false; 3]),
            (&["read:v"], "v", "q", [false; 3]),
            (&["READ:*/*"], "v", "q", [false; 3]),
            (&["delete:*/*"], "v", "q", [false; 3]),
            (&["tag:administrator"], "v", "q", [false; 3]),
            (&["read:*/{sub}-*"], "v", "app-q", [false, false, true]),
            (&["read:*/{sub}-*"], "v", "other-q", [false; 3]),
            (&["read:*/{unknown}"], "v", "unknown", [false, false, true]),
            (&["read:*/{any}"], "v", "q", [false, false, true]),
            (&["read:{vhost}/*"], "v", "q", [false, false, true]),
            (&["read:*/{vhost}-*"], "v", "v-q", [false, false, true]),
            (&["read:*/{vhost}-*"], "v", "w-q", [false; 3]),
            (&["read:*/{su.b}"], "v", "su.b", [false; 3]),
            (&["read:*/{sub"], "v", "app", [false, false, true]),
            (&["read:*/a}b"], "v", "a}b", [false, false, true]),
        ] {
            let grants = grants(scope);
            let found =
                PERMISSIONS.map(|permission| grants.allow_resource(vhost, permission, name));
            assert_eq!(found, expected, "{scope:?} on {name} in {vhost}");
        }
    }

    #[test]
    fn a_scope_allows_a_topic_only_if_it_names_the_routing_key() {
        for (scope, exchange, key, expected) in [
            (&["write:*/*"], "amq.topic", "a.b", false),
            (&["write:*/*/*"], "amq.topic", "a.b", true),
            (&["write:*/*/*"], "amq.topic", "", true),
            (&["write:*/*/a.*"], "amq.topic", "a.b", true),
            (&["write:*/*/a.*"], "amq.topic", "b.a", false),
            (&["write:*/other/*"], "amq.topic", "a.b", false),
            (&["read:*/*/*"], "amq.topic", "a.b", false),
        ] {
            let grants = grants(scope);
            let found = grants.allow_topic("v", Permission::Write, exchange, key);
            assert_eq!(found, expected, "{scope:?} on {key} of {exchange}");
        }
    }

    #[test]
    fn any_permission_in_a_virtual_host_allows_to_open_it() {
        let grants = grants(&["read:v/q", "configure:w*/none", "tag:management"]);
        for (vhost, expected) in [("v", true), ("w1", true), ("/", false), ("tag", false)] {
            assert_eq!(grants.allow_vhost(vhost), expected, "{vhost}");
        }
    }

    #[test]
    fn tags_are_sorted_and_occur_once() {
        let scopes = [
            "tag:monitoring",
            "read:*/*",
            "tag:administrator",
            "tag:monitoring",
            "TAG:x",
        ];
        assert_eq!(tags(scopes), ["administrator", "monitoring"]);
    }
}
