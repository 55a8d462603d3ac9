//! Streams that are published to and read while the broker is killed, or while its store loses power at its n-th commit or
//! sync, for every n. After each start all confirmed messages are there, in order, without gaps in the offsets, and each
//! offset that a consumer has seen belongs to the same message.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use leveret::broker::queue::{Credit, Delivery, DeliverySink, NewConsumer, Outlet, Queue};
use leveret::model::stream::{StreamOffset, StreamStart};
use leveret::model::{ConnectionId, ConsumerId, Ticket};
use leveret::store::faulty::{Call, FaultyStore};
use leveret::wire::{AMQPValue, FieldTable};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::client::{Client, Event};
use crate::oracle::{Oracle, number_of, publish};
use crate::power_loss::{at_each_power_loss, durable, id_of, message, open, prepare_with, queue};
use crate::process::Broker;

const CYCLES: u64 = 12;
/// More commits, and more syncs, than the work takes.
const MOST_CALLS: u64 = 40;
const STREAM: &str = "killed.stream";
/// Maximum number of unconfirmed messages of the publisher.
const WINDOW: u64 = 200;

/// Numbers of messages by the offsets at which consumers saw them.
type SeenAt = Mutex<BTreeMap<u64, u64>>;

fn read(address: SocketAddr, seen: &SeenAt) -> std::io::Result<()> {
    let mut client = Client::connect(address)?;
    client.consume_stream(STREAM)?;
    loop {
        if let Event::Delivery { tag, offset, body } = client.event()? {
            let offset = offset.expect("an offset");
            let number = number_of(&body);
            let before = seen.lock().insert(offset, number);
            assert!(
                before.is_none_or(|before| before == number),
                "offset {offset} was {before:?} and is {number}"
            );
            client.ack(tag)?;
        }
    }
}

/// Reads the whole stream.
fn read_all(address: SocketAddr) -> Vec<u64> {
    let mut client = Client::connect(address).expect("connected");
    let retained = client.declare_stream(STREAM).expect("declared");
    client.consume_stream(STREAM).expect("consuming");
    let mut found = Vec::new();
    while found.len() < retained as usize {
        if let Event::Delivery { tag, offset, body } = client.event().expect("a delivery") {
            assert_eq!(offset, Some(found.len() as u64), "offsets have no gaps");
            found.push(number_of(&body));
            client.ack(tag).expect("acknowledged");
        }
    }
    found
}

#[test]
fn a_stream_has_all_confirmed_messages_at_their_offsets_after_a_kill() {
    let dir = tempfile::tempdir().expect("a directory");
    let (oracle, seen) = (Oracle::default(), SeenAt::default());
    for cycle in 0..CYCLES {
        let broker = Broker::start(dir.path());
        let address = broker.address;
        Client::connect(address)
            .and_then(|mut client| client.declare_stream(STREAM))
            .expect("declared");
        let pause = Duration::from_millis(StdRng::seed_from_u64(cycle).random_range(20..300));
        thread::scope(|scope| {
            scope.spawn(|| drop(publish(address, STREAM, &oracle, WINDOW)));
            scope.spawn(|| drop(read(address, &seen)));
            thread::sleep(pause); // not a wait for an event: the kill comes at a random moment
            broker.kill();
        });
        let broker = Broker::start(dir.path());
        let found = read_all(broker.address);
        broker.kill();
        assert!(found.is_sorted_by(|a, b| a < b), "out of order, or twice");
        let confirmed = oracle.confirmed.lock();
        let lost: Vec<_> = confirmed
            .iter()
            .filter(|number| found.binary_search(number).is_err())
            .collect();
        assert!(lost.is_empty(), "confirmed but lost: {lost:?}");
        for (offset, number) in &*seen.lock() {
            let offset = usize::try_from(*offset).expect("fits");
            assert_eq!(found.get(offset), Some(number), "seen at {offset}");
        }
    }
    let confirmed = oracle.confirmed.lock().len();
    let seen = seen.lock().len();
    assert!(
        confirmed > 0 && seen > 0,
        "{confirmed} confirmed, {seen} seen"
    );
    println!("{CYCLES} kills, {confirmed} confirmed messages, {seen} seen");
}

/// A consumer in this process: the ids it has seen, by offset.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<u64, u64>>);

impl DeliverySink for Seen {
    fn deliver(&self, run: &mut Vec<Delivery>) {
        let mut seen = self.0.lock();
        for delivery in run.drain(..) {
            let id = id_of(&delivery.message);
            assert_eq!(seen.insert(delivery.lease.offset, id), None, "twice");
        }
    }

    fn cancelled(&self, _consumer: ConsumerId) {}
}

impl Seen {
    /// Waits until the consumer has seen `count` messages.
    async fn until(&self, count: usize, what: &str) {
        let all = async {
            while self.0.lock().len() < count {
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(10), all).await;
        came.unwrap_or_else(|_| panic!("{what}: {count} messages did not come"));
    }
}

/// Consumes from the start with unlimited credit.
fn watch(stream: &Queue) -> Arc<Seen> {
    let seen = Arc::new(Seen::default());
    let start = StreamStart {
        offset: StreamOffset::First,
        filter: None,
    };
    let consumer = NewConsumer {
        id: ConsumerId(1),
        tag: "c".into(),
        no_ack: false,
        exclusive: false,
        priority: 0,
        credit: Credit {
            messages: u32::MAX,
            bytes: 1 << 40,
        },
        visibility_timeout_ms: None,
        stream: Some(start),
        prefetch_count: 1,
        arguments: FieldTable::default(),
        connection: ConnectionId(1),
        channel: 1,
    };
    let outlet = Outlet {
        sink: Arc::clone(&seen) as Arc<dyn DeliverySink>,
        limiter: None,
    };
    stream.consume(consumer, outlet).expect("a consumer");
    seen
}

async fn prepare() -> FaultyStore {
    // Retention drops segments during the work.
    let arguments = [
        ("x-queue-type", AMQPValue::LongString("stream".into())),
        ("x-stream-max-segment-size-bytes", AMQPValue::LongInt(40)),
        ("x-max-length-bytes", AMQPValue::LongInt(300)),
    ];
    prepare_with(&[(STREAM, &arguments)]).await
}

/// Publishes until all is done or the power is gone. Returns the ticket of each id, the ids that the consumer saw, and the
/// last durable ticket, which is what clients know.
async fn work(store: &Arc<FaultyStore>) -> (Vec<Option<Ticket>>, BTreeMap<u64, u64>, Ticket) {
    let broker = open(store.clone()).await;
    let stream = queue(&broker, STREAM);
    let seen = watch(&stream);
    let committer = broker.committer();
    let mut published = Vec::new();
    for step in 0..16 {
        let first = published.len() as u64;
        let run: Vec<_> = (first..=first + step % 3).map(message).collect();
        let ticket = stream.publish(&run).ticket;
        published.extend(run.iter().map(|_| ticket));
        if step % 2 == 0 && !durable(committer, store, ticket).await {
            break;
        }
    }
    committer.shutdown();
    let seen = seen.0.lock().clone();
    (published, seen, committer.durable())
}

async fn check(
    survivor: FaultyStore,
    published: &[Option<Ticket>],
    seen: &BTreeMap<u64, u64>,
    durable_up_to: Ticket,
    what: &str,
) {
    let broker = open(Arc::new(survivor)).await;
    let stream = queue(&broker, STREAM);
    let retained = usize::try_from(stream.counts().ready).expect("fits");
    let watched = watch(&stream);
    watched.until(retained, what).await;
    let found = watched.0.lock().clone();
    let first = found.keys().next().copied().unwrap_or(0);
    for (n, (offset, id)) in (first..).zip(&found) {
        assert_eq!((*offset, *id), (n, n), "{what}: the n-th message is at n");
    }
    let confirmed = published
        .iter()
        .take_while(|ticket| ticket.is_some_and(|ticket| ticket <= durable_up_to))
        .count() as u64;
    let next = found.keys().last().map_or(first, |last| last + 1);
    assert!(
        confirmed == 0 || next >= confirmed,
        "{what}: lost after {next} of {confirmed}"
    );
    for (offset, id) in seen {
        assert!(
            offset == id && *offset < next,
            "{what}: {offset} was seen, and {next} is next"
        );
    }
    // New messages get the next offsets.
    let ticket = stream.publish(&[message(next)]).ticket.expect("a ticket");
    broker.committer().wait(ticket).await.expect("durable");
    watched.until(retained + 1, what).await;
    let last = watched.0.lock().keys().last().copied();
    assert_eq!(last, Some(next), "{what}");
    broker.committer().shutdown();
}

#[tokio::test]
async fn a_stream_keeps_its_messages_and_offsets_whenever_the_power_goes() {
    let base = prepare().await;
    let reached = at_each_power_loss(
        &base,
        MOST_CALLS,
        async |store| work(store).await,
        async |survivor, (published, seen, durable_up_to), what| {
            check(survivor, published, seen, *durable_up_to, what).await;
        },
    )
    .await;
    let last = [Call::Append(MOST_CALLS), Call::Sync(MOST_CALLS)];
    assert!(
        !reached.iter().any(|fault| last.contains(&fault.at)),
        "the work takes more than {MOST_CALLS} commits or syncs"
    );
    let count = reached.len();
    assert!(count > 20, "the work reached only {count} power losses");
}
