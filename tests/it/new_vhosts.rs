//! What new virtual hosts get: users and limits of rabbitmq.conf.

use std::path::Path;
use std::process::Command;

use crate::process::Process;
use crate::reload::ctl;
use crate::support::{Client, Peer};

const CONF: &str = "default_users.ops.password = secret\ndefault_users.ops.tags = monitoring, policymaker\n\
    default_users.ops.configure = ^$\ndefault_users.ops.write = ^a\ndefault_users.dev.vhost_pattern = ^dev\n\
    default_limits.vhosts.2.max_queues = 9\ndefault_limits.vhosts.1.pattern = ^dev\n\
    default_limits.vhosts.1.max_connections = 5\n";

fn said(data: &Path, words: &[&str]) -> String {
    let (succeeded, said) = ctl(data, &[words, &["-q"]].concat());
    assert!(succeeded, "{words:?}: {said}");
    said
}

fn start(dir: &Path, conf: &str) -> Process {
    let file = dir.join("rabbitmq.conf");
    std::fs::write(&file, conf).unwrap();
    let with_file = |mut command: Command| {
        command.arg("--rabbitmq-conf").arg(&file);
        command
    };
    Process::start_by(with_file, &dir.join("data"))
}

#[tokio::test]
async fn a_new_virtual_host_gets_its_default_users_and_limits() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut broker = start(dir.path(), CONF);
    let ops = "ops\t[monitoring, policymaker]\n";
    assert_eq!(
        said(&data, &["list_users"]),
        format!("user\ttags\nguest\t[administrator]\n{ops}")
    );
    assert_eq!(
        said(&data, &["list_vhost_limits"]).trim(),
        r#"{"max-queues":9}"#
    );
    let address = broker.address.parse().unwrap();
    let mut peer = Peer::log_in(address, Client::default(), "ops", "secret").await;
    peer.method().await;
    peer.open_vhost("/").await;

    said(&data, &["add_vhost", "dev1"]);
    let grants = "user\tconfigure\twrite\tread\ndev\t.*\t.*\t.*\nops\t^$\t^a\t.*\n";
    let permissions = ["list_permissions", "-p", "dev1"];
    assert_eq!(said(&data, &permissions), grants);
    let limits = said(&data, &["list_vhost_limits", "-p", "dev1"]);
    assert_eq!(limits.trim(), r#"{"max-connections":5}"#);

    // What an operator has changed stays, also when another virtual host comes.
    said(&data, &["set_user_tags", "ops", "management"]);
    said(&data, &["clear_permissions", "-p", "dev1", "dev"]);
    let vhosts = r#"{"vhosts": [{"name": "dev1"}, {"name": "dev2"}]}"#;
    let file = dir.path().join("definitions.json");
    std::fs::write(&file, vhosts).unwrap();
    said(&data, &["import_definitions", file.to_str().unwrap()]);
    assert!(said(&data, &["list_users"]).contains("ops\t[management]\n"));
    assert!(!said(&data, &permissions).contains("dev\t"));
    assert_eq!(said(&data, &["list_permissions", "-p", "dev2"]), grants);
    let limits = said(&data, &["list_vhost_limits", "-p", "dev2"]);
    assert_eq!(limits.trim(), r#"{"max-connections":5}"#);

    // All of it is durable, and of the virtual hosts alone: without the settings nothing more comes.
    broker.signal(rustix::process::Signal::KILL);
    broker.ended();
    let _broker = start(dir.path(), "");
    assert_eq!(said(&data, &["list_permissions", "-p", "dev2"]), grants);
    said(&data, &["add_vhost", "dev3"]);
    let none = said(&data, &["list_permissions", "-p", "dev3"]);
    assert!(!none.contains("ops"), "{none}");
}
