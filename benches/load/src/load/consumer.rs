//! A consumer: reads the deliveries of its queues, checks them and acknowledges them in batches.

use std::io::Write;

use bytes::BytesMut;
use leveret::wire::{FieldTable, put_ack};

use super::meter::{Meter, Side};
use super::stage::{Phase, Stage};
use crate::client::{CHANNEL, Delivery, Event, Link, refuse_close};
use crate::error::BenchError;
use crate::latencies::Latencies;
use crate::lateness::Lateness;
use crate::message::wall_clock_ns;
use crate::witness::Witness;

#[derive(Clone, Copy, Debug)]
pub(crate) struct ConsumerPlan {
    /// Unacknowledged messages per queue; 0: no limit.
    pub(crate) prefetch: u16,
    /// Messages per acknowledgement; `None`: automatic acknowledgement.
    pub(crate) ack_batch: Option<u32>,
}

impl ConsumerPlan {
    /// `ack_batch` 0 is automatic acknowledgement.
    pub(crate) fn new(prefetch: u16, ack_batch: u32) -> Result<ConsumerPlan, BenchError> {
        if prefetch > 0 && ack_batch > u32::from(prefetch) {
            return Err(BenchError::usage(
                "--ack-batch must not be more than --prefetch, or consumers wait for ever",
            ));
        }
        Ok(ConsumerPlan {
            prefetch,
            ack_batch: (ack_batch > 0).then_some(ack_batch),
        })
    }
}

/// What a consumer records about the times of messages.
#[derive(Debug)]
pub(super) enum Timing {
    /// Nothing: the age of messages from an earlier load says nothing about the broker.
    Ignored,
    /// Latencies in the measured time.
    Latencies(Latencies),
    /// Lateness of messages that are due at random times, during the whole load.
    Lateness(Lateness),
}

/// The result of a consumer.
#[derive(Debug)]
pub(super) struct Consumed {
    pub(super) witness: Witness,
    pub(super) timing: Timing,
}

/// Consumes from `queues` until the stage ends; adds to `consumed`.
pub(super) fn consume(
    mut link: Link,
    queues: &[String],
    mut consumed: Consumed,
    plan: ConsumerPlan,
    arguments: &FieldTable,
    stage: &Stage,
    meter: &Meter,
) -> Result<Consumed, BenchError> {
    let _measured = meter.sign_in(Side::Receiving);
    stage.await_start();
    link.poll_reads()?;
    let attached_ns = wall_clock_ns();
    for (tag, queue) in queues.iter().enumerate() {
        link.start_consuming(queue, tag, plan.ack_batch.is_none(), arguments)?;
    }
    let mut acks = Acks {
        batch: plan.ack_batch,
        unacked: 0,
        last_tag: 0,
        out: BytesMut::with_capacity(64 * 1024),
    };
    while stage.phase() < Phase::End {
        if !link.incoming.fill(&mut link.stream)? {
            continue;
        }
        let (now_ns, wall_ns) = (stage.now_ns(), wall_clock_ns());
        let is_measuring = stage.phase() == Phase::Measure;
        let mut count = 0;
        while let Some(event) = link.incoming.next()? {
            match event {
                Event::Delivery(delivery) => {
                    count += 1;
                    acks.add(&delivery);
                    consumed
                        .witness
                        .see(delivery.consumer, delivery.stamp, delivery.redelivered);
                    let due_ns = delivery.stamp.due_ns;
                    match &mut consumed.timing {
                        Timing::Latencies(latencies) if is_measuring => {
                            latencies.record_ns(now_ns.saturating_sub(due_ns));
                        }
                        Timing::Lateness(lateness) => {
                            lateness.note(due_ns, attached_ns, wall_ns);
                        }
                        Timing::Latencies(_) | Timing::Ignored => {}
                    }
                }
                Event::Method(method) => refuse_close(&method)?,
                Event::Confirm { .. } => {
                    return Err(BenchError::unexpected("a confirm to a consumer"));
                }
            }
        }
        meter.received.add(count);
        meter.last_ns.set(now_ns);
        acks.write(&mut link)?;
    }
    acks.finish_batch();
    acks.write(&mut link)?;
    link.close()?;
    Ok(consumed)
}

/// Acknowledgements that are not sent yet.
struct Acks {
    batch: Option<u32>,
    unacked: u32,
    last_tag: u64,
    out: BytesMut,
}

impl Acks {
    fn add(&mut self, delivery: &Delivery) {
        let Some(batch) = self.batch else { return };
        self.last_tag = delivery.delivery_tag;
        self.unacked += 1;
        if self.unacked >= batch {
            self.finish_batch();
        }
    }

    /// Acknowledges all messages so far.
    fn finish_batch(&mut self) {
        if self.unacked > 0 {
            put_ack(&mut self.out, CHANNEL, self.last_tag, self.unacked > 1);
            self.unacked = 0;
        }
    }

    fn write(&mut self, link: &mut Link) -> Result<(), BenchError> {
        if !self.out.is_empty() {
            link.stream
                .write_all(&self.out)
                .map_err(BenchError::io("writing to the broker"))?;
            self.out.clear();
        }
        Ok(())
    }
}
