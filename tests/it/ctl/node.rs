//! Commands for the node, its connections and its queues.

use std::path::Path;

use leveret::wire::AMQPValue;

use super::{Node, ctl};
use crate::support::exit_code::{EX_DATAERR, EX_SOFTWARE, EX_UNAVAILABLE, EX_USAGE};
use crate::support::reply_code::CONNECTION_FORCED;
use crate::support::{Client, Peer};

#[tokio::test(flavor = "multi_thread")]
async fn listings_have_rabbitmqctls_columns_and_formats() {
    let node = Node::start().await;
    let help = node.ok(&["help", "list_connections"]).await;
    let (_, columns) = help.split_once("must be one of ").unwrap();
    // From `rabbitmqctl help list_connections` of 4.0.5.
    assert!(
        columns.starts_with(
            "auth_mechanism, channel_max, channels, client_properties, connected_at, frame_max, host, name, \
             peer_cert_issuer, peer_cert_subject, peer_cert_validity, peer_host, peer_port, pid, port, protocol, \
             recv_cnt, recv_oct, send_cnt, send_oct, send_pend, ssl, ssl_cipher, ssl_hash, ssl_key_exchange, \
             ssl_protocol, state, timeout, user, vhost\n"
        ),
        "{columns}"
    );
    let mut peer = Peer::connect(node.server.amqp_addr(), Client::default()).await;
    peer.open(1).await;
    let counts = async || {
        let columns = ["recv_cnt", "send_cnt", "send_pend", "ssl_cipher"];
        let words = [&["-s", "list_connections"], &columns[..]].concat();
        let row = node.ok(&words).await;
        let cells: Vec<&str> = row.trim_end_matches('\n').split('\t').collect();
        let number = |index: usize| cells[index].parse::<u64>().unwrap();
        assert_eq!((number(2), cells[3]), (0, ""));
        (number(0), number(1))
    };
    let before = counts().await;
    peer.declare(1, "q").await;
    let after = counts().await;
    assert!(
        after.0 > before.0 && after.1 > before.1,
        "{before:?} {after:?}"
    );
    assert_eq!(
        node.ok(&["list_queues", "-q", "--formatter", "csv"]).await,
        "\"name\",\"messages\"\n\"q\",\"0\"\n"
    );
    assert_eq!(
        node.ok(&["list_vhosts", "--formatter", "pretty_table"])
            .await,
        "Listing vhosts ...\n\
         \x1b(0lqqqqqqk\x1b(B\n\
         \x1b(0x\x1b(B \x1b[1mname\x1b[0m \x1b(0x\x1b(B\n\
         \x1b(0tqqqqqqu\x1b(B\n\
         \x1b(0x\x1b(B /    \x1b(0x\x1b(B\n\
         \x1b(0mqqqqqqj\x1b(B\n"
    );
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_commands_and_arguments_are_refused_as_rabbitmqctl_refuses_them() {
    let node = Node::start().await;
    for (args, code, start) in [
        (&[][..], EX_USAGE, "Usage\n"),
        (
            &["bogus_verb"],
            EX_USAGE,
            "Error: command 'bogus_verb' not found. See 'leveret ctl help'\n",
        ),
        (
            &["list_queues", "bogus"],
            EX_USAGE,
            "Error (argument validation): Info key(s) bogus are not supported\n",
        ),
        (
            &["set_disk_free_limit", "x"],
            EX_DATAERR,
            "Error (argument validation): Bad argument.\n",
        ),
        (
            &["purge_queue", "nope"],
            EX_DATAERR,
            "Object (queue, stream, exchange, etc) was not found\n",
        ),
        (
            &["delete_queue", "nope"],
            EX_USAGE,
            "Error:\nQueue not found\n",
        ),
        (
            &["close_connection", "garbage", "bye"],
            EX_UNAVAILABLE,
            "Error:\nError:\n{:invalid_pid_syntax, \"garbage\"}\n",
        ),
    ] {
        let (exit, err) = node.fails(args).await;
        assert!(
            exit == code && err.starts_with(start),
            "{args:?}: {exit} {err}"
        );
    }
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_alarms_limits_and_stop_app_act_on_the_running_broker() {
    // On an address of its own, so that no other test takes the port while the broker does not listen.
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let node = Node::start_at([127, a + 1, b, c].into()).await;
    assert!(node.ok(&["ping"]).await.ends_with("\nPing succeeded\n"));
    assert_eq!(node.ok(&["await_startup"]).await, "");
    let status: serde_json::Value =
        serde_json::from_str(&node.ok(&["status", "--formatter", "json"]).await).unwrap();
    assert_eq!(status["pid"], std::process::id());
    assert_eq!(
        status["listeners"][0]["port"],
        node.server.amqp_addr().port()
    );
    assert_eq!(status["totals"]["virtual_host_count"], 1);
    let files = &status["file_descriptors"];
    assert!(files["total_used"].as_u64() > Some(3), "{files}");
    assert!(files["total_limit"].as_u64() > files["total_used"].as_u64());
    let report = node.ok(&["-q", "status"]).await;
    assert!(report.contains("\nFile Descriptors\n\nTotal: "), "{report}");
    assert!(
        node.ok(&["-q", "status"])
            .await
            .contains("\nAlarms\n\n(none)\n")
    );

    assert_eq!(
        node.ok(&["-q", "set_vm_memory_high_watermark", "0.00000001"])
            .await,
        ""
    );
    assert!(
        node.ok(&["-q", "status"])
            .await
            .contains("\nAlarms\n\nmemory\n")
    );
    assert!(node.server.alarms().raised().memory);
    node.ok(&["set_vm_memory_high_watermark", "1.0"]).await;
    assert!(!node.server.alarms().raised().memory);

    node.ok(&["set_disk_free_limit", "100000TB"]).await;
    node.until_disk_alarm(true).await;
    node.ok(&["set_disk_free_limit", "1MB"]).await;
    node.until_disk_alarm(false).await;

    let address = node.server.amqp_addr();
    node.ok(&["stop_app"]).await;
    assert!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "the listener is still open after stop_app"
    );
    assert_eq!(node.fails(&["list_users"]).await.0, EX_USAGE);
    assert_eq!(
        node.fails(&["await_startup"]).await,
        (EX_UNAVAILABLE, "Error:\nrabbit_is_not_running\n".into())
    );
    node.ok(&["ping"]).await;
    node.ok(&["start_app"]).await;
    tokio::net::TcpStream::connect(address).await.unwrap();
    node.ok(&["list_users"]).await;
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_may_use_the_socket_and_a_shutdown_removes_it() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::start().await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let socket = node.dir.path().join("ctl.sock");
    assert_eq!((mode(&socket), mode(node.dir.path())), (0o600, 0o700));
    node.server.shutdown().await;
    assert!(!socket.exists());
    let ran = ctl(node.dir.path(), &["list_users"]).await;
    assert_eq!(ran.code, EX_UNAVAILABLE);
    assert!(
        ran.stderr
            .starts_with("Error: unable to perform an operation on node 'leveret@"),
        "{}",
        ran.stderr
    );
    let elsewhere = ctl(
        Path::new("/"),
        &[
            "list_users",
            "--data-dir",
            node.dir.path().to_str().unwrap(),
        ],
    )
    .await;
    assert!(
        elsewhere.stderr.contains(node.dir.path().to_str().unwrap()),
        "--data-dir has precedence over the environment"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rewind_takes_an_offset_or_a_time() {
    let node = Node::start().await;
    let mut peer = Peer::connect(node.server.amqp_addr(), Client::default()).await;
    peer.open(1).await;
    let history = [("x-rewind-seconds", AMQPValue::LongInt(60))];
    peer.declare_durable(1, "q", &history).await;
    peer.declare(1, "plain").await;
    for body in ["a", "b", "c"] {
        peer.publish(1, "q", body.as_bytes()).await;
    }
    for _ in 0..3 {
        while peer.get_no_ack(1, "q").await.is_none() {}
    }
    let words = ["-q", "rewind", "q", "--to"];
    let to = |place| words.into_iter().chain([place]).collect::<Vec<_>>();
    assert_eq!(
        node.ok(&["rewind", "q", "--to", "1"]).await,
        "Rewinding queue 'q' in vhost '/' to 1 ...\n\
         Messages that are ready again: 2, the first with offset 1\n"
    );
    assert_eq!(
        node.ok(&to("2026-01-31T12:00:00Z")).await,
        "Messages that are ready again: 1, the first with offset 0\n"
    );
    assert_eq!(
        node.ok(&to("5s")).await,
        "Messages that are ready again: 0\n"
    );
    while peer.get_no_ack(1, "q").await.is_some() {}
    let columns = ["messages_rewindable", "message_bytes_rewindable", "name"];
    let listing = [&["-q", "--no-table-headers", "list_queues"][..], &columns].concat();
    assert_eq!(node.ok(&listing).await, "0\t0\tplain\n3\t3\tq\n");
    for (args, exit, err) in [
        (
            &["rewind", "q", "--to", "9"][..],
            EX_UNAVAILABLE,
            "no message has that offset yet: the next one will be 3",
        ),
        (
            &["rewind", "q", "--to", "9999-01-01T00:00:00Z"],
            EX_UNAVAILABLE,
            "the time to rewind to is in the future",
        ),
        (
            &["rewind", "plain", "--to", "0"],
            EX_UNAVAILABLE,
            "the queue does not keep acked messages (x-rewind-seconds)",
        ),
        (
            &["rewind", "nope", "--to", "0"],
            EX_DATAERR,
            "Queue not found",
        ),
        (
            &["rewind", "q", "--to", "soon"],
            EX_USAGE,
            "--to: 'soon' is neither an offset (digits), nor a time",
        ),
        (
            &["rewind", "q"],
            EX_USAGE,
            "--to: '' is neither an offset (digits), nor a time",
        ),
    ] {
        let (code, said) = node.fails(args).await;
        assert_eq!(code, exit, "{args:?}: {said}");
        assert!(
            said.starts_with(&format!("Error:\n{err}")),
            "{args:?}: {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_listeners_refuse_clients_and_maintenance_closes_their_connections() {
    let node = Node::start().await;
    let address = node.server.amqp_addr();
    let addresses = [node.server.amqp_addrs(), node.server.cmq_addrs()].concat();
    let all_refuse = async || {
        for address in &addresses {
            let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        }
    };
    let mut before = Peer::connect(address, Client::default()).await;
    before.open(1).await;
    // Each may come twice.
    for _ in 0..2 {
        assert_eq!(node.ok(&["-q", "suspend_listeners"]).await, "");
        all_refuse().await;
    }
    before.declare(1, "q").await;
    for _ in 0..2 {
        node.ok(&["resume_listeners"]).await;
        Peer::connect(address, Client::default()).await;
    }
    let state = async || {
        let status = node.ok(&["status"]).await;
        let cluster = node.ok(&["cluster_status"]).await;
        let line = |text: &str, words: &str| {
            let found = text.lines().find(|line| line.contains(words));
            found.unwrap().split_once(words).unwrap().1.to_owned()
        };
        (
            line(&status, "Is under maintenance?: "),
            line(&cluster, ", status: "),
        )
    };
    assert_eq!(
        state().await,
        ("false".into(), "not under maintenance".into())
    );
    node.ok(&["drain"]).await;
    all_refuse().await;
    let reason = "CONNECTION_FORCED - Node was put into maintenance mode".to_owned();
    assert_eq!(before.closed().await, (CONNECTION_FORCED, reason));
    assert_eq!(
        state().await,
        ("true".into(), "marked for maintenance".into())
    );
    node.ok(&["add_user", "ann", "pw"]).await;
    node.ok(&["revive"]).await;
    Peer::connect(address, Client::default()).await;
    assert_eq!(
        state().await,
        ("false".into(), "not under maintenance".into())
    );
    // So does a start of the application.
    node.ok(&["drain"]).await;
    node.ok(&["stop_app"]).await;
    node.ok(&["start_app"]).await;
    Peer::connect(address, Client::default()).await;
    assert_eq!(state().await.0, "false");
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn super_streams_are_exchanges_with_a_stream_for_each_partition() {
    let node = Node::start().await;
    let add = async |words: &str| {
        let words: Vec<&str> = ["-q", "add_super_stream"]
            .into_iter()
            .chain(words.split(' '))
            .collect();
        node.ctl(&words).await
    };
    let created = add("inv").await;
    assert_eq!(created.stdout, "Super stream inv has been created\n");
    add("eu --binding-keys a,b --max-length-bytes 1gb --max-age PT1H --leader-locator balanced")
        .await;
    let queues = node
        .ok(&["-s", "list_queues", "name", "type", "arguments"])
        .await;
    let of_eu = "[{\"x-max-age\",\"3600s\"},{\"x-max-length-bytes\",1000000000},\
                 {\"x-queue-leader-locator\",\"balanced\"},{\"x-queue-type\",\"stream\"}]";
    let plain = "[{\"x-queue-type\",\"stream\"}]";
    let mut lines: Vec<&str> = queues.lines().collect();
    lines.sort_unstable();
    let expected = [
        format!("eu-a\tstream\t{of_eu}"),
        format!("eu-b\tstream\t{of_eu}"),
        format!("inv-0\tstream\t{plain}"),
        format!("inv-1\tstream\t{plain}"),
        format!("inv-2\tstream\t{plain}"),
    ];
    assert_eq!(lines, expected);
    let exchanges = node
        .ok(&[
            "-s",
            "list_exchanges",
            "name",
            "type",
            "durable",
            "arguments",
        ])
        .await;
    assert!(
        exchanges.contains("inv\tdirect\ttrue\t[{\"x-super-stream\",true}]\n"),
        "{exchanges}"
    );
    let columns = [
        "source_name",
        "destination_name",
        "routing_key",
        "arguments",
    ];
    let bindings = node
        .ok(&[&["-s", "list_bindings"], &columns[..]].concat())
        .await;
    for (stream, key, order) in [("inv-0", "0", 0), ("inv-2", "2", 2)] {
        let line = format!("inv\t{stream}\t{key}\t[{{\"x-stream-partition-order\",{order}}}]\n");
        assert!(bindings.contains(&line), "{bindings}");
    }
    for (words, code, reason) in [
        ("inv", EX_SOFTWARE, "there is already an exchange named inv"),
        (
            "in --binding-keys v-0",
            EX_SOFTWARE,
            "there is already a queue named in-v-0",
        ),
        (
            "x --partitions 0",
            EX_USAGE,
            "The partition number must be greater than 0",
        ),
        ("x --partitions 2 --binding-keys a", EX_USAGE, "not both."),
        ("x --binding-keys a,a", EX_USAGE, "unique"),
        ("x --max-age 10", EX_USAGE, "ISO 8601"),
        ("x --max-length-bytes much", EX_USAGE, "100gb, 50mb"),
    ] {
        if words.starts_with("in ") {
            let mut peer = Peer::connect(node.server.amqp_addr(), Client::default()).await;
            peer.open(1).await;
            peer.declare(1, "in-v-0").await;
        }
        let ran = add(words).await;
        assert_eq!(ran.code, code, "{words}: {}", ran.stderr);
        assert!(ran.stderr.contains(reason), "{words}: {}", ran.stderr);
    }
    let deleted = node.ok(&["-q", "delete_super_stream", "inv"]).await;
    assert_eq!(deleted, "Super stream inv has been deleted\n");
    let left = node.ok(&["-s", "list_queues", "name"]).await;
    assert!(!left.contains("inv-") && left.contains("eu-a"), "{left}");
    for name in ["inv", "amq.topic"] {
        let (code, _) = node.fails(&["delete_super_stream", name]).await;
        assert_eq!(code, EX_SOFTWARE);
    }
    node.server.shutdown().await;
}
