//! The process is killed with SIGKILL under load, again and again on one data directory. After each start every message
//! that was confirmed and not consumed must be there, in order, once, and nothing else.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::client::{Client, Event};
use crate::oracle::{Oracle, check, drain, number_of, publish};
use crate::process::{Broker, cycles};

const CYCLES: u64 = 20;
/// Maximum number of unconfirmed messages of a publisher.
const WINDOW: u64 = 200;
const QUEUES: [&str; 3] = ["killed.0", "killed.1", "killed.2"];
/// The index of the queue that has a consumer during the load.
const CONSUMED: usize = 0;

fn consume(address: SocketAddr, queue: &str, oracle: &Oracle) -> std::io::Result<()> {
    let mut client = Client::connect(address)?;
    client.consume(queue, false)?;
    loop {
        if let Event::Delivery { tag, body, .. } = client.event()? {
            let number = number_of(&body);
            // Some are never acked and must be redelivered.
            if !number.is_multiple_of(7) {
                oracle.acked.lock().insert(number);
                client.ack(tag)?;
            }
        }
    }
}

#[test]
fn no_confirmed_message_is_lost_when_the_process_is_killed() {
    let cycles = cycles(CYCLES);
    let dir = tempfile::tempdir().expect("a directory");
    let mut firsts = [0; QUEUES.len()];
    let mut confirmed = 0;
    for cycle in 0..cycles {
        let broker = Broker::start(dir.path());
        let address = broker.address;
        let oracles = firsts.map(Oracle::starting_at);
        for queue in QUEUES {
            let waiting = Client::connect(address).expect("connected").declare(queue);
            assert_eq!(waiting.expect("declared"), 0, "{queue}: drained before");
        }
        let pause = Duration::from_millis(StdRng::seed_from_u64(cycle).random_range(20..400));
        thread::scope(|scope| {
            for (queue, oracle) in QUEUES.into_iter().zip(&oracles) {
                scope.spawn(move || drop(publish(address, queue, oracle, WINDOW)));
            }
            let oracle = &oracles[CONSUMED];
            scope.spawn(move || drop(consume(address, QUEUES[CONSUMED], oracle)));
            thread::sleep(pause); // not a wait for an event: the kill comes at a random moment
            broker.kill();
        });
        let broker = Broker::start(dir.path());
        for ((queue, oracle), first) in QUEUES.into_iter().zip(&oracles).zip(&mut firsts) {
            check(queue, oracle, &drain(broker.address, queue));
            *first = oracle.next.load(Ordering::SeqCst);
            confirmed += oracle.confirmed.lock().len();
        }
        broker.kill();
    }
    assert!(confirmed > 0, "nothing was ever confirmed");
    println!("{cycles} kills, {confirmed} confirmed messages");
}
