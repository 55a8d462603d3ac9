//! What a service manager is told about a broker process: a socket of the test takes systemd's place.

use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::process::Signal;

use crate::process::Process;
use crate::support::PATIENCE;

/// The socket that the broker sends its messages to.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(path: &Path) -> Manager {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager(socket)
    }

    /// The next message, as its lines.
    fn next(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.0.recv(&mut message).expect("a message in time");
        let text = String::from_utf8(message[..length].to_vec()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The first message with this line; skips others.
    fn wait_for(&self, line: &str) -> Vec<String> {
        loop {
            let message = self.next();
            if message.iter().any(|has| has == line) {
                return message;
            }
        }
    }
}

#[test]
fn a_service_manager_hears_of_the_start_the_watchdog_and_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = Manager::listen(&socket);
    let mut broker = Process::start_by(
        |mut command| {
            command
                .env("NOTIFY_SOCKET", &socket)
                .env("WATCHDOG_USEC", "100000")
                .args(["--shutdown-grace", "2000"]);
            command
        },
        &dir.path().join("data"),
    );
    let ready = ["READY=1", "STATUS=serving clients"];
    assert_eq!(manager.next(), ready);
    TcpStream::connect(&broker.address).unwrap();
    for _ in 0..3 {
        assert_eq!(manager.next(), ["WATCHDOG=1"]);
    }
    broker.signal(Signal::TERM);
    // The grace, and a minute for the rest.
    let stopping = [
        "STOPPING=1",
        "EXTEND_TIMEOUT_USEC=62000000",
        "STATUS=closing connections",
    ];
    assert_eq!(manager.wait_for("STOPPING=1"), stopping);
    assert_eq!(broker.ended().0, Some(0));
}

#[test]
fn a_service_manager_hears_of_a_reload_and_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = Manager::listen(&socket);
    let broker = Process::start_by(
        |mut command| {
            command.env("NOTIFY_SOCKET", &socket);
            command
        },
        &dir.path().join("data"),
    );
    manager.wait_for("READY=1");
    broker.signal(Signal::HUP);
    let reloading = manager.wait_for("RELOADING=1");
    // systemd compares this time with its own to tell a later reload from this one.
    let since_boot = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(since_boot.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.next(), ["READY=1"]);
}

#[test]
fn the_status_tells_that_publishers_are_blocked() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = Manager::listen(&socket);
    let _broker = Process::start_by(
        |mut command| {
            command
                .env("NOTIFY_SOCKET", &socket)
                .args(["--disk-free-limit", "1000000TB"]);
            command
        },
        &dir.path().join("data"),
    );
    manager.wait_for("STATUS=serving clients; publishers are blocked: low on disk");
}

#[test]
fn an_unreachable_service_manager_does_not_keep_the_broker_from_serving() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    let mut broker = Process::start_by(
        |mut command| {
            command.env("NOTIFY_SOCKET", &nowhere);
            command
        },
        &dir.path().join("data"),
    );
    TcpStream::connect(&broker.address).unwrap();
    broker.signal(Signal::TERM);
    let (code, log) = broker.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("cannot reach the service manager"), "{log}");
}
