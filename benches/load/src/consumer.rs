//! A consumer: reads deliveries of its queues, checks them and acknowledges them in batches.

use std::io::Write;

use bytes::BytesMut;

use super::BenchError;
use super::due::wall_clock_ns;
use super::histogram::Histogram;
use super::lateness::Lateness;
use super::link::{CHANNEL, Link, refuse_close};
use super::order::Witness;
use super::scan::{Event, Message};
use super::stage::{Meter, Phase, Side, Stage};
use leveret::wire::{FieldTable, put_ack};

/// What a consumer is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConsumerPlan {
    /// Unacknowledged messages per queue; 0: no limit.
    pub(super) prefetch: u16,
    /// Messages per acknowledgement; `None`: none are asked for.
    pub(super) ack_batch: Option<u32>,
}

/// What a consumer brings back.
#[derive(Debug)]
pub(super) struct Consumed {
    pub(super) witness: Witness,
    /// How long messages took from when they were due to here while measuring, in ns.
    pub(super) latency_ns: Histogram,
    /// Instead of that if messages are due at random times, whenever they came.
    pub(super) lateness: Option<Lateness>,
}

/// Consumes from `queues`, with these arguments, until the stage ends; adds to what was `consumed`.
pub(super) fn run(
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
        let (now, wall_ns) = (stage.now_ns(), wall_clock_ns());
        let recording = stage.phase() == Phase::Measure;
        let mut count = 0;
        while let Some(event) = link.incoming.next()? {
            match event {
                Event::Message(message) => {
                    count += 1;
                    acks.note(&message);
                    let stream = usize::try_from(message.stamp.stream).unwrap_or(usize::MAX);
                    consumed.witness.see(
                        message.consumer,
                        stream,
                        message.stamp.sequence,
                        message.redelivered,
                    );
                    let due_ns = message.stamp.due_ns;
                    if let Some(lateness) = &mut consumed.lateness {
                        lateness.note(due_ns, attached_ns, wall_ns);
                    } else if recording {
                        consumed.latency_ns.record(now.saturating_sub(due_ns));
                    }
                }
                Event::Method(method) => refuse_close(&method)?,
                Event::Confirm { .. } => {
                    return Err(BenchError::Unexpected("a confirm to a consumer".to_owned()));
                }
            }
        }
        meter.received.add(count);
        meter.last_ns.set(now);
        acks.write(&mut link)?;
    }
    acks.rest();
    acks.write(&mut link)?;
    link.close()?;
    Ok(consumed)
}

/// Acknowledgements to be sent.
struct Acks {
    batch: Option<u32>,
    unacked: u32,
    last_tag: u64,
    out: BytesMut,
}

impl Acks {
    fn note(&mut self, message: &Message) {
        let Some(batch) = self.batch else { return };
        self.last_tag = message.delivery_tag;
        self.unacked += 1;
        if self.unacked >= batch {
            self.rest();
        }
    }

    /// Acknowledges all that is not.
    fn rest(&mut self) {
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
