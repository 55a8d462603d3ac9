//! The definitions that a migration copies: those of the chosen virtual hosts, without what the target cannot have. Pure.

use serde::Serialize;
use serde_json::Value;

/// What is copied.
pub(super) struct Scope<'a> {
    /// Empty: all.
    pub(super) vhosts: &'a [String],
    /// The user who logs in at the target. An import would change its password and tags under its feet.
    pub(super) login: &'a str,
    pub(super) target: TargetKind,
}

/// What the target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetKind {
    Leveret,
    /// RabbitMQ, or another broker with its API.
    Other,
}

/// A definition that is not copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct LeftOut {
    pub(super) category: String,
    pub(super) vhost: String,
    pub(super) name: String,
    pub(super) reason: String,
}

/// Prefix of the names of RabbitMQ's hashing algorithms.
const RABBITMQ_HASH: &str = "rabbit_password_hashing_";

/// Removes from `document` what is not copied, and returns what a user would miss.
pub(super) fn prepare(document: &mut Value, scope: &Scope<'_>) -> Vec<LeftOut> {
    let mut left_out = Vec::new();
    // Hashes that only Leveret knows are in a part of its own.
    if let Some(Value::Array(hashes)) = document.pointer_mut("/leveret/password_hashes") {
        hashes.retain(|entry| text(entry, "name") != scope.login);
    }
    let Some(categories) = document.as_object_mut() else {
        return left_out;
    };
    for (category, entries) in categories.iter_mut() {
        let Some(entries) = entries.as_array_mut() else {
            continue;
        };
        entries.retain(|entry| match refusal(category, entry, scope) {
            Verdict::Copied => true,
            Verdict::NotChosen => false,
            Verdict::LeftOut(reason) => {
                left_out.push(LeftOut {
                    category: category.clone(),
                    vhost: text(entry, "vhost").to_owned(),
                    name: text(entry, "name").to_owned(),
                    reason: reason.to_owned(),
                });
                false
            }
        });
    }
    left_out
}

enum Verdict {
    Copied,
    /// It is of another virtual host.
    NotChosen,
    LeftOut(&'static str),
}

fn refusal(category: &str, entry: &Value, scope: &Scope<'_>) -> Verdict {
    let vhost = match category {
        "vhosts" => text(entry, "name"),
        _ => text(entry, "vhost"),
    };
    let is_chosen = scope.vhosts.is_empty() || scope.vhosts.iter().any(|chosen| chosen == vhost);
    if !vhost.is_empty() && !is_chosen {
        return Verdict::NotChosen;
    }
    if category != "users" {
        return Verdict::Copied;
    }
    if text(entry, "name") == scope.login {
        return Verdict::LeftOut(
            "this user runs the migration, so it stays as it is at the target",
        );
    }
    let algorithm = text(entry, "hashing_algorithm");
    let is_known = algorithm.is_empty() || algorithm.starts_with(RABBITMQ_HASH);
    // Leveret's export has empty hashes where only Leveret knows the algorithm.
    if scope.target == TargetKind::Other && (!is_known || text(entry, "password_hash").is_empty()) {
        return Verdict::LeftOut(
            "the target does not know the hash of its password: create it there",
        );
    }
    Verdict::Copied
}

/// What the target's answer to an import says that it left out.
pub(super) fn not_imported(answer: Option<&Value>) -> Vec<LeftOut> {
    let entries = answer.and_then(|answer| answer.get("not_imported")?.as_array());
    let entries = entries.map(Vec::as_slice).unwrap_or_default();
    let left_out = |entry| LeftOut {
        category: text(entry, "category").to_owned(),
        vhost: text(entry, "vhost").to_owned(),
        name: text(entry, "name").to_owned(),
        reason: text(entry, "reason").to_owned(),
    };
    entries.iter().map(left_out).collect()
}

/// How many entries each category has, for people.
pub(super) fn summary(document: &Value) -> String {
    let categories = document.as_object().into_iter().flatten();
    let counts: Vec<String> = categories
        .filter_map(|(category, entries)| {
            let count = entries.as_array()?.len();
            (count > 0).then(|| format!("{count} {}", category.replace('_', " ")))
        })
        .collect();
    match counts.is_empty() {
        true => "none".to_owned(),
        false => counts.join(", "),
    }
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "rabbit_version": "4.0.5",
            "users": [
                {"name": "mover", "hashing_algorithm": "rabbit_password_hashing_sha256", "password_hash": "x"},
                {"name": "shop", "hashing_algorithm": "rabbit_password_hashing_sha512", "password_hash": "x"},
                {"name": "new", "hashing_algorithm": "argon2id", "password_hash": "x"},
                {"name": "old", "password_hash": "x"},
                {"name": "none", "hashing_algorithm": "rabbit_password_hashing_sha256", "password_hash": ""},
            ],
            "vhosts": [{"name": "/"}, {"name": "shop"}],
            "permissions": [{"user": "mover", "vhost": "/"}, {"user": "shop", "vhost": "shop"}],
            "queues": [{"vhost": "/", "name": "a"}, {"vhost": "shop", "name": "b"}],
            "global_parameters": [{"name": "cluster_name"}],
            "leveret": {"password_hashes": [{"name": "mover"}, {"name": "new"}]},
        })
    }

    fn names(document: &Value, category: &str) -> Vec<String> {
        let entries = document[category].as_array().unwrap();
        entries
            .iter()
            .map(|entry| text(entry, "name").to_owned())
            .collect()
    }

    #[test]
    fn the_user_of_the_migration_and_unknown_hashes_are_left_out() {
        for (target, users) in [
            (TargetKind::Leveret, vec!["shop", "new", "old", "none"]),
            (TargetKind::Other, vec!["shop", "old"]),
        ] {
            let mut copied = document();
            let scope = Scope {
                vhosts: &[],
                login: "mover",
                target,
            };
            let left_out = prepare(&mut copied, &scope);
            assert_eq!(names(&copied, "users"), users);
            assert_eq!(left_out.len(), 5 - users.len());
            assert_eq!(
                copied["leveret"]["password_hashes"],
                json!([{"name": "new"}])
            );
            assert_eq!(names(&copied, "queues"), ["a", "b"]);
            assert_eq!(copied["permissions"].as_array().unwrap().len(), 2);
        }
    }

    #[test]
    fn other_virtual_hosts_are_not_copied() {
        let mut copied = document();
        let scope = Scope {
            vhosts: &["shop".to_owned()],
            login: "",
            target: TargetKind::Leveret,
        };
        assert_eq!(prepare(&mut copied, &scope), []);
        assert_eq!(names(&copied, "vhosts"), ["shop"]);
        assert_eq!(names(&copied, "queues"), ["b"]);
        assert_eq!(names(&copied, "global_parameters"), ["cluster_name"]);
        assert_eq!(
            summary(&copied),
            "5 users, 1 vhosts, 1 permissions, 1 queues, 1 global parameters"
        );
    }

    #[test]
    fn the_answer_of_an_import_names_what_it_left_out() {
        let answer = json!({"imported": {}, "not_imported": [
            {"category": "parameters", "vhost": "/", "name": "f", "reason": "no meaning"},
        ]});
        let left_out = not_imported(Some(&answer));
        assert_eq!(left_out.len(), 1);
        assert_eq!(left_out.first().unwrap().name, "f");
        assert_eq!(not_imported(None), []);
    }
}
