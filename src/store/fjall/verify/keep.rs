//! Copies of damaged bytes, in the directory `damaged` of the data directory.

use std::fs;
use std::path::{Path, PathBuf};

use super::stopped::StoppedStore;
use crate::store::error::StoreError;
use crate::store::fjall::kept;
use crate::store::log::keep_bytes;
use crate::store::verify::{Finding, Place};

impl StoppedStore {
    /// Copies what these findings name. Returns the copies. What the disk does not return is zeros in them.
    pub fn keep_aside(&self, findings: &[Finding]) -> Result<Vec<PathBuf>, StoreError> {
        let kept_dir = kept::directory(self.dir());
        let mut kept = Vec::new();
        for Place { file, bytes } in findings.iter().filter_map(|it| it.place.as_ref()) {
            let Some(len) = length(file) else {
                continue; // it is missing
            };
            let bytes = bytes.clone().unwrap_or(0..len);
            let bytes = bytes.start..bytes.end.min(len);
            if bytes.is_empty() {
                continue; // the file ends before
            }
            let name = format!("{}-{}", name(self.dir(), file), bytes.start);
            kept.push(keep_bytes(file, &bytes, &kept_dir, &name)?);
        }
        Ok(kept)
    }
}

/// The length of a file; `None` for a directory and anything else.
fn length(file: &Path) -> Option<u64> {
    let found = fs::metadata(file).ok()?;
    found.is_file().then_some(found.len())
}

/// The name of a file's copies: its path in the data directory, or for the log the name alone, as a start names them.
fn name(dir: &Path, file: &Path) -> String {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let within = file.strip_prefix(&dir).unwrap_or(&file);
    let within = within.strip_prefix("log").unwrap_or(within);
    let parts = within.iter().map(|part| part.to_string_lossy());
    parts.collect::<Vec<_>>().join("-")
}
