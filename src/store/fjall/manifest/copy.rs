//! The store's copy of the manifests: the file `manifest` in the data directory.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use tracing::warn;
use xxhash_rust::xxh3::xxh3_64;

use super::files::{
    Manifest, decode_current, keyspace_dir, keyspaces, read_manifest, take, write_atomically,
};
use crate::store::dir::sync_dir;
use crate::store::error::{StoreError, io_error, is_lost};

/// Name of the copy in the data directory.
pub(super) const COPY_FILE: &str = "manifest";
/// First bytes of the copy; the last one is its version.
const COPY_MAGIC: [u8; 8] = *b"LVRMNF\0\x01";
/// Maximum number of tries to read a manifest that the database is replacing.
const COPY_TRIES: u32 = 5;

/// Updates the copy if the manifests have changed.
pub(in crate::store::fjall) fn copy(dir: &Path, db: &Path) -> Result<(), StoreError> {
    let mut manifests = BTreeMap::new();
    for (id, path) in keyspaces(db)? {
        let manifest = (0..COPY_TRIES).find_map(|_| read_manifest(&path).ok());
        let Some(manifest) = manifest else {
            return Ok(()); // it changes too fast; a later copy will do
        };
        manifests.insert(id, manifest);
    }
    if read_copy(dir)?.as_ref() == Some(&manifests) {
        return Ok(());
    }
    // A power loss must not leave manifests that are older than the copy.
    for id in manifests.keys() {
        sync_dir(&keyspace_dir(db, *id))?;
    }
    sync_dir(&db.join("keyspaces"))?;
    sync_dir(db)?;
    write_atomically(&dir.join(COPY_FILE), &encode(&manifests))
}

/// Removes the copy, which does not hold for a database that was built anew.
pub(in crate::store::fjall) fn forget_copy(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(COPY_FILE);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io_error("removing", &path, e)),
        _ => sync_dir(dir),
    }
}

/// Reads the copy. `None` if it is missing or damaged; then the manifests are checked without it.
pub(super) fn read_copy(dir: &Path) -> Result<Option<BTreeMap<u64, Manifest>>, StoreError> {
    let path = dir.join(COPY_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let copy = decode(&bytes);
            if copy.is_none() {
                warn!(copy = %path.display(), "the copy of the manifests is damaged; writing a new one");
            }
            Ok(copy)
        }
        Err(e) if is_lost(&e) => Ok(None),
        Err(e) => Err(io_error("reading", &path, e)),
    }
}

/// ```text
/// copy = magic, keyspaces u32, (id u64, current (length u32, bytes), version (length u32, bytes)) *, xxh3 of all u64
/// ```
fn encode(manifests: &BTreeMap<u64, Manifest>) -> Vec<u8> {
    let len = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = COPY_MAGIC.to_vec();
    out.extend(len(manifests.len()));
    for (id, manifest) in manifests {
        out.extend(id.to_le_bytes());
        for part in [&manifest.current, &manifest.version] {
            out.extend(len(part.len()));
            out.extend(part);
        }
    }
    let sum = xxh3_64(&out);
    out.extend(sum.to_le_bytes());
    out
}

fn decode(bytes: &[u8]) -> Option<BTreeMap<u64, Manifest>> {
    let (content, sum) = bytes.split_last_chunk()?;
    if xxh3_64(content) != u64::from_le_bytes(*sum) {
        return None;
    }
    let mut rest = content.strip_prefix(&COPY_MAGIC)?;
    let rest = &mut rest;
    let count = u32::from_le_bytes(take(rest)?);
    let mut manifests = BTreeMap::new();
    for _ in 0..count {
        let keyspace = u64::from_le_bytes(take(rest)?);
        let mut part = || {
            let len = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
            let (part, left) = rest.split_at_checked(len)?;
            *rest = left;
            Some(part.to_vec())
        };
        let (current, version) = (part()?, part()?);
        let (id, _) = decode_current(&current)?;
        let manifest = Manifest {
            id,
            current,
            version,
        };
        manifests.insert(keyspace, manifest);
    }
    rest.is_empty().then_some(manifests)
}
