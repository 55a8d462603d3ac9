//! The steps of a schedule: plain data. A number names one of what there is, modulo how much there is, so that a
//! schedule stays valid when steps are taken out of it.

use proptest::prelude::*;

use crate::broker::queue::effects::Acknowledgement;

use super::queues::{LEASE_MS, QUEUES};

/// One step of a schedule.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Publish {
        queue: usize,
        count: usize,
        transient: bool,
        priority: u8,
        delay_ms: Option<u64>,
        expiration_ms: Option<u64>,
    },
    /// In a stream the consumer starts at offset `from`, if it is given, else with the next message.
    Consume {
        queue: usize,
        no_ack: bool,
        credit: u32,
        priority: i32,
        from: Option<u64>,
    },
    Grant {
        consumer: usize,
        credit: u32,
    },
    /// Answers some deliveries.
    Acknowledge {
        how: Acknowledgement,
        lease: usize,
        count: usize,
    },
    /// Answers a delivery whose lease has ended.
    AnswerLate {
        how: Acknowledgement,
        lease: usize,
    },
    /// Some deliveries of a consumer of a quorum queue stay unanswered for too long.
    TimeOut {
        lease: usize,
        count: usize,
    },
    /// The channel of a consumer ends: so do the leases of the consumer.
    Leave {
        consumer: usize,
    },
    /// A consumer is cancelled: its leases stay.
    Cancel {
        consumer: usize,
    },
    Get {
        queue: usize,
        no_ack: bool,
    },
    Receive {
        queue: usize,
        max: usize,
        hasty: bool,
    },
    StopWaiting {
        receive: usize,
    },
    /// Deletes a received message by its handle, which may be invalid by now.
    DeleteReceived {
        handle: usize,
    },
    Prolong {
        handle: usize,
        ms: u64,
    },
    /// The client has not got a message that it received.
    GiveBack {
        handle: usize,
    },
    /// Begins a rewind to this offset. It ends with [`Step::Answer`].
    Rewind {
        offset: u64,
    },
    Purge {
        queue: usize,
    },
    /// Publishes some dead letters of a queue.
    PublishLetters {
        queue: usize,
        max: usize,
    },
    /// Time passes. With `late` the timers of the queues are late.
    Advance {
        ms: u64,
        late: bool,
    },
    /// A batch takes what all queues have to write.
    Collect,
    /// The store takes all batches.
    Commit,
    /// The store syncs what it has.
    Sync,
    /// A read that is under way makes progress.
    Answer {
        read: usize,
    },
    /// A queue drops messages from memory until it has this many bytes.
    Evict {
        queue: usize,
        bytes: u64,
    },
    /// The broker crashes and starts again. All synced batches survive, and this many of the others.
    Crash {
        survivors: usize,
    },
}

/// Any step.
pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        45 => of_clients(),
        15 => of_receivers(),
        55 => of_the_broker(),
    ]
}

fn of_clients() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => publish(),
        7 => consume(),
        3 => (0usize..8, 1u32..6).prop_map(|(consumer, credit)| Step::Grant { consumer, credit }),
        12 => (how(), 0usize..32, 1usize..4)
            .prop_map(|(how, lease, count)| Step::Acknowledge { how, lease, count }),
        4 => (how(), 0usize..32).prop_map(|(how, lease)| Step::AnswerLate { how, lease }),
        2 => (0usize..32, 1usize..4).prop_map(|(lease, count)| Step::TimeOut { lease, count }),
        2 => (0usize..8).prop_map(|consumer| Step::Leave { consumer }),
        1 => (0usize..8).prop_map(|consumer| Step::Cancel { consumer }),
        4 => (queue(), any::<bool>()).prop_map(|(queue, no_ack)| Step::Get { queue, no_ack }),
        2 => (0u64..30).prop_map(|offset| Step::Rewind { offset }),
        1 => queue().prop_map(|queue| Step::Purge { queue }),
    ]
}

fn of_receivers() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (queue(), 1usize..5, any::<bool>())
            .prop_map(|(queue, max, hasty)| Step::Receive { queue, max, hasty }),
        1 => (0usize..4).prop_map(|receive| Step::StopWaiting { receive }),
        4 => (0usize..32).prop_map(|handle| Step::DeleteReceived { handle }),
        2 => (0usize..32, prop_oneof![Just(0u64), 1u64..2_000])
            .prop_map(|(handle, ms)| Step::Prolong { handle, ms }),
        2 => (0usize..32).prop_map(|handle| Step::GiveBack { handle }),
    ]
}

fn of_the_broker() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (queue(), 1usize..4).prop_map(|(queue, max)| Step::PublishLetters { queue, max }),
        6 => (prop_oneof![1u64..50, Just(LEASE_MS), 100u64..1_500], prop::bool::weighted(0.2))
            .prop_map(|(ms, late)| Step::Advance { ms, late }),
        7 => Just(Step::Collect),
        7 => Just(Step::Commit),
        6 => Just(Step::Sync),
        14 => (0usize..16).prop_map(|read| Step::Answer { read }),
        7 => (queue(), prop_oneof![3 => Just(0u64), 1 => 1u64..4_000])
            .prop_map(|(queue, bytes)| Step::Evict { queue, bytes }),
        2 => (0usize..4).prop_map(|survivors| Step::Crash { survivors }),
    ]
}

fn publish() -> impl Strategy<Value = Step> {
    let delay_ms = prop::option::weighted(0.15, 1u64..2_500);
    let expiration_ms = prop::option::weighted(0.1, prop_oneof![Just(0u64), 1u64..1_500]);
    let transient = prop::bool::weighted(0.2);
    (
        queue(),
        1usize..6,
        transient,
        0u8..8,
        delay_ms,
        expiration_ms,
    )
        .prop_map(
            |(queue, count, transient, priority, delay_ms, expiration_ms)| Step::Publish {
                queue,
                count,
                transient,
                priority,
                delay_ms,
                expiration_ms,
            },
        )
}

fn consume() -> impl Strategy<Value = Step> {
    let from = prop::option::of(0u64..8);
    (queue(), prop::bool::weighted(0.2), 0u32..8, -1i32..3, from).prop_map(
        |(queue, no_ack, credit, priority, from)| Step::Consume {
            queue,
            no_ack,
            credit,
            priority,
            from,
        },
    )
}

fn queue() -> impl Strategy<Value = usize> {
    0..QUEUES
}

fn how() -> impl Strategy<Value = Acknowledgement> {
    prop_oneof![
        4 => Just(Acknowledgement::Ack),
        2 => Just(Acknowledgement::Requeue),
        2 => Just(Acknowledgement::RequeueFailed),
        1 => Just(Acknowledgement::Reject),
        1 => Just(Acknowledgement::RejectFailed),
    ]
}
