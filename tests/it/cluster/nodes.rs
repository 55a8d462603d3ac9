//! The nodes of a set as processes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A node that has not done what is asked after this time does not do it.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
const SECRET: &str = "a secret of the tests";

/// Addresses that are free now.
fn free_addresses<const COUNT: usize>() -> [String; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().to_string())
}

/// One node, killed when dropped.
pub(super) struct Node {
    pub(super) name: &'static str,
    /// Where other nodes reach it.
    pub(super) address: String,
    pub(super) amqp: String,
    pub(super) management: String,
    metrics: String,
    dir: PathBuf,
    /// The value of `--cluster-peers`.
    pub(super) peers: String,
    /// Further options.
    pub(super) options: Vec<String>,
    process: Option<Child>,
}

/// Nodes that form a set together. Not started yet.
pub(super) fn nodes<const COUNT: usize>(dir: &Path, names: [&'static str; COUNT]) -> [Node; COUNT] {
    let addresses = free_addresses::<COUNT>();
    let peers: Vec<String> = names
        .iter()
        .zip(&addresses)
        .map(|(name, address)| format!("{name}={address}"))
        .collect();
    let peers = peers.join(",");
    let mut addresses = addresses.into_iter();
    names.map(|name| Node {
        name,
        address: addresses.next().unwrap(),
        amqp: free_addresses::<1>()[0].clone(),
        management: free_addresses::<1>()[0].clone(),
        metrics: free_addresses::<1>()[0].clone(),
        dir: dir.join(name),
        peers: peers.clone(),
        options: Vec::new(),
        process: None,
    })
}

pub(super) const THREE: [&str; 3] = ["a", "b", "c"];

/// Three nodes that have formed a set, and which of them leads.
pub(super) fn formed(dir: &Path) -> ([Node; 3], usize) {
    let mut set = nodes(dir, THREE);
    set.iter_mut().for_each(Node::start);
    set[0].ok(&["await_online_nodes", "3"]);
    let leader = agreed_leader(&set.each_ref());
    (set, leader)
}

/// Waits until all these nodes know that this one leads.
pub(super) fn until_leads(nodes: &[&Node], expected: usize) {
    eventually("it leads", || match agreed_leader(nodes) {
        leader if leader == expected => Ok(()),
        other => Err(format!("{other}")),
    });
}

impl Node {
    /// A node that knows no other.
    pub(super) fn alone(dir: &Path, name: &'static str) -> Node {
        let [mut node] = nodes(dir, [name]);
        node.peers = "none".to_owned();
        node
    }

    pub(super) fn start(&mut self) {
        let process = self.command(self.name, &self.peers).spawn().unwrap();
        self.process = Some(process);
    }

    /// Starts it without a set.
    pub(super) fn start_by_itself(&mut self) {
        let process = self.broker(self.name).spawn().unwrap();
        self.process = Some(process);
    }

    /// What the node says when it refuses to start under another name.
    pub(super) fn refusal_as(&self, name: &str) -> String {
        let mut command = self.command(name, "none");
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn command(&self, name: &str, peers: &str) -> Command {
        let mut command = self.broker(name);
        command
            .env("LEVERET_CLUSTER_SECRET", SECRET)
            .env("LEVERET_CLUSTER_PEERS", peers)
            .args(["--cluster-listen", &self.address]);
        command
    }

    fn broker(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command
            .args(["--node-name", name])
            .args(["--amqp-listen", &self.amqp, "--cmq-listen", "none"])
            .args(["--management-listen", &self.management])
            .args(["--prometheus-listen", &self.metrics])
            .args(&self.options)
            .arg("--data-dir")
            .arg(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// A file in its data directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Waits until the process ends by itself. True if it says that it has failed.
    pub(super) fn has_refused(&mut self) -> bool {
        let mut process = self.process.take().unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut ended = None;
        while ended.is_none() && Instant::now() < deadline {
            std::thread::sleep(POLL);
            ended = process.try_wait().unwrap();
        }
        process.kill().unwrap();
        process.wait().unwrap();
        ended.is_some_and(|status| !status.success())
    }

    fn ctl(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_leveret"))
            .arg("ctl")
            .args(words)
            .arg("--data-dir")
            .arg(&self.dir)
            .output()
            .unwrap()
    }

    /// Carries out a verb; returns what it prints, or its error.
    pub(super) fn try_ctl(&self, words: &[&str]) -> Result<String, String> {
        let output = self.ctl(words);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    /// Carries out a verb as soon as the node does it.
    pub(super) fn ok(&self, words: &[&str]) -> String {
        eventually(&format!("{} does {words:?}", self.name), || {
            self.try_ctl(words)
        })
    }

    /// The set as this node reports it.
    pub(super) fn status(&self) -> Value {
        let text = self.ok(&["cluster_status", "--formatter", "json", "--quiet"]);
        serde_json::from_str(&text).unwrap()
    }

    /// The leader that this node knows, without `leveret@`.
    pub(super) fn leader(&self) -> Option<String> {
        let status = self.status();
        let leader = status["set"]["leader"].as_str()?;
        leader.strip_prefix("leveret@").map(str::to_owned)
    }

    pub(super) fn running(&self) -> usize {
        self.status()["running_nodes"].as_array().unwrap().len()
    }

    pub(super) fn metrics(&self) -> String {
        request(&self.metrics, "/metrics")
    }

    /// The status of a health check over the management API.
    pub(super) fn check(&self, name: &str) -> String {
        let answer = request(&self.management, &format!("/api/health/checks/{name}"));
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// Number of threads of the process.
    pub(super) fn threads(&self) -> usize {
        let process = self.process.as_ref().unwrap();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
        tasks.count()
    }

    /// Stops the process where it is.
    pub(super) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(super) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().unwrap();
        kill_process(Pid::from_child(process), signal).unwrap();
    }

    /// Waits until the node, whose files are damaged, has put them aside.
    pub(super) fn begins_anew(&self) {
        eventually("it begins anew", || {
            match self.path("damaged/member-1").exists() {
                true => Ok(()),
                false => Err("it has not begun".to_owned()),
            }
        });
    }

    /// Waits until a node that begins anew has everything.
    pub(super) fn is_whole(&self) {
        eventually("it is whole", || match self.path("begins-anew").exists() {
            true => Err("it has not got everything yet".to_owned()),
            false => Ok(()),
        });
    }

    /// Asks the process to end, and waits for that.
    pub(super) fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        let pid = Pid::from_child(&process);
        kill_process(pid, Signal::TERM).unwrap();
        let ended = process.wait().unwrap();
        assert!(ended.success(), "{}: {ended}", self.name);
    }

    pub(super) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

/// The whole answer to a request without a login. Nothing if the connection ends before.
fn request(address: &str, path: &str) -> String {
    let ask = || {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes())?;
        let mut text = String::new();
        socket.read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    ask().unwrap_or_default()
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// Tries until it works.
pub(super) fn eventually<T>(what: &str, attempt: impl Fn() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) if Instant::now() >= deadline => panic!("{what}: {error}"),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// Waits until all these nodes know the same leader; returns its index.
pub(super) fn agreed_leader(nodes: &[&Node]) -> usize {
    eventually("the nodes agree on a leader", || {
        let known: Vec<Option<String>> = nodes.iter().map(|node| node.leader()).collect();
        let first = known.first().cloned().flatten();
        let index = nodes
            .iter()
            .position(|node| first.as_deref() == Some(node.name));
        match known.windows(2).all(|pair| pair[0] == pair[1]) {
            true => index.ok_or_else(|| format!("{known:?}")),
            false => Err(format!("{known:?}")),
        }
    })
}
