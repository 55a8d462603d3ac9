//! A stream as a pure state machine: commands and time in, effects out, like `work` for work queues. One log that
//! consumers read without taking anything from it, each from a place of its own; what is too old or too much goes in
//! whole segments. Answers to deliveries mean nothing here: they were credit, which the channel has counted.
//!
//! A message is delivered when it is durable, not before: offsets are for good, and a crash must not give an offset
//! that somebody has seen to another message.

mod pages; // the messages in memory
mod reader; // one consumer
mod segments; // parts that retention drops
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::model::arguments::QueueArguments;
use crate::model::stream::StreamOffset;
use crate::model::{ConsumerId, Lease, LogId, Message, QueueId, Ticket};
use crate::store::chunk::CHUNK_MESSAGES_MAX;
use crate::store::{Batch, LogRecord, LogState, Op, RangeSet};

use super::budget::QUEUE_RESIDENT_BYTES_MAX;
use super::consumer::{ChannelLimit, ConsumeError, Consumer, ConsumerInfo, Credit, NewConsumer};
use super::counts::Counts;
use super::delayed::Delayed;
use super::durability::Durability;
use super::effects::{Acknowledgement, Admission, Chunks, Effect, Effects, Enqueued, Picked, Seek};
use super::machine::{DeadLettering, Machine, Receiving, Rewinding, Stored};

use pages::Pages;
use reader::Reader;
use segments::Segments;

/// How much of the stream one read brings: some chunks.
pub(in crate::broker::queue) const RUN_BYTES: usize = 256 * 1024;
/// How far what is behind is read ahead of a consumer.
const READ_AHEAD_BYTES: u64 = 256 * 1024;
/// What a stream keeps of its end for consumers that are up to date.
const TAIL_BYTES: u64 = 512 * 1024;
/// What it keeps of its end while nobody consumes.
const IDLE_TAIL_BYTES: u64 = 32 * 1024;
/// How many reads of one stream are under way at once.
const LOADS_MAX: usize = 4;

/// One stream.
pub(in crate::broker::queue) struct Stream {
    log: LogId,
    max_bytes: Option<u64>,
    max_age_ms: Option<u64>,
    /// The next offset to be given out.
    next: u64,
    /// Messages below are durable and may be delivered.
    durable: u64,
    /// The last batch that is known to be durable.
    durable_ticket: Ticket,
    /// Batches on their way, and the offset up to which each holds the stream.
    in_flight: VecDeque<(Ticket, u64)>,
    /// The first offset that is kept.
    floor: u64,
    segments: Segments,
    pages: Pages,
    /// Messages that cannot be read; readers go past them.
    lost: RangeSet,
    /// Messages that are not to be appended yet.
    delayed: Option<Delayed>,
    delayed_log: LogId,
    /// By id.
    readers: Vec<Reader>,
    /// The reader whose turn it is to have something read for it first.
    first_to_read: usize,
    /// Where the reads that are under way begin.
    loading: Vec<u64>,
    /// Counts the commands: tells which pages were of use lately.
    turn: u64,
    /// The record on disk is not as it should be.
    dirty: bool,
    sweep: Sweep,
}

/// How far chunks below the floor are on their way out of the store. It lets them go when the record with the floor
/// is on disk.
#[derive(Default)]
struct Sweep {
    /// The floor has risen, and no batch says so yet.
    wanted: bool,
    /// The batch that says so.
    from: Option<Ticket>,
    /// A sweep is under way.
    runs: bool,
}

impl Stream {
    pub(in crate::broker::queue) fn new(
        id: QueueId,
        arguments: &QueueArguments,
        recovered: Vec<(LogId, LogState)>,
    ) -> Stream {
        let mut stream = Stream {
            log: id.log(0),
            max_bytes: arguments.max_length_bytes,
            max_age_ms: arguments.max_age_ms,
            next: 0,
            durable: 0,
            durable_ticket: Ticket(0),
            in_flight: VecDeque::new(),
            floor: 0,
            segments: Segments::new(arguments.segment_bytes),
            pages: Pages::default(),
            lost: RangeSet::new(),
            delayed: None,
            delayed_log: id.delayed_log(),
            readers: Vec::new(),
            first_to_read: 0,
            loading: Vec::new(),
            turn: 0,
            dirty: false,
            sweep: Sweep::default(),
        };
        for (log, recovered) in recovered {
            if log.is_delayed() {
                stream.delayed = Some(Delayed::recover(log, Durability::Everything, recovered));
            } else {
                stream.next = recovered.record.next;
                stream.durable = recovered.record.next;
                stream.floor = recovered.record.floor;
                stream.segments = Segments::recover(recovered.segments, arguments.segment_bytes);
                stream.sweep.from = (stream.floor > 0).then_some(Ticket(0));
            }
        }
        stream
    }

    fn append(&mut self, now_ms: u64, message: &Arc<Message>) {
        // Times only rise, so that a time has one place; an earlier release may have written some that are ahead.
        let now_ms = self
            .segments
            .last_ms()
            .map_or(now_ms, |last| last.max(now_ms));
        if self.pages.begins_page(message) {
            self.segments.begin_chunk(self.next, now_ms);
        }
        self.pages.push(self.turn, self.next, now_ms, message);
        self.segments.add(now_ms, message.size() as u64);
        self.next += 1;
        self.dirty = true;
    }

    fn reader_mut(&mut self, id: ConsumerId) -> Option<&mut Reader> {
        let index = self
            .readers
            .binary_search_by_key(&id, |reader| reader.consumer.id())
            .ok()?;
        self.readers.get_mut(index)
    }

    /// What every command ends with: append what is due, drop what is too old or too much, serve the readers, read
    /// for those that are behind, sweep.
    fn finish(&mut self, now_ms: u64, fx: &mut Effects) {
        self.turn += 1;
        self.release(now_ms, fx);
        self.retain(now_ms);
        let behind = self.serve(fx);
        self.sweep(fx);
        let quota = match self.readers.len() {
            0 => IDLE_TAIL_BYTES,
            _ => TAIL_BYTES + behind.saturating_mul(2 * RUN_BYTES as u64),
        };
        let quota = quota.min(QUEUE_RESIDENT_BYTES_MAX);
        self.pages.evict(quota, self.durable_ticket);
    }

    fn sweep(&mut self, fx: &mut Effects) {
        let allowed = self
            .sweep
            .from
            .is_some_and(|from| from <= self.durable_ticket);
        if allowed && !self.sweep.runs {
            self.sweep.from = None;
            self.sweep.runs = true;
            fx.push(Effect::Sweep {
                log: self.log,
                offsets: 0..self.floor,
            });
        }
    }

    fn release(&mut self, now_ms: u64, fx: &mut Effects) {
        let Some(delayed) = &mut self.delayed else {
            return;
        };
        let due = delayed.take_due(now_ms);
        delayed.read(now_ms, fx);
        for message in due {
            self.append(now_ms, &message);
        }
    }

    fn retain(&mut self, now_ms: u64) {
        let oldest_ms = self
            .max_age_ms
            .map(|max_age_ms| now_ms.saturating_sub(max_age_ms));
        let Some(floor) = self.segments.retain(self.max_bytes, oldest_ms) else {
            return;
        };
        self.floor = floor;
        self.durable = self.durable.max(floor);
        self.pages.drop_below(floor);
        self.lost.remove_below(floor);
        self.dirty = true;
        self.sweep.wanted = true;
    }

    /// Gives every reader what it may have, and asks for what is missing. Returns how many are behind.
    fn serve(&mut self, fx: &mut Effects) -> u64 {
        let mut behind = 0;
        let mut refused = None;
        let count = self.readers.len();
        let first = self.first_to_read.checked_rem(count).unwrap_or(0);
        let (start, rest) = self.readers.split_at_mut(first);
        for (index, reader) in (first..).zip(rest).chain((0..).zip(start)) {
            if reader.cursor >= self.durable || reader.seeking {
                continue;
            }
            if !reader.consumer.has_credit() {
                behind += 1;
                continue;
            }
            let range = self.floor..self.durable;
            let stuck = reader.serve(&self.pages, &self.lost, range, &mut fx.deliveries);
            if reader.cursor >= self.durable {
                continue;
            }
            behind += 1;
            let missing = match stuck {
                true => Some(reader.cursor),
                false => {
                    self.pages
                        .look_ahead(self.turn, reader.cursor, self.durable, READ_AHEAD_BYTES)
                }
            };
            // Read ahead of it may be what cannot be read, or what is here behind that.
            if let Some(from) = missing.map(|from| self.lost.first_gap(from))
                && from < self.durable
                && self.pages.find(from).is_none()
                && !self.loading.contains(&from)
            {
                if self.loading.len() < LOADS_MAX {
                    self.loading.push(from);
                    fx.push(Effect::Read {
                        log: self.log,
                        from,
                    });
                } else if stuck {
                    // It is the first to be read for when a read has ended.
                    refused.get_or_insert(index);
                }
            }
        }
        if let Some(refused) = refused {
            self.first_to_read = refused;
        }
        behind
    }
}

impl Machine for Stream {
    fn publish(
        &mut self,
        now_ms: u64,
        run: &[Arc<Message>],
        _admission: Admission,
        fx: &mut Effects,
    ) -> Enqueued {
        for message in run {
            if message.delay_ms.is_some_and(|delay_ms| delay_ms > 0) {
                let log = self.delayed_log;
                self.delayed
                    .get_or_insert_with(|| Delayed::new(log, Durability::Everything))
                    .push(now_ms, message);
            } else {
                self.append(now_ms, message);
            }
        }
        self.finish(now_ms, fx);
        Enqueued {
            seen: run.len(),
            persisted: !run.is_empty(),
            ..Enqueued::default()
        }
    }

    fn consume(
        &mut self,
        now_ms: u64,
        new: NewConsumer,
        limit: Option<ChannelLimit>,
        fx: &mut Effects,
    ) -> Result<(), ConsumeError> {
        let id = new.id;
        let start = new.stream.clone().unwrap_or_default();
        let mut reader = Reader {
            consumer: Consumer::new(new, limit),
            cursor: self.next,
            whole_chunk: false,
            not_before_ms: None,
            seeking: false,
            filter: start.filter,
        };
        match start.offset {
            StreamOffset::First => reader.cursor = self.floor,
            StreamOffset::Next => {}
            StreamOffset::Offset(offset) => reader.cursor = offset.max(self.floor),
            StreamOffset::Last if self.durable > self.floor => {
                reader.cursor = self.durable - 1;
                reader.whole_chunk = true;
            }
            StreamOffset::Last => reader.cursor = self.durable,
            StreamOffset::Time(ms) => {
                let around = self.segments.around(ms, self.next);
                reader.cursor = around.start.max(self.floor);
                if !around.is_empty() {
                    reader.not_before_ms = Some(ms);
                }
                // What is left of a segment may be long to walk through, and its chunks tell their times.
                let on_disk = reader.cursor..around.end.min(self.durable);
                if on_disk.end.saturating_sub(on_disk.start) > u64::from(CHUNK_MESSAGES_MAX) {
                    reader.seeking = true;
                    fx.push(Effect::Seek(Seek {
                        consumer: id,
                        log: self.log,
                        offsets: on_disk,
                        ms,
                    }));
                }
            }
        }
        let index = self
            .readers
            .partition_point(|other| other.consumer.id() < id);
        self.readers.insert(index, reader);
        self.finish(now_ms, fx);
        Ok(())
    }

    fn leave(
        &mut self,
        now_ms: u64,
        consumers: &[ConsumerId],
        _leases: &[Lease],
        fx: &mut Effects,
    ) -> bool {
        let before = self.readers.len();
        let left: BTreeSet<&ConsumerId> = consumers.iter().collect();
        self.readers
            .retain(|reader| !left.contains(&reader.consumer.id()));
        self.finish(now_ms, fx);
        before > 0 && self.readers.is_empty()
    }

    fn grant(&mut self, now_ms: u64, credit: &[(ConsumerId, Credit)], fx: &mut Effects) {
        for (id, credit) in credit {
            if let Some(reader) = self.reader_mut(*id) {
                reader.consumer.grant(*credit);
            }
        }
        self.finish(now_ms, fx);
    }

    fn acknowledge(
        &mut self,
        now_ms: u64,
        _how: Acknowledgement,
        _leases: &[Lease],
        credit: &[(ConsumerId, Credit)],
        fx: &mut Effects,
    ) {
        self.grant(now_ms, credit, fx);
    }

    fn tick(&mut self, now_ms: u64, fx: &mut Effects) {
        self.finish(now_ms, fx);
    }

    fn deadline_ms(&mut self, _now_ms: u64) -> Option<u64> {
        let aged = self.max_age_ms.and_then(|max_age_ms| {
            let last_ms = self.segments.next_to_age_ms()?;
            Some(last_ms.saturating_add(max_age_ms).saturating_add(1))
        });
        let due = self.delayed.as_ref().and_then(Delayed::next_due_ms);
        aged.into_iter().chain(due).min()
    }

    fn delete(&mut self) {
        self.readers.clear();
    }

    /// All that is kept counts as ready; nothing is ever unacked.
    fn counts(&self) -> Counts {
        Counts {
            ready: self.next - self.floor - self.lost.len(),
            damaged: self.lost.len() + self.delayed.as_ref().map_or(0, Delayed::damaged),
            ready_bytes: self.segments.bytes(),
            delayed: self.delayed.as_ref().map_or(0, Delayed::len),
            consumers: self.readers.len() as u64,
            resident_bytes: self.resident_bytes(),
            ..Counts::default()
        }
    }

    fn consumer_infos(&self) -> Vec<ConsumerInfo> {
        let infos = self.readers.iter().map(|reader| reader.consumer.info(true));
        infos.collect()
    }
}

impl Stored for Stream {
    fn loaded(&mut self, now_ms: u64, log: LogId, from: u64, chunks: Chunks, fx: &mut Effects) {
        if log.is_delayed() {
            if let Some(delayed) = &mut self.delayed {
                delayed.scanned(chunks);
            }
        } else {
            self.loading.retain(|loading| *loading != from);
            // What retention has taken since the read was asked for is not there.
            let found = chunks.first().map_or(from, |(first, _)| *first);
            for reader in &mut self.readers {
                if (from..found).contains(&reader.cursor) {
                    reader.cursor = found;
                }
            }
            for (first, messages) in chunks {
                self.lost.remove_range(first..first + messages.len() as u64);
                self.pages.insert(self.turn, first, messages);
            }
        }
        self.finish(now_ms, fx);
    }

    fn picked(&mut self, now_ms: u64, chunks: Vec<Picked>, fx: &mut Effects) {
        if let Some(delayed) = &mut self.delayed {
            delayed.picked(chunks);
        }
        self.finish(now_ms, fx);
    }

    fn sought(&mut self, now_ms: u64, consumer: ConsumerId, offset: u64, fx: &mut Effects) {
        if let Some(reader) = self.reader_mut(consumer) {
            reader.seeking = false;
            reader.cursor = reader.cursor.max(offset);
        }
        self.finish(now_ms, fx);
    }

    fn swept(&mut self, fx: &mut Effects) {
        self.sweep.runs = false;
        self.sweep(fx);
    }

    fn lose(&mut self, now_ms: u64, log: LogId, range: Range<u64>, fx: &mut Effects) -> u64 {
        let lost = if log.is_delayed() {
            let delayed = self.delayed.as_mut();
            delayed.map_or(0, |delayed| delayed.lose(range))
        } else {
            let mut lost = 0;
            let mut at = range.start.max(self.floor);
            let end = range.end.min(self.durable);
            while at < end {
                // What is in memory is not lost yet.
                let page = self.pages.next_page(at);
                let gap_end = page.as_ref().map_or(end, |page| page.start.clamp(at, end));
                lost += self.lost.insert_range(at..gap_end);
                at = page.map_or(end, |page| page.end);
            }
            lost
        };
        self.finish(now_ms, fx);
        lost
    }

    fn lost(&self) -> Vec<(LogId, Vec<Range<u64>>)> {
        let delayed = self.delayed.as_ref();
        let delayed = delayed.map(|delayed| (delayed.log(), delayed.lost()));
        [(self.log, self.lost.iter().collect::<Vec<_>>())]
            .into_iter()
            .chain(delayed)
            .filter(|(_, lost)| !lost.is_empty())
            .collect()
    }

    fn expects(&self, log: LogId, offset: u64) -> bool {
        match &self.delayed {
            Some(delayed) if log.is_delayed() => delayed.expects(offset),
            Some(_) | None => offset >= self.floor && !self.lost.contains(offset),
        }
    }

    fn read_bytes(&self) -> usize {
        RUN_BYTES
    }

    fn resident_bytes(&self) -> u64 {
        self.pages.bytes() + self.delayed.as_ref().map_or(0, Delayed::resident_bytes)
    }

    fn evict(&mut self, allowed: u64, committed: Ticket) {
        let mut delayed_bytes = 0;
        if let Some(delayed) = &mut self.delayed {
            delayed.evict(allowed, committed);
            delayed_bytes = delayed.resident_bytes();
        }
        if self.resident_bytes() > allowed {
            let rest = allowed.saturating_sub(delayed_bytes);
            self.pages.evict(rest, committed);
        }
    }

    fn is_dirty(&self) -> bool {
        self.dirty || self.delayed.as_ref().is_some_and(Delayed::is_dirty)
    }

    fn collect(&mut self, ticket: Ticket, batch: &mut Batch) {
        if let Some(delayed) = self.delayed.as_mut().filter(|delayed| delayed.is_dirty()) {
            delayed.collect(ticket, batch);
        }
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        let log = self.log;
        self.pages.collect(log, ticket, batch);
        self.segments.collect(log, batch);
        let record = LogRecord {
            next: self.next,
            floor: self.floor,
            bytes: self.segments.bytes(),
            ..LogRecord::default()
        };
        batch.push(Op::PutLog { log, record });
        self.in_flight.push_back((ticket, self.next));
        if self.sweep.from.is_none() && std::mem::take(&mut self.sweep.wanted) {
            self.sweep.from = Some(ticket);
        }
    }

    fn awaits_durability(&self) -> bool {
        true
    }

    fn durable_up_to(&mut self, now_ms: u64, upto: Ticket, fx: &mut Effects) {
        self.durable_ticket = self.durable_ticket.max(upto);
        while let Some((ticket, end)) = self.in_flight.front().copied()
            && ticket <= upto
        {
            self.durable = self.durable.max(end);
            self.in_flight.pop_front();
        }
        self.finish(now_ms, fx);
    }

    fn logs(&self) -> Vec<LogId> {
        let delayed = self.delayed.as_ref().map(Delayed::log);
        std::iter::once(self.log).chain(delayed).collect()
    }
}

impl Receiving for Stream {}

impl DeadLettering for Stream {}

impl Rewinding for Stream {}
