//! Finds the chunks in which no start would find a message. Sweeps that a crash has undone left some, and the queues of
//! an earlier run left those of transient messages.

use std::ops::Range;

use ::fjall::{Readable, Snapshot};

use super::core::Core;
use super::error::{corrupt, failed};
use super::evacuate::address_entry;
use super::keyspaces::Keyspaces;
use crate::model::LogId;
use crate::store::{LogRecord, LogState, PageBits, RangeSet, StoreError, keys};

impl Core {
    /// What to sweep as of the last call of [`crate::store::Store::sweep_settled`]: parts of logs, in order.
    pub(super) fn settled_chunks(&self) -> Result<Vec<(LogId, Range<u64>)>, StoreError> {
        let open = self.open()?;
        let Some(snapshot) = open.unswept.lock().take() else {
            return Ok(Vec::new());
        };
        let mut found: Vec<(LogId, Range<u64>)> = Vec::new();
        let mut of_log: Option<(LogId, RangeSet)> = None;
        for entry in snapshot.iter(&open.spaces.msgs) {
            let Some(chunk) = address_entry(entry)? else {
                continue;
            };
            let (_, gone) = match of_log.take() {
                Some(known) if known.0 == chunk.log => of_log.insert(known),
                _ => of_log.insert((
                    chunk.log,
                    gone_for_good(&open.spaces, &snapshot, chunk.log)?,
                )),
            };
            let end = chunk.first.saturating_add(u64::from(chunk.address.count));
            if gone.first_gap(chunk.first) < end {
                continue;
            }
            match found.last_mut() {
                Some((log, offsets)) if *log == chunk.log && offsets.end == chunk.first => {
                    offsets.end = end;
                }
                _ => found.push((chunk.log, chunk.first..end)),
            }
        }
        Ok(found)
    }
}

/// The offsets of a log that no start and no rewind brings back.
fn gone_for_good(
    spaces: &Keyspaces,
    snapshot: &Snapshot,
    log: LogId,
) -> Result<RangeSet, StoreError> {
    let record = snapshot.get(&spaces.state, keys::of_log(keys::RECORD, log));
    let Some(record) = record.map_err(failed("reading"))? else {
        return Ok(RangeSet::new()); // it is removed, or its record is damaged
    };
    let mut state = LogState {
        record: LogRecord::decode(&record).map_err(corrupt("log record", log))?,
        ..LogState::default()
    };
    for (prefix, set) in [
        (keys::SETTLED_PAGE, &mut state.settled),
        (keys::GONE_PAGE, &mut state.gone),
    ] {
        for entry in snapshot.prefix(&spaces.state, keys::of_log(prefix, log)) {
            let (key, value) = entry.into_inner().map_err(failed("reading"))?;
            if let Some((_, _, Some(page))) = keys::parse_state(&key) {
                set.insert_page(
                    page,
                    &PageBits::decode(&value).map_err(corrupt("page", log))?,
                );
            }
        }
    }
    Ok(state.gone_for_good())
}
