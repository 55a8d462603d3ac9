//! What clients know of a queue, and the comparison with what a broker has kept of it: every message that was
//! confirmed and not consumed, once, in order, and nothing that was not sent. Messages are numbers.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::client::{Client, Event};

const BARRIER: &str = "crash.barrier";

/// What clients know of one queue.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Every number from here on is of this cycle.
    pub(crate) first: u64,
    /// The next number to be sent.
    pub(crate) next: AtomicU64,
    pub(crate) confirmed: Mutex<BTreeSet<u64>>,
    /// Acknowledged by the consumer; whether the broker heard of it is open.
    pub(crate) acked: Mutex<BTreeSet<u64>>,
}

impl Ledger {
    /// Nothing was sent yet; the first number will be this one.
    pub(crate) fn starting_at(first: u64) -> Ledger {
        Ledger {
            first,
            next: AtomicU64::new(first),
            ..Ledger::default()
        }
    }
}

/// What one publisher has sent, and what of it is confirmed.
pub(crate) struct Publishing<'a> {
    ledger: &'a Ledger,
    /// The number with delivery tag 1.
    first: u64,
    sent: u64,
    answered: u64,
}

impl Publishing<'_> {
    /// A publisher on a fresh channel; the only one that the ledger has at a time.
    pub(crate) fn begin(ledger: &Ledger) -> Publishing<'_> {
        Publishing {
            ledger,
            first: ledger.next.load(Ordering::SeqCst),
            sent: 0,
            answered: 0,
        }
    }

    /// Messages without a confirm.
    pub(crate) fn under_way(&self) -> u64 {
        self.sent - self.answered
    }

    pub(crate) fn send(&mut self, client: &mut Client, queue: &str) -> io::Result<()> {
        let number = self.ledger.next.fetch_add(1, Ordering::SeqCst);
        self.sent += 1;
        client.publish(queue, &body_of(number))
    }

    /// Takes note of a confirm.
    pub(crate) fn confirmed(&mut self, tag: u64, multiple: bool) {
        let from = if multiple { self.answered + 1 } else { tag };
        let mut confirmed = self.ledger.confirmed.lock();
        confirmed.extend((from..=tag).map(|tag| self.first + tag - 1));
        self.answered = self.answered.max(tag);
    }
}

/// Publishes until the broker dies, noting what is confirmed. `window` messages are on the way without a confirm.
pub(crate) fn publish(
    address: SocketAddr,
    queue: &str,
    ledger: &Ledger,
    window: u64,
) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    client.confirms()?;
    let mut publishing = Publishing::begin(ledger);
    loop {
        while publishing.under_way() < window {
            publishing.send(&mut client, queue)?;
        }
        if let Event::Confirm { tag, multiple } = client.event()? {
            publishing.confirmed(tag, multiple);
        }
    }
}

/// The body of a message: mostly small, sometimes larger than a frame.
pub(crate) fn body_of(number: u64) -> Vec<u8> {
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
pub(crate) fn number_of(body: &[u8]) -> u64 {
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

/// Takes everything out of a queue, and sees to it that this survives too.
pub(crate) fn drain(address: SocketAddr, queue: &str) -> Vec<u64> {
    let mut client = Client::connect(address).expect("connected");
    let waiting = client.declare(queue).expect("declared");
    let found = take(&mut client, queue, waiting);
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

/// Takes so many messages out of a queue.
pub(crate) fn take(client: &mut Client, queue: &str, count: u32) -> Vec<u64> {
    client.consume(queue, true).expect("consuming");
    let mut found = Vec::new();
    while found.len() < count as usize {
        if let Event::Delivery { body, .. } = client.event().expect("a delivery") {
            found.push(number_of(&body));
        }
    }
    found
}

/// Compares what a broker had with what clients know.
pub(crate) fn check(queue: &str, ledger: &Ledger, found: &[u64]) {
    let next = ledger.next.load(Ordering::SeqCst);
    let confirmed = ledger.confirmed.lock();
    let acked = ledger.acked.lock();
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
