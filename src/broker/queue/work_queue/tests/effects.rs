//! Commands and exactly their effects. A bug report about a queue's decision becomes a test here.

use crate::store::Journal as _;
use std::sync::Arc;

use amq_protocol::types::FieldTable;

use crate::broker::queue::consumer::{ChannelLimit, Credit, LimiterId, NewConsumer};
use crate::broker::queue::effects::{Admission, Effect, Effects};
use crate::broker::queue::kind::Kind;
use crate::model::arguments::QueueArguments;
use crate::model::{ConnectionId, ConsumerId, Ticket};
use crate::store::{Batch, MemoryStore, Store};
use crate::wire::{AMQPValue, ShortString};

use super::rig::{QUEUE, decoded, long, message, text};

const NOW_MS: u64 = 1_000;
const LIMITER: LimiterId = LimiterId(1);

/// The part of an effect that these tests compare.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// To a consumer: the message at an offset.
    Delivery(u64, u64),
    /// To a receive: the messages at these offsets.
    Answer(u64, Vec<u64>),
    Read(u64),
    AwaitRound(u64),
    /// The command has paused for this consumer.
    Permit(u64),
}

use Seen::{Answer, AwaitRound, Delivery, Permit, Read};

fn arguments(fields: &[(&str, AMQPValue)]) -> Arc<QueueArguments> {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert(ShortString::from(*name), value.clone());
    }
    QueueArguments::shared(&table).expect("valid arguments")
}

fn queue(fields: &[(&str, AMQPValue)]) -> (Kind, Effects) {
    let queue = Kind::new(QUEUE, true, arguments(fields), Vec::new(), NOW_MS);
    (queue, Effects::default())
}

fn consumer(id: u64) -> NewConsumer {
    NewConsumer {
        id: ConsumerId(id),
        tag: "c".into(),
        no_ack: false,
        exclusive: false,
        priority: 0,
        credit: Credit {
            messages: 10,
            bytes: 1 << 20,
        },
        visibility_timeout_ms: None,
        stream: None,
        prefetch_count: 10,
        arguments: FieldTable::default(),
        connection: ConnectionId(1),
        channel: 1,
    }
}

fn publish(queue: &mut Kind, fx: &mut Effects, bodies: &[&str]) {
    let run: Vec<_> = bodies.iter().map(|body| message(body)).collect();
    let enqueued = queue.publish(NOW_MS, &run, Admission::Each, fx);
    assert_eq!((enqueued.seen, enqueued.is_paused), (run.len(), false));
}

fn consume(queue: &mut Kind, fx: &mut Effects, id: u64, limit: Option<ChannelLimit>) {
    let consumed = queue.consume(NOW_MS, consumer(id), limit, fx);
    consumed.expect("a consumer");
}

fn limited() -> Option<ChannelLimit> {
    Some(ChannelLimit {
        limiter: LIMITER,
        is_set: true,
    })
}

/// Removes and returns the effects, in order.
fn take(fx: &mut Effects) -> Vec<Seen> {
    let deliveries = std::mem::take(&mut fx.deliveries).into_iter();
    let deliveries = deliveries.map(|d| Delivery(d.consumer.0, d.lease.offset));
    let others = std::mem::take(&mut fx.others).into_iter();
    let others = others.map(|effect| match effect {
        Effect::Answer { receive, messages } => {
            let offsets = messages.iter().map(|received| received.lease.offset);
            Answer(receive, offsets.collect())
        }
        Effect::Read { from, .. } => Read(from),
        Effect::AwaitRound(consumer) => AwaitRound(consumer.0),
        other => panic!("{other:?}"),
    });
    let permit = fx.permit.take().map(|consumer| Permit(consumer.0));
    deliveries.chain(others).chain(permit).collect()
}

#[test]
fn deliveries_are_listed_in_the_order_in_which_they_leave() {
    let (mut queue, mut fx) = queue(&[]);
    consume(&mut queue, &mut fx, 1, None);
    consume(&mut queue, &mut fx, 2, None);
    publish(&mut queue, &mut fx, &["a", "b", "c"]);
    let expected = [Delivery(1, 0), Delivery(2, 1), Delivery(1, 2)];
    assert_eq!(take(&mut fx), expected);
}

#[test]
fn receives_are_answered_by_their_numbers_and_hasty_ones_immediately() {
    let (mut queue, mut fx) = queue(&[]);
    assert!(queue.receive(NOW_MS, 1, 2, true, &mut fx));
    assert_eq!(take(&mut fx), [Answer(1, vec![])]);
    for number in [2, 3] {
        assert!(queue.receive(NOW_MS, number, 2, false, &mut fx));
    }
    assert_eq!(take(&mut fx), []);
    publish(&mut queue, &mut fx, &["a", "b", "c"]);
    assert_eq!(take(&mut fx), [Answer(2, vec![0, 1]), Answer(3, vec![2])]);
    assert!(queue.receive(NOW_MS, 4, 2, false, &mut fx));
    queue.stop_waiting(NOW_MS, 4, &mut fx);
    publish(&mut queue, &mut fx, &["d"]);
    assert_eq!(take(&mut fx), []);
}

#[test]
fn a_command_pauses_for_a_permit_and_keeps_the_order_of_consumers() {
    let (mut queue, mut fx) = queue(&[]);
    consume(&mut queue, &mut fx, 1, limited());
    consume(&mut queue, &mut fx, 2, None);
    publish(&mut queue, &mut fx, &["a", "b", "c", "d"]);
    assert_eq!(take(&mut fx), [Permit(1)]);
    queue.permit(NOW_MS, true, &mut fx);
    assert_eq!(take(&mut fx), [Delivery(1, 0), Delivery(2, 1), Permit(1)]);
    // The refused consumer waits for a round. The other one gets the remaining messages.
    queue.permit(NOW_MS, false, &mut fx);
    assert_eq!(take(&mut fx), [Delivery(2, 2), Delivery(2, 3)]);
    publish(&mut queue, &mut fx, &["e"]);
    assert_eq!(take(&mut fx), [Delivery(2, 4)]);
}

#[test]
fn a_round_gives_a_queue_exactly_its_share() {
    let (mut queue, mut fx) = queue(&[]);
    consume(&mut queue, &mut fx, 1, limited());
    publish(&mut queue, &mut fx, &["a", "b", "c"]);
    assert_eq!(take(&mut fx), [Permit(1)]);
    queue.permit(NOW_MS, false, &mut fx);
    assert_eq!(take(&mut fx), []);
    queue.poke(NOW_MS, LIMITER, 1, &mut fx);
    assert_eq!(take(&mut fx), [Permit(1)]);
    queue.permit(NOW_MS, true, &mut fx);
    assert_eq!(take(&mut fx), [Delivery(1, 0), AwaitRound(1)]);
    // Without a limit no delivery needs a permit.
    let none = ChannelLimit {
        limiter: LIMITER,
        is_set: false,
    };
    queue.limit(NOW_MS, none, &mut fx);
    assert_eq!(take(&mut fx), [Delivery(1, 1), Delivery(1, 2)]);
}

#[test]
fn a_full_queue_that_refuses_pauses_amid_the_run() {
    let (mut queue, mut fx) = queue(&[
        ("x-max-length", long(1)),
        ("x-overflow", text("reject-publish")),
    ]);
    consume(&mut queue, &mut fx, 1, limited());
    let run = ["a", "b", "c"].map(message);
    let first = queue.publish(NOW_MS, &run, Admission::Each, &mut fx);
    assert_eq!((first.seen, first.is_paused), (1, true));
    assert_eq!(take(&mut fx), [Permit(1)]);
    queue.permit(NOW_MS, true, &mut fx);
    assert_eq!(take(&mut fx), [Delivery(1, 0)]);
    let second = queue.publish(NOW_MS, &run[1..], Admission::Each, &mut fx);
    assert_eq!((second.seen, second.is_paused), (1, true));
    assert_eq!(take(&mut fx), [Permit(1)]);
    queue.permit(NOW_MS, false, &mut fx);
    let third = queue.publish(NOW_MS, &run[2..], Admission::Each, &mut fx);
    assert_eq!((third.is_paused, &third.rejected[..]), (false, &[0][..]));
    let all = first.and(second).and(third);
    assert_eq!((all.seen, &all.rejected[..]), (3, &[2][..]));
    assert_eq!(take(&mut fx), []);
}

#[test]
fn a_restart_reads_received_messages_before_the_backlog() {
    let (mut queue, mut fx) = queue(&[]);
    publish(&mut queue, &mut fx, &["a", "b"]);
    assert!(queue.receive(NOW_MS, 1, 1, true, &mut fx));
    assert_eq!(take(&mut fx), [Answer(1, vec![0])]);
    let store = MemoryStore::new();
    let mut batch = Batch::default();
    queue.collect(Ticket(1), &mut batch);
    store.append(&batch).expect("memory store");
    let read = |from| decoded(store.read(QUEUE.log(0), from, 1).expect("memory store"));

    let recovered = store.logs().expect("memory store");
    let mut queue = Kind::new(QUEUE, true, arguments(&[]), recovered, NOW_MS);
    let next = queue.next_to_restore(NOW_MS);
    assert_eq!(next, Some((QUEUE.log(0), 0)));
    queue.restore(QUEUE.log(0), read(0));
    assert_eq!(queue.next_to_restore(NOW_MS), None);
    consume(&mut queue, &mut fx, 1, None);
    // The received message is still leased.
    let expected = match take(&mut fx) {
        seen if seen == [Read(1)] => {
            queue.loaded(NOW_MS, QUEUE.log(0), 1, read(1), &mut fx);
            take(&mut fx)
        }
        seen => seen,
    };
    assert_eq!(expected, [Delivery(1, 1)]);
}
