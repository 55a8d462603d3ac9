//! Carries a data directory over to the log. In formats 1 and 2 the database was the durable thing: its journals had
//! what its tables lacked, chunks of small batches were in the database, and those of large batches in extents that
//! held nothing else.
//!
//! 1. The database opens with its journals, as the earlier release would open it, and writes everything to tables. From
//!    here on the earlier release refuses the directory.
//! 2. The directory of the extents becomes that of the log. From here on the journals do not count.
//! 3. The chunks in the database move to extents.
//!
//! A crash at any point lets the next start go on. Journals that a power loss has torn are left to the release that
//! wrote them, which knows how to mend them.

use std::path::Path;

use ::fjall::{Keyspace, Readable};
use bytes::Bytes;
use tracing::info;

use super::checkpoint_file;
use super::error::failed;
use super::format::{FORMAT, check};
use super::kept;
use super::keyspaces::Keyspaces;
use super::open::{LOG_DIR, OpenDatabase};
use super::options::FjallOptions;
use crate::model::LogId;
use crate::store::dir::{exists, sync_dir};
use crate::store::error::{Advice, OnDamage, StoreError, io_error};
use crate::store::keys::{self, ChunkKey};

/// Directory of the extents in format 2.
const EXTENTS_DIR: &str = "extents";
/// File in which format 2 recorded the last synced batch.
const SYNCED_FILE: &str = "synced";
/// Bytes of chunks that move at a time.
const MOVE_BYTES: usize = 4 * 1024 * 1024;

/// Steps 1 and 2. Also creates a new database.
pub(super) fn begin(dir: &Path, db_dir: &Path, options: &FjallOptions) -> Result<(), StoreError> {
    let is_new = !exists(db_dir)?;
    let spaces = Keyspaces::open(db_dir, options).map_err(|error| match error {
        StoreError::Database { reason, .. } if !is_new => torn(db_dir, &reason),
        error => error,
    })?;
    let marker = spaces.meta.get(keys::FORMAT);
    let marker = marker.map_err(failed("reading the format"))?;
    check(dir, marker.as_deref())?;
    let is_earlier = marker
        .as_deref()
        .is_some_and(|marker| *marker != FORMAT.to_le_bytes());
    let carries = spaces.meta.get(keys::CARRY).map_err(failed("reading"))?;
    if marker.is_some() && !is_earlier && carries.is_none() {
        drop(spaces);
        return without_log(dir, options.on_damage);
    }
    if is_earlier {
        let last = spaces
            .msgs
            .get(keys::LAST_BATCH)
            .map_err(failed("reading"))?;
        check_synced(dir, last.as_deref())?;
        info!(dir = %dir.display(), "carrying the data directory over to format {FORMAT}");
    }
    let mut writes = spaces.batch(5);
    writes.insert(&spaces.meta, keys::FORMAT, FORMAT.to_le_bytes());
    writes.insert(
        &spaces.meta,
        keys::LOG_SEED,
        rand::random::<u64>().to_le_bytes(),
    );
    writes.insert(&spaces.meta, keys::CARRY, Bytes::new());
    for space in crate::store::keys::KeyspaceName::ALL {
        spaces.note_applied(&mut writes, space, 0);
    }
    writes.commit().map_err(failed("writing the format"))?;
    spaces.flush()?;
    sync_dir(&db_dir.join("keyspaces"))?;
    let (extents, log) = (dir.join(EXTENTS_DIR), dir.join(LOG_DIR));
    if is_new {
        // The first checkpoint file: with it the database can be built anew from the first entry on.
        let new = dir.join("log.new");
        std::fs::create_dir_all(&new).map_err(|e| io_error("creating", &new, e))?;
        checkpoint_file::write(&new, &spaces, &spaces.db.snapshot(), 0)?;
        std::fs::rename(&new, &log).map_err(|e| io_error("renaming", &new, e))?;
    } else if exists(&extents)? {
        std::fs::rename(&extents, &log).map_err(|e| io_error("renaming", &extents, e))?;
    } else {
        std::fs::create_dir(&log).map_err(|e| io_error("creating", &log, e))?;
    }
    drop(spaces);
    sync_dir(dir)
}

/// Goes on without the log's directory, which is lost, if that is wanted.
fn without_log(dir: &Path, on_damage: OnDamage) -> Result<(), StoreError> {
    let log = dir.join(LOG_DIR);
    if on_damage == OnDamage::Refuse {
        return Err(StoreError::Damaged {
            what: format!("{} is missing", log.display()),
            advice: Advice::Recover,
        });
    }
    std::fs::create_dir(&log).map_err(|e| io_error("creating", &log, e))?;
    sync_dir(dir)?;
    let what = format!(
        "{} was missing: no message in it can be read",
        log.display()
    );
    kept::note(dir, &what)
}

/// Step 3.
pub(super) fn finish(open: &OpenDatabase) -> Result<(), StoreError> {
    let meta = &open.spaces.meta;
    if meta.get(keys::CARRY).map_err(failed("reading"))?.is_none() {
        return Ok(());
    }
    let mut chunks = 0_u64;
    let mut group = Vec::new();
    let mut group_bytes = 0;
    let snapshot = open.spaces.db.snapshot();
    for entry in snapshot.iter(&open.spaces.msgs) {
        let (key, value) = entry
            .into_inner_if(|key| matches!(keys::parse_chunk(key), Some(ChunkKey::Chunk(..))))
            .map_err(failed("reading a chunk"))?;
        let (Some(ChunkKey::Chunk(log, first)), Some(chunk)) = (keys::parse_chunk(&key), value)
        else {
            continue;
        };
        group_bytes += chunk.len();
        group.push((log, first, Bytes::from(chunk)));
        if group_bytes >= MOVE_BYTES {
            chunks += group.len() as u64;
            move_chunks(open, std::mem::take(&mut group))?;
            group_bytes = 0;
        }
    }
    chunks += group.len() as u64;
    move_chunks(open, group)?;
    let mut writes = open.spaces.batch(1);
    writes.remove(meta, keys::CARRY);
    writes.commit().map_err(failed("carrying over"))?;
    if chunks > 0 {
        open.checkpoint(|| false)?;
        info!(chunks, "carried the data directory over");
    }
    Ok(())
}

fn move_chunks(open: &OpenDatabase, group: Vec<(LogId, u64, Bytes)>) -> Result<(), StoreError> {
    let mut writer = open.extents.writer();
    let mut writes = open.spaces.batch(2 * group.len());
    let msgs: &Keyspace = &open.spaces.msgs;
    for (log, first, chunk) in group {
        let address = writer.append(&chunk)?.ok_or_else(|| {
            StoreError::Corrupt(format!("a chunk of log {} makes no sense", log.0))
        })?;
        writes.remove_weak(msgs, keys::chunk(log, first));
        let key = keys::chunk_address(log, first, keys::MOVED);
        writes.insert(msgs, key, address.encode());
    }
    writer.sync()?;
    writes.commit().map_err(failed("carrying over"))
}

/// Checks that the database has the last batch that the earlier release recorded as synced.
fn check_synced(dir: &Path, last: Option<&[u8]>) -> Result<(), StoreError> {
    let Ok(recorded) = std::fs::read(dir.join(SYNCED_FILE)) else {
        return Ok(()); // earlier releases did not record it
    };
    // Both hold a random number of the run and, at different places, the number of a batch in it.
    let number = |bytes: &[u8], at: usize| {
        let field = bytes.get(at..at + 8)?;
        field.try_into().ok().map(u64::from_le_bytes)
    };
    let (epoch, serial) = (number(&recorded, 0), number(&recorded, 8));
    let last = last.unwrap_or_default();
    let (last_epoch, last_serial) = (number(last, 0), number(last, 16));
    match epoch.is_some() && epoch == last_epoch && serial > last_serial {
        true => Err(torn(dir, "the journals end before what was synced last")),
        false => Ok(()),
    }
}

fn torn(dir: &Path, reason: &str) -> StoreError {
    StoreError::Damaged {
        what: format!(
            "{}: {reason}. Start and stop the directory once with the release that wrote it, which \
             may be able to mend it",
            dir.display()
        ),
        advice: Advice::Restore,
    }
}
