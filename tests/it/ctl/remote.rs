//! `leveret ctl --url`: the same verbs over the management API, with the same output.

use std::path::Path;
use std::process::{Command, Stdio};

use leveret::cli;
use leveret::config::Config;
use leveret::server::Server;
use leveret::wire::AMQPValue;

use super::{Node, Ran, ctl};
use crate::support::exit_code::{EX_DATAERR, EX_NOUSER, EX_SOFTWARE, EX_UNAVAILABLE, EX_USAGE};
use crate::support::{Client, Peer};

/// The management API refuses the login.
const EX_NOPERM: i32 = 77;

fn config(dir: &Path) -> Config {
    let words = "leveret --amqp-listen 127.0.0.1:0 --cmq-listen 127.0.0.1:0 --management-listen 127.0.0.1:0 \
                 --prometheus-listen none --data-dir";
    let words = words
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(Into::into)
        .chain([dir.as_os_str().to_owned()]);
    match cli::parse(words, |_| None).unwrap() {
        cli::Command::Serve(serve) => serve.config,
        other => panic!("{other:?}"),
    }
}

/// A broker with a management API.
struct Remote {
    node: Node,
    url: String,
}

impl Remote {
    async fn start() -> Remote {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(config(dir.path())).await.unwrap();
        let url = format!("http://{}", server.management_addrs()[0]);
        Remote {
            node: Node { server, dir },
            url,
        }
    }

    /// Runs a command by the API, where it cannot find the socket.
    async fn run(&self, words: &[&str]) -> Ran {
        let words = [&["--url", &self.url][..], words].concat();
        ctl(Path::new("/nonexistent"), &words).await
    }

    async fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{words:?}");
        ran.stdout
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_the_api_show_the_same_by_socket_and_api() {
    let remote = Remote::start().await;
    let mut peer = Peer::connect(remote.node.server.amqp_addr(), Client::default()).await;
    peer.open(1).await;
    let limited = [("x-max-length", AMQPValue::LongInt(10))];
    peer.declare_durable(1, "jobs", &limited).await;
    peer.publish(1, "jobs", b"a").await;
    for words in [
        &["add_user", "bob", "secret"][..],
        &["set_user_tags", "bob", "management", "policymaker"],
        &["change_password", "bob", "other"],
        &[
            "add_vhost",
            "v/1",
            "--description",
            "first",
            "--default-queue-type",
            "quorum",
        ],
        &["set_permissions", "-p", "v/1", "bob", "^c", "^w", "^r"],
        &["set_permissions", "bob", "^c", "^w", "^r"],
        &["set_topic_permissions", "bob", "amq.topic", "^a", "^b"],
        &[
            "set_policy",
            "p1",
            "^j",
            r#"{"max-length":5}"#,
            "--priority",
            "3",
            "--apply-to",
            "queues",
        ],
        &["set_policy", "p0", "^x", r#"{"max-length":5}"#],
        &[
            "set_operator_policy",
            "o1",
            "^j",
            r#"{"message-ttl":90000}"#,
        ],
        &["set_global_parameter", "g", r#"{"a":1}"#],
        &["set_cluster_name", "east"],
        &["set_vhost_limits", r#"{"max-queues":100}"#],
        &["set_user_limits", "bob", r#"{"max-channels":50}"#],
        &["enable_vhost_deletion_protection", "v/1"],
        &["disable_vhost_deletion_protection", "v/1"],
        &["trace_on", "-p", "v/1"],
        &["enable_feature_flag", "all"],
    ] {
        remote.ok(words).await;
    }
    for words in [
        "list_users",
        "list_vhosts name description tags default_queue_type tracing",
        "list_permissions",
        "list_permissions -p v/1",
        "list_topic_permissions",
        "list_user_permissions bob",
        "list_user_topic_permissions bob",
        "list_policies",
        "list_operator_policies",
        "list_parameters",
        "list_global_parameters",
        "list_vhost_limits",
        "list_vhost_limits --global",
        "list_user_limits --user bob",
        "list_user_limits --global",
        "list_queues",
        "list_queues name type durable auto_delete exclusive state policy operator_policy \
         effective_policy_definition arguments messages messages_ready messages_unacknowledged message_bytes \
         consumers leader members",
        "list_queues --offline",
        "list_exchanges name type durable auto_delete internal arguments",
        "list_bindings",
        "list_consumers queue_name consumer_tag ack_required prefetch_count active arguments",
        "list_connections user vhost peer_host peer_port state channels protocol auth_mechanism timeout frame_max \
         channel_max ssl",
        "list_channels name number user vhost transactional confirm consumer_count messages_unacknowledged \
         prefetch_count",
        "list_feature_flags",
        "ping",
        "check_running",
        "check_alarms",
        "check_virtual_hosts",
        "check_protocol_listener amqp",
        "alarms",
        "check_if_node_is_quorum_critical",
        "server_version",
        "listeners",
        "environment",
        "rebalance all",
        "export_definitions -",
    ] {
        for format in ["table", "json", "csv", "pretty_table"] {
            let words: Vec<&str> = words.split_whitespace().collect();
            let words = [&["-q", "--formatter", format][..], &words].concat();
            let by_api = remote.ok(&words).await;
            let by_socket = remote.node.ok(&words).await;
            assert_eq!(by_api, by_socket, "{words:?}");
        }
    }
    assert_eq!(
        remote.ok(&["-q", "purge_queue", "jobs"]).await,
        remote.node.ok(&["-q", "purge_queue", "jobs"]).await
    );
    // The API replaces all of a virtual host, so the command repeats the rest.
    assert_eq!(
        remote.ok(&["trace_off", "-p", "v/1"]).await,
        "Stopping tracing for vhost \"v/1\" ...\nTrace disabled for vhost v/1\n"
    );
    let listed = [
        "-q",
        "list_vhosts",
        "name",
        "description",
        "default_queue_type",
        "tracing",
    ];
    assert_eq!(
        remote.node.ok(&listed).await.lines().last(),
        Some("v/1\tfirst\tquorum\tfalse")
    );
    assert_eq!(
        remote.ok(&["-q", "delete_queue", "jobs"]).await,
        "Queue was successfully deleted with 0 ready messages\n"
    );
    remote
        .ok(&["close_all_user_connections", "guest", "bye"])
        .await;
    for words in [
        &["clear_policy", "p1"][..],
        &["clear_operator_policy", "o1"],
        &["clear_global_parameter", "g"],
        &["clear_vhost_limits"],
        &["clear_user_limits", "bob", "all"],
        &["clear_topic_permissions", "bob"],
        &["clear_permissions", "bob"],
        &["delete_user", "bob"],
        &["delete_vhost", "v/1"],
    ] {
        remote.ok(words).await;
    }
    assert_eq!(
        remote.node.ok(&["-q", "list_users"]).await,
        "user\ttags\nguest\t[administrator]\n"
    );
    assert_eq!(remote.node.ok(&["-q", "list_vhosts"]).await, "name\n/\n");
    remote.node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_by_the_api_have_the_exit_codes_of_the_socket() {
    let remote = Remote::start().await;
    for (words, code) in [
        ("add_user guest x", EX_SOFTWARE),
        ("set_permissions nobody a b c", EX_NOUSER),
        ("list_permissions -p nope", EX_DATAERR),
        ("delete_vhost nope", EX_DATAERR),
        ("trace_on -p nope", EX_DATAERR),
        ("trace_off -p nope", EX_DATAERR),
        ("clear_policy nope", EX_UNAVAILABLE),
        ("set_policy p ^ {", EX_UNAVAILABLE),
        ("purge_queue nope", EX_DATAERR),
        ("delete_queue nope", EX_USAGE),
        ("list_user_permissions nobody", EX_UNAVAILABLE),
        ("check_port_listener 1", EX_UNAVAILABLE),
        ("check_protocol_listener mqtt", EX_UNAVAILABLE),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let by_api = remote.run(&words).await;
        assert_eq!(by_api.code, code, "{words:?}: {}", by_api.stderr);
        assert_eq!(remote.node.fails(&words).await.0, code, "{words:?}");
    }
    for (words, code, said) in [
        ("stop", EX_USAGE, "Error: 'stop' is not available by --url"),
        (
            "list_queues name pid",
            EX_USAGE,
            "Error:\nInfo key(s) pid are not available by --url",
        ),
        (
            "list_users --password wrong",
            EX_NOPERM,
            "Error: the management API at http://",
        ),
        (
            "list_users --username nobody",
            EX_NOPERM,
            "Error: the management API at http://",
        ),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let ran = remote.run(&words).await;
        assert!(
            ran.code == code && ran.stderr.starts_with(said),
            "{words:?}: {} {}",
            ran.code,
            ran.stderr
        );
    }
    let nowhere = ctl(
        Path::new("/"),
        &["--url", "http://127.0.0.1:1", "list_users"],
    )
    .await;
    assert!(
        nowhere.code == EX_UNAVAILABLE
            && nowhere
                .stderr
                .contains("no management API answers at http://127.0.0.1:1"),
        "{}",
        nowhere.stderr
    );
    let alone = ctl(Path::new("/"), &["--username", "u", "list_users"]).await;
    assert_eq!(alone.code, EX_USAGE);
    remote.node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_come_from_standard_input_and_definitions_from_files() {
    let remote = Remote::start().await;
    let file = remote.node.dir.path().join("definitions.json");
    remote.ok(&["add_vhost", "v"]).await;
    remote
        .ok(&["export_definitions", file.to_str().unwrap()])
        .await;
    remote.ok(&["delete_vhost", "v"]).await;
    remote
        .ok(&["import_definitions", file.to_str().unwrap()])
        .await;
    assert_eq!(remote.node.ok(&["-q", "list_vhosts"]).await, "name\n/\nv\n");

    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command
        .args([
            "ctl",
            "--url",
            &remote.url,
            "--password-stdin",
            "add_user",
            "carol",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut child = command.spawn().unwrap();
        // The login's password, and the user's.
        child
            .stdin
            .take()
            .unwrap()
            .write_all(b"guest\ngeheim\n")
            .unwrap();
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    assert!(output.status.success(), "{output:?}");
    remote
        .node
        .ok(&["authenticate_user", "carol", "geheim"])
        .await;
    remote.node.server.shutdown().await;
}
