//! Reads the state of all logs at a start. Reads no messages, except the last chunk of a log that is longer
//! than its record says.

use std::collections::BTreeMap;

use tracing::debug;

use super::error::{corrupt, failed};
use super::open::OpenDatabase;
use crate::model::LogId;
use crate::store::{
    LogRecord, LogState, PageBits, RangeSet, ReceiveRecord, ReturnCount, Segment, StoreError,
    StretchRecord, keys,
};

impl OpenDatabase {
    pub(super) fn load_logs(&self) -> Result<BTreeMap<LogId, LogState>, StoreError> {
        let mut logs = BTreeMap::new();
        for entry in self.spaces.state.prefix([keys::RECORD]) {
            let (key, value) = entry.into_inner().map_err(failed("reading logs"))?;
            if let Some((_, log, _)) = keys::parse_state(&key) {
                let record = LogRecord::decode(&value).map_err(corrupt("log record", log))?;
                let state = LogState {
                    record,
                    settled: RangeSet::new(),
                    counts: Vec::new(),
                    segments: Vec::new(),
                    receives: Vec::new(),
                    gone: RangeSet::new(),
                    stretches: Vec::new(),
                    missing: RangeSet::new(),
                    handed_out_below: None,
                };
                logs.insert(log, state);
            }
        }
        for prefix in keys::PARTS {
            for entry in self.spaces.state.prefix([prefix]) {
                let (key, value) = entry.into_inner().map_err(failed("reading logs"))?;
                let Some((_, log, Some(part))) = keys::parse_state(&key) else {
                    continue;
                };
                let Some(state) = logs.get_mut(&log) else {
                    continue; // a removed log that is not fully swept
                };
                match prefix {
                    keys::SETTLED_PAGE => {
                        let page =
                            PageBits::decode(&value).map_err(corrupt("settled page", log))?;
                        state.settled.insert_page(part, &page);
                    }
                    keys::GONE_PAGE => {
                        let page = PageBits::decode(&value).map_err(corrupt("gone page", log))?;
                        state.gone.insert_page(part, &page);
                    }
                    keys::STRETCH => {
                        let stretch =
                            StretchRecord::decode(&value).map_err(corrupt("stretch", log))?;
                        state.stretches.push((part, stretch));
                    }
                    keys::SEGMENT => {
                        let segment =
                            Segment::decode(part, &value).map_err(corrupt("segment", log))?;
                        state.segments.push(segment);
                    }
                    keys::RECEIVE => {
                        let receive =
                            ReceiveRecord::decode(part, &value).map_err(corrupt("receive", log))?;
                        state.receives.push(receive);
                    }
                    _ if part >= state.record.floor => {
                        let count = ReturnCount::decode(&value).map_err(corrupt("count", log))?;
                        state.counts.push((part, count));
                    }
                    _ => {}
                }
            }
        }
        for state in logs.values_mut() {
            state.settled.remove_below(state.record.floor);
            let history_from = state.record.history_from.unwrap_or(0);
            state.gone.remove_below(history_from);
        }
        Ok(logs)
    }

    /// Finds the unsettled messages that no chunk holds.
    pub(super) fn find_missing(&self, log: LogId, state: &mut LogState) {
        let mut upto = state.record.floor;
        let end = std::iter::once(state.record.next..u64::MAX);
        let chunks = self.find(log, 0..=u64::MAX);
        // Where the database cannot be read, reads find out.
        let chunks = chunks.map_while(Result::ok);
        for chunk in chunks.map(|chunk| chunk.first..chunk.end()).chain(end) {
            if upto < chunk.start {
                for gap in state.settled.gaps_in(upto..chunk.start) {
                    state.missing.insert_range(gap);
                }
            }
            upto = upto.max(chunk.end);
        }
    }

    /// Raises `next` above all chunks of the log, so that their offsets are not given out again. The record of a log whose
    /// queue does not outlive a restart is not kept up to date.
    pub(super) fn check_tail(&self, log: LogId, record: &mut LogRecord) -> Result<(), StoreError> {
        let Some(last) = self.find(log, record.next..=u64::MAX).next_back() else {
            return Ok(());
        };
        let next = last?.end();
        debug!(
            log = log.0,
            recorded = record.next,
            found = next,
            "a log is longer than its record says"
        );
        record.next = next;
        Ok(())
    }
}
