//! A disk that fills up, for real: the broker's data lie on a small tmpfs in a mount namespace of its own. Publishers
//! are stopped, consumers are not, and when there is room again everything goes on by itself; nothing confirmed is lost.
//!
//! Needs Linux, `unshare` and `nsenter`, and either root or the right to make user namespaces. Where that is missing the
//! tests say that they are skipped and pass, unless `LEVERET_FULL_DISK=required`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, Event};
use crate::oracle::{Ledger, Publishing, check, drain, number_of};
use crate::process::{Broker, PROGRAM};

const QUEUE: &str = "full";
const WINDOW: u64 = 200;
/// So many confirms more show that a publisher goes on.
const SOME: usize = 400;
const PATIENCE: Duration = Duration::from_secs(60);
/// Within this time a publisher that is not stopped would have been confirmed many messages.
const A_WHILE: Duration = Duration::from_millis(700);

/// A small file system that only the brokers started by it see at its path; it goes when this is dropped.
struct Disk {
    holder: Child,
    /// The holder lives until this is closed, which happens also when the test is killed.
    stdin: Option<ChildStdin>,
    /// How to enter the holder's namespaces.
    enter: &'static [&'static str],
    path: PathBuf,
    mount_point: tempfile::TempDir,
}

impl Disk {
    fn mount(megabytes: u32) -> Option<Disk> {
        let ways: [(&[&str], &'static [&'static str]); 2] = [
            (&["--mount"], &["--mount"]),
            (
                &["--mount", "--map-root-user"],
                &["--mount", "--user", "--preserve-credentials"],
            ),
        ];
        let found = ways
            .into_iter()
            .find_map(|(unshare, enter)| Disk::mount_by(unshare, enter, megabytes));
        if found.is_none() {
            let required = std::env::var("LEVERET_FULL_DISK").is_ok_and(|v| v == "required");
            assert!(!required, "cannot mount a tmpfs in a namespace");
            eprintln!("skipped: cannot mount a tmpfs in a namespace");
        }
        found
    }

    fn mount_by(unshare: &[&str], enter: &'static [&'static str], megabytes: u32) -> Option<Disk> {
        let mount_point = tempfile::tempdir().expect("a directory");
        let script =
            format!("mount -t tmpfs -o size={megabytes}m tmpfs \"$0\" && echo ok && exec cat");
        let mut holder = Command::new("unshare")
            .args(unshare)
            .args(["sh", "-c", &script])
            .arg(mount_point.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        if line.trim() != "ok" {
            holder.wait().expect("waited for");
            return None;
        }
        let inside = mount_point.path().strip_prefix("/").expect("absolute");
        Some(Disk {
            path: Path::new(&format!("/proc/{}/root", holder.id())).join(inside),
            stdin: holder.stdin.take(),
            holder,
            enter,
            mount_point,
        })
    }

    fn start_broker(&self, disk_free_limit: &str) -> Broker {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.holder.id().to_string()])
            .args(self.enter)
            .args(["--", PROGRAM, "--disk-free-limit", disk_free_limit]);
        Broker::start_by(&mut command, &self.mount_point.path().join("data"))
    }

    fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.path).expect("a file system");
        found.f_bavail * found.f_frsize
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut ballast = File::create(self.path.join("ballast")).expect("a file");
        let zeroes = vec![0; 1024 * 1024];
        loop {
            match ballast.write(&zeroes) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::StorageFull => return,
                Err(e) => panic!("filling the disk: {e}"),
            }
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.path.join("ballast")).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.holder.wait().expect("waited for");
    }
}

/// What a publisher and the test tell each other.
#[derive(Default)]
struct Publisher {
    ledger: Ledger,
    blocked: AtomicBool,
    stop: AtomicBool,
}

impl Publisher {
    /// Publishes as long as it may, and until it is told to stop and everything is confirmed, or the broker dies.
    fn run(&self, address: SocketAddr) -> std::io::Result<()> {
        let mut client = Client::connect(address)?;
        client.be_patient(PATIENCE)?;
        client.confirms()?;
        let mut publishing = Publishing::begin(&self.ledger);
        loop {
            let stopping = self.stop.load(Ordering::SeqCst);
            if stopping && publishing.under_way() == 0 {
                return Ok(());
            }
            while !stopping && !self.is_blocked() && publishing.under_way() < WINDOW {
                publishing.send(&mut client, QUEUE)?;
            }
            match client.event()? {
                Event::Confirm { tag, multiple } => publishing.confirmed(tag, multiple),
                Event::Blocked => self.blocked.store(true, Ordering::SeqCst),
                Event::Unblocked => self.blocked.store(false, Ordering::SeqCst),
                Event::Delivery { .. } => panic!("a delivery without a consumer"),
            }
        }
    }

    fn confirmed(&self) -> usize {
        self.ledger.confirmed.lock().len()
    }

    /// Messages that are confirmed and not yet consumed.
    fn waiting(&self) -> usize {
        self.confirmed() - self.ledger.acked.lock().len()
    }

    fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::SeqCst)
    }

    /// Nothing is confirmed for a while. What was on its way when the publisher was blocked may be just before.
    fn assert_stopped(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.confirmed();
            thread::sleep(A_WHILE); // not a wait for something: nothing must happen
            if self.confirmed() == before {
                return;
            }
            assert!(Instant::now() < deadline, "confirms go on");
        }
    }

    fn goes_on(&self) {
        let before = self.confirmed();
        eventually("publishing goes on", || {
            !self.is_blocked() && self.confirmed() > before + SOME
        });
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Consumes and acknowledges so many messages.
fn consume(address: SocketAddr, ledger: &Ledger, count: usize) {
    let mut client = Client::connect(address).expect("connected");
    client.consume(QUEUE, false).expect("consuming");
    let mut seen = Vec::new();
    while seen.len() < count {
        if let Event::Delivery { tag, body, .. } = client.event().expect("a delivery") {
            seen.push(number_of(&body));
            client.ack(tag).expect("acknowledged");
        }
    }
    assert!(seen.is_sorted(), "out of order: {seen:?}");
    // The answer comes after the acknowledgements were taken.
    client.cancel().expect("cancelled");
    ledger.acked.lock().extend(seen);
}

/// Who publishes during an alarm is told. One that waits for confirms without publishing is not, so the publisher
/// of the test may or may not be.
fn assert_blocks(address: SocketAddr) {
    let mut client = Client::connect(address).expect("connected");
    client.publish("nowhere", b"").expect("published");
    assert!(matches!(client.event(), Ok(Event::Blocked)));
}

fn declare(broker: &Broker) {
    let waiting = Client::connect(broker.address)
        .expect("connected")
        .declare(QUEUE);
    assert_eq!(waiting.expect("declared"), 0);
}

/// After a kill and a start everything confirmed must be there.
fn check_after_kill(disk: &Disk, broker: Broker, ledger: &Ledger) {
    broker.kill();
    let broker = disk.start_broker("1MB");
    check(QUEUE, ledger, &drain(broker.address, QUEUE));
}

#[test]
fn publishers_wait_below_the_limit_and_go_on_when_consumers_make_room() {
    let Some(disk) = Disk::mount(160) else { return };
    let broker = disk.start_broker("100MB");
    declare(&broker);
    let publisher = Publisher::default();
    thread::scope(|scope| {
        let running = scope.spawn(|| publisher.run(broker.address));
        eventually("connection.blocked", || publisher.is_blocked());
        assert!(disk.free() > 50_000_000, "stopped late: {}", disk.free());
        publisher.assert_stopped();
        consume(broker.address, &publisher.ledger, publisher.waiting());
        eventually("connection.unblocked", || !publisher.is_blocked());
        publisher.goes_on();
        publisher.stop.store(true, Ordering::SeqCst);
        while !running.is_finished() {
            if publisher.is_blocked() {
                consume(broker.address, &publisher.ledger, publisher.waiting());
            }
            thread::sleep(Duration::from_millis(20));
        }
        running.join().expect("no panic").expect("all confirmed");
    });
    check_after_kill(&disk, broker, &publisher.ledger);
}

#[test]
fn a_failed_write_stops_confirms_until_there_is_room() {
    let Some(disk) = Disk::mount(160) else { return };
    let broker = disk.start_broker("0"); // no alarm comes before the failure
    declare(&broker);
    let publisher = Publisher::default();
    thread::scope(|scope| {
        let running = scope.spawn(|| publisher.run(broker.address));
        publisher.goes_on();
        disk.fill();
        eventually("the alarm", || broker.has_said(&["WARN", "alarm raised"]));
        assert_blocks(broker.address);
        assert!(broker.has_said(&["ERROR", "the store failed"]));
        publisher.assert_stopped();
        consume(broker.address, &publisher.ledger, 100);
        disk.make_room();
        publisher.goes_on();
        publisher.stop.store(true, Ordering::SeqCst);
        eventually("the last confirm", || running.is_finished());
        running.join().expect("no panic").expect("all confirmed");
    });
    let sent = publisher.ledger.next.load(Ordering::SeqCst);
    assert_eq!(publisher.confirmed() as u64, sent);
    check_after_kill(&disk, broker, &publisher.ledger);
}

#[test]
fn a_broker_killed_with_a_full_disk_starts_on_it() {
    let Some(disk) = Disk::mount(160) else { return };
    let broker = disk.start_broker("20MB");
    declare(&broker);
    let publisher = Publisher::default();
    let address = broker.address;
    let broker = thread::scope(|scope| {
        scope.spawn(|| drop(publisher.run(address)));
        publisher.goes_on();
        disk.fill();
        eventually("the alarm", || broker.has_said(&["WARN", "alarm raised"]));
        assert_blocks(broker.address);
        broker.kill();
        let broker = disk.start_broker("20MB");
        assert!(disk.free() < 1_000_000, "{}", disk.free()); // a torn end may have been cut off
        consume(broker.address, &publisher.ledger, 10);
        disk.make_room();
        broker
    });
    check_after_kill(&disk, broker, &publisher.ledger);
}
