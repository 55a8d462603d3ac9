//! What clients know of a queue, to compare with what a restarted broker has: each message that was confirmed and not
//! consumed, once, in order, and no message that was never sent. Messages are numbers.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::client::{Client, Event};

const BARRIER: &str = "crash.barrier";

/// The clients' knowledge of one queue.
#[derive(Default)]
pub(crate) struct Oracle {
    /// The first number of this cycle.
    pub(crate) first: u64,
    /// The next number to be sent.
    pub(crate) next: AtomicU64,
    pub(crate) confirmed: Mutex<BTreeSet<u64>>,
    /// Acked by the consumer; the broker may not have received the ack.
    pub(crate) acked: Mutex<BTreeSet<u64>>,
}

impl Oracle {
    /// Before the first message, which will have this number.
    pub(crate) fn starting_at(first: u64) -> Oracle {
        Oracle {
            first,
            next: AtomicU64::new(first),
            ..Oracle::default()
        }
    }
}

/// One publisher's messages and confirms.
pub(crate) struct Publishing<'a> {
    oracle: &'a Oracle,
    /// The number with delivery tag 1.
    first: u64,
    sent: u64,
    confirmed_up_to: u64,
}

impl Publishing<'_> {
    /// A publisher on a new channel. An oracle has one publisher at a time.
    pub(crate) fn begin(oracle: &Oracle) -> Publishing<'_> {
        Publishing {
            oracle,
            first: oracle.next.load(Ordering::SeqCst),
            sent: 0,
            confirmed_up_to: 0,
        }
    }

    /// Number of messages without a confirm.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.sent - self.confirmed_up_to
    }

    pub(crate) fn send(&mut self, client: &mut Client, queue: &str) -> io::Result<()> {
        let number = self.oracle.next.fetch_add(1, Ordering::SeqCst);
        self.sent += 1;
        client.publish(queue, &body_of(number))
    }

    /// Records a confirm.
    pub(crate) fn confirmed(&mut self, tag: u64, multiple: bool) {
        let from = if multiple {
            self.confirmed_up_to + 1
        } else {
            tag
        };
        let mut confirmed = self.oracle.confirmed.lock();
        confirmed.extend((from..=tag).map(|tag| self.first + tag - 1));
        self.confirmed_up_to = self.confirmed_up_to.max(tag);
    }
}

/// Publishes until the broker dies and records the confirms; at most `window` messages are unconfirmed.
pub(crate) fn publish(
    address: SocketAddr,
    queue: &str,
    oracle: &Oracle,
    window: u64,
) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    client.confirms()?;
    let mut publishing = Publishing::begin(oracle);
    loop {
        while publishing.unconfirmed() < window {
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

/// Takes everything out of a queue, and waits until this is on disk.
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

/// Takes `count` messages out of a queue.
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

/// Compares the broker's messages with the clients' knowledge.
pub(crate) fn check(queue: &str, oracle: &Oracle, found: &[u64]) {
    let next = oracle.next.load(Ordering::SeqCst);
    let confirmed = oracle.confirmed.lock();
    let acked = oracle.acked.lock();
    let set: BTreeSet<u64> = found.iter().copied().collect();
    assert_eq!(set.len(), found.len(), "{queue}: a message is there twice");
    assert!(found.is_sorted(), "{queue}: out of order: {found:?}");
    let invented: Vec<_> = set
        .iter()
        .filter(|n| !(oracle.first..next).contains(n))
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
