//! The stream as a state machine, on a store in memory. The tests share this fixture.

mod delivery;
mod model;
mod positions;
mod reads;
mod retention;

use crate::store::Journal as _;
use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use crate::broker::queue::consumer::Delivery;
use crate::model::stream::{STREAM_FILTER_VALUE, StreamFilter, StreamStart};
use crate::model::{Body, ConnectionId, Origin};
use crate::store::{Batch, MemoryStore, Op, Store, chunk};
use crate::wire::{AMQPValue, FieldTable, PropertiesView};

use super::*;
use crate::broker::queue::reading::{picks, seek};
use crate::broker::queue::work_queue::tests::rig::whole;

/// A stream with a store. Carries out effects immediately; `sync` makes published messages durable.
struct Fixture {
    stream: Stream,
    arguments: QueueArguments,
    store: MemoryStore,
    deliveries: Vec<Delivery>,
    fx: Effects,
    ticket: u64,
    now_ms: u64,
    /// While this is set, reads wait in `waiting_loads`.
    slow_disk: bool,
    waiting_loads: Vec<(LogId, u64)>,
    loads: usize,
    last_consumer: u64,
}

fn arguments(fields: &[(&str, AMQPValue)]) -> QueueArguments {
    let mut table = FieldTable::default();
    table.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("stream".into()),
    );
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    QueueArguments::parse(&table).unwrap()
}

fn number(value: i64) -> AMQPValue {
    AMQPValue::LongLongInt(value)
}

fn message(body: &[u8], filter: Option<&str>) -> Arc<Message> {
    let plain = Bytes::from_static(&[0, 0]);
    let properties = match filter {
        None => plain,
        Some(value) => {
            let mut headers = FieldTable::default();
            headers.insert(
                STREAM_FILTER_VALUE.into(),
                AMQPValue::LongString(value.into()),
            );
            let view = PropertiesView::parse(&plain).unwrap();
            view.edit().set_headers(&headers).finish()
        }
    };
    Arc::new(Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "s".into(),
        }),
        properties,
        body: Body::Whole(Bytes::copy_from_slice(body)),
        persistent: false,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
        handed_out: false,
    })
}

impl Fixture {
    fn new(fields: &[(&str, AMQPValue)]) -> Fixture {
        let arguments = arguments(fields);
        Fixture {
            stream: Stream::new(QueueId(1), &arguments, Vec::new()),
            arguments,
            store: MemoryStore::new(),
            deliveries: Vec::new(),
            fx: Effects::default(),
            ticket: 0,
            now_ms: 1_000_000,
            slow_disk: false,
            waiting_loads: Vec::new(),
            loads: 0,
            last_consumer: 0,
        }
    }

    /// Restarts the stream from the committed batches.
    fn restart(&mut self) {
        let recovered = self.store.logs().unwrap();
        self.stream = Stream::new(QueueId(1), &self.arguments, recovered);
        self.fx = Effects::default();
        self.stream.tick(self.now_ms, &mut self.fx);
        self.carry_out();
    }

    fn publish(&mut self, run: &[Arc<Message>]) {
        let enqueued = self
            .stream
            .publish(self.now_ms, run, Admission::Each, &mut self.fx);
        assert!(enqueued.persisted && enqueued.rejected.is_empty());
        self.carry_out();
    }

    /// Publishes `count` messages as one chunk, and makes them durable.
    fn publish_durable(&mut self, count: usize) {
        let run: Vec<_> = (0..count).map(|_| message(b"0123456789", None)).collect();
        self.publish(&run);
        self.sync();
    }

    fn commit(&mut self) {
        self.ticket += 1;
        let mut batch = Batch::default();
        self.stream.collect(Ticket(self.ticket), &mut batch);
        self.store.append(&batch).unwrap();
    }

    fn sync(&mut self) {
        self.commit();
        self.stream
            .durable_up_to(self.now_ms, Ticket(self.ticket), &mut self.fx);
        self.carry_out();
    }

    fn consume(&mut self, offset: StreamOffset, messages: u32) -> ConsumerId {
        self.consume_filtered(offset, messages, None)
    }

    fn consume_filtered(
        &mut self,
        offset: StreamOffset,
        messages: u32,
        filter: Option<StreamFilter>,
    ) -> ConsumerId {
        self.last_consumer += 1;
        let id = ConsumerId(self.last_consumer);
        let new = NewConsumer {
            id,
            tag: "c".into(),
            no_ack: false,
            exclusive: false,
            priority: 0,
            credit: Credit {
                messages,
                bytes: 1 << 40,
            },
            visibility_timeout_ms: None,
            stream: Some(StreamStart { offset, filter }),
            prefetch_count: 1,
            arguments: FieldTable::default(),
            connection: ConnectionId(1),
            channel: 1,
        };
        self.stream
            .consume(self.now_ms, new, None, &mut self.fx)
            .expect("a consumer");
        self.carry_out();
        id
    }

    fn grant(&mut self, consumer: ConsumerId, messages: u32) {
        let credit = [(consumer, Credit { messages, bytes: 0 })];
        self.stream.grant(self.now_ms, &credit, &mut self.fx);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        loop {
            self.deliveries.append(&mut self.fx.deliveries);
            let mut idle = true;
            for effect in std::mem::take(&mut self.fx.others) {
                idle = false;
                self.carry_out_one(effect);
            }
            if self.slow_disk {
                return;
            }
            for (log, from) in std::mem::take(&mut self.waiting_loads) {
                self.load(log, from);
            }
            if idle {
                return;
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        match effect {
            Effect::Seek(seek) => {
                let (offsets, ms) = (seek.offsets.clone(), seek.ms);
                let found = seek::first_at(&self.store, seek.log, offsets, ms).unwrap();
                self.stream
                    .sought(self.now_ms, seek.consumer, found, &mut self.fx);
            }
            Effect::Pick(pick) => {
                let read = |from, max_bytes| self.store.read(pick.log, from, max_bytes);
                let picked = whole(picks::pick(&pick, read));
                self.stream.picked(self.now_ms, picked, &mut self.fx);
            }
            Effect::Read { log, from } => self.waiting_loads.push((log, from)),
            other => panic!("{other:?}"),
        }
    }

    fn load(&mut self, log: LogId, from: u64) {
        self.loads += 1;
        let stored = self.store.read(log, from, RUN_BYTES).unwrap();
        let chunks = stored
            .into_iter()
            .map(|stored| {
                let messages = chunk::decode(stored.first, stored.data).unwrap();
                (stored.first, messages.map(Result::unwrap).collect())
            })
            .collect();
        self.stream
            .loaded(self.now_ms, log, from, chunks, &mut self.fx);
    }

    /// Offsets that a consumer got since the last call.
    fn delivered(&mut self, id: ConsumerId) -> Vec<u64> {
        let (own, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.deliveries)
            .into_iter()
            .partition(|delivery| delivery.consumer == id);
        self.deliveries = others;
        own.into_iter()
            .map(|delivery| delivery.lease.offset)
            .collect()
    }

    fn counts(&self) -> (u64, u64) {
        let counts = self.stream.counts();
        (counts.ready, counts.unacked)
    }
}
