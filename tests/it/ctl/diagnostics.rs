//! Health checks and questions to one node, with rabbitmq-diagnostics' words and exit codes.

use leveret::wire::AMQPValue;

use super::{Node, ctl};
use crate::process::Process;
use crate::support::exit_code::{EX_DATAERR, EX_SOFTWARE, EX_UNAVAILABLE, EX_USAGE};
use crate::support::{Client, PATIENCE, Peer};

/// The name of this node, as messages show it.
async fn name_of(node: &Node) -> String {
    let peers = node
        .ok(&["-q", "discover_peers", "--formatter", "json"])
        .await;
    let peers: Vec<String> = serde_json::from_str(&peers).unwrap();
    peers.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_succeed_on_a_healthy_node() {
    let node = Node::start().await;
    let name = name_of(&node).await;
    let port = node.server.amqp_addr().port().to_string();
    for (words, said) in [
        (
            "check_running",
            "Leveret on node NODE is fully booted and running\n",
        ),
        (
            "is_running",
            "Leveret on node NODE is fully booted and running\n",
        ),
        (
            "is_booting",
            "Leveret on node NODE is fully booted (check with is_running), stopped or has not started booting yet\n",
        ),
        (
            "check_alarms",
            "Node NODE reported no alarms, local or clusterwide\n",
        ),
        (
            "alarms",
            "Node NODE reported no alarms, local or clusterwide\n",
        ),
        (
            "check_virtual_hosts",
            "Node NODE reported all vhosts as running\n",
        ),
        (
            "check_port_listener PORT",
            "A listener for port PORT is running on node NODE.\n",
        ),
        (
            "check_protocol_listener AMQP",
            "A listener for protocol amqp is running on node NODE.\n",
        ),
        (
            "check_if_node_is_quorum_critical",
            "Node NODE seems to be the only one in a single node cluster, the check does not apply\n",
        ),
        (
            "check_if_new_quorum_queue_replicas_have_finished_initial_sync",
            "Node NODE reported no queues with promotable replicas\n",
        ),
        (
            "check_if_any_deprecated_features_are_used",
            "Cluster reported no deprecated features in use\n",
        ),
        (
            "await_online_quorum_plus_one",
            "Target node seems to be the only one in a single node cluster, the command does not apply\n",
        ),
        ("await_online_nodes 1", ""),
        ("enable_feature_flag all", ""),
        ("grow NODE all", ""),
        (
            "restart_vhost",
            "Vhost '/' is already running on node 'NODE'\n",
        ),
        ("post_upgrade", ""),
        ("log_location", "<stderr>\n"),
        ("server_version", concat!(env!("CARGO_PKG_VERSION"), "\n")),
        ("list_unresponsive_queues", ""),
        ("resolve_hostname 127.0.0.1", "127.0.0.1\n"),
        (
            "check_local_alarms",
            "Node NODE reported no alarms, local or clusterwide\n",
        ),
        (
            "node_health_check",
            "This command is DEPRECATED and is a no-op. It will be removed in a future version.\n",
        ),
    ] {
        let here = |text: &str| text.replace("NODE", &name).replace("PORT", &port);
        let words = here(&format!("-q {words}"));
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(node.ok(&words).await, here(said), "{words:?}");
    }
    let connected = node.ok(&["-q", "check_port_connectivity"]).await;
    assert!(
        connected.starts_with(&format!("Will connect to 127.0.0.1:{port}\n"))
            && connected.contains("Successfully connected to ports "),
        "{connected}"
    );
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_that_fail_say_why_as_text_and_json() {
    let node = Node::start().await;
    let name = name_of(&node).await;
    for (words, code, said) in [
        (
            "check_port_listener 1",
            EX_UNAVAILABLE,
            "No listener for port 1 is active on node NODE. Found listeners that use the following ports: ",
        ),
        (
            "check_protocol_listener mqtt",
            EX_UNAVAILABLE,
            "Error:\nNo listener for protocol mqtt is active on node NODE. Found listeners for the following protocols: amqp, cmq",
        ),
        (
            "check_port_listener x",
            EX_DATAERR,
            "Error (argument validation): Bad argument: Argument must be a positive integer",
        ),
        (
            "memory_breakdown --unit x",
            EX_USAGE,
            "Error (argument validation): \"unit 'x' is not supported. Please use one of: bytes, mb, gb\"\nArguments given:\n\tmemory_breakdown --unit x\n",
        ),
        (
            "set_log_level nope",
            EX_UNAVAILABLE,
            "Error:\nlevel nope is not supported. Try one of debug, info, warning, error, critical, none",
        ),
        (
            "grow other@host all",
            EX_USAGE,
            "Error: node other@host is not a member of the cluster",
        ),
        (
            "shrink other@host",
            EX_UNAVAILABLE,
            "Error:\n{:node_not_running, :other@host}",
        ),
        (
            "await_online_nodes 2",
            EX_SOFTWARE,
            "Error:\nError: timed out while waiting.",
        ),
        (
            "enable_feature_flag nope",
            EX_USAGE,
            "Error:\nThis feature flag is not supported by node NODE",
        ),
        (
            "quorum_status nope",
            EX_DATAERR,
            "queue 'nope' was not found in virtual host '/'",
        ),
        (
            "stream_status nope",
            EX_DATAERR,
            "Object (queue, stream, exchange, etc) was not found",
        ),
        (
            "eval 1+1.",
            EX_UNAVAILABLE,
            "Error: 'eval' is not supported. Leveret is no Erlang program.",
        ),
        (
            "join_cluster other@host",
            EX_UNAVAILABLE,
            "Error:\nthis node runs by itself: start it with --cluster-listen",
        ),
        (
            "is_enabled rabbitmq_mqtt",
            EX_UNAVAILABLE,
            "Error:\nPlugin rabbitmq_mqtt is not enabled on node NODE.",
        ),
        (
            "resolve_hostname nohost.invalid",
            EX_DATAERR,
            "Error:\nHostname does not resolve (resolution failed with an nxdomain)",
        ),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let (exit, err) = node.fails(&words).await;
        assert!(
            exit == code && err.starts_with(&said.replace("NODE", &name)),
            "{words:?}: {exit} {err}"
        );
    }
    node.ok(&["set_alarm", "memory"]).await;
    let on = format!("Memory alarm on node {name}\n");
    assert_eq!(
        node.fails(&["check_alarms"]).await,
        (EX_UNAVAILABLE, on.clone())
    );
    assert_eq!(node.ok(&["-q", "alarms"]).await, on);
    let (_, json) = node.fails(&["check_alarms", "--formatter", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["result"], &json["local"][0]),
        (&"error".into(), &on.trim_end().into())
    );
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_app_answers_what_needs_no_clients() {
    let node = Node::start().await;
    node.ok(&["stop_app"]).await;
    assert_eq!(node.fails(&["check_running"]).await.0, EX_UNAVAILABLE);
    assert!(node.ok(&["is_running"]).await.contains("is not running"));
    node.ok(&["server_version"]).await;
    node.ok(&["environment"]).await;
    assert_eq!(node.fails(&["listeners"]).await.0, EX_USAGE);
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_as_text_and_json() {
    let node = Node::start().await;
    let name = name_of(&node).await;
    let json = async |verb: &str| -> serde_json::Value {
        let words: Vec<&str> = verb.split(' ').chain(["--formatter", "json"]).collect();
        let text = node.ok(&words).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{verb}: {error}: {text}"))
    };
    let listeners = json("listeners").await;
    assert_eq!(listeners["listeners"][0]["protocol"], "amqp");
    assert_eq!(listeners["listeners"][0]["node"], name);
    let memory = json("memory_breakdown").await;
    assert!(
        memory["other_system"]["bytes"].as_u64() > Some(1_000_000),
        "{memory}"
    );
    assert_eq!(memory["mnesia"]["bytes"], 0);
    let settings = json("environment").await;
    assert_eq!(
        settings["leveret"]["data-dir"],
        node.dir.path().to_str().unwrap()
    );
    let cluster = json("cluster_status").await;
    assert_eq!(cluster["running_nodes"][0], name);
    assert_eq!(json("tls_versions").await["versions"][0], "tlsv1.3");
    let suites = json("cipher_suites").await;
    let suites = suites.as_array().unwrap();
    assert!(
        suites.contains(&"ECDHE-RSA-AES256-GCM-SHA384".into()),
        "{suites:?}"
    );
    let flags = json("list_feature_flags").await;
    assert!(
        flags
            .as_array()
            .unwrap()
            .contains(&serde_json::json!({"name": "quorum_queue", "state": "enabled"}))
    );
    let plugins = json("list").await;
    assert_eq!(
        plugins["plugins"][0]["name"],
        "rabbitmq_consistent_hash_exchange"
    );
    let text = node
        .ok(&["-q", "memory_breakdown", "--unit", "bytes"])
        .await;
    assert!(text.lines().all(|line| line.contains(" bytes (")), "{text}");
    let report = node.ok(&["report"]).await;
    for part in [
        "Cluster status of node",
        "Listing queues for vhost / ...",
        "guest",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_and_policies_of_a_queue_are_shown() {
    let node = Node::start().await;
    let name = name_of(&node).await;
    let mut peer = Peer::connect(node.server.amqp_addr(), Client::default()).await;
    peer.open(1).await;
    for kind in ["quorum", "stream"] {
        let arguments = [("x-queue-type", AMQPValue::LongString(kind.into()))];
        peer.declare_durable(1, kind, &arguments).await;
    }
    node.ok(&[
        "set_policy",
        "low",
        "^q",
        r#"{"max-length":9}"#,
        "--priority",
        "1",
    ])
    .await;
    node.ok(&[
        "set_policy",
        "high",
        ".*",
        r#"{"max-length":8}"#,
        "--priority",
        "2",
    ])
    .await;
    let json = async |words: &[&str]| -> serde_json::Value {
        let words = [words, &["--formatter", "json"][..]].concat();
        serde_json::from_str(&node.ok(&words).await).unwrap()
    };
    let quorum = json(&["quorum_status", "quorum"]).await;
    assert_eq!(
        (&quorum[0]["Node Name"], &quorum[0]["Raft State"]),
        (&name.as_str().into(), &"leader".into())
    );
    let stream = json(&["stream_status", "stream"]).await;
    assert_eq!(
        (&stream[0]["role"], &stream[0]["offset"]),
        (&"writer".into(), &(-1).into())
    );
    assert_eq!(
        json(&["stream_status", "stream", "--tracking"]).await,
        serde_json::json!([])
    );
    let matching = json(&["list_policies_that_match", "quorum"]).await;
    assert_eq!(
        (&matching[0]["name"], &matching[1]["name"]),
        (&"high".into(), &"low".into())
    );
    assert_eq!(
        json(&["list_policies_that_match", "nope"]).await,
        serde_json::json!([])
    );
    let shrunk = node.ok(&["-q", "shrink", &name]).await;
    assert_eq!(
        shrunk,
        "vhost\tname\tsize\tresult\n/\tquorum\t1\terror: the last node cannot be removed\n"
    );
    let table = node.ok(&["-q", "rebalance", "all"]).await;
    assert!(table.contains("Number of quorum queues"), "{table}");
    assert_eq!(
        node.fails(&["quorum_status", "stream"]).await,
        (
            EX_UNAVAILABLE,
            "Error:\n{:unsupported, :rabbit_stream_queue}\n".into()
        )
    );
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_shown_and_its_level_changes() {
    let dir = tempfile::tempdir().unwrap();
    let _broker = Process::start_by(|command| command, dir.path());
    let run = async |words: &[&str]| {
        let ran = ctl(dir.path(), words).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{words:?}");
        ran.stdout
    };
    let all = run(&["-q", "log_tail", "--number", "1000"]).await;
    assert!(all.contains("AMQP listener on "), "{all}");
    let last = run(&["-q", "log_tail", "-N", "1"]).await;
    assert_eq!(last.lines().count(), 1);
    let has_new_vhost = async |name: &str| {
        run(&["add_vhost", name]).await;
        run(&["-q", "log_tail"]).await.contains(name)
    };
    assert!(has_new_vhost("logged").await);
    run(&["set_log_level", "error"]).await;
    assert!(!has_new_vhost("silent").await);
    run(&["set_log_level", "info"]).await;

    let follow = run(&["-q", "log_tail_stream", "--duration", "3"]);
    let act = async {
        // The stream shows what is logged while it runs; it may start late.
        let deadline = std::time::Instant::now() + PATIENCE.min(std::time::Duration::from_secs(2));
        while std::time::Instant::now() < deadline {
            run(&["add_vhost", "followed"]).await;
            run(&["delete_vhost", "followed"]).await;
        }
    };
    let (followed, ()) = tokio::join!(follow, act);
    assert!(followed.contains("followed"), "{followed}");
}
