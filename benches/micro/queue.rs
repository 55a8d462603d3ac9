//! A queue as connections use it: runs of publishes, deliveries and acks, on the store in memory.

use std::mem;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use parking_lot::Mutex;

use leveret::broker::queue::{
    Acknowledgement, Credit, DeadLetter, Delivery, DeliverySink, LetterRoutes, Letters,
    MemoryBudget, NewConsumer, Outlet, Queue, QueueOwner, QueueServices, QueueSpec, QueueThreads,
    Timers,
};
use leveret::model::arguments::QueueArguments;
use leveret::model::{Body, ConnectionId, ConsumerId, Lease, Message, Origin, QueueId};
use leveret::store::{Committer, Limits, MemoryStore};
use leveret::wire::{AMQPValue, FieldTable};

/// Ignores all calls: no queue here dead-letters or expires.
struct NoOwner;

impl QueueOwner for NoOwner {
    fn route_dead_letter(&self, _: &DeadLetter) -> LetterRoutes {
        LetterRoutes::default()
    }

    fn queue_unused(&self, _: &Arc<Queue>) {}

    fn queue_expired(&self, _: &Arc<Queue>) {}
}

/// Collects the deliveries to a consumer.
#[derive(Default)]
struct Collector(Mutex<Vec<Delivery>>);

impl Collector {
    fn take(&self) -> Vec<Delivery> {
        mem::take(&mut self.0.lock())
    }
}

impl DeliverySink for Collector {
    fn deliver(&self, run: &mut Vec<Delivery>) {
        self.0.lock().append(run);
    }

    fn cancelled(&self, _: ConsumerId) {}
}

fn message(size: usize) -> Arc<Message> {
    Arc::new(Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "q".into(),
        }),
        properties: Bytes::from_static(&[0x10, 0, 2]),
        body: Body::Whole(vec![7; size].into()),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
        handed_out: false,
    })
}

fn open(services: &QueueServices, id: u64) -> Arc<Queue> {
    open_as(services, id, "classic")
}

/// A queue of this type.
fn open_as(services: &QueueServices, id: u64, kind: &str) -> Arc<Queue> {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    let arguments = QueueArguments::shared(&table).expect("valid arguments");
    let spec = QueueSpec {
        id: QueueId(id),
        name: "q".into(),
        durable: true,
        exclusive_owner: None,
        auto_delete: false,
        arguments,
    };
    let queue = Queue::open(spec, services.clone(), Vec::new());
    queue.start();
    queue
}

fn consume(queue: &Queue, sink: &Arc<Collector>) -> ConsumerId {
    let id = ConsumerId(1);
    let consumer = NewConsumer {
        id,
        tag: "c".into(),
        no_ack: false,
        exclusive: false,
        priority: 0,
        credit: Credit {
            messages: 500,
            bytes: 1 << 40,
        },
        visibility_timeout_ms: None,
        stream: None,
        prefetch_count: 500,
        arguments: FieldTable::default(),
        connection: ConnectionId(1),
        channel: 1,
    };
    let outlet = Outlet {
        sink: Arc::clone(sink) as Arc<dyn DeliverySink>,
        limiter: None,
    };
    queue.consume(consumer, outlet).expect("a consumer");
    id
}

/// Publish, deliver and ack in runs of 1 and of 100, and filling and purging a backlog.
pub(crate) fn runs(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    let owner: Arc<dyn QueueOwner> = Arc::new(NoOwner);
    let committer =
        Committer::start(Arc::new(MemoryStore::new()), Limits::default()).expect("a committer");
    let services = QueueServices {
        committer: Arc::clone(&committer),
        timers: Timers::start(Arc::default()),
        clock: Arc::default(),
        budget: Arc::new(MemoryBudget::new(256 * 1024 * 1024)),
        threads: QueueThreads::new(),
        letters: Letters::start(),
        stats: Arc::default(),
        owner: Arc::downgrade(&owner) as Weak<dyn QueueOwner>,
    };
    let mut group = criterion.benchmark_group("queue");
    for (id, kind, length) in [
        (1, "classic", 1_usize),
        (2, "classic", 100),
        (3, "quorum", 100),
    ] {
        let run = vec![message(1024); length];
        let queue = open_as(&services, id, kind);
        let sink = Arc::new(Collector::default());
        let consumer = consume(&queue, &sink);
        group.throughput(Throughput::Elements(length as u64));
        group.bench_function(
            format!("publish, deliver, ack/{kind}, runs of {length}"),
            |bencher| {
                bencher.iter(|| {
                    queue.publish(&run);
                    let ids: Vec<Lease> =
                        sink.take().iter().map(|delivery| delivery.lease).collect();
                    assert_eq!(ids.len(), run.len());
                    let credit = Credit {
                        messages: u32::try_from(ids.len()).expect("a short run"),
                        bytes: 1024 * ids.len() as u64,
                    };
                    queue.acknowledge(Acknowledgement::Ack, &ids, &[(consumer, credit)])
                });
            },
        );
    }
    let run = vec![message(1024); 100];
    let queue = open(&services, 1000);
    group.throughput(Throughput::Elements(10 * run.len() as u64));
    group.bench_function("publish and purge/1000", |bencher| {
        bencher.iter(|| {
            for _ in 0..10 {
                queue.publish(&run);
            }
            queue.purge()
        });
    });
    group.finish();
    committer.shutdown();
}
