//! `leveret ctl` against a running broker: it prints and exits as rabbitmqctl 4.0.5 does.

mod access;
mod definitions;
mod diagnostics;
mod load_definitions;
mod node;
mod parameters;
mod policies;
mod remote;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use leveret::cli;
use leveret::config::Config;
use leveret::server::{RunningServer, Server};

use crate::support::PATIENCE;

/// A broker on a free port with a data directory of its own.
struct Node {
    server: RunningServer,
    dir: tempfile::TempDir,
}

/// The outcome of a command.
#[derive(Debug, PartialEq)]
struct Ran {
    stdout: String,
    stderr: String,
    code: i32,
}

fn config(dir: &Path, address: IpAddr) -> Config {
    let words = format!(
        "leveret --amqp-listen {address}:0 --cmq-listen 127.0.0.1:0 --management-listen none \
         --prometheus-listen none --data-dir"
    );
    let words = words
        .split(' ')
        .map(Into::into)
        .chain([dir.as_os_str().to_owned()]);
    match cli::parse(words, |_| None).unwrap() {
        cli::Command::Serve(serve) => serve.config,
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

    /// Stops the broker in good order and starts it again on the same data.
    async fn restart(self) -> Node {
        self.restart_with(|dir| config(dir, Ipv4Addr::LOCALHOST.into()))
            .await
    }

    async fn restart_with(self, config: impl FnOnce(&Path) -> Config) -> Node {
        let Node { server, dir } = self;
        server.shutdown().await;
        let server = Server::start(config(dir.path())).await.unwrap();
        Node { server, dir }
    }

    /// Runs a command on another thread, since the broker needs this one.
    async fn ctl(&self, args: &[&str]) -> Ran {
        ctl(self.dir.path(), args).await
    }

    /// The standard output of a command that must succeed.
    async fn ok(&self, args: &[&str]) -> String {
        let ran = self.ctl(args).await;
        assert_eq!(
            (ran.code, ran.stderr.as_str()),
            (0, ""),
            "{args:?}: {}",
            ran.stdout
        );
        ran.stdout
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

    /// Exit code and standard error of a command that must fail.
    async fn fails(&self, args: &[&str]) -> (i32, String) {
        let ran = self.ctl(args).await;
        assert_ne!(ran.code, 0, "{args:?}: {}", ran.stdout);
        (ran.code, ran.stderr)
    }
}

async fn ctl(dir: &Path, args: &[&str]) -> Ran {
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
    Ran {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}
