//! What the data directory of a stopped broker holds, and its digest. Two members of a set that have applied the same
//! entries hold the same, wherever their chunks are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ::fjall::{Readable, Snapshot};

use super::records::{Needed, decode};
use super::shadow::{Cast, Parts, Shadow, Tail, cast};
use super::stopped::{StoppedStore, earlier_format, log_is_missing};
use crate::model::LogId;
use crate::store::digest::{Digest, LogDigest, StoreDigest};
use crate::store::dir::DirLock;
use crate::store::error::{Advice, StoreError};
use crate::store::extents::{ChunkAddress, IO_BYTES};
use crate::store::fjall::chunks::{ChunkEntry, found};
use crate::store::fjall::error::failed;
use crate::store::fjall::snapshot::is_common;
use crate::store::keys::{self, KeyspaceName};
use crate::store::{DefinitionEntry, EntryId, VerifyProgress};

/// What a data directory holds that no broker uses, and that none can open meanwhile. The directory stays as it is.
pub struct Contents {
    dir: PathBuf,
    /// `None` if nothing was ever stored.
    shadow: Option<Box<Shadow>>,
    _lock: DirLock,
}

impl StoppedStore {
    /// Opens what the directory holds: as a start would, with the entries of the log that it applies before it has heard
    /// of others. Fails if entries are damaged.
    pub fn into_contents(self) -> Result<Contents, StoreError> {
        let (dir, lock) = self.into_parts();
        let shadow = match cast(&dir, Tail::Known)? {
            Cast::Open(shadow) => Some(shadow),
            Cast::Empty => None,
            Cast::EarlierFormat => return Err(earlier_format(&dir)),
            Cast::NoLog => return Err(damaged(log_is_missing(&dir))),
        };
        for Parts { start, least, .. } in shadow.iter().map(|it| &it.parts) {
            // The tables have what comes before; nothing needs those entries.
            let mut damages = start.damages().iter();
            if let Some(damage) = damages.find(|damage| damage.entries.end > least + 1) {
                return Err(damaged(damage.to_string()));
            }
        }
        Ok(Contents {
            dir,
            shadow,
            _lock: lock,
        })
    }
}

impl Contents {
    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn parts(&self) -> Option<&Parts> {
        Some(&self.shadow.as_ref()?.parts)
    }

    /// The last entry that is applied, in a set: a majority of the set has it.
    pub fn entry(&self) -> Option<EntryId> {
        self.parts()?.entry()
    }

    /// Applies the entries up to this one, which another member of the set says a majority has. False if the log has not
    /// come to it.
    pub fn advance(&mut self, to: EntryId) -> Result<bool, StoreError> {
        match &mut self.shadow {
            Some(shadow) => shadow.parts.advance(to),
            None => Ok(false),
        }
    }

    /// The last entry up to this one that the logs of both directories have, in a set.
    pub fn last_in_common(&self, other: &Contents, upto: EntryId) -> Option<EntryId> {
        let (one, other) = (self.parts()?, other.parts()?);
        let least = one.entry()?.index;
        (least..=upto.index).rev().find_map(|index| {
            let term = one.start.term_of(index)?;
            (other.start.term_of(index) == Some(term)).then_some(EntryId { term, index })
        })
    }

    /// The definitions whose key starts with `prefix`.
    pub fn definitions(&self, prefix: &[u8]) -> Result<Vec<DefinitionEntry>, StoreError> {
        match self.parts() {
            Some(parts) => parts.spaces.definitions(prefix),
            None => Ok(Vec::new()),
        }
    }

    /// The digest of everything. Reads all messages.
    pub fn digest(&self, step: &mut dyn FnMut(VerifyProgress)) -> Result<StoreDigest, StoreError> {
        let Some(parts) = self.parts() else {
            return Ok(StoreDigest::default());
        };
        let snapshot = parts.spaces.db.snapshot();
        let mut digest = StoreDigest {
            entry: parts.entry(),
            ..StoreDigest::default()
        };
        for entry in snapshot.iter(&parts.spaces.meta) {
            let (key, value) = entry.into_inner().map_err(failed("reading"))?;
            let mut of_value = Digest::default();
            of_value.add(&[&value]);
            if key == keys::MEMBERS {
                digest.members = Some(of_value);
            } else if is_common(KeyspaceName::Meta, &key) {
                let key = key.get(1..).unwrap_or_default().to_vec();
                digest.definitions.insert(key, of_value);
            }
        }
        digest.logs = states(parts, &snapshot)?;
        let mut progress = VerifyProgress {
            done: 0,
            total: parts.extents.disk_bytes()?,
        };
        for (log, of_log) in &mut digest.logs {
            messages(parts, &snapshot, *log, |chunk, data, count| {
                progress.done += chunk.address.bytes();
                progress.total = progress.total.max(progress.done);
                step(progress);
                of_log.messages += count;
                match data {
                    Some(data) => {
                        of_log.bodies.add(&[&chunk.first.to_le_bytes(), data]);
                    }
                    None => of_log.unreadable += count,
                }
            })?;
            let all = Needed::load(&snapshot, &parts.spaces, *log)?;
            let all = all.map_or(0, |needed| needed.count(0..u64::MAX));
            // The others are in no chunk.
            of_log.unreadable += all - of_log.messages.min(all);
            of_log.messages = all;
        }
        Ok(digest)
    }

    /// The first message of a log that is not the same in both directories, by the first offset of its chunk.
    pub fn first_difference(
        &self,
        other: &Contents,
        log: LogId,
    ) -> Result<Option<u64>, StoreError> {
        let (first, second) = (self.chunks_of(log)?, other.chunks_of(log)?);
        let offsets: BTreeSet<_> = first.keys().chain(second.keys()).collect();
        let differs = |offset: &&u64| first.get(offset) != second.get(offset);
        Ok(offsets.into_iter().find(differs).copied())
    }

    /// The digests of the chunks with messages that a queue may read, by their first offsets.
    fn chunks_of(&self, log: LogId) -> Result<BTreeMap<u64, Digest>, StoreError> {
        let mut digests = BTreeMap::new();
        if let Some(parts) = self.parts() {
            let snapshot = parts.spaces.db.snapshot();
            messages(parts, &snapshot, log, |chunk, data, _| {
                let mut digest = Digest::default();
                if let Some(data) = data {
                    digest.add(&[data]);
                }
                digests.insert(chunk.first, digest);
            })?;
        }
        Ok(digests)
    }
}

/// Reads the chunks of a log with messages that a queue may read. `take` gets each with the number of these messages;
/// `None` stands for one that cannot be read.
fn messages(
    parts: &Parts,
    snapshot: &Snapshot,
    log: LogId,
    mut take: impl FnMut(&ChunkEntry, Option<&[u8]>, u64),
) -> Result<(), StoreError> {
    let Some(needed) = Needed::load(snapshot, &parts.spaces, log)? else {
        return Ok(());
    };
    let mut read = |together: &[(ChunkEntry, u64)]| -> Result<(), StoreError> {
        let addresses: Vec<ChunkAddress> = together.iter().map(|(it, _)| it.address).collect();
        let data = parts.extents.read(&addresses)?;
        for ((chunk, count), data) in together.iter().zip(data) {
            take(chunk, data.as_deref(), *count);
        }
        Ok(())
    };
    let mut together = Vec::new();
    let mut bytes = 0;
    for entry in snapshot.range(&parts.spaces.msgs, keys::chunks(log, 0..=u64::MAX)) {
        let chunk = found(entry)?;
        let count = needed.count(chunk.first..chunk.end());
        if count == 0 {
            continue;
        }
        bytes += chunk.bytes();
        together.push((chunk, count));
        if bytes >= IO_BYTES {
            read(&std::mem::take(&mut together))?;
            bytes = 0;
        }
    }
    read(&together)
}

fn damaged(what: String) -> StoreError {
    StoreError::Damaged {
        what,
        advice: Advice::Restore,
    }
}

/// The logs with the digests of all that the database holds of them, but their chunks.
fn states(parts: &Parts, snapshot: &Snapshot) -> Result<BTreeMap<LogId, LogDigest>, StoreError> {
    let mut logs = BTreeMap::new();
    for entry in snapshot.prefix(&parts.spaces.state, [keys::RECORD]) {
        let key = entry.key().map_err(failed("reading"))?;
        if let Some((keys::RECORD, log, None)) = keys::parse_state(&key) {
            logs.insert(log, LogDigest::default());
        }
    }
    for entry in snapshot.iter(&parts.spaces.state) {
        let (key, value) = entry.into_inner().map_err(failed("reading"))?;
        let Some((prefix, log, part)) = keys::parse_state(&key) else {
            continue;
        };
        // What is left of removed logs is swept by each member in its own time.
        if let Some(of_log) = logs.get_mut(&log) {
            decode(prefix, part.unwrap_or(0), &value).map_err(|error| {
                StoreError::Corrupt(format!("a record of log {}: {error}", log.0))
            })?;
            of_log.states.add(&[&key, &value]);
        }
    }
    Ok(logs)
}
