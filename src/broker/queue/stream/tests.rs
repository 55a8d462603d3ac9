//! The stream as a state machine: commands in, deliveries out, against a store in memory.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use crate::broker::queue::consumer::Delivery;
use crate::model::stream::{STREAM_FILTER_VALUE, StreamFilter, StreamStart};
use crate::model::{Body, ConnectionId, Origin};
use crate::store::{MemoryStore, Store, chunk};
use crate::wire::{AMQPValue, FieldTable, PropertiesView};

use super::*;
use crate::broker::queue::reading::{picks, seek};
use crate::broker::queue::work::tests::rig::whole;

/// A stream with a store, whose effects are carried out at once; what is written is durable when `land` says so.
struct Fixture {
    stream: Stream,
    arguments: QueueArguments,
    store: MemoryStore,
    deliveries: Vec<Delivery>,
    fx: Effects,
    ticket: u64,
    now_ms: u64,
    /// Reads are kept back while this is set.
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

    /// Stops and starts: what was committed is there.
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

    /// `count` messages in a batch of their own, a chunk, all durable.
    fn publish_durable(&mut self, count: usize) {
        let run: Vec<_> = (0..count).map(|_| message(b"0123456789", None)).collect();
        self.publish(&run);
        self.land();
    }

    fn commit(&mut self) {
        self.ticket += 1;
        let mut batch = Batch::default();
        self.stream.collect(Ticket(self.ticket), &mut batch);
        self.store.commit(&batch).unwrap();
    }

    fn land(&mut self) {
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
                idle &= matches!(effect, Effect::Sweep { .. });
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
            Effect::Sweep { log, offsets } => {
                while !self.store.sweep(log, offsets.end, 10).unwrap() {}
                self.stream.swept(&mut self.fx);
            }
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

    /// What each consumer got since the last call, as offsets.
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

#[test]
fn consumers_begin_where_they_say() {
    let mut f = Fixture::new(&[]);
    for _ in 0..3 {
        f.publish_durable(2);
        f.now_ms += 1_000;
    }
    let cases = [
        (StreamOffset::First, vec![0, 1, 2, 3, 4, 5]),
        (StreamOffset::Next, vec![]),
        (StreamOffset::Last, vec![4, 5]),
        (StreamOffset::Offset(0), vec![0, 1, 2, 3, 4, 5]),
        (StreamOffset::Offset(5), vec![5]),
        (StreamOffset::Offset(6), vec![]),
        (StreamOffset::Offset(7), vec![]),
        (StreamOffset::Time(0), vec![0, 1, 2, 3, 4, 5]),
        (StreamOffset::Time(1_000_001), vec![2, 3, 4, 5]),
        (StreamOffset::Time(1_001_000), vec![2, 3, 4, 5]),
        (StreamOffset::Time(1_002_000), vec![4, 5]),
        (StreamOffset::Time(1_002_001), vec![]),
        (StreamOffset::Time(u64::MAX), vec![]),
    ];
    for _ in 0..2 {
        for (offset, expected) in &cases {
            let id = f.consume(*offset, 100);
            assert_eq!(f.delivered(id), *expected, "{offset:?}");
            f.stream.leave(f.now_ms, &[id], &[], &mut f.fx);
        }
        f.restart();
    }
    let ids: Vec<_> = cases
        .iter()
        .map(|(offset, _)| f.consume(*offset, 100))
        .collect();
    f.publish_durable(2);
    for (id, (offset, before)) in ids.into_iter().zip(cases) {
        let mut expected = before;
        expected.extend(
            [6, 7]
                .iter()
                .filter(|new| offset != StreamOffset::Offset(7) || **new == 7),
        );
        assert_eq!(f.delivered(id), expected, "{offset:?}");
    }
}

#[test]
fn an_empty_stream_has_one_place() {
    let mut f = Fixture::new(&[]);
    let ids: Vec<_> = [
        StreamOffset::First,
        StreamOffset::Last,
        StreamOffset::Next,
        StreamOffset::Time(5),
    ]
    .map(|offset| f.consume(offset, 10))
    .into();
    f.publish_durable(1);
    for id in ids {
        assert_eq!(f.delivered(id), [0]);
    }
}

#[test]
fn nothing_is_delivered_before_it_is_durable() {
    let mut f = Fixture::new(&[]);
    let id = f.consume(StreamOffset::First, 10);
    f.publish(&[message(b"m", None)]);
    assert_eq!(f.counts(), (1, 0));
    f.commit();
    let later = f.consume(StreamOffset::First, 10);
    assert!(f.delivered(id).is_empty());
    f.stream
        .durable_up_to(f.now_ms, Ticket(f.ticket), &mut f.fx);
    f.carry_out();
    assert_eq!(f.delivered(id), [0]);
    assert_eq!(f.delivered(later), [0]);
}

#[test]
fn credit_is_all_that_is_given() {
    let mut f = Fixture::new(&[]);
    f.publish_durable(10);
    let slow = f.consume(StreamOffset::First, 2);
    let quick = f.consume(StreamOffset::First, 100);
    assert_eq!(f.delivered(slow), [0, 1]);
    assert_eq!(f.delivered(quick), (0..10).collect::<Vec<_>>());
    f.grant(slow, 3);
    assert_eq!(f.delivered(slow), [2, 3, 4]);
    f.grant(slow, 0);
    assert!(f.delivered(slow).is_empty());
    f.publish_durable(1);
    assert!(f.delivered(slow).is_empty());
    assert_eq!(f.delivered(quick), [10]);
    f.grant(slow, 50);
    assert_eq!(f.delivered(slow), [5, 6, 7, 8, 9, 10]);
}

#[test]
fn filters_are_exact() {
    let mut f = Fixture::new(&[]);
    let run: Vec<_> = [Some("a"), None, Some("b"), Some("a"), Some("")]
        .iter()
        .map(|value| message(b"m", *value))
        .collect();
    f.publish(&run);
    f.land();
    let filter = |values: &[&str], unfiltered: bool| {
        let mut table = FieldTable::default();
        let values: Vec<AMQPValue> = values
            .iter()
            .map(|value| AMQPValue::LongString((*value).into()))
            .collect();
        table.insert(
            "x-stream-filter".into(),
            AMQPValue::FieldArray(values.into()),
        );
        table.insert(
            "x-stream-match-unfiltered".into(),
            AMQPValue::Boolean(unfiltered),
        );
        StreamFilter::parse(&table).unwrap()
    };
    for (values, unfiltered, expected) in [
        (&["a"][..], false, &[0, 3][..]),
        (&["b", "a"], false, &[0, 2, 3]),
        (&["b"], true, &[1, 2]),
        (&["z"], false, &[]),
        (&[""], false, &[4]),
    ] {
        let id = f.consume_filtered(StreamOffset::First, 10, filter(values, unfiltered));
        assert_eq!(f.delivered(id), expected, "{values:?}");
    }
    // What is passed over costs no credit.
    let id = f.consume_filtered(StreamOffset::First, 1, filter(&["b"], false));
    assert_eq!(f.delivered(id), [2]);
}

#[test]
fn whole_segments_go_when_there_is_too_much() {
    let mut f = Fixture::new(&[
        ("x-max-length-bytes", number(100)),
        ("x-stream-max-segment-size-bytes", number(40)),
    ]);
    let reader = f.consume(StreamOffset::First, 1);
    // Ten chunks of two messages of 12 bytes, which are segments of two chunks.
    for _ in 0..10 {
        f.publish_durable(2);
    }
    assert_eq!(f.counts(), (8, 0), "two segments of 48 bytes");
    assert_eq!(f.stream.floor, 12);
    f.land();
    let left = f.store.read(f.stream.log, 0, usize::MAX).unwrap();
    assert_eq!(
        left.first().map(|chunk| chunk.first),
        Some(12),
        "swept from the store"
    );
    // Who was behind goes on with the first that is left.
    assert_eq!(f.delivered(reader), [0]);
    f.grant(reader, 100);
    assert_eq!(f.delivered(reader), (12..20).collect::<Vec<_>>());
    f.restart();
    assert_eq!(f.counts(), (8, 0));
    let first = f.consume(StreamOffset::Offset(3), 100);
    assert_eq!(f.delivered(first), (12..20).collect::<Vec<_>>());
}

#[test]
fn a_read_that_retention_was_quicker_than_finds_nothing() {
    let mut f = Fixture::new(&[
        ("x-max-length-bytes", number(50)),
        ("x-stream-max-segment-size-bytes", number(1)),
    ]);
    f.publish_durable(2);
    f.restart();
    f.slow_disk = true;
    let id = f.consume(StreamOffset::First, 10);
    assert_eq!(f.waiting_loads.len(), 1);
    assert!(f.stream.expects(QueueId(1).log(0), 0));
    f.publish(&[message(&[0; 60], None)]);
    assert!(!f.stream.expects(QueueId(1).log(0), 0));
    // Nothing is on disk from there on: what came since is not committed.
    f.waiting_loads.clear();
    let log = f.stream.log;
    f.stream.loaded(f.now_ms, log, 0, Vec::new(), &mut f.fx);
    f.land();
    assert_eq!(f.delivered(id), [2]);
}

#[test]
fn whole_segments_go_when_they_are_old() {
    let mut f = Fixture::new(&[
        ("x-max-age", AMQPValue::LongString("10s".into())),
        ("x-stream-max-segment-size-bytes", number(1)),
    ]);
    for _ in 0..3 {
        f.publish_durable(2);
        f.now_ms += 1_000;
    }
    assert_eq!(f.counts(), (6, 0));
    assert_eq!(f.stream.deadline_ms(f.now_ms), Some(1_010_001));
    f.now_ms = 1_010_000;
    f.stream.tick(f.now_ms, &mut f.fx);
    assert_eq!(f.counts(), (6, 0));
    f.now_ms = 1_010_001;
    f.stream.tick(f.now_ms, &mut f.fx);
    assert_eq!(f.counts(), (4, 0));
    assert_eq!(f.stream.deadline_ms(f.now_ms), Some(1_011_001));
    f.now_ms = 9_000_000;
    f.stream.tick(f.now_ms, &mut f.fx);
    assert_eq!(f.counts(), (2, 0), "the open segment stays");
    assert_eq!(f.stream.deadline_ms(f.now_ms), None);
    assert!(f.stream.is_dirty());
}

#[test]
fn memory_does_not_grow_with_the_stream() {
    let mut f = Fixture::new(&[]);
    let body = vec![b'x'; 1_000];
    for _ in 0..200 {
        let run: Vec<_> = (0..100).map(|_| message(&body, None)).collect();
        f.publish(&run);
        f.land();
        assert!(f.stream.resident_bytes() <= IDLE_TAIL_BYTES + 130_000);
    }
    assert!(f.stream.resident_bytes() <= IDLE_TAIL_BYTES);
    let id = f.consume(StreamOffset::First, 0);
    for round in 0..200 {
        f.grant(id, 100);
        assert_eq!(
            f.delivered(id),
            (round * 100..round * 100 + 100).collect::<Vec<_>>()
        );
        assert!(f.stream.resident_bytes() <= TAIL_BYTES + 3 * RUN_BYTES as u64);
    }
    // 20 MB in runs of 256 KB, each read once.
    assert!(f.loads <= 100, "{}", f.loads);
}

#[test]
fn who_is_behind_does_not_hold_up_others() {
    let mut f = Fixture::new(&[]);
    let body = vec![b'x'; 10_000];
    let run: Vec<_> = (0..200).map(|_| message(&body, None)).collect();
    f.publish(&run);
    f.land();
    f.slow_disk = true;
    let behind: Vec<_> = (0..10)
        .map(|n| f.consume(StreamOffset::Offset(n * 15), 1_000))
        .collect();
    let current = f.consume(StreamOffset::Next, 1_000);
    assert!(f.waiting_loads.len() <= LOADS_MAX);
    f.publish_durable(1);
    assert_eq!(f.delivered(current), [200]);
    // The disk answers one read after the other; everybody gets everything in the end.
    while let Some((log, from)) = f.waiting_loads.pop() {
        f.load(log, from);
        f.carry_out();
        assert!(f.waiting_loads.len() <= LOADS_MAX);
    }
    for (n, id) in (0..).zip(behind) {
        assert_eq!(f.delivered(id), (n * 15..201).collect::<Vec<_>>(), "{n}");
    }
}

#[test]
fn neighbours_share_what_is_read() {
    let mut f = Fixture::new(&[]);
    let body = vec![b'x'; 10_000];
    for _ in 0..20 {
        let run: Vec<_> = (0..20).map(|_| message(&body, None)).collect();
        f.publish(&run);
        f.land();
    }
    let ids: Vec<_> = (0..5).map(|_| f.consume(StreamOffset::First, 0)).collect();
    for _ in 0..40 {
        for id in &ids {
            f.grant(*id, 10);
        }
    }
    for id in ids {
        assert_eq!(f.delivered(id), (0..400).collect::<Vec<_>>());
    }
    assert!(f.loads <= 4_000_000 / RUN_BYTES + 5, "{}", f.loads);
}

#[test]
fn a_time_far_back_is_found_on_disk() {
    let mut f = Fixture::new(&[]);
    for _ in 0..60 {
        f.publish_durable(500);
        f.now_ms += 1_000;
    }
    f.restart();
    f.loads = 0;
    let id = f.consume(StreamOffset::Time(1_030_000), 2);
    assert_eq!(f.delivered(id), [15_000, 15_001]);
    assert!(f.loads <= 4, "{}", f.loads);
    let id = f.consume(StreamOffset::Time(1_029_001), 1);
    assert_eq!(f.delivered(id), [15_000]);
}

#[test]
fn delayed_messages_are_appended_when_due() {
    let mut f = Fixture::new(&[]);
    let id = f.consume(StreamOffset::First, 10);
    let mut late = Message::clone(&message(b"late", None));
    late.delay_ms = Some(5_000);
    f.publish(&[Arc::new(late), message(b"m", None)]);
    f.land();
    assert_eq!(f.delivered(id), [0]);
    assert_eq!(f.stream.counts().delayed, 1);
    f.restart();
    let id = f.consume(StreamOffset::First, 10);
    assert_eq!(f.delivered(id), [0]);
    // It is read some time before.
    for next_ms in [1_003_000, 1_005_000] {
        assert_eq!(f.stream.deadline_ms(f.now_ms), Some(next_ms));
        f.now_ms = next_ms;
        f.stream.tick(f.now_ms, &mut f.fx);
        f.carry_out();
    }
    f.land();
    assert_eq!(f.delivered(id), [1]);
}

/// A step of the comparison with a naive model.
#[derive(Clone, Debug)]
enum Step {
    Publish(u8),
    Land,
    Consume(u64),
    Grant(usize, u8),
    Restart,
    Evict,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u8..6).prop_map(Step::Publish),
        3 => Just(Step::Land),
        2 => (0u64..40).prop_map(Step::Consume),
        4 => (0usize..6, 0u8..8).prop_map(|(index, amount)| Step::Grant(index, amount)),
        1 => Just(Step::Restart),
        1 => Just(Step::Evict),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Every consumer gets the durable, kept messages from its place on, in order and without a gap that retention
    /// did not make, as far as its credit goes; nobody gets what a restart could take back.
    #[test]
    fn as_a_naive_stream(
        max_bytes in prop_oneof![Just(None), (30i64..200).prop_map(Some)],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut fields = vec![("x-stream-max-segment-size-bytes", number(30))];
        fields.extend(max_bytes.map(|max| ("x-max-length-bytes", number(max))));
        let mut f = Fixture::new(&fields);
        // Consumer, next offset that it should get, credit.
        let mut readers: Vec<(ConsumerId, u64, u64)> = Vec::new();
        let (mut next, mut durable) = (0u64, 0u64);
        for step in steps {
            match step {
                Step::Publish(count) => {
                    let mut bytes = BytesMut::new();
                    bytes.put_u64(next);
                    let run: Vec<_> = (0..count).map(|_| message(&bytes, None)).collect();
                    f.publish(&run);
                    next += u64::from(count);
                }
                Step::Land => {
                    f.land();
                    durable = next;
                }
                Step::Consume(offset) if readers.len() < 6 => {
                    readers.push((f.consume(StreamOffset::Offset(offset), 3), offset, 3));
                }
                Step::Consume(_) => {}
                Step::Grant(index, amount) => {
                    if let Some((id, _, credit)) = readers.get_mut(index) {
                        let id = *id;
                        *credit += u64::from(amount);
                        f.grant(id, u32::from(amount));
                    }
                }
                Step::Restart => {
                    f.restart();
                    readers.clear();
                    f.deliveries.clear();
                    next = durable;
                }
                Step::Evict => f.stream.evict(0, Ticket(f.ticket)),
            }
            prop_assert_eq!(f.stream.next, next);
            prop_assert!(f.stream.floor <= next);
            if let Some(max) = max_bytes {
                let open = f.stream.segments.len() == 1;
                prop_assert!(open || f.stream.counts().ready_bytes <= u64::try_from(max).unwrap());
            }
            for (id, at, credit) in &mut readers {
                for offset in f.delivered(*id) {
                    prop_assert!(offset < durable, "{} of {}", offset, durable);
                    prop_assert!(offset == *at || (offset > *at && offset <= f.stream.floor), "{} at {}", offset, at);
                    prop_assert!(*credit > 0);
                    *at = offset + 1;
                    *credit -= 1;
                }
                let waits = (*at).max(f.stream.floor) < durable;
                prop_assert!(*credit == 0 || !waits, "{:?} at {} of {}", id, at, durable);
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_passed_over() {
    let mut fixture = Fixture::new(&[]);
    for _ in 0..3 {
        fixture.publish_durable(10);
    }
    fixture.restart();
    let log = QueueId(1).log(0);
    let gone = Op::RemoveChunk { log, first: 10 };
    fixture.store.commit(&[gone].into_iter().collect()).unwrap();
    assert!(fixture.stream.expects(log, 10));
    let lost = fixture
        .stream
        .lose(fixture.now_ms, log, 10..20, &mut fixture.fx);
    assert_eq!(lost, 10);
    assert!(!fixture.stream.expects(log, 10) && fixture.stream.expects(log, 20));
    let whole: Vec<u64> = (0..10).chain(20..30).collect();
    let first = fixture.consume(StreamOffset::First, 100);
    assert_eq!(fixture.delivered(first), whole);
    let within = fixture.consume(StreamOffset::Offset(15), 100);
    assert_eq!(fixture.delivered(within), whole[10..]);
    assert_eq!(fixture.stream.counts().damaged, 10);
    assert_eq!(fixture.counts(), (20, 0));
    let told = fixture.stream.lost();
    assert_eq!((told[0].0, &told[0].1[0]), (log, &(10..20)));
    let again = fixture
        .stream
        .lose(fixture.now_ms, log, 10..u64::MAX, &mut fixture.fx);
    assert_eq!(again, 0, "the rest is in memory");
}
