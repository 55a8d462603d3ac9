//! The test rig: a work queue with a store in memory, and a driver that carries out its effects.

use crate::store::Journal as _;
use std::sync::Arc;

use amq_protocol::types::FieldTable;
use bytes::Bytes;

use crate::broker::queue::consumer::{ConsumeError, Credit, Delivery, NewConsumer};
use crate::broker::queue::death::DeathReason;
use crate::broker::queue::effects::Effect;
use crate::broker::queue::effects::{Acknowledgement, Admission, Effects, Get, Pick, Picked};
use crate::broker::queue::kind::Kind;
use crate::broker::queue::reading::picks;
use crate::broker::queue::receive::received::Received;
use crate::model::arguments::QueueArguments;
use crate::model::{
    Body, ConnectionId, ConsumerId, Lease, LogId, Message, Origin, QueueId, Ticket,
};
use crate::store::{Batch, MemoryStore, Store, StoreError, StoredChunk, StoredMessage, chunk};
use crate::wire::{AMQPValue, LongString, ShortString};

pub(super) const QUEUE: QueueId = QueueId(7);

/// A queue, its store, and all that the queue has delivered and dead-lettered.
pub(in crate::broker::queue) struct Rig {
    pub(in crate::broker::queue) state: Kind,
    pub(in crate::broker::queue) store: MemoryStore,
    deliveries: Vec<Delivery>,
    pub(in crate::broker::queue) fx: Effects,
    pub(in crate::broker::queue) arguments: Arc<QueueArguments>,
    committed: u64,
    pub(in crate::broker::queue) now_ms: u64,
    pub(in crate::broker::queue) dead: Vec<(Bytes, DeathReason)>,
    /// The failures of each message in `dead`.
    pub(in crate::broker::queue) failures: Vec<u32>,
    pub(super) rejected: usize,
    /// Whether a restart must find some messages of the last publish.
    pub(super) persisted: bool,
    answers: Vec<Vec<Received>>,
    receives: u64,
    /// While set, dead letters are not published.
    pub(super) holds_letters: bool,
}

impl Rig {
    pub(in crate::broker::queue) fn new(arguments: &[(&str, AMQPValue)]) -> Rig {
        Rig::with_durability(true, arguments)
    }

    pub(in crate::broker::queue) fn with_durability(
        durable: bool,
        arguments: &[(&str, AMQPValue)],
    ) -> Rig {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert(ShortString::from(*name), value.clone());
        }
        let arguments = QueueArguments::shared(&table).expect("valid arguments");
        Rig {
            state: Kind::new(QUEUE, durable, arguments.clone(), Vec::new(), 0),
            store: MemoryStore::new(),
            deliveries: Vec::new(),
            fx: Effects::default(),
            arguments,
            committed: 0,
            now_ms: 1_000,
            dead: Vec::new(),
            failures: Vec::new(),
            rejected: 0,
            persisted: false,
            answers: Vec::new(),
            receives: 0,
            holds_letters: false,
        }
    }

    pub(in crate::broker::queue) fn publish(&mut self, messages: &[Arc<Message>]) {
        self.publish_as(Admission::Each, messages);
    }

    pub(super) fn publish_as(&mut self, admission: Admission, messages: &[Arc<Message>]) {
        let enqueued = self
            .state
            .publish(self.now_ms, messages, admission, &mut self.fx);
        self.rejected += enqueued.rejected.len();
        self.persisted = enqueued.persisted;
        self.carry_out();
    }

    pub(in crate::broker::queue) fn consume(
        &mut self,
        id: u64,
        no_ack: bool,
        priority: i32,
        messages: u32,
    ) -> Result<ConsumerId, ConsumeError> {
        self.consume_for(None, id, no_ack, priority, messages)
    }

    pub(in crate::broker::queue) fn consume_for(
        &mut self,
        visibility_timeout_ms: Option<u64>,
        id: u64,
        no_ack: bool,
        priority: i32,
        messages: u32,
    ) -> Result<ConsumerId, ConsumeError> {
        let id = ConsumerId(id);
        let new = NewConsumer {
            id,
            tag: "c".into(),
            no_ack,
            exclusive: false,
            priority,
            credit: Credit {
                messages,
                bytes: 1 << 40,
            },
            visibility_timeout_ms,
            stream: None,
            prefetch_count: 0,
            arguments: FieldTable::default(),
            connection: ConnectionId(1),
            channel: 1,
        };
        let consumed = self.state.consume(self.now_ms, new, None, &mut self.fx);
        self.carry_out();
        consumed.map(|()| id)
    }

    pub(in crate::broker::queue) fn grant(&mut self, consumer: ConsumerId, messages: u32) {
        self.state.grant(
            self.now_ms,
            &[(consumer, Credit { messages, bytes: 0 })],
            &mut self.fx,
        );
        self.carry_out();
    }

    pub(in crate::broker::queue) fn acknowledge(&mut self, how: Acknowledgement, ids: &[Lease]) {
        self.state
            .acknowledge(self.now_ms, how, ids, &[], &mut self.fx);
        self.carry_out();
    }

    pub(in crate::broker::queue) fn get(&mut self) -> Option<(Lease, Bytes, bool)> {
        loop {
            let got = self.state.get(self.now_ms, false, &mut self.fx);
            self.carry_out();
            match got {
                Get::Empty => return None,
                Get::Loading => {}
                Get::Got(got) => return Some((got.lease, body(&got.message), got.redelivered)),
            }
        }
    }

    /// The messages that a hasty receive gets.
    pub(in crate::broker::queue) fn receive(&mut self, max: usize) -> Vec<Received> {
        self.receives += 1;
        let is_received = self
            .state
            .receive(self.now_ms, self.receives, max, true, &mut self.fx);
        assert!(is_received);
        self.carry_out();
        self.answers.pop().expect("an answer")
    }

    pub(in crate::broker::queue) fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.state.tick(now_ms, &mut self.fx);
        self.carry_out();
    }

    /// Does the work of the shell - deliver, bury, read, sweep - until no effects are left.
    pub(in crate::broker::queue) fn carry_out(&mut self) {
        loop {
            while !self.holds_letters
                && let dead @ [_, ..] = &self.state.take_letters(2, 100)[..]
            {
                let letters = dead.iter().map(|dead| (body(&dead.message), dead.reason));
                self.dead.extend(letters);
                let failures = dead.iter().map(|dead| dead.message.failures);
                self.failures.extend(failures);
                let count = dead.len();
                self.state.bury(self.now_ms, count, &mut self.fx);
            }
            self.deliveries.append(&mut self.fx.deliveries);
            assert_eq!(self.fx.permit, None, "no channel has a limit");
            let effects = std::mem::take(&mut self.fx.others);
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.carry_out_one(effect);
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        match effect {
            Effect::Answer { messages, .. } => self.answers.push(messages),
            Effect::Pick(pick) => {
                let picked = self.pick(&pick);
                self.state.picked(self.now_ms, picked, &mut self.fx);
            }
            Effect::Read { log, from } => {
                let mut chunks = self.store.read(log, from, 300).expect("memory store");
                if chunks.is_empty() {
                    self.commit(); // acked and rewound before it was written
                    chunks = self.store.read(log, from, 300).expect("memory store");
                }
                assert!(
                    !chunks.is_empty(),
                    "offset {from} of {log:?} is not in the store"
                );
                let chunks = decoded(chunks);
                self.state
                    .loaded(self.now_ms, log, from, chunks, &mut self.fx);
            }
            Effect::Seek(_) | Effect::AwaitRound(_) => panic!("{effect:?}"),
        }
    }

    fn pick(&mut self, pick: &Pick) -> Vec<Picked> {
        let read = |from, max_bytes| self.store.read(pick.log, from, max_bytes);
        let picked = whole(picks::pick(pick, read));
        if !picked.is_empty() {
            return picked;
        }
        self.commit(); // written anew and due before that was committed
        let read = |from, max_bytes| self.store.read(pick.log, from, max_bytes);
        whole(picks::pick(pick, read))
    }

    pub(in crate::broker::queue) fn commit(&mut self) {
        let mut batch = Batch {
            ticket: Ticket(self.committed + 1),
            ..Batch::default()
        };
        self.state.collect(batch.ticket, &mut batch);
        self.store.append(&batch).expect("memory store");
        self.committed += 1;
        assert!(!self.state.is_dirty());
    }

    pub(in crate::broker::queue) fn evict(&mut self, target: u64) {
        self.state.evict(target, Ticket(self.committed));
    }

    /// The next restart follows an orderly end.
    pub(in crate::broker::queue) fn end_in_order(&mut self) {
        self.commit();
        self.store.ends_in_order(self.state.handed_out());
    }

    pub(in crate::broker::queue) fn restart(&mut self) {
        self.store.sweep_settled().expect("memory store");
        let logs: Vec<(LogId, _)> = self.store.logs().expect("memory store");
        self.state = Kind::new(QUEUE, true, self.arguments.clone(), logs, self.now_ms);
        self.fx = Effects::default();
        while let Some((log, from)) = self.state.next_to_restore(self.now_ms) {
            let chunks = self.store.read(log, from, 1).expect("memory store");
            self.state.restore(log, decoded(chunks));
        }
        self.tick(self.now_ms);
    }

    pub(in crate::broker::queue) fn take_deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }

    pub(in crate::broker::queue) fn chunks_on_disk(&self) -> usize {
        let chunks = self.store.read(QUEUE.log(0), 0, usize::MAX);
        chunks.expect("memory store").len()
    }

    pub(super) fn bodies(&mut self) -> Vec<Bytes> {
        self.take_deliveries()
            .iter()
            .map(|delivery| body(&delivery.message))
            .collect()
    }
}

/// The messages of a read that must not fail.
pub(in crate::broker::queue) fn whole(
    (picked, failures): (Vec<Picked>, Vec<(u64, StoreError)>),
) -> Vec<Picked> {
    assert!(failures.is_empty(), "{failures:?}");
    picked
}

pub(super) fn decoded(chunks: Vec<StoredChunk>) -> Vec<(u64, Vec<StoredMessage>)> {
    let decode = |stored: StoredChunk| {
        let messages = chunk::decode(stored.first, stored.data).expect("a chunk");
        let messages = messages.map(|message| message.expect("a message"));
        (stored.first, messages.collect())
    };
    chunks.into_iter().map(decode).collect()
}

pub(in crate::broker::queue) fn body(message: &Message) -> Bytes {
    message.body.slices().concat().into()
}

pub(in crate::broker::queue) fn message(text: &str) -> Arc<Message> {
    with(text, |_| {})
}

pub(in crate::broker::queue) fn with(
    text: &str,
    change: impl FnOnce(&mut Message),
) -> Arc<Message> {
    let mut message = Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "q".into(),
        }),
        properties: Bytes::from_static(&[0, 0]),
        body: Body::Whole(Bytes::copy_from_slice(text.as_bytes())),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
        handed_out: false,
    };
    change(&mut message);
    Arc::new(message)
}

/// Sets the property, or removes it.
pub(in crate::broker::queue) fn set_priority(message: &mut Message, priority: Option<u8>) {
    message.priority = priority.unwrap_or(0);
    message.properties = match priority {
        Some(priority) => Bytes::from(vec![0x08, 0, priority]),
        None => Bytes::from_static(&[0, 0]),
    };
}

pub(in crate::broker::queue) fn long(value: i64) -> AMQPValue {
    AMQPValue::LongLongInt(value)
}

pub(in crate::broker::queue) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}
