//! Imports the definitions of `--load-definitions` before any client is served.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tracing::{error, info};

use super::error::StartError;
use super::process::Process;
use crate::broker::broker::Broker;
use crate::config::Config;
use crate::definitions_file::{self, DOCUMENT_BYTES_MAX, Imported, Progress, Repetition, Scope};

/// Files in a directory of definitions.
const FILES_MAX: usize = 1000;

/// As [`load`], when this node begins to lead a set. What the set has from this file already is not imported again, so that
/// changes of operators stay. A file that is not good on this node costs no leadership: the next node may have the same.
pub(super) async fn load_for_set(process: &Process, broker: &Arc<Broker>) {
    let config = process.config();
    let is_first = !process.loaded_definitions.swap(true, Ordering::Relaxed);
    let is_one_file = config
        .load_definitions
        .as_ref()
        .is_some_and(|path| path.is_file());
    if !is_first && !is_one_file {
        return;
    }
    let skips = Config {
        definitions_skip_if_unchanged: true,
        ..Config::clone(&config)
    };
    if let Err(error) = load(&skips, broker).await {
        error!("the set goes on without definitions: {error}");
    }
}

/// Imports the configured file, or the `.json` files of the configured directory in the order of their names.
pub(super) async fn load(config: &Config, broker: &Arc<Broker>) -> Result<(), StartError> {
    let Some(path) = &config.load_definitions else {
        return Ok(());
    };
    let failed = |path: &Path, reason: String| StartError::Definitions {
        path: path.to_owned(),
        reason,
    };
    let files = files(path).map_err(|error| failed(path, error.to_string()))?;
    let repetition = match (config.definitions_skip_if_unchanged, files.len()) {
        (true, 1) => Repetition::Skip,
        _ => Repetition::Import,
    };
    for file in files {
        let content = read(&file).map_err(|error| failed(&file, error.to_string()))?;
        let (progress, _) = watch::channel(Progress::default());
        let scope = Scope::Cluster;
        let imported =
            definitions_file::import(broker, &content, &scope, repetition, &progress).await;
        match imported.map_err(|error| failed(&file, error.to_string()))? {
            Imported::Now(_) => info!(file = %file.display(), "definitions loaded"),
            Imported::Unchanged => info!(file = %file.display(), "definitions are unchanged"),
        }
    }
    Ok(())
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(file);
        }
        if files.len() > FILES_MAX {
            return Err(io::Error::other(format!("more than {FILES_MAX} files")));
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    // One byte more, so that the import sees that the file is too long.
    let bound = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX);
    File::open(path)?
        .take(bound + 1)
        .read_to_end(&mut content)?;
    Ok(content)
}
