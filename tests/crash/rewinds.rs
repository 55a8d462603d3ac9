//! Rewinds and crashes. On a store that loses power at its n-th commit or sync, for every n, a new broker finds the queue as
//! it was at one moment, no earlier than clients know of; so a rewind happens completely or not at all. And the real process
//! is killed while queues are rewound under load: every confirmed message can be read, once and in order.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use leveret::broker::queue::{Acknowledgement, Queue, RewindTo};
use leveret::model::Ticket;
use leveret::store::faulty::FaultyStore;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::client::{Client, Event};
use crate::oracle::{Oracle, check, number_of, publish, take};
use crate::power_loss::{
    at_each_power_loss, drain, flush, get, id_of, message, open, prepare, queue, until_power_goes,
};
use crate::process::{Broker, cycles};

const STEPS: u64 = 16;
const CYCLES: u64 = 8;
const WINDOW: u64 = 50;
const REWIND: &str = "amq.leveret.rewind";

/// The queue at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Picture {
    /// Ready or leased.
    waiting: BTreeSet<u64>,
    /// Acked.
    history: BTreeSet<u64>,
}

/// Publishes, takes, acks, rejects, requeues and rewinds until all is done or the power is gone. Returns the pictures, each
/// with the batch that completes it, and the last durable ticket.
async fn work(store: &Arc<FaultyStore>) -> (Vec<(Ticket, Picture)>, Ticket) {
    let broker = open(store.clone()).await;
    let work = queue(&broker, "rewindable");
    let committer = broker.committer();
    let mut now = Picture::default();
    let mut pictures = vec![(Ticket(0), now.clone())];
    let mut next = 0;
    for step in 0..STEPS {
        let run: Vec<_> = (next..next + 3).map(message).collect();
        let ticket = work.publish(&run).ticket;
        now.waiting.extend(next..next + 3);
        next += 3;
        pictures.push((ticket.expect("persistent messages"), now.clone()));
        for n in 0..3 {
            let Some(got) = get(&work, store).await else {
                break;
            };
            let id = id_of(&got.message);
            let how = match (step + n) % 6 {
                0..=3 => Acknowledgement::Ack,
                4 => Acknowledgement::Reject,
                _ => Acknowledgement::Requeue,
            };
            let ticket = work.acknowledge(how, &[got.lease], &[]);
            if how != Acknowledgement::Requeue {
                now.waiting.remove(&id);
            }
            if how == Acknowledgement::Ack {
                now.history.insert(id);
            }
            pictures.extend(ticket.map(|ticket| (ticket, now.clone())));
        }
        if step % 3 == 1 {
            let from = next * (step % 4) / 4;
            let Some(ticket) = rewind(&work, store, RewindTo::Offset(from)).await else {
                break;
            };
            let back = now.history.split_off(&from);
            now.waiting.extend(back);
            pictures.extend(ticket.map(|ticket| (ticket, now.clone())));
        }
        if step % 4 == 3 && !flush(committer, store).await {
            break;
        }
    }
    flush(committer, store).await;
    committer.shutdown();
    (pictures, committer.durable())
}

/// Rewinds; `None` if the power goes first.
async fn rewind(queue: &Queue, store: &FaultyStore, to: RewindTo) -> Option<Option<Ticket>> {
    tokio::select! {
        rewound = queue.rewind(to) => rewound.ok().map(|rewound| rewound.ticket),
        () = until_power_goes(store) => None,
    }
}

/// A new broker must find the last durable picture, or a later one.
async fn check_survivor(
    survivor: FaultyStore,
    pictures: &[(Ticket, Picture)],
    durable_up_to: Ticket,
    what: &str,
) {
    let broker = open(Arc::new(survivor)).await;
    let work = queue(&broker, "rewindable");
    let counts = work.counts();
    let order = drain(&work).await;
    assert!(order.is_sorted(), "{what}: {order:?}");
    let waiting: BTreeSet<u64> = order.iter().copied().collect();
    assert_eq!(waiting.len(), order.len(), "{what}: twice in {order:?}");
    assert_eq!(
        (counts.ready, counts.ready_bytes),
        (waiting.len() as u64, 8 * waiting.len() as u64)
    );
    let rewound = work.rewind(RewindTo::Time(0)).await.expect("rewound");
    let all = drain(&work).await;
    assert_eq!(rewound.messages, all.len() as u64, "{what}");
    assert!(all.is_sorted(), "{what}: {all:?}");
    let all: BTreeSet<u64> = all.into_iter().collect();
    let found = Picture {
        history: all.difference(&waiting).copied().collect(),
        waiting,
    };
    assert_eq!(counts.rewindable, found.history.len() as u64, "{what}");
    let since = pictures
        .iter()
        .rposition(|(ticket, _)| *ticket <= durable_up_to);
    // A batch is written completely or not at all, so only the last picture of each batch is possible.
    let possible = pictures
        .iter()
        .enumerate()
        .skip(since.unwrap_or(0))
        .filter(|(at, (ticket, _))| pictures.get(at + 1).is_none_or(|(next, _)| next > ticket));
    assert!(
        possible
            .map(|(_, (_, picture))| picture)
            .any(|picture| *picture == found),
        "{what}: {found:?} never was, durable_up_to {durable_up_to:?}; {pictures:?}"
    );
    broker.committer().shutdown();
}

#[tokio::test]
async fn a_rewind_happens_completely_or_not_at_all_whenever_the_power_goes() {
    let base = prepare().await;
    let store = Arc::new(base.after_kill());
    let (pictures, durable_up_to) = work(&store).await;
    assert!(pictures.iter().all(|(ticket, _)| *ticket <= durable_up_to));
    check_survivor(
        store.after_power_loss(0),
        &pictures,
        durable_up_to,
        "no failure",
    )
    .await;
    let reached = at_each_power_loss(
        &base,
        2 * STEPS,
        async |store| work(store).await,
        async |survivor, (pictures, durable_up_to), what| {
            check_survivor(survivor, pictures, *durable_up_to, what).await;
        },
    )
    .await;
    let count = reached.len();
    assert!(count > 20, "the work reached only {count} power losses");
}

fn consume(address: SocketAddr, queue: &str) -> std::io::Result<()> {
    let mut client = Client::connect(address)?;
    client.consume(queue, false)?;
    loop {
        if let Event::Delivery { tag, body, .. } = client.event()?
            && !number_of(&body).is_multiple_of(7)
        {
            client.ack(tag)?;
        }
    }
}

/// Rewinds until the broker dies; returns the number of rewinds.
fn rewind_again_and_again(address: SocketAddr, queue: &str, seed: u64) -> u64 {
    let connect = || -> std::io::Result<Client> {
        let mut client = Client::connect(address)?;
        client.confirms()?;
        Ok(client)
    };
    let mut rng = StdRng::seed_from_u64(seed);
    let Ok(mut client) = connect() else { return 0 };
    let mut done = 0;
    loop {
        let to = rng.random_range(0..2u64) * rng.random_range(0..200);
        let asked = client.publish_to(REWIND, queue, to.to_string().as_bytes());
        // A rewind beyond the end is refused and closes the channel.
        match asked.and_then(|()| client.event()) {
            Ok(_) => done += 1,
            Err(_) => match connect() {
                Ok(again) => client = again,
                Err(_) => return done,
            },
        }
    }
}

/// Rewinds the queue to its start and reads it all.
fn read_all(address: SocketAddr, queue: &str) -> Vec<u64> {
    let mut client = Client::connect(address).expect("connected");
    client.confirms().expect("confirm mode");
    client.publish_to(REWIND, queue, b"0s").expect("asked");
    assert!(matches!(client.event(), Ok(Event::Confirm { tag: 1, .. })));
    let waiting = client.declare_rewindable(queue).expect("declared");
    take(&mut client, queue, waiting)
}

#[test]
fn confirmed_messages_can_be_read_after_the_process_is_killed_while_it_rewinds() {
    let cycles = cycles(CYCLES);
    let dir = tempfile::tempdir().expect("a directory");
    let (mut confirmed, mut rewinds) = (0, 0);
    for cycle in 0..cycles {
        let queue = &*format!("rewound.{cycle}");
        let broker = Broker::start(dir.path());
        let address = broker.address;
        let oracle = &Oracle::starting_at(0);
        let made = Client::connect(address)
            .expect("connected")
            .declare_rewindable(queue);
        assert_eq!(made.expect("declared"), 0);
        let pause = Duration::from_millis(StdRng::seed_from_u64(cycle).random_range(50..500));
        thread::scope(|scope| {
            scope.spawn(move || drop(publish(address, queue, oracle, WINDOW)));
            scope.spawn(move || drop(consume(address, queue)));
            let rewinding = scope.spawn(move || rewind_again_and_again(address, queue, cycle));
            thread::sleep(pause); // not a wait for an event: the kill comes at a random moment
            broker.kill();
            rewinds += rewinding.join().expect("no panic");
        });
        let broker = Broker::start(dir.path());
        // Acked messages stay in the history, so nothing may be missing.
        check(queue, oracle, &read_all(broker.address, queue));
        confirmed += oracle.confirmed.lock().len();
        broker.kill();
    }
    assert!(
        confirmed > 0 && rewinds > 0,
        "{confirmed} confirmed, {rewinds} rewinds"
    );
    println!("{cycles} kills, {confirmed} confirmed messages, {rewinds} rewinds");
}
