//! The broker as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_leveret");

/// How often a broker is killed; `LEVERET_CRASH_CYCLES` says otherwise.
pub(crate) fn cycles(usual: u64) -> u64 {
    std::env::var("LEVERET_CRASH_CYCLES").map_or(usual, |n| n.parse().expect("a number"))
}

/// A broker that runs.
pub(crate) struct Broker {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Of CMQ's API, if it serves that.
    pub(crate) cmq: Option<SocketAddr>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Broker {
    /// Starts it on a data directory.
    pub(crate) fn start(dir: &Path) -> Broker {
        Broker::start_by(&mut Command::new(PROGRAM), dir)
    }

    /// Starts it by a command that ends with the program.
    pub(crate) fn start_by(command: &mut Command, dir: &Path) -> Broker {
        Broker::run(command, dir, "none")
    }

    /// The same, and serves CMQ's API too.
    pub(crate) fn start_with_cmq(command: &mut Command, dir: &Path) -> Broker {
        Broker::run(command, dir, "127.0.0.1:0")
    }

    fn run(command: &mut Command, dir: &Path, cmq_listen: &str) -> Broker {
        let mut child = command
            .arg("--data-dir")
            .arg(dir)
            .args(["--amqp-listen", "127.0.0.1:0", "--cmq-listen", cmq_listen])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the broker starts");
        let stderr = child.stderr.take().expect("piped");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let (mut address, mut cmq, mut said) = (None, None, Vec::new());
        for line in lines.by_ref() {
            if let Some((_, found)) = line.split_once("AMQP listener on ") {
                address = found.trim().parse().ok();
            }
            if let Some((_, found)) = line.split_once("CMQ listener on ") {
                cmq = found.trim().parse().ok();
            }
            let ready = line.contains("leveret is ready");
            said.push(line);
            if ready {
                break;
            }
        }
        // What it says later is read too, lest it wait for its pipe.
        let said = Arc::new(Mutex::new(said));
        let saying = said.clone();
        thread::spawn(move || {
            for line in lines {
                if line.contains("ERROR") {
                    eprintln!("broker: {line}");
                }
                saying.lock().push(line);
            }
        });
        let address = address.unwrap_or_else(|| panic!("the broker did not start: {said:#?}"));
        Broker {
            child,
            address,
            cmq,
            said,
        }
    }

    /// Whether a line of its log holds all of these.
    pub(crate) fn has_said(&self, parts: &[&str]) -> bool {
        let said = self.said.lock();
        said.iter()
            .any(|line| parts.iter().all(|part| line.contains(part)))
    }

    /// SIGKILL.
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
