//! Verifies both copies of the heads of the entries that a start finds.

use std::ops::Range;
use std::path::PathBuf;

use super::entry::{FOOTER_LEN, footer};
use super::extent_file::ExtentFile;
use super::start::LogStart;
use crate::store::StoreError;

/// An entry of which one copy of the head is damaged.
#[derive(Debug)]
pub(in crate::store) struct HeadFlaw {
    pub(in crate::store) index: u64,
    pub(in crate::store) file: PathBuf,
    pub(in crate::store) bytes: Range<u64>,
}

/// Passes the number and the bytes of each entry to `passed`. Returns the flaws.
pub(in crate::store) fn head_flaws<E: From<StoreError>>(
    start: &LogStart,
    mut passed: impl FnMut(u64, u64) -> Result<(), E>,
) -> Result<Vec<HeadFlaw>, E> {
    let mut file: Option<ExtentFile> = None;
    let mut flaws = Vec::new();
    for found in &start.entries {
        let file = match file.take() {
            Some(open) if open.number == found.extent => file.insert(open),
            _ => file.insert(ExtentFile::open(&start.extents, found.extent)?),
        };
        let len = u64::from(found.header.head_len);
        let copy_at = found.end().saturating_sub(len + FOOTER_LEN as u64);
        let damaged = if found.head_at == found.at {
            let head = file.read(found.at, usize::try_from(len).unwrap_or(usize::MAX))?;
            let expected = [&head[..], &footer(found.header.head_len)].concat();
            let copy = file.read(copy_at, expected.len())?;
            (copy != expected).then_some(copy_at..found.end())
        } else {
            Some(found.at..found.at + len)
        };
        if let Some(bytes) = damaged {
            flaws.push(HeadFlaw {
                index: found.header.index,
                file: file.path.clone(),
                bytes,
            });
        }
        passed(found.header.index, 2 * len)?;
    }
    Ok(flaws)
}
