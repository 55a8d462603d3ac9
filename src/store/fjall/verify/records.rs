//! Verifies that records can be read, and that each message of a log has a chunk.

use std::ops::Range;

use ::fjall::{Readable, Snapshot};

use super::access::{Access, Ends, Piece, TOGETHER, piece};
use super::verifier::{Stop, Verifier};
use crate::model::LogId;
use crate::store::fjall::chunks::{Unread, found};
use crate::store::fjall::error::failed;
use crate::store::fjall::keyspaces::Keyspaces;
use crate::store::keys::{self, ChunkKey, KeyspaceName};
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
pub(super) fn verify(verifier: &mut Verifier<'_, '_>, store: &impl Access) -> Result<u64, Stop> {
    let mut logs = Vec::new();
    let of_logs = all(
        verifier,
        store,
        KeyspaceName::State,
        |verifier, key, value| {
            let Some((prefix, log, part)) = keys::parse_state(key) else {
                return;
            };
            if prefix == keys::RECORD {
                logs.push(log);
            }
            if let Err(error) = decode(prefix, part.unwrap_or(0), value) {
                let what = format!("a record of log {}: {error}", log.0);
                verifier.found.add(unusable(what));
            }
        },
    )?;
    if !of_logs || !all(verifier, store, KeyspaceName::Meta, |_, _, _| {})? {
        return Ok(0);
    }
    let mut bytes = 0;
    for log in logs {
        bytes += coverage(verifier, store, log)?;
    }
    Ok(bytes)
}

/// Goes through the records of a keyspace. False if the database does not return all, which is a finding.
fn all(
    verifier: &mut Verifier<'_, '_>,
    store: &impl Access,
    space: KeyspaceName,
    mut look: impl FnMut(&mut Verifier<'_, '_>, &[u8], &[u8]),
) -> Result<bool, Stop> {
    let mut after = None;
    loop {
        let Piece { entries, ends } = piece(store, space, after)?;
        verifier.found.records += entries.len() as u64;
        for (key, value) in &entries {
            look(verifier, key, value);
        }
        verifier.passed(0)?;
        match ends {
            Ends::More => after = entries.into_iter().next_back().map(|(key, _)| key),
            Ends::Last => return Ok(true),
            Ends::Damaged(reason) => {
                let of = match space {
                    KeyspaceName::Msgs => "addresses of chunks",
                    KeyspaceName::State => "records of logs",
                    KeyspaceName::Meta => "definitions",
                };
                let what = format!("the database does not return its {of}: {reason}");
                verifier.found.add(unusable(what));
                return Ok(false);
            }
        }
    }
}

/// Finds unsettled messages of a log that no chunk holds. Returns the bytes of its chunks.
fn coverage(verifier: &mut Verifier<'_, '_>, store: &impl Access, log: LogId) -> Result<u64, Stop> {
    let mut bytes = 0;
    let mut next = Some(Position::default());
    while let Some(from) = next {
        let stretch = store.with(|spaces, _| stretch(spaces, log, from))?;
        bytes += stretch.bytes;
        next = stretch.next;
        for finding in stretch.findings {
            verifier.found.add(finding);
        }
        verifier.passed(0)?;
    }
    Ok(bytes)
}

/// How far a log was compared.
#[derive(Clone, Copy, Default)]
struct Position {
    /// Chunks that begin before this offset were seen.
    first: u64,
    /// The messages before this offset were compared.
    upto: u64,
}

/// A part of a log, as it was at one moment.
#[derive(Default)]
struct Stretch {
    /// Bytes of its chunks.
    bytes: u64,
    findings: Vec<Finding>,
    /// Where the next one begins; `None` after the last one.
    next: Option<Position>,
}

/// Compares the messages of a log that a queue may still read with the chunks.
fn stretch(spaces: &Keyspaces, log: LogId, from: Position) -> Result<Stretch, StoreError> {
    let mut stretch = Stretch::default();
    let snapshot = spaces.db.snapshot();
    let Some(needed) = Needed::load(&snapshot, spaces, log)? else {
        return Ok(stretch); // it was removed meanwhile
    };
    let mut upto = from.upto.max(needed.record.floor);
    let mut before = from.first;
    let chunks = snapshot.range(&spaces.msgs, keys::chunks(log, from.first..=u64::MAX));
    for (number, entry) in chunks.enumerate() {
        if number == TOGETHER {
            let first = before.saturating_add(1);
            stretch.next = Some(Position { first, upto });
            return Ok(stretch);
        }
        let (first, end) = match found(entry) {
            Ok(chunk) => {
                stretch.bytes += chunk.address.bytes();
                (chunk.first, chunk.end())
            }
            Err(Unread::Damaged { first, reason }) => {
                let what = format!("the address of a chunk of log {}: {reason}", log.0);
                stretch.findings.push(unusable(what));
                match first {
                    Some(first) => (first, first),
                    None => return Ok(stretch),
                }
            }
            Err(Unread::Failed(error)) => return Err(error),
        };
        stretch.findings.extend(missing(log, &needed, upto..first));
        upto = upto.max(end);
        before = first;
    }
    let rest = upto..needed.record.next;
    stretch.findings.extend(missing(log, &needed, rest));
    Ok(stretch)
}

/// The unsettled messages in a gap between chunks.
fn missing(log: LogId, needed: &Needed, gap: Range<u64>) -> Vec<Finding> {
    if gap.is_empty() {
        return Vec::new();
    }
    let gaps = needed.unsettled(gap).into_iter();
    let findings = gaps.map(|offsets| Finding {
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
    findings.collect()
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

/// Whether the value of a key of a log makes sense.
pub(super) fn decode(prefix: u8, part: u64, value: &[u8]) -> Result<(), RecordError> {
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
