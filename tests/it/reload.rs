//! The binary reads RabbitMQ's configuration and environment, and its configuration again on SIGHUP.

use std::path::Path;
use std::process::{Command, Output};

use leveret::wire::AMQPClass;
use leveret::wire::protocol::connection;
use rustix::process::Signal;

use crate::process::Process;
use crate::support::{Client, Peer};

pub(crate) fn ctl(dir: &Path, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    let command = command.arg("ctl").args(words).arg("--data-dir").arg(dir);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    (status.success(), said)
}

/// The heartbeat that the broker offers to a new connection.
async fn offered_heartbeat(address: &str) -> u16 {
    let address = address.parse().unwrap();
    let mut peer = Peer::log_in(address, Client::default(), "guest", "guest").await;
    match peer.method().await.1 {
        AMQPClass::Connection(connection::AMQPMethod::Tune(tune)) => tune.heartbeat,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn sighup_applies_live_settings_and_names_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let [toml, conf] = ["leveret.toml", "rabbitmq.conf"].map(|name| dir.path().join(name));
    let configure = |own: &str, rabbit: &str| {
        std::fs::write(&toml, own).unwrap();
        std::fs::write(&conf, rabbit).unwrap();
    };
    configure(
        "heartbeat = 30",
        "disk_free_limit.absolute = 1MB\ndisk_free_limit.relative = 1.0",
    );
    let with_files = |mut command: Command| {
        command
            .arg("--config")
            .arg(&toml)
            .arg("--rabbitmq-conf")
            .arg(&conf);
        command
    };
    let mut broker = Process::start_by(with_files, &data);
    let address = broker.address.clone();
    assert_eq!(offered_heartbeat(&address).await, 30);

    configure(
        "heartbeat = 7\nmemory-budget = '1MiB'\nlog-level = 'debug'",
        "disk_free_limit.absolute = 2MB\nvm_memory_high_watermark.absolute = 3GB\nloopback_users = none\n\
         queue_master_locator = min-masters",
    );
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.args([
            "check-config",
            "--against-running",
            "--amqp-listen",
            "127.0.0.1:0",
        ]);
        command.args([
            "--cmq-listen",
            "127.0.0.1:0",
            "--management-listen",
            "none",
            "--prometheus-listen",
            "none",
        ]);
        command.arg("--data-dir").arg(&data);
        String::from_utf8(with_files(command).output().unwrap().stdout).unwrap()
    };
    let said = check();
    assert!(
        said.contains("a reload would change heartbeat from 30 to 7\n"),
        "{said}"
    );
    assert!(
        said.contains("to \"1MiB\", which needs a restart\n"),
        "{said}"
    );
    broker.signal(Signal::HUP);
    let lines = broker.log_to("configuration reloaded");
    let said = check();
    assert!(
        said.contains("memory-budget") && !said.contains("heartbeat"),
        "{said}"
    );
    for expected in [
        "queue_master_locator (",
        "configuration: heartbeat from 30 to 7",
        "configuration: memory-budget from \"256MiB\" to \"1MiB\", which needs a restart",
        "configuration: disk-free-limit from 1000000 to 2000000",
        "configuration: memory-high-watermark from \"0.6\" to 3000000000",
        "configuration: loopback-users from [\"guest\"] to [\"none\"]",
        "configuration: log-level from \"info\" to \"debug\"",
    ] {
        assert!(lines.contains(expected), "{expected}: {lines}");
    }
    assert_eq!(offered_heartbeat(&address).await, 7);
    let status = ctl(&data, &["status", "--formatter", "json"]).1;
    for expected in [
        "\"disk_free_limit\":2000000",
        "\"vm_memory_high_watermark_limit\":3000000000",
    ] {
        assert!(status.replace(": ", ":").contains(expected), "{status}");
    }

    // A lower limit lets connections beyond it live, and refuses others.
    configure(
        "heartbeat = 7\nmemory-budget = '1MiB'\nconnection-max = 1",
        "",
    );
    let parsed = address.parse().unwrap();
    let mut first = Peer::connect(parsed, Client::default()).await;
    let mut second = Peer::connect(parsed, Client::default()).await;
    broker.signal(Signal::HUP);
    let lines = broker.log_to("configuration reloaded");
    assert!(lines.contains("connection-max from 100000 to 1"), "{lines}");
    assert!(!Peer::is_accepted(parsed).await);
    first.open(1).await;
    second.open(1).await;

    configure("heartbeat = 'often'", "");
    broker.signal(Signal::HUP);
    let lines = broker.log_to("the configuration was not reloaded");
    assert!(
        lines.contains("invalid value 'often' for heartbeat"),
        "{lines}"
    );
    assert_eq!(offered_heartbeat(&address).await, 7);

    // What needs a restart is named until there is one.
    configure("heartbeat = 7\nmemory-budget = '1MiB'", "");
    broker.signal(Signal::HUP);
    let lines = broker.log_to("configuration reloaded");
    assert!(
        lines.contains("memory-budget from \"256MiB\" to \"1MiB\""),
        "{lines}"
    );
    assert!(!lines.contains("heartbeat from"), "{lines}");
}

#[test]
fn rabbitmq_conf_makes_the_default_user_and_its_virtual_host() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let conf = dir.path().join("rabbitmq.conf");
    std::fs::write(
        &conf,
        "default_user = app\ndefault_pass = $(APP_PASS)\ndefault_vhost = shop\ndefault_user_tags.monitoring = true\n\
         default_permissions.configure = ^app\ndefault_permissions.read = .*\ndefault_permissions.write = ^$\n\
         cluster_name = hares\ndefault_queue_type = quorum\n",
    )
    .unwrap();
    let with_conf = |mut command: Command| {
        command
            .arg("--rabbitmq-conf")
            .arg(&conf)
            .env("APP_PASS", "geheim");
        command
    };
    let _broker = Process::start_by(with_conf, &data);
    assert!(ctl(&data, &["authenticate_user", "app", "geheim"]).0);
    assert!(!ctl(&data, &["authenticate_user", "guest", "guest"]).0);
    for (words, expected) in [
        (&["-q", "list_users"][..], "app\t[monitoring]"),
        (
            &["-q", "list_permissions", "-p", "shop"],
            "app\t^app\t^$\t.*",
        ),
        (
            &["-q", "list_vhosts", "name", "default_queue_type"],
            "shop\tquorum",
        ),
        (&["-q", "list_global_parameters"], "cluster_name\t\"hares\""),
    ] {
        let (_, said) = ctl(&data, words);
        assert!(said.contains(expected), "{words:?}: {said}");
    }
}

#[test]
fn variables_of_the_container_image_count_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "geheim\n").unwrap();
    for (switch, expected) in [("true", true), ("false", false)] {
        let data = dir.path().join(switch);
        let with_variables = |mut command: Command| {
            command
                .env("LEVERET_RABBITMQ_VARIABLES", switch)
                .env("RABBITMQ_DEFAULT_USER", "app")
                .env("RABBITMQ_DEFAULT_PASS_FILE", &secret)
                .env("RABBITMQ_NODENAME", "rabbit@host");
            command
        };
        let broker = Process::start_by(with_variables, &data);
        assert_eq!(
            ctl(&data, &["authenticate_user", "app", "geheim"]).0,
            expected
        );
        assert_eq!(
            broker
                .start_log()
                .contains("RABBITMQ_NODENAME has no effect"),
            expected
        );
    }
}

#[test]
fn the_log_has_one_json_object_per_line_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let as_json = |mut command: Command| {
        command
            .env("LEVERET_LOG_FORMAT", "json")
            .env("LEVERET_HARTBEAT", "1");
        command
    };
    let mut broker = Process::start_by(as_json, dir.path());
    broker.signal(Signal::TERM);
    let (_, rest) = broker.ended();
    let log = format!("{}{rest}", broker.start_log());
    for line in log.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        for field in ["timestamp", "level", "message"] {
            assert!(object[field].is_string(), "{line}");
        }
    }
    let warning = log
        .lines()
        .find(|line| line.contains("LEVERET_HARTBEAT"))
        .unwrap();
    let warning: serde_json::Value = serde_json::from_str(warning).unwrap();
    assert_eq!(warning["level"], "WARN");
    let stop = log
        .lines()
        .find(|line| line.contains("\"shutting down\""))
        .unwrap();
    let stop: serde_json::Value = serde_json::from_str(stop).unwrap();
    assert_eq!(stop["signal"], "SIGTERM");
}
