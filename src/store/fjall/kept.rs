//! The directory `damaged`: what a start could not read is kept there, and a report says what and when. An operator
//! removes the directory when nothing in it is needed any more.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tracing::error;

use crate::store::error::{StoreError, io_error};

const DAMAGED_DIR: &str = "damaged";
const REPORT: &str = "report";
/// Lines of the report that are shown.
const LINES_MAX: usize = 100;
/// Bytes of the report that are read.
const REPORT_BYTES_MAX: u64 = 1024 * 1024;

/// The directory within a data directory. It may not exist.
pub(super) fn directory(dir: &Path) -> PathBuf {
    dir.join(DAMAGED_DIR)
}

/// Logs damage and adds it to the report.
pub(super) fn note(dir: &Path, what: &str) -> Result<(), StoreError> {
    error!("{what}");
    let kept = directory(dir);
    let path = kept.join(REPORT);
    let write = || {
        std::fs::create_dir_all(&kept)?;
        let mut report = OpenOptions::new().create(true).append(true).open(&path)?;
        writeln!(
            report,
            "{} {what}",
            Timestamp::now()
                .round(jiff::Unit::Second)
                .unwrap_or_default()
        )?;
        report.sync_all()
    };
    write().map_err(|e| io_error("writing", &path, e))
}

/// The first lines of the report.
pub(super) fn report(dir: &Path) -> Vec<String> {
    let Ok(report) = std::fs::File::open(directory(dir).join(REPORT)) else {
        return Vec::new();
    };
    let lines = BufReader::new(report.take(REPORT_BYTES_MAX)).lines();
    lines.map_while(Result::ok).take(LINES_MAX).collect()
}
