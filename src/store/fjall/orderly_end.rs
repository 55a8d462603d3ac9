//! The file `ended`: the last run has ended in order, with everything that happened in its log. A start that finds it knows
//! that no batch is missing, and which messages were never handed out. It is removed before anything else happens, so a
//! crash leaves none.
//!
//! ```text
//! file = last entry of the log u64, (log u64, offset u64) *, checksum u64
//! ```
//! Little-endian. Messages of a log from its offset on were never handed out; of logs that are not named, any may have been.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::model::LogId;
use crate::store::dir::sync_dir;
use crate::store::error::{StoreError, io_error};

const NAME: &str = "ended";

/// Notes that the run has ended in order with this entry.
pub(super) fn note(
    dir: &Path,
    last: u64,
    seed: u64,
    handed_out: &[(LogId, u64)],
) -> Result<(), StoreError> {
    let path = dir.join(NAME);
    let mut bytes = last.to_le_bytes().to_vec();
    for (log, below) in handed_out {
        bytes.extend(log.0.to_le_bytes());
        bytes.extend(below.to_le_bytes());
    }
    bytes.extend(xxh3_64_with_seed(&bytes, seed).to_le_bytes());
    let write = || {
        let mut file = File::create(&path)?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    write().map_err(|e| io_error("writing", &path, e))?;
    sync_dir(dir)
}

/// What the last run has noted, if it has ended in order with this entry. The next call finds nothing.
pub(super) fn take(
    dir: &Path,
    last: u64,
    seed: u64,
) -> Result<Option<HashMap<LogId, u64>>, StoreError> {
    let path = dir.join(NAME);
    let found = match std::fs::read(&path) {
        Ok(found) => found,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("reading", &path, e)),
    };
    std::fs::remove_file(&path).map_err(|e| io_error("removing", &path, e))?;
    sync_dir(dir)?;
    Ok(parse(&found, last, seed))
}

fn parse(bytes: &[u8], last: u64, seed: u64) -> Option<HashMap<LogId, u64>> {
    let (noted, sum) = bytes.split_last_chunk::<8>()?;
    if xxh3_64_with_seed(noted, seed) != u64::from_le_bytes(*sum) {
        return None;
    }
    let (of, logs) = noted.split_first_chunk::<8>()?;
    let (pairs, []) = logs.as_chunks::<16>() else {
        return None;
    };
    let mut handed_out = HashMap::with_capacity(pairs.len());
    for pair in pairs {
        let (log, below) = pair.split_first_chunk::<8>()?;
        let below = u64::from_le_bytes(below.try_into().ok()?);
        handed_out.insert(LogId(u64::from_le_bytes(*log)), below);
    }
    (u64::from_le_bytes(*of) == last).then_some(handed_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_in_order_is_told_once_and_only_of_its_own_entry() {
        let dir = tempfile::tempdir().unwrap();
        let take = |last, seed| take(dir.path(), last, seed).unwrap();
        let logs = [(LogId(512), 7), (LogId(1024), 0)];
        assert_eq!(take(7, 1), None);
        note(dir.path(), 7, 1, &logs).unwrap();
        assert_eq!(take(7, 1), Some(HashMap::from(logs)));
        assert_eq!(take(7, 1), None);
        for (last, seed) in [(8, 1), (7, 2)] {
            note(dir.path(), 7, 1, &logs).unwrap();
            assert_eq!(take(last, seed), None);
            assert_eq!(take(7, 1), None, "it is gone");
        }
        note(dir.path(), 7, 1, &logs).unwrap();
        let whole = std::fs::read(dir.path().join(NAME)).unwrap();
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end], 7, 1), None);
        }
    }
}
