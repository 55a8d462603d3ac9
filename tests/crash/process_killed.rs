//! The real broker is killed with SIGKILL under load, again and again on one data directory. After each start every
//! message that was confirmed and not consumed must be there, in order, once, and nothing else.
//! `LEVERET_CRASH_CYCLES` sets how often it is killed.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::client::{Client, Event};
use crate::oracle::{Ledger, check, drain, number_of, publish};
use crate::process::{Broker, cycles};

const CYCLES: u64 = 20;
/// Messages that a publisher has on the way without a confirm.
const WINDOW: u64 = 200;
const QUEUES: [&str; 3] = ["killed.0", "killed.1", "killed.2"];
/// From this queue a consumer takes messages while the load runs.
const CONSUMED: usize = 0;

fn consume(address: SocketAddr, queue: &str, ledger: &Ledger) -> std::io::Result<()> {
    let mut client = Client::connect(address)?;
    client.consume(queue, false)?;
    loop {
        if let Event::Delivery { tag, body, .. } = client.event()? {
            let number = number_of(&body);
            // Some are never acknowledged and must come again.
            if !number.is_multiple_of(7) {
                ledger.acked.lock().insert(number);
                client.ack(tag)?;
            }
        }
    }
}

#[test]
fn nothing_confirmed_is_lost_when_the_process_is_killed() {
    let cycles = cycles(CYCLES);
    let dir = tempfile::tempdir().expect("a directory");
    let mut firsts = [0; QUEUES.len()];
    let mut confirmed = 0;
    for cycle in 0..cycles {
        let broker = Broker::start(dir.path());
        let address = broker.address;
        let ledgers = firsts.map(Ledger::starting_at);
        for queue in QUEUES {
            let waiting = Client::connect(address).expect("connected").declare(queue);
            assert_eq!(waiting.expect("declared"), 0, "{queue}: drained before");
        }
        let pause = Duration::from_millis(StdRng::seed_from_u64(cycle).random_range(20..400));
        thread::scope(|scope| {
            for (queue, ledger) in QUEUES.into_iter().zip(&ledgers) {
                scope.spawn(move || drop(publish(address, queue, ledger, WINDOW)));
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
            confirmed += ledger.confirmed.lock().len();
        }
        broker.kill();
    }
    assert!(confirmed > 0, "nothing was ever confirmed");
    println!("{cycles} kills, {confirmed} confirmed messages");
}
