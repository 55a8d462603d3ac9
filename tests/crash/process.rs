//! The broker as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_leveret");

/// Number of kills, unless `LEVERET_CRASH_CYCLES` sets it.
pub(crate) fn cycles(usual: u64) -> u64 {
    std::env::var("LEVERET_CRASH_CYCLES").map_or(usual, |n| n.parse().expect("a number"))
}

/// A running broker; killed when dropped.
pub(crate) struct Broker {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The address of CMQ's API, if the broker serves it.
    pub(crate) cmq: Option<SocketAddr>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Broker {
    /// Starts a broker on a data directory.
    pub(crate) fn start(dir: &Path) -> Broker {
        Broker::start_by(&mut Command::new(PROGRAM), dir)
    }

    /// Starts a broker by a command that ends with the program.
    pub(crate) fn start_by(command: &mut Command, dir: &Path) -> Broker {
        Broker::run(command, dir, "none")
    }

    /// As [`Broker::start_by`], with CMQ's API.
    pub(crate) fn start_with_cmq(command: &mut Command, dir: &Path) -> Broker {
        Broker::run(command, dir, "127.0.0.1:0")
    }

    fn run(command: &mut Command, dir: &Path, cmq_listen: &str) -> Broker {
        let mut child = command
            // Settings of the tests, which the broker would report as unknown options.
            .env_remove("LEVERET_CRASH_CYCLES")
            .env_remove("LEVERET_FULL_DISK")
            .arg("--data-dir")
            .arg(dir)
            .args(["--amqp-listen", "127.0.0.1:0", "--cmq-listen", cmq_listen])
            .args(["--management-listen", "none", "--prometheus-listen", "none"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the broker starts");
        let stderr = child.stderr.take().expect("piped");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let (mut address, mut cmq, mut log) = (None, None, Vec::new());
        for line in lines.by_ref() {
            if let Some((_, found)) = line.split_once("AMQP listener on ") {
                address = found.trim().parse().ok();
            }
            if let Some((_, found)) = line.split_once("CMQ listener on ") {
                cmq = found.trim().parse().ok();
            }
            let ready = line.contains("leveret is ready");
            log.push(line);
            if ready {
                break;
            }
        }
        // A thread reads the rest of the log, so that the pipe never fills up.
        let log = Arc::new(Mutex::new(log));
        let later = log.clone();
        thread::spawn(move || {
            for line in lines {
                if line.contains("ERROR") {
                    eprintln!("broker: {line}");
                }
                later.lock().push(line);
            }
        });
        let address = address.unwrap_or_else(|| panic!("the broker did not start: {log:#?}"));
        Broker {
            child,
            address,
            cmq,
            log,
        }
    }

    /// Whether a line of the log contains all of these.
    pub(crate) fn has_logged(&self, parts: &[&str]) -> bool {
        let log = self.log.lock();
        log.iter()
            .any(|line| parts.iter().all(|part| line.contains(part)))
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited for");
    }
}

impl Drop for Broker {
    /// Also when a check fails, so that no process is left behind.
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().expect("waited for");
        }
    }
}
