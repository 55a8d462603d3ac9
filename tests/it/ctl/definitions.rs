//! Definitions files: those of real RabbitMQs are imported wholly, and what is exported is imported again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::{Node, Ran};
use crate::support::exit_code::{EX_DATAERR, EX_UNAVAILABLE};

/// Exports of whole brokers that RabbitMQ of these versions made.
const FIXTURES: [&str; 4] = ["3.8.9", "3.10.8", "4.0.5", "4.3.6"];

fn fixture(name: &str) -> PathBuf {
    let dir = "tests/fixtures/definitions";
    let file = format!("rabbitmq-{name}.json");
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(dir)
        .join(file)
}

impl Node {
    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// Imports a document; returns what the command printed.
    async fn import(&self, document: &Value) -> Ran {
        let file = self.path("import.json");
        std::fs::write(&file, document.to_string()).unwrap();
        self.ctl(&["-q", "import_definitions", &file]).await
    }

    async fn export(&self) -> Value {
        let text = self.ok(&["export_definitions", "-"]).await;
        serde_json::from_str(&text).unwrap()
    }
}

/// The categories of a document in any order, without what tells brokers and versions apart.
fn content(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let categories = document.as_object().unwrap().iter();
    let categories = categories.filter_map(|(name, entries)| Some((name, entries.as_array()?)));
    let entry = |category: &str, entry: &Value| {
        let mut entry = entry.as_object().unwrap().clone();
        match category {
            "queues" => drop(entry.remove("type")),
            "exchanges" => {
                let is_internal = entry.remove("internal");
                assert_ne!(is_internal, Some(json!(true)));
            }
            "users" => {
                // Before 3.8.10 there were no limits.
                entry.entry("limits").or_insert_with(|| json!({}));
                let tags = entry.get("tags").and_then(Value::as_str);
                if let Some(tags) = tags {
                    let tags: Vec<&str> = tags.split(',').filter(|tag| !tag.is_empty()).collect();
                    entry.insert("tags".to_owned(), json!(tags));
                }
            }
            "vhosts" => entry = vhost(&entry),
            _ => {}
        }
        sorted(&Value::Object(entry)).to_string()
    };
    categories
        .map(|(name, entries)| {
            let entries = entries.iter().map(|value| entry(name, value));
            (name.clone(), entries.collect())
        })
        .collect()
}

/// What all versions say of a virtual host.
fn vhost(entry: &Map<String, Value>) -> Map<String, Value> {
    let metadata = entry.get("metadata").cloned().unwrap_or_default();
    let description = metadata.get("description").cloned().unwrap_or("".into());
    let tags = metadata.get("tags").cloned().unwrap_or_else(|| json!([]));
    let vhost = json!({"name": entry["name"], "description": description, "tags": tags});
    vhost.as_object().unwrap().clone()
}

/// The same with ordered keys.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().collect();
            let fields = fields.into_iter();
            Value::Object(
                fields
                    .map(|(key, value)| (key.clone(), sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_of_real_rabbitmqs_are_imported_wholly() {
    for name in FIXTURES {
        let node = Node::start().await;
        node.ok(&["delete_user", "guest"]).await;
        node.ok(&["delete_vhost", "/"]).await;
        let file = fixture(name);
        let text = node
            .ok(&["-q", "import_definitions", file.to_str().unwrap()])
            .await;
        let not_imported: Vec<_> = text
            .lines()
            .filter(|line| line.contains("Not imported"))
            .collect();
        let no_logs = "Not imported: exchange 'amq.rabbitmq.log' in vhost '/': names that begin with 'amq.' are the broker's";
        assert!(
            not_imported
                .iter()
                .all(|line| *line == no_logs || line.contains("have no effect")),
            "{name}: {text}"
        );

        let original: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let mut expected = content(&original);
        let exported = node.export().await;
        let mut found = content(&exported);
        let exchanges = expected.get_mut("exchanges").unwrap();
        exchanges.retain(|exchange| !exchange.contains("amq.rabbitmq.log"));
        // Classic is written out from RabbitMQ 3.13 on.
        for queues in [&mut expected, &mut found].map(|all| all.get_mut("queues").unwrap()) {
            let plain = |queue: &String| {
                let queue = queue.replace(",\"x-queue-type\":\"classic\"", "");
                queue
                    .replace("\"x-queue-type\":\"classic\",", "")
                    .replace("\"x-queue-type\":\"classic\"", "")
            };
            *queues = queues.iter().map(plain).collect();
        }
        for (category, entries) in &expected {
            assert_eq!(&found[category], entries, "{name}: {category}");
        }

        for user in ["sha256", "sha512", "md5"] {
            node.ok(&["authenticate_user", user, "secret"]).await;
        }
        let fails = node
            .fails(&["authenticate_user", "no password", "secret"])
            .await;
        assert_eq!(fails.0, EX_DATAERR, "{name}");

        let other = Node::start().await;
        other.ok(&["delete_user", "guest"]).await;
        other.import(&exported).await;
        let again = other.export().await;
        assert_eq!(content(&again), content(&exported), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_brings_passwords_keys_and_overrides_along() {
    let node = Node::start().await;
    node.ok(&["add_user", "bob", "secret"]).await;
    node.ok(&["add_secret_key", "bob", "id", "key"]).await;
    node.ok(&[
        "add_vhost",
        "v",
        "--tags",
        "a",
        "--default-queue-type",
        "quorum",
    ])
    .await;
    node.ok(&["enable_vhost_deletion_protection", "v"]).await;
    node.ok(&["set_permissions", "-p", "v", "bob", "a", "b", "c"])
        .await;
    let queue = json!({"queues": [{"name": "q", "vhost": "v", "arguments": []}]});
    node.import(&queue).await;
    let vhost = node.server.broker().unwrap().vhost("v").unwrap();
    let overrides = leveret::model::QueueOverrides {
        max_length: Some(7),
        ..Default::default()
    };
    vhost
        .set_queue_overrides("q", overrides.clone())
        .await
        .unwrap();

    let file = node.path("all.json");
    node.ok(&["export_definitions", &file]).await;
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "an export holds hashes of passwords");
    let exported = node.export().await;
    // RabbitMQ would refuse the whole document for a hash that is not in base64.
    let users = exported["users"].as_array().unwrap();
    let bob = users.iter().find(|user| user["name"] == "bob").unwrap();
    assert_eq!(bob["password_hash"], "");
    assert_eq!(bob["hashing_algorithm"], "rabbit_password_hashing_sha256");

    let other = Node::start().await;
    let file = other.path("all.json");
    std::fs::write(&file, exported.to_string()).unwrap();
    let printed = other.ok(&["import_definitions", &file]).await;
    assert_eq!(
        printed,
        format!(
            "Importing definitions in JSON from a file at \"{file}\" ...\nImported definitions: 2 users, 2 virtual hosts, \
             2 permissions, 1 queue, 1 secret key, 1 override.\n"
        )
    );
    other.ok(&["authenticate_user", "bob", "secret"]).await;
    let vhost = other.server.broker().unwrap().vhost("v").unwrap();
    assert_eq!(vhost.queue("q").unwrap().overrides(), overrides);
    assert_eq!(other.fails(&["delete_vhost", "v"]).await.0, EX_DATAERR);
    assert_eq!(content(&other.export().await), content(&exported));
    let leveret = |document: &Value| sorted(&document["leveret"]);
    assert_eq!(leveret(&other.export().await), leveret(&exported));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_apply_is_named_and_the_rest_is_imported() {
    let node = Node::start().await;
    node.import(&json!({"queues": [{"name": "known", "vhost": "/", "auto_delete": true}]}))
        .await;
    let queue = |name: &str, kind: &str| json!({"name": name, "vhost": "/", "arguments": {"x-queue-type": kind}});
    let ran = node
        .import(&json!({
            "users": [7, {"name": "u", "tags": "", "password_hash": "x", "hashing_algorithm": "my_hash"}],
            "parameters": [{"vhost": "/", "component": "federation-upstream", "name": "s", "value": {}}],
            "global_parameters": [{"name": "internal_cluster_id", "value": "rabbitmq-cluster-id-1"}],
            "policies": [{"vhost": "/", "name": "ha", "pattern": ".*", "definition": {"queue-mode": "lazy"}}],
            "exchanges": [{"name": "e", "vhost": "/", "type": "x-of-a-plugin"}, {"name": "amq.mine", "vhost": "/", "type": "direct"}],
            "queues": [queue("amq.gen-1", "classic"), queue("odd", "of-a-plugin"), queue("q", "quorum"), queue("known", "classic")],
            "bindings": [
                {"vhost": "/", "source": "e", "destination": "q", "destination_type": "queue"},
                {"vhost": "/", "source": "amq.direct", "destination": "odd", "destination_type": "queue"},
                {"vhost": "/", "source": "amq.direct", "destination": "q", "destination_type": "queue"},
                {"vhost": "/", "source": "", "destination": "q", "destination_type": "queue", "routing_key": "q"},
            ],
        }))
        .await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(
        ran.stdout.lines().collect::<Vec<_>>(),
        [
            "Imported definitions: 1 user, 1 policy, 1 queue, 1 binding.",
            "Not imported: user '': 1 elements of the list are no objects",
            "Not imported: user 'u': its password, which is hashed by my_hash, is unknown here; set a new one",
            "Not imported: exchange 'e' in vhost '/': unknown exchange type 'x-of-a-plugin'",
            "Not imported: exchange 'amq.mine' in vhost '/': names that begin with 'amq.' are the broker's",
            "Not imported: queue 'amq.gen-1' in vhost '/': names that begin with 'amq.' are the broker's",
            "Not imported: queue 'odd' in vhost '/': unknown queue type 'of-a-plugin'",
            "Not imported: binding 'e -> q' in vhost '/': 'e' was not imported",
            "Not imported: binding 'amq.direct -> odd' in vhost '/': 'odd' was not imported",
            "Not imported: global parameter 'internal_cluster_id': the id of another broker",
            "Not imported: policy 'ha' in vhost '/': its keys queue-mode have no effect",
            "Not imported: parameter 's' in vhost '/': there is no component 'federation-upstream'",
            "Not imported: queue 'known' in vhost '/': one with other properties exists, and stays as it is",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_definitions_are_refused_and_change_nothing() {
    let node = Node::start().await;
    let before = node.export().await;
    let file = node.path("bad.json");
    for (text, code, part) in [
        (
            "{bad",
            EX_DATAERR,
            "Error:\nFailed to deserialise input (format: JSON) (error: ",
        ),
        ("[]", EX_DATAERR, "Failed to deserialise input"),
        ("", EX_DATAERR, "bad.json is zero-sized"),
        (r#"{"users":{}}"#, EX_DATAERR, "a list of objects"),
        (
            r#"{"users":[{"name":"x"}]}"#,
            EX_DATAERR,
            "missing field `tags` in {\"name\":\"x\"}",
        ),
        (
            r#"{"users":[{"name":"x","tags":"","limits":{"a":1}}]}"#,
            EX_UNAVAILABLE,
            "Unrecognised terms",
        ),
        (
            r#"{"vhosts":[{"name":"v","metadata":{"default_queue_type":"bogus"}}]}"#,
            EX_UNAVAILABLE,
            "bogus is not a valid queue type",
        ),
        (
            r#"{"vhosts":[{"name":"v"}],"queues":[{"name":"q","vhost":"/","arguments":{"x-message-ttl":-1}}]}"#,
            EX_UNAVAILABLE,
            "precondition_failed: invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {value_negative,-1}",
        ),
        (
            r#"{"vhosts":[{"name":"v"}],"policies":[{"vhost":"/","name":"p","pattern":"","definition":{"bogus":1}}]}"#,
            EX_UNAVAILABLE,
            "are not recognised policy settings\n (vhost: \"/\" key: \"p\")",
        ),
        (
            r#"{"vhosts":[{"name":"v"}],"queues":[{"name":"q"}]}"#,
            EX_UNAVAILABLE,
            "the export of a single virtual host",
        ),
        (
            r#"{"queues":[{"name":"q","vhost":"nov"}]}"#,
            EX_UNAVAILABLE,
            "Please create virtual host \"nov\" prior to importing definitions.",
        ),
        (
            r#"{"permissions":[{"user":"nobody","vhost":"/","configure":"","write":"","read":""}]}"#,
            EX_UNAVAILABLE,
            "{no_such_user,<<\"nobody\">>}",
        ),
        (
            r#"{"bindings":[{"vhost":"/","source":"amq.direct","destination":"q","destination_type":"queue"}]}"#,
            EX_UNAVAILABLE,
            "no queue 'q' in vhost '/'",
        ),
        (
            r#"{"queues":[{"name":"q","vhost":"/","arguments":{"a":null}}]}"#,
            EX_UNAVAILABLE,
            "queue 'q'",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let (found, error) = node.fails(&["-q", "import_definitions", &file]).await;
        assert!(
            found == code && error.contains(part),
            "{text}: {found} {error}"
        );
    }
    let long = format!("{{\"vhosts\":[{{\"name\":\"{}\"}}]}}", "v".repeat(256));
    std::fs::write(&file, long).unwrap();
    node.fails(&["-q", "import_definitions", &file]).await;
    assert_eq!(node.export().await, before);

    let missing = node.fails(&["import_definitions", "/nope"]).await;
    let text = "Error (argument validation): Bad argument: File /nope does not exist\n";
    assert!(
        missing.0 == EX_DATAERR && missing.1.starts_with(text),
        "{missing:?}"
    );
    let missing = node.fails(&["export_definitions", "/nope/x"]).await;
    let text = "Error (argument validation): Bad argument: Directory /nope does not exist\n";
    assert!(
        missing.0 == EX_DATAERR && missing.1.starts_with(text),
        "{missing:?}"
    );
    let erlang = node
        .fails(&["export_definitions", "-", "--format", "erlang"])
        .await;
    assert!(erlang.1.contains("Format should be json"), "{erlang:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_queues_hold_before_any_is_created() {
    let node = Node::start().await;
    node.ok(&["set_vhost_limits", r#"{"max-queues":1}"#]).await;
    let queues = |names: &[&str]| {
        let queues = names.iter().map(|name| json!({"name": name, "vhost": "/"}));
        json!({"queues": queues.collect::<Vec<_>>()})
    };
    let ran = node.import(&queues(&["a", "b"])).await;
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (
            EX_UNAVAILABLE,
            "Error:\nAdding 2 queue(s) to virtual host \"/\" would exceed the limit of 1 queue(s).\n\n\
             This virtual host currently has 0 queue(s) defined.\n\nImport aborted!\n"
        )
    );
    assert_eq!(node.import(&queues(&["a"])).await.code, 0);
    // It exists, so no queue is added.
    assert_eq!(node.import(&queues(&["a"])).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_was_imported_last_is_skipped_when_asked() {
    let node = Node::start().await;
    let file = node.path("x.json");
    std::fs::write(&file, r#"{"vhosts":[{"name":"v"}]}"#).unwrap();
    let import = ["-q", "import_definitions", &file, "--skip-if-unchanged"];
    assert_eq!(
        node.ok(&import).await,
        "Imported definitions: 1 virtual host.\n"
    );
    node.ok(&["delete_vhost", "v"]).await;
    assert_eq!(
        node.ok(&import).await,
        "The definitions are unchanged, and were not imported again.\n"
    );
    let listed = node.ok(&["list_global_parameters"]).await;
    assert!(!listed.contains("imported_definition"), "{listed}");
    std::fs::write(&file, r#"{"vhosts":[{"name":"w"}]}"#).unwrap();
    assert_eq!(
        node.ok(&import).await,
        "Imported definitions: 1 virtual host.\n"
    );
}

/// Also a measurement: run with `--nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_queues_are_imported_durably_in_seconds() {
    const COUNT: usize = 10_000;
    let node = Node::start().await;
    let names = || (0..COUNT).map(|number| format!("q{number}"));
    let queues: Vec<_> = names()
        .map(|name| json!({"name": name, "vhost": "/"}))
        .collect();
    let bindings = names().map(|name| {
        json!({"vhost": "/", "source": "amq.direct", "destination": name, "destination_type": "queue", "routing_key": name})
    });
    let document = json!({"queues": queues, "bindings": bindings.collect::<Vec<_>>()});
    let begun = std::time::Instant::now();
    let ran = node.import(&document).await;
    let took = begun.elapsed();
    println!("{COUNT} queues and bindings imported in {took:?}");
    assert_eq!(
        ran.stdout,
        "Imported definitions: 10000 queues, 10000 bindings.\n"
    );
    assert!(took < std::time::Duration::from_secs(60), "{took:?}");
    let exported = node.export().await;
    let node = node.restart().await;
    assert_eq!(content(&node.export().await), content(&exported));
}
