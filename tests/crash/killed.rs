//! The real broker is killed with SIGKILL under load, again and again on one data directory. After each start every
//! message that was confirmed and not consumed must be there, in order, once, and nothing else.
//! `LEVERET_CRASH_CYCLES` sets how often it is killed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::client::{Client, Event};

const CYCLES: u64 = 20;
/// Messages that a publisher has on the way without a confirm.
const WINDOW: u64 = 200;
const QUEUES: [&str; 3] = ["killed.0", "killed.1", "killed.2"];
/// From this queue a consumer takes messages while the load runs.
const CONSUMED: usize = 0;
const BARRIER: &str = "killed.barrier";

/// The broker as a process.
struct Broker {
    child: Child,
    address: SocketAddr,
}

impl Broker {
    fn start(dir: &Path) -> Broker {
        let mut child = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .arg("--data-dir")
            .arg(dir)
            .args(["--amqp-listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the broker starts");
        let stderr = child.stderr.take().expect("piped");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let (mut address, mut said) = (None, Vec::new());
        for line in lines.by_ref() {
            if let Some((_, found)) = line.split_once("AMQP listener on ") {
                address = found.trim().parse().ok();
            }
            let ready = line.contains("leveret is ready");
            said.push(line);
            if ready {
                break;
            }
        }
        // What it says later is read too, lest it wait for its pipe.
        thread::spawn(move || {
            for line in lines.filter(|line| line.contains("ERROR")) {
                eprintln!("broker: {line}");
            }
        });
        let address = address.unwrap_or_else(|| panic!("the broker did not start: {said:#?}"));
        Broker { child, address }
    }

    fn kill(mut self) {
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

/// What clients know of one queue.
#[derive(Default)]
struct Ledger {
    /// Every number from here on is of this cycle.
    first: u64,
    /// The next number to be sent.
    next: AtomicU64,
    confirmed: Mutex<BTreeSet<u64>>,
    /// Acknowledged by the consumer; whether the broker heard of it is open.
    acked: Mutex<BTreeSet<u64>>,
}

fn body_of(number: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(number);
    let mut body = number.to_be_bytes().to_vec();
    let most = if rng.random_ratio(1, 50) {
        200_000
    } else {
        2_000
    };
    body.resize(8 + rng.random_range(0..most), b'.');
    body
}

/// The number in a body; the body must be the one that was sent.
fn number_of(body: &[u8]) -> u64 {
    let number = body
        .first_chunk::<8>()
        .map_or(u64::MAX, |head| u64::from_be_bytes(*head));
    assert!(
        body == body_of(number),
        "a body of {} bytes was changed",
        body.len()
    );
    number
}

/// Publishes until the broker dies, noting what is confirmed.
fn publish(address: SocketAddr, queue: &str, ledger: &Ledger) -> std::io::Result<()> {
    let mut client = Client::connect(address)?;
    client.confirms()?;
    let (mut sent, mut answered) = (0, 0);
    loop {
        while sent < answered + WINDOW {
            let number = ledger.next.fetch_add(1, Ordering::SeqCst);
            sent += 1;
            client.publish(queue, &body_of(number))?;
        }
        if let Event::Confirm { tag, multiple } = client.event()? {
            let from = if multiple { answered + 1 } else { tag };
            let mut confirmed = ledger.confirmed.lock().expect("no panic");
            confirmed.extend((from..=tag).map(|tag| ledger.first + tag - 1));
            answered = answered.max(tag);
        }
    }
}

fn consume(address: SocketAddr, queue: &str, ledger: &Ledger) -> std::io::Result<()> {
    let mut client = Client::connect(address)?;
    client.consume(queue, false)?;
    loop {
        if let Event::Delivery { tag, body } = client.event()? {
            let number = number_of(&body);
            // Some are never acknowledged and must come again.
            if !number.is_multiple_of(7) {
                ledger.acked.lock().expect("no panic").insert(number);
                client.ack(tag)?;
            }
        }
    }
}

/// Takes everything out of a queue, and sees to it that this survives too.
fn drain(address: SocketAddr, queue: &str) -> Vec<u64> {
    let mut client = Client::connect(address).expect("connected");
    let waiting = client.declare(queue).expect("declared");
    client.consume(queue, true).expect("consuming");
    let mut found = Vec::new();
    while found.len() < waiting as usize {
        if let Event::Delivery { body, .. } = client.event().expect("a delivery") {
            found.push(number_of(&body));
        }
    }
    let mut other = Client::connect(address).expect("connected");
    other.declare(BARRIER).expect("declared");
    other.confirms().expect("confirm mode");
    other.publish(BARRIER, b"").expect("published");
    assert!(matches!(
        other.event().expect("a confirm"),
        Event::Confirm { tag: 1, .. }
    ));
    found
}

fn check(queue: &str, ledger: &Ledger, found: &[u64]) {
    let next = ledger.next.load(Ordering::SeqCst);
    let confirmed = ledger.confirmed.lock().expect("no panic");
    let acked = ledger.acked.lock().expect("no panic");
    let set: BTreeSet<u64> = found.iter().copied().collect();
    assert_eq!(set.len(), found.len(), "{queue}: a message is there twice");
    assert!(found.is_sorted(), "{queue}: out of order: {found:?}");
    let invented: Vec<_> = set
        .iter()
        .filter(|n| !(ledger.first..next).contains(n))
        .collect();
    assert!(
        invented.is_empty(),
        "{queue}: {invented:?} was not sent in this cycle"
    );
    let lost: Vec<_> = confirmed
        .difference(&set)
        .filter(|n| !acked.contains(n))
        .collect();
    assert!(
        lost.is_empty(),
        "{queue}: confirmed but lost: {lost:?} of {}",
        confirmed.len()
    );
}

#[test]
fn nothing_confirmed_is_lost_when_the_process_is_killed() {
    let cycles =
        std::env::var("LEVERET_CRASH_CYCLES").map_or(CYCLES, |n| n.parse().expect("a number"));
    let dir = tempfile::tempdir().expect("a directory");
    let mut firsts = [0; QUEUES.len()];
    let mut confirmed = 0;
    for cycle in 0..cycles {
        let broker = Broker::start(dir.path());
        let address = broker.address;
        let ledgers = firsts.map(|first| Ledger {
            first,
            next: AtomicU64::new(first),
            ..Ledger::default()
        });
        for queue in QUEUES {
            let waiting = Client::connect(address).expect("connected").declare(queue);
            assert_eq!(waiting.expect("declared"), 0, "{queue}: drained before");
        }
        let pause = Duration::from_millis(StdRng::seed_from_u64(cycle).random_range(20..400));
        thread::scope(|scope| {
            for (queue, ledger) in QUEUES.into_iter().zip(&ledgers) {
                scope.spawn(move || drop(publish(address, queue, ledger)));
            }
            let ledger = &ledgers[CONSUMED];
            scope.spawn(move || drop(consume(address, QUEUES[CONSUMED], ledger)));
            thread::sleep(pause); // not a wait for something: the moment of death is arbitrary
            broker.kill();
        });
        let broker = Broker::start(dir.path());
        for ((queue, ledger), first) in QUEUES.into_iter().zip(&ledgers).zip(&mut firsts) {
            check(queue, ledger, &drain(broker.address, queue));
            *first = ledger.next.load(Ordering::SeqCst);
            confirmed += ledger.confirmed.lock().expect("no panic").len();
        }
        broker.kill();
    }
    assert!(confirmed > 0, "nothing was ever confirmed");
    println!("{cycles} kills, {confirmed} confirmed messages");
}
