//! Verifies that records can be read, and that each message of a log has a chunk.

use std::ops::Range;

use ::fjall::{Guard, Readable, Snapshot};

use super::verifier::{Stop, Verifier};
use crate::model::LogId;
use crate::store::fjall::chunks::{Unread, found};
use crate::store::fjall::error::{failed, is_damage};
use crate::store::fjall::keyspaces::Keyspaces;
use crate::store::keys::{self, ChunkKey};
use crate::store::verify::{DamageKind, DamagedMessages, Effect, Finding};
use crate::store::{
    LogRecord, PageBits, RangeSet, ReceiveRecord, RecordError, ReturnCount, Segment, StoreError,
    StretchRecord,
};

/// The offsets of a log that a queue may still read.
pub(super) struct Needed {
    record: LogRecord,
    settled: RangeSet,
    gone: RangeSet,
}

impl Needed {
    /// `None` if the log was removed, or cannot be read.
    pub(super) fn load(
        snapshot: &Snapshot,
        spaces: &Keyspaces,
        log: LogId,
    ) -> Result<Option<Needed>, StoreError> {
        let record = snapshot.get(&spaces.state, keys::of_log(keys::RECORD, log));
        let record = record.map_err(failed("reading"))?;
        let Some(record) = record.and_then(|record| LogRecord::decode(&record).ok()) else {
            return Ok(None);
        };
        let pages = |prefix| {
            let mut set = RangeSet::new();
            for entry in snapshot.prefix(&spaces.state, keys::of_log(prefix, log)) {
                let (key, value) = entry.into_inner().map_err(failed("reading"))?;
                let page = keys::parse_state(&key).and_then(|(_, _, page)| page);
                if let Some((page, bits)) = page.zip(PageBits::decode(&value).ok()) {
                    set.insert_page(page, &bits);
                }
            }
            Ok::<_, StoreError>(set)
        };
        Ok(Some(Needed {
            record,
            settled: pages(keys::SETTLED_PAGE)?,
            gone: pages(keys::GONE_PAGE)?,
        }))
    }

    /// How many messages in this range a queue may still read: what is not settled, and with history what is not gone.
    pub(super) fn count(&self, offsets: Range<u64>) -> u64 {
        let (floor, done) = match self.record.history_from {
            Some(history_from) => (history_from, &self.gone),
            None => (self.record.floor, &self.settled),
        };
        let offsets = offsets.start.max(floor)..offsets.end.min(self.record.next);
        match offsets.is_empty() {
            true => 0,
            false => offsets.end - offsets.start - done.count_in(offsets),
        }
    }

    /// The unsettled offsets in a range.
    fn unsettled(&self, offsets: Range<u64>) -> Vec<Range<u64>> {
        let offsets = offsets.start.max(self.record.floor)..offsets.end.min(self.record.next);
        match offsets.is_empty() {
            true => Vec::new(),
            false => self.settled.gaps_in(offsets).collect(),
        }
    }
}

/// Verifies all records, and that chunks hold all messages. Returns the bytes of all chunks.
pub(super) fn verify(verifier: &mut Verifier<'_, '_>, spaces: &Keyspaces) -> Result<u64, Stop> {
    let snapshot = spaces.db.snapshot();
    let mut logs = Vec::new();
    for entry in snapshot.iter(&spaces.state) {
        let Some((key, value)) = readable(verifier, entry, "records of logs")? else {
            return Ok(0);
        };
        verifier.found.records += 1;
        let Some((prefix, log, part)) = keys::parse_state(&key) else {
            continue;
        };
        if prefix == keys::RECORD {
            logs.push(log);
        }
        if let Err(error) = decode(prefix, part.unwrap_or(0), &value) {
            let what = format!("a record of log {}: {error}", log.0);
            verifier.found.add(unusable(what));
        }
    }
    for entry in snapshot.iter(&spaces.meta) {
        if readable(verifier, entry, "definitions")?.is_none() {
            return Ok(0);
        }
        verifier.found.records += 1;
    }
    let mut bytes = 0;
    for log in logs {
        let Some(needed) = Needed::load(&snapshot, spaces, log)? else {
            continue;
        };
        bytes += coverage(verifier, spaces, &snapshot, log, &needed)?;
    }
    Ok(bytes)
}

/// Finds unsettled messages of a log that no chunk holds. Returns the bytes of its chunks.
fn coverage(
    verifier: &mut Verifier<'_, '_>,
    spaces: &Keyspaces,
    snapshot: &Snapshot,
    log: LogId,
    needed: &Needed,
) -> Result<u64, Stop> {
    let mut bytes = 0;
    let mut upto = needed.record.floor;
    for entry in snapshot.range(&spaces.msgs, keys::chunks(log, 0..=u64::MAX)) {
        let (first, end) = match found(entry) {
            Ok(chunk) => {
                bytes += chunk.address.bytes();
                (chunk.first, chunk.end())
            }
            Err(Unread::Damaged { first, reason }) => {
                let what = format!("the address of a chunk of log {}: {reason}", log.0);
                verifier.found.add(unusable(what));
                match first {
                    Some(first) => (first, first),
                    None => return Ok(bytes),
                }
            }
            Err(Unread::Failed(error)) => return Err(error.into()),
        };
        missing(verifier, log, needed, upto..first);
        upto = upto.max(end);
    }
    missing(verifier, log, needed, upto..needed.record.next);
    Ok(bytes)
}

fn missing(verifier: &mut Verifier<'_, '_>, log: LogId, needed: &Needed, gap: Range<u64>) {
    if gap.is_empty() {
        return;
    }
    for offsets in needed.unsettled(gap) {
        verifier.found.add(Finding {
            kind: DamageKind::Missing,
            effect: Effect::Lost,
            what: "no chunk holds these messages".to_owned(),
            place: None,
            messages: Some(DamagedMessages {
                log,
                count: offsets.end - offsets.start,
                offsets,
            }),
        });
    }
}

type Entry = (::fjall::UserKey, ::fjall::UserValue);

/// An entry of the database; `None` if it cannot be read, which is a finding.
fn readable(
    verifier: &mut Verifier<'_, '_>,
    entry: Guard,
    of: &str,
) -> Result<Option<Entry>, Stop> {
    match entry.into_inner() {
        Ok(entry) => Ok(Some(entry)),
        Err(error) if is_damage(&error) => {
            let what = format!("the database does not return its {of}: {error}");
            verifier.found.add(unusable(what));
            Ok(None)
        }
        Err(error) => Err(failed("reading")(error).into()),
    }
}

fn unusable(what: String) -> Finding {
    Finding {
        kind: DamageKind::Record,
        effect: Effect::Refused,
        what,
        place: None,
        messages: None,
    }
}

fn decode(prefix: u8, part: u64, value: &[u8]) -> Result<(), RecordError> {
    match prefix {
        keys::RECORD => LogRecord::decode(value).map(drop),
        keys::SETTLED_PAGE | keys::GONE_PAGE => PageBits::decode(value).map(drop),
        keys::RETURN_COUNT => ReturnCount::decode(value).map(drop),
        keys::SEGMENT => Segment::decode(part, value).map(drop),
        keys::RECEIVE => ReceiveRecord::decode(part, value).map(drop),
        keys::STRETCH => StretchRecord::decode(value).map(drop),
        _ => Ok(()), // a tombstone
    }
}

/// The log and first offset of a key in `msgs` that leads to a chunk in an extent.
pub(super) fn address_of(key: &[u8]) -> Option<(LogId, u64)> {
    match keys::parse_chunk(key)? {
        ChunkKey::Address(log, first, _) => Some((log, first)),
        ChunkKey::Chunk(..) => None,
    }
}
