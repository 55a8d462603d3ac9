//! A broker that is killed with SIGKILL while a stream is published to and read. After each start everything that was
//! confirmed is there, in order, offsets without gaps, and no offset that a consumer has seen names another message.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::client::{Client, Event};
use crate::ledger::{body_of, number_of};
use crate::process::Broker;

const CYCLES: u64 = 12;
const STREAM: &str = "killed.stream";
/// Messages that the publisher has on the way without a confirm.
const WINDOW: u64 = 200;

/// What clients know of the stream.
#[derive(Default)]
struct Known {
    /// The next number to be sent.
    next: AtomicU64,
    /// All numbers that were confirmed.
    confirmed: Mutex<Vec<u64>>,
    /// Numbers by the offsets at which they were seen.
    seen: Mutex<BTreeMap<u64, u64>>,
}

fn publish(address: SocketAddr, known: &Known) -> std::io::Result<()> {
    let mut client = Client::connect(address)?;
    client.confirms()?;
    let first = known.next.load(Ordering::SeqCst);
    let (mut sent, mut answered) = (0, 0);
    loop {
        while sent < answered + WINDOW {
            sent += 1;
            let number = known.next.fetch_add(1, Ordering::SeqCst);
            client.publish(STREAM, &body_of(number))?;
        }
        if let Event::Confirm { tag, multiple } = client.event()? {
            let from = if multiple { answered + 1 } else { tag };
            let mut confirmed = known.confirmed.lock().expect("no panic");
            confirmed.extend((from..=tag).map(|tag| first + tag - 1));
            answered = answered.max(tag);
        }
    }
}

fn read(address: SocketAddr, known: &Known) -> std::io::Result<()> {
    let mut client = Client::connect(address)?;
    client.consume_stream(STREAM)?;
    loop {
        if let Event::Delivery { tag, offset, body } = client.event()? {
            let offset = offset.expect("an offset");
            let number = number_of(&body);
            let before = known.seen.lock().expect("no panic").insert(offset, number);
            assert!(
                before.is_none_or(|before| before == number),
                "offset {offset} was {before:?} and is {number}"
            );
            client.ack(tag)?;
        }
    }
}

/// All that the stream holds, by offset.
fn read_all(address: SocketAddr) -> Vec<u64> {
    let mut client = Client::connect(address).expect("connected");
    let kept = client.declare_stream(STREAM).expect("declared");
    client.consume_stream(STREAM).expect("consuming");
    let mut found = Vec::new();
    while found.len() < kept as usize {
        if let Event::Delivery { tag, offset, body } = client.event().expect("a delivery") {
            assert_eq!(offset, Some(found.len() as u64), "offsets have no gaps");
            found.push(number_of(&body));
            client.ack(tag).expect("acknowledged");
        }
    }
    found
}

#[test]
fn a_stream_keeps_what_was_confirmed_and_its_offsets() {
    let dir = tempfile::tempdir().expect("a directory");
    let known = Known::default();
    for cycle in 0..CYCLES {
        let broker = Broker::start(dir.path());
        let address = broker.address;
        Client::connect(address)
            .and_then(|mut client| client.declare_stream(STREAM))
            .expect("declared");
        let pause = Duration::from_millis(StdRng::seed_from_u64(cycle).random_range(20..300));
        thread::scope(|scope| {
            scope.spawn(|| drop(publish(address, &known)));
            scope.spawn(|| drop(read(address, &known)));
            thread::sleep(pause); // not a wait for something: the moment of death is arbitrary
            broker.kill();
        });
        let broker = Broker::start(dir.path());
        let found = read_all(broker.address);
        broker.kill();
        assert!(found.is_sorted_by(|a, b| a < b), "out of order, or twice");
        let confirmed = known.confirmed.lock().expect("no panic");
        let lost: Vec<_> = confirmed
            .iter()
            .filter(|number| found.binary_search(number).is_err())
            .collect();
        assert!(lost.is_empty(), "confirmed but lost: {lost:?}");
        for (offset, number) in &*known.seen.lock().expect("no panic") {
            let offset = usize::try_from(*offset).expect("fits");
            assert_eq!(found.get(offset), Some(number), "seen at {offset}");
        }
    }
    let confirmed = known.confirmed.lock().expect("no panic").len();
    let seen = known.seen.lock().expect("no panic").len();
    assert!(
        confirmed > 0 && seen > 0,
        "{confirmed} confirmed, {seen} seen"
    );
    println!("{CYCLES} kills, {confirmed} confirmed messages, {seen} seen");
}
