//! A full disk: the broker's data lies on a small tmpfs in a mount namespace of its own. Publishers are blocked, consumers
//! are not, and everything goes on by itself when there is room again. No confirmed message is lost.
//!
//! The tests need Linux, `unshare` and `nsenter`, and either root or the right to make user namespaces. Elsewhere they print
//! that they are skipped and pass, unless `LEVERET_FULL_DISK=required`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, Event};
use crate::oracle::{Oracle, Publishing, check, drain, number_of};
use crate::process::{Broker, PROGRAM};

const QUEUE: &str = "full";
/// Larger than the disk limit of a test and two files of the store, since an empty file of chunks stays until the next one
/// begins.
const DISK_MIB: u32 = 240;
const WINDOW: u64 = 200;
/// A publisher goes on if it gets this many further confirms.
const PROGRESS: usize = 400;
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Without confirms for this long, a publisher is stopped.
const STANDSTILL: Duration = Duration::from_millis(700);

/// A small file system in a mount namespace, which goes when this is dropped.
struct Disk {
    holder: Child,
    /// The holder ends when this is closed, also if the test is killed.
    stdin: Option<ChildStdin>,
    /// Options of `nsenter` for the holder's namespaces.
    enter: &'static [&'static str],
    path: PathBuf,
    mount_point: tempfile::TempDir,
}

impl Disk {
    fn mount(mebibytes: u32) -> Option<Disk> {
        let ways: [(&[&str], &'static [&'static str]); 2] = [
            (&["--mount"], &["--mount"]),
            (
                &["--mount", "--map-root-user"],
                &["--mount", "--user", "--preserve-credentials"],
            ),
        ];
        let found = ways
            .into_iter()
            .find_map(|(unshare, enter)| Disk::mount_by(unshare, enter, mebibytes));
        if found.is_none() {
            let required = std::env::var("LEVERET_FULL_DISK").is_ok_and(|v| v == "required");
            assert!(!required, "cannot mount a tmpfs in a namespace");
            eprintln!("skipped: cannot mount a tmpfs in a namespace");
        }
        found
    }

    fn mount_by(unshare: &[&str], enter: &'static [&'static str], mebibytes: u32) -> Option<Disk> {
        let mount_point = tempfile::tempdir().expect("a directory");
        let script =
            format!("mount -t tmpfs -o size={mebibytes}m tmpfs \"$0\" && echo ok && exec cat");
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

    /// Fills the disk to the last byte.
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

/// The state that a publisher and the test share.
#[derive(Default)]
struct Publisher {
    oracle: Oracle,
    blocked: AtomicBool,
    stop: AtomicBool,
}

impl Publisher {
    /// Publishes while it is not blocked; ends when it is told to stop and all is confirmed, or when the broker dies.
    fn run(&self, address: SocketAddr) -> std::io::Result<()> {
        let mut client = Client::connect(address)?;
        client.set_timeout(PATIENCE)?;
        client.confirms()?;
        let mut publishing = Publishing::begin(&self.oracle);
        loop {
            let stopping = self.stop.load(Ordering::SeqCst);
            if stopping && publishing.unconfirmed() == 0 {
                return Ok(());
            }
            while !stopping && !self.is_blocked() && publishing.unconfirmed() < WINDOW {
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
        self.oracle.confirmed.lock().len()
    }

    /// Number of messages that are confirmed and not consumed yet.
    fn waiting(&self) -> usize {
        self.confirmed() - self.oracle.acked.lock().len()
    }

    fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::SeqCst)
    }

    /// Waits until confirms have stopped; some may still come after the publisher was blocked.
    fn assert_stopped(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.confirmed();
            thread::sleep(STANDSTILL); // not a wait for an event: nothing may happen
            if self.confirmed() == before {
                return;
            }
            assert!(Instant::now() < deadline, "confirms go on");
        }
    }

    /// Waits until the publisher is not blocked and has got [`PROGRESS`] further confirms.
    fn goes_on(&self) {
        let before = self.confirmed();
        let deadline = Instant::now() + PATIENCE;
        while self.is_blocked() || self.confirmed() <= before + PROGRESS {
            assert!(
                Instant::now() < deadline,
                "publishing does not go on: blocked {}, {} further confirms",
                self.is_blocked(),
                self.confirmed() - before
            );
            thread::sleep(POLL_INTERVAL);
        }
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(POLL_INTERVAL);
    }
}

/// Consumes and acks `count` messages.
fn consume(address: SocketAddr, oracle: &Oracle, count: usize) {
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
    // `cancel-ok` comes after the broker has handled the acks.
    client.cancel().expect("cancelled");
    oracle.acked.lock().extend(seen);
}

/// A client that publishes during an alarm gets `connection.blocked`. The test's publisher may only be waiting for
/// confirms, and then gets none.
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

/// After a kill and a start all confirmed messages must be there.
fn check_after_kill(disk: &Disk, broker: Broker, oracle: &Oracle) {
    broker.kill();
    let broker = disk.start_broker("1MB");
    check(QUEUE, oracle, &drain(broker.address, QUEUE));
}

#[test]
fn publishers_are_blocked_below_the_disk_limit_and_go_on_when_consumers_make_room() {
    let Some(disk) = Disk::mount(DISK_MIB) else {
        return;
    };
    let broker = disk.start_broker("100MB");
    declare(&broker);
    let publisher = Publisher::default();
    thread::scope(|scope| {
        let running = scope.spawn(|| publisher.run(broker.address));
        eventually("connection.blocked", || publisher.is_blocked());
        assert!(disk.free() > 50_000_000, "blocked late: {}", disk.free());
        publisher.assert_stopped();
        consume(broker.address, &publisher.oracle, publisher.waiting());
        eventually("connection.unblocked", || !publisher.is_blocked());
        publisher.goes_on();
        publisher.stop.store(true, Ordering::SeqCst);
        while !running.is_finished() {
            if publisher.is_blocked() {
                consume(broker.address, &publisher.oracle, publisher.waiting());
            }
            thread::sleep(Duration::from_millis(20));
        }
        running.join().expect("no panic").expect("all confirmed");
    });
    check_after_kill(&disk, broker, &publisher.oracle);
}

#[test]
fn a_failed_write_stops_confirms_until_there_is_room() {
    let Some(disk) = Disk::mount(DISK_MIB) else {
        return;
    };
    let broker = disk.start_broker("0"); // no alarm before the write fails
    declare(&broker);
    let publisher = Publisher::default();
    thread::scope(|scope| {
        let running = scope.spawn(|| publisher.run(broker.address));
        publisher.goes_on();
        disk.fill();
        eventually("the alarm", || broker.has_logged(&["WARN", "alarm raised"]));
        assert_blocks(broker.address);
        assert!(broker.has_logged(&["ERROR", "the store failed"]));
        publisher.assert_stopped();
        consume(broker.address, &publisher.oracle, 100);
        disk.make_room();
        publisher.goes_on();
        publisher.stop.store(true, Ordering::SeqCst);
        eventually("the last confirm", || running.is_finished());
        running.join().expect("no panic").expect("all confirmed");
    });
    let sent = publisher.oracle.next.load(Ordering::SeqCst);
    assert_eq!(publisher.confirmed() as u64, sent);
    check_after_kill(&disk, broker, &publisher.oracle);
}

/// Publishes until the disk is full and the alarm is raised. Then comes `act`, which may put another broker in the place of
/// the first. `None` where no disk can be mounted.
fn with_full_disk(
    disk_free_limit: &str,
    act: impl FnOnce(&Disk, Broker, &Publisher) -> Broker,
) -> Option<(Disk, Broker, Publisher)> {
    let disk = Disk::mount(DISK_MIB)?;
    let broker = disk.start_broker(disk_free_limit);
    declare(&broker);
    let publisher = Publisher::default();
    let address = broker.address;
    let broker = thread::scope(|scope| {
        scope.spawn(|| drop(publisher.run(address)));
        publisher.goes_on();
        disk.fill();
        eventually("the alarm", || broker.has_logged(&["WARN", "alarm raised"]));
        act(&disk, broker, &publisher)
    });
    Some((disk, broker, publisher))
}

#[test]
fn a_broker_killed_with_a_full_disk_starts_on_it() {
    let ended = with_full_disk("20MB", |disk, broker, publisher| {
        assert_blocks(broker.address);
        broker.kill();
        let broker = disk.start_broker("20MB");
        assert!(disk.free() < 1_000_000, "{}", disk.free()); // recovery may have cut off an incomplete end
        consume(broker.address, &publisher.oracle, 10);
        disk.make_room();
        broker
    });
    if let Some((disk, broker, publisher)) = ended {
        check_after_kill(&disk, broker, &publisher.oracle);
    }
}

/// Without a limit the disk fills up to its last byte. Acks must still reach it, or else the queue could never be emptied;
/// and publishers stay blocked meanwhile.
#[test]
fn a_full_disk_can_be_emptied() {
    let ended = with_full_disk("0", |disk, broker, publisher| {
        eventually("the store to go on", || {
            broker.has_logged(&["INFO", "the store works again"])
        });
        assert_blocks(broker.address);
        consume(broker.address, &publisher.oracle, 100);
        publisher.assert_stopped();
        assert!(
            !broker.has_logged(&["INFO", "alarm cleared"]),
            "publishers are let in"
        );
        broker.kill();
        disk.make_room();
        disk.start_broker("0")
    });
    let Some((_disk, broker, publisher)) = ended else {
        return;
    };
    let found = drain(broker.address, QUEUE);
    check(QUEUE, &publisher.oracle, &found);
    let acked = publisher.oracle.acked.lock();
    let again = found.iter().filter(|number| acked.contains(number)).count();
    assert_eq!(again, 0, "the acks were durable");
}
