//! A stream as a state machine: commands and time in, effects out, like `work` for work queues. Consumers
//! read one log, each from its own position, and take nothing from it. Retention drops the oldest segments.
//! An ack means nothing here but credit, which the channel has counted.
//!
//! A message is delivered only when it is durable. Offsets are for good: after a crash, an offset that a
//! client has seen must not name another message.
//!
//! Resident are the end of the stream and what is read ahead of lagging consumers (`pages`). A consumer that
//! waits for a read holds up no other.

mod pages; // the resident messages
mod reader; // one consumer
mod segments; // the parts that retention drops
mod serve; // deliveries, and reading ahead of them
mod stored; // reads, evictions and changes to write
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::clock::Moment;
use crate::model::arguments::QueueArguments;
use crate::model::stream::StreamOffset;
use crate::model::{ConsumerId, Lease, LogId, Message, QueueId, Ticket};
use crate::store::chunk::CHUNK_MESSAGES_MAX;
use crate::store::{LogState, RangeSet};

use super::budget::QUEUE_RESIDENT_BYTES_MAX;
use super::consumer::{ChannelLimit, ConsumeError, Consumer, ConsumerInfo, Credit, NewConsumer};
use super::counts::{Counts, StreamExtent};
use super::delayed::Delayed;
use super::durability::Durability;
use super::effects::{Acknowledgement, Admission, Effect, Effects, Enqueued, Seek};
use super::machine::{DeadLettering, Machine, Receiving, Rewinding, Stored};

use pages::Pages;
use reader::Reader;
use segments::Segments;

/// Bytes of one read: some chunks.
const RUN_BYTES: usize = 256 * 1024;
/// Bytes that are read ahead of a lagging consumer.
const READ_AHEAD_BYTES: u64 = 256 * 1024;
/// Bytes of the stream's end that stay resident for consumers that are up to date.
const TAIL_BYTES: u64 = 512 * 1024;
/// Bytes of the stream's end that stay resident without consumers.
const IDLE_TAIL_BYTES: u64 = 32 * 1024;
/// Maximum number of reads of one stream that are under way together.
const LOADS_MAX: usize = 4;

/// One stream.
pub(super) struct Stream {
    log: LogId,
    max_bytes: Option<u64>,
    max_age_ms: Option<u64>,
    /// The offset of the next message that is appended.
    next: u64,
    /// Messages below are durable and may be delivered.
    durable: u64,
    /// The last batch that is known to be durable.
    durable_ticket: Ticket,
    /// Batches that are not durable yet, each with the stream's end in it.
    in_flight: VecDeque<(Ticket, u64)>,
    /// Retention has dropped everything below.
    floor: u64,
    segments: Segments,
    pages: Pages,
    /// Lost messages. Readers skip them.
    lost: RangeSet,
    /// Messages that are appended when their time comes.
    delayed: Option<Delayed>,
    delayed_log: LogId,
    /// Ordered by consumer id.
    readers: Vec<Reader>,
    /// The index of the reader for which the next read is made first.
    first_to_read: usize,
    /// Where the reads that are under way begin.
    loading: Vec<u64>,
    /// The number of the current command, by which pages are known to be used recently.
    command: u64,
    /// The stream's own log has unwritten changes.
    is_dirty: bool,
    /// A batch sweeps the chunks below.
    swept_below: u64,
}

impl Stream {
    pub(super) fn new(
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
            command: 0,
            is_dirty: false,
            swept_below: 0,
        };
        for (log, recovered) in recovered {
            if log.is_delayed() {
                // What readers get is never `redelivered`, so the time of the start does not matter.
                let delayed = Delayed::recover(log, Durability::Everything, recovered, 0);
                stream.delayed = Some(delayed);
            } else {
                stream.next = recovered.record.next;
                stream.durable = recovered.record.next;
                stream.floor = recovered.record.floor;
                stream.segments = Segments::recover(recovered.segments, arguments.segment_bytes);
                stream.swept_below = stream.floor;
            }
        }
        stream
    }

    fn append(&mut self, now_ms: u64, message: &Arc<Message>) {
        // Times never fall within a stream, so that a time leads to one offset. An earlier release may have
        // written times that are ahead of the clock.
        let now_ms = self
            .segments
            .last_ms()
            .map_or(now_ms, |last| last.max(now_ms));
        if self.pages.begins_page(message) {
            self.segments.begin_chunk(self.next, now_ms);
        }
        self.pages.push(self.command, self.next, now_ms, message);
        self.segments.add(now_ms, message.size() as u64);
        self.next += 1;
        self.is_dirty = true;
    }

    fn reader_mut(&mut self, id: ConsumerId) -> Option<&mut Reader> {
        let index = self
            .readers
            .binary_search_by_key(&id, |reader| reader.consumer.id())
            .ok()?;
        self.readers.get_mut(index)
    }

    /// What every command ends with: appends due messages, applies retention, serves the readers, reads ahead
    /// of lagging ones and evicts.
    fn finish(&mut self, now_ms: u64, fx: &mut Effects) {
        self.command += 1;
        self.append_due(now_ms, fx);
        self.apply_retention(now_ms);
        let lagging = self.serve(fx);
        let allowed = match self.readers.len() {
            0 => IDLE_TAIL_BYTES,
            _ => TAIL_BYTES + lagging.saturating_mul(2 * RUN_BYTES as u64),
        };
        let allowed = allowed.min(QUEUE_RESIDENT_BYTES_MAX);
        self.pages.evict(allowed, self.durable_ticket);
    }

    fn append_due(&mut self, now_ms: u64, fx: &mut Effects) {
        let Some(delayed) = &mut self.delayed else {
            return;
        };
        let due = delayed.take_due(now_ms);
        delayed.read(now_ms, fx);
        for message in due {
            self.append(now_ms, &message);
        }
    }

    fn apply_retention(&mut self, now_ms: u64) {
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
        self.is_dirty = true;
    }

    /// Sets the position at which a consumer begins. A time may need a search on disk.
    fn set_start(&self, reader: &mut Reader, start: StreamOffset, fx: &mut Effects) {
        match start {
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
                // A long part of a segment is not read through: the headers of its chunks have their times.
                let on_disk = reader.cursor..around.end.min(self.durable);
                if on_disk.end.saturating_sub(on_disk.start) > u64::from(CHUNK_MESSAGES_MAX) {
                    reader.is_seeking = true;
                    fx.push(Effect::Seek(Seek {
                        consumer: reader.consumer.id(),
                        log: self.log,
                        offsets: on_disk,
                        ms,
                    }));
                }
            }
        }
    }
}

impl Machine for Stream {
    /// A new segment size holds from the next chunk on.
    fn reconfigure(&mut self, now_ms: u64, arguments: Arc<QueueArguments>, fx: &mut Effects) {
        self.max_bytes = arguments.max_length_bytes;
        self.max_age_ms = arguments.max_age_ms;
        self.segments.set_segment_bytes(arguments.segment_bytes);
        self.finish(now_ms, fx);
    }

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
            is_seeking: false,
            filter: start.filter,
        };
        self.set_start(&mut reader, start.offset, fx);
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

    /// All messages of the stream count as ready, and none as unacked.
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

    fn stream_extent(&self) -> Option<StreamExtent> {
        Some(StreamExtent {
            segments: self.segments.len(),
            first: self.floor,
            next: self.next,
            oldest: self.segments.first_ms().map(Moment::from_ms),
            newest: self.segments.last_ms().map(Moment::from_ms),
        })
    }
}

impl Receiving for Stream {}

impl DeadLettering for Stream {}

impl Rewinding for Stream {}
