//! `leveret ctl` against a running broker: what it prints and how it exits, as rabbitmqctl 4.0.5 does.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use leveret::cli;
use leveret::config::Config;
use leveret::server::{RunningServer, Server};
use leveret::wire::AMQPValue;

use crate::support::{Client, PATIENCE, Peer};

/// A broker on a free port with a data directory of its own.
struct Node {
    server: RunningServer,
    dir: tempfile::TempDir,
}

/// What a command printed and how it exited.
#[derive(Debug, PartialEq)]
struct Said {
    out: String,
    err: String,
    code: i32,
}

fn config(dir: &Path, address: IpAddr) -> Config {
    let words = format!("leveret --amqp-listen {address}:0 --cmq-listen 127.0.0.1:0 --data-dir");
    let words = words
        .split(' ')
        .map(Into::into)
        .chain([dir.as_os_str().to_owned()]);
    match cli::parse(words, |_| None).unwrap() {
        cli::Command::Serve(config) => *config,
        other => panic!("{other:?}"),
    }
}

impl Node {
    async fn start() -> Node {
        Node::start_at(Ipv4Addr::LOCALHOST.into()).await
    }

    async fn start_at(address: IpAddr) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(config(dir.path(), address)).await.unwrap();
        Node { server, dir }
    }

    /// Runs the command on a thread of its own: the broker needs this one.
    async fn ctl(&self, args: &[&str]) -> Said {
        ctl(self.dir.path(), args).await
    }

    /// What a command prints when all is well.
    async fn ok(&self, args: &[&str]) -> String {
        let said = self.ctl(args).await;
        assert_eq!(
            (said.code, said.err.as_str()),
            (0, ""),
            "{args:?}: {}",
            said.out
        );
        said.out
    }

    /// Waits for the disk alarm to be on or off.
    async fn until_disk_alarm(&self, on: bool) {
        let mut alarms = self.server.alarms().subscribe();
        let changed = alarms.wait_for(|raised| raised.disk == on);
        tokio::time::timeout(PATIENCE, changed)
            .await
            .unwrap()
            .unwrap();
    }

    /// What a command prints to standard error and how it exits when it fails.
    async fn fails(&self, args: &[&str]) -> (i32, String) {
        let said = self.ctl(args).await;
        assert_ne!(said.code, 0, "{args:?}: {}", said.out);
        (said.code, said.err)
    }
}

async fn ctl(dir: &Path, args: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command
        .arg("ctl")
        .args(args)
        .env("LEVERET_DATA_DIR", dir)
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    Said {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_come_and_go() {
    let node = Node::start().await;
    assert_eq!(
        node.ok(&["add_user", "bob", "secret"]).await,
        "Adding user \"bob\" ...\nDone. Don't forget to grant the user permissions to some virtual hosts! See \
         'leveret ctl help set_permissions' to learn more.\n"
    );
    assert_eq!(
        node.fails(&["add_user", "bob", "x"]).await,
        (70, "Error:\nUser \"bob\" already exists\n".into())
    );
    assert_eq!(
        node.ok(&["-q", "set_user_tags", "bob", "administrator", "monitoring"])
            .await,
        ""
    );
    assert_eq!(
        node.ok(&["list_users"]).await,
        "Listing users ...\nuser\ttags\nbob\t[administrator, monitoring]\nguest\t[administrator]\n"
    );
    assert_eq!(
        node.ok(&["list_users", "--formatter", "json"]).await,
        "[\n{\"user\":\"bob\",\"tags\":[\"administrator\",\"monitoring\"]}\n,{\"user\":\"guest\",\"tags\":[\"administrator\"]}\n]\n"
    );
    assert_eq!(node.ok(&["list_users", "-s"]).await.lines().count(), 2);
    assert_eq!(
        node.ok(&["authenticate_user", "bob", "secret"]).await,
        "Authenticating user \"bob\" ...\nSuccess\n"
    );
    node.ok(&["change_password", "bob", "new"]).await;
    assert_eq!(
        node.fails(&["authenticate_user", "bob", "secret"]).await,
        (65, "Error:\nError: failed to authenticate user \"bob\"\nuser 'bob' - invalid credentials\n".into())
    );
    node.ok(&["clear_password", "bob"]).await;
    assert_eq!(node.fails(&["authenticate_user", "bob", "new"]).await.0, 65);
    let unknown = (67, "Error:\nUser \"nobody\" does not exist\n".to_owned());
    assert_eq!(
        node.fails(&["change_password", "nobody", "x"]).await,
        unknown
    );
    assert_eq!(node.fails(&["set_user_tags", "nobody", "x"]).await, unknown);
    assert_eq!(
        node.ok(&["delete_user", "bob"]).await,
        "Deleting user \"bob\" ...\n"
    );
    assert_eq!(node.ok(&["-q", "delete_user", "bob"]).await, "");
    assert_eq!(
        node.ok(&["-q", "list_users"]).await,
        "user\ttags\nguest\t[administrator]\n"
    );
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_keys_come_and_go_with_their_users_and_vhosts() {
    let node = Node::start().await;
    for words in [
        &["add_user", "bob", "x"][..],
        &["add_vhost", "v"],
        &["add_secret_key", "-p", "v", "bob", "AKIDbob", "key of bob"],
        &["add_secret_key", "bob", "AKIDbob2", "another"],
        &[
            "add_secret_key",
            "-p",
            "v",
            "guest",
            "AKIDguest",
            "key of guest",
        ],
    ] {
        node.ok(words).await;
    }
    let made_up = node.ok(&["-q", "add_secret_key", "guest"]).await;
    let (id, key) = made_up
        .trim()
        .rsplit_once('\n')
        .unwrap()
        .1
        .split_once('\t')
        .unwrap();
    assert!(id.starts_with("AKID") && key.len() == 32, "{made_up}");
    assert_eq!(
        node.fails(&["add_secret_key", "bob", "AKIDbob", "x"]).await,
        (70, "Error:\nSecret id \"AKIDbob\" already exists\n".into())
    );
    assert_eq!(node.fails(&["add_secret_key", "bob", "AKIDx"]).await.0, 64);
    assert_eq!(node.fails(&["add_secret_key", "bob", "", "x"]).await.0, 65);
    assert_eq!(node.fails(&["add_secret_key", "nobody"]).await.0, 67);
    assert_eq!(
        node.fails(&["add_secret_key", "-p", "none", "bob"]).await.0,
        69
    );
    let listed = node.ok(&["list_secret_keys", "bob"]).await;
    assert_eq!(
        listed,
        "Listing secret keys ...\nsecret_id\tuser\tvhost\nAKIDbob2\tbob\t/\nAKIDbob\tbob\tv\n"
    );
    node.ok(&["delete_user", "bob"]).await;
    node.ok(&["delete_vhost", "v"]).await;
    let left = node
        .ok(&["-q", "list_secret_keys", "--no-table-headers"])
        .await;
    assert_eq!(left, format!("{id}\tguest\t/\n"));
    node.ok(&["delete_secret_key", id]).await;
    assert_eq!(
        node.fails(&["delete_secret_key", id]).await,
        (65, format!("Error:\nSecret id \"{id}\" does not exist\n"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_set_listed_and_cleared() {
    let node = Node::start().await;
    node.ok(&["add_vhost", "v"]).await;
    node.ok(&["add_user", "bob", "secret"]).await;
    assert_eq!(
        node.ok(&["set_permissions", "-p", "v", "bob", ".*", "^a", ""])
            .await,
        "Setting permissions for user \"bob\" in vhost \"v\" ...\n"
    );
    assert_eq!(
        node.ok(&["list_permissions", "-p", "v"]).await,
        "Listing permissions for vhost \"v\" ...\nuser\tconfigure\twrite\tread\nbob\t.*\t^a\t\n"
    );
    assert_eq!(
        node.ok(&["list_user_permissions", "bob", "--formatter", "json"])
            .await,
        "[\n{\"vhost\":\"v\",\"configure\":\".*\",\"write\":\"^a\",\"read\":\"\"}\n]\n"
    );
    node.ok(&[
        "set_topic_permissions",
        "-p",
        "v",
        "bob",
        "amq.topic",
        "^w",
        "^r.{username}",
    ])
    .await;
    assert_eq!(
        node.ok(&["-q", "list_topic_permissions", "-p", "v"]).await,
        "user\texchange\twrite\tread\nbob\tamq.topic\t^w\t^r.{username}\n"
    );
    for (args, code, err) in [
        (
            &["set_permissions", "-p", "nope", "bob", "", "", ""][..],
            69,
            "Error:\nVirtual host nope does not exist\n",
        ),
        (
            &["set_permissions", "-p", "v", "nobody", "", "", ""],
            67,
            "Error:\nUser nobody does not exist\n",
        ),
        (
            &["list_permissions", "-p", "nope"],
            65,
            "Virtual host 'nope' does not exist\n",
        ),
        (
            &["list_user_permissions", "nobody"],
            69,
            "Error:\n{:no_such_user, \"nobody\"}\n",
        ),
    ] {
        assert_eq!(node.fails(args).await, (code, err.to_owned()), "{args:?}");
    }
    assert_eq!(
        node.fails(&["set_permissions", "-p", "v", "bob", "*", "", ""])
            .await
            .0,
        69
    );
    node.ok(&["clear_topic_permissions", "-p", "v", "bob"])
        .await;
    node.ok(&["clear_permissions", "-p", "v", "bob"]).await;
    assert_eq!(node.ok(&["-q", "list_permissions", "-p", "v"]).await, "");
    assert_eq!(
        node.ok(&["-q", "list_topic_permissions", "-p", "v"]).await,
        ""
    );
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_set_listed_and_cleared() {
    let node = Node::start().await;
    let two = "{\"max-connections\": 2, \"max-channels\": 5}";
    node.ok(&["set_user_limits", "guest", two]).await;
    node.ok(&["set_user_limits", "guest", "{\"max-connections\": 3}"])
        .await;
    assert_eq!(
        node.ok(&["-q", "list_user_limits"]).await,
        "{\"max-channels\":5,\"max-connections\":3}\n"
    );
    node.ok(&["clear_user_limits", "guest", "max-connections"])
        .await;
    assert_eq!(
        node.ok(&["-q", "list_user_limits", "--user", "guest"])
            .await,
        "{\"max-channels\":5}\n"
    );
    node.ok(&["clear_user_limits", "guest", "all"]).await;
    assert_eq!(node.ok(&["-q", "list_user_limits"]).await, "{}\n");
    node.ok(&[
        "set_vhost_limits",
        "{\"max-connections\": 2, \"max-queues\": 5}",
    ])
    .await;
    assert_eq!(
        node.ok(&["list_vhost_limits", "--global"]).await,
        "Listing limits for all vhosts ...\nvhost\tlimits\n/\t{\"max-connections\":2,\"max-queues\":5}\n"
    );
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let shown = node.ok(&["list_vhost_limits", "--formatter", "json"]).await;
    let value = &json(&shown)["value"];
    assert_eq!(value, "{\"max-connections\":2,\"max-queues\":5}");
    node.ok(&["clear_vhost_limits"]).await;
    for words in [
        &["list_vhost_limits"][..],
        &["list_vhost_limits", "--global"],
        &["list_user_limits", "--global"],
    ] {
        let words = [words, &["--formatter", "json"]].concat();
        assert_eq!(node.ok(&words).await, "[]\n", "{words:?}");
    }
    for (args, code, err) in [
        (
            ["set_user_limits", "guest", "{\"max-connections\": \"x\"}"],
            69,
            "Error:\nmax-connections should be a number, actually was <<\"x\">>\n",
        ),
        (
            ["set_user_limits", "guest", "{\"nope\": 1}"],
            69,
            "Error:\nUnrecognised terms [{<<\"nope\">>,1}] in user-limits\n",
        ),
        (
            ["set_user_limits", "guest", "garbage"],
            69,
            "Error:\nCould not parse JSON document: {error,{failed_to_decode_json,<<\"garbage\">>}}\n",
        ),
        (
            ["set_user_limits", "nobody", two],
            69,
            "Error:\n{:no_such_user, \"nobody\"}\n",
        ),
        (
            ["clear_vhost_limits", "-p", "nope"],
            69,
            "Error:\nParameter does not exist\n",
        ),
    ] {
        assert_eq!(node.fails(&args).await, (code, err.to_owned()), "{args:?}");
    }
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vhosts_come_and_go() {
    let node = Node::start().await;
    assert_eq!(
        node.ok(&["add_vhost", "v1"]).await,
        "Adding vhost \"v1\" ...\n"
    );
    assert_eq!(
        node.ok(&["add_vhost", "v1"]).await,
        "Adding vhost \"v1\" ...\n",
        "again is no error"
    );
    node.ok(&[
        "add_vhost",
        "v2",
        "--description",
        "d e",
        "--tags",
        "a,b",
        "--default-queue-type",
        "quorum",
    ])
    .await;
    assert_eq!(
        node.ok(&[
            "-q",
            "list_vhosts",
            "name",
            "description",
            "tags",
            "default_queue_type",
            "tracing"
        ])
        .await,
        "name\tdescription\ttags\tdefault_queue_type\ttracing\n/\tDefault virtual host\t[]\tclassic\tfalse\n\
         v1\t\t[]\tclassic\tfalse\nv2\td e\t[a, b]\tquorum\tfalse\n"
    );
    node.ok(&["set_permissions", "-p", "v2", "guest", "", "", ""])
        .await;
    assert_eq!(
        node.ok(&["delete_vhost", "v2"]).await,
        "Deleting vhost \"v2\" ...\n"
    );
    assert_eq!(
        node.fails(&["delete_vhost", "v2"]).await,
        (65, "Virtual host 'v2' does not exist\n".into())
    );
    node.ok(&["add_vhost", "v2"]).await;
    assert_eq!(
        node.ok(&["-q", "list_permissions", "-p", "v2"]).await,
        "",
        "permissions went with the vhost"
    );
    assert_eq!(
        node.ok(&["list_vhosts"]).await,
        "Listing vhosts ...\nname\n/\nv1\nv2\n"
    );
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_have_rabbitmqctls_columns_and_forms() {
    let node = Node::start().await;
    let help = node.ok(&["help", "list_connections"]).await;
    let (_, columns) = help.split_once("must be one of ").unwrap();
    // What `rabbitmqctl help list_connections` of 4.0.5 says.
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
async fn words_that_make_no_sense_are_refused_as_rabbitmqctl_refuses_them() {
    let node = Node::start().await;
    for (args, code, start) in [
        (&[][..], 64, "Usage\n"),
        (
            &["bogus_verb"],
            64,
            "Error: command 'bogus_verb' not found. See 'leveret ctl help'\n",
        ),
        (
            &["list_queues", "bogus"],
            64,
            "Error (argument validation): Info key(s) bogus are not supported\n",
        ),
        (
            &["set_disk_free_limit", "x"],
            65,
            "Error (argument validation): Bad argument.\n",
        ),
        (
            &["purge_queue", "nope"],
            65,
            "Object (queue, stream, exchange, etc) was not found\n",
        ),
        (&["delete_queue", "nope"], 64, "Error:\nQueue not found\n"),
        (
            &["close_connection", "garbage", "bye"],
            69,
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
async fn the_node_reports_and_obeys() {
    // An address of its own: nobody else takes the port while nobody listens.
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
        "nobody listens"
    );
    assert_eq!(node.fails(&["list_users"]).await.0, 64);
    assert_eq!(
        node.fails(&["await_startup"]).await,
        (69, "Error:\nrabbit_is_not_running\n".into())
    );
    node.ok(&["ping"]).await;
    node.ok(&["start_app"]).await;
    tokio::net::TcpStream::connect(address).await.unwrap();
    node.ok(&["list_users"]).await;
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_its_owners_and_goes_with_the_broker() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::start().await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let socket = node.dir.path().join("ctl.sock");
    assert_eq!((mode(&socket), mode(node.dir.path())), (0o600, 0o700));
    node.server.shutdown().await;
    assert!(!socket.exists());
    let said = ctl(node.dir.path(), &["list_users"]).await;
    assert_eq!(said.code, 69);
    assert!(
        said.err
            .starts_with("Error: unable to perform an operation on node 'leveret@"),
        "{}",
        said.err
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
        elsewhere.err.contains(node.dir.path().to_str().unwrap()),
        "--data-dir counts more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_is_rewound_to_an_offset_or_a_time() {
    let node = Node::start().await;
    let mut peer = Peer::connect(node.server.amqp_addr(), Client::default()).await;
    peer.open(1).await;
    let keeps = [("x-rewind-seconds", AMQPValue::LongInt(60))];
    peer.declare_durable(1, "q", &keeps).await;
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
            69,
            "no message has that offset yet: the next one will be 3",
        ),
        (
            &["rewind", "q", "--to", "9999-01-01T00:00:00Z"],
            69,
            "the time to rewind to is in the future",
        ),
        (
            &["rewind", "plain", "--to", "0"],
            69,
            "the queue does not keep acked messages (x-rewind-seconds)",
        ),
        (&["rewind", "nope", "--to", "0"], 65, "Queue not found"),
        (
            &["rewind", "q", "--to", "soon"],
            64,
            "--to: 'soon' is neither an offset (digits), nor a time",
        ),
        (
            &["rewind", "q"],
            64,
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
