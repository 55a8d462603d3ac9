//! The format of a data directory: which formats this release opens, and how it upgrades an older one.
//!
//! | format | new contents |
//! |---|---|
//! | 1 | |
//! | 2 | receives, segments, gone pages, settings in the definitions of queues, chunks in extents |
//! | 3 | the log: every batch is an entry of it, and the database holds no chunks |
//!
//! A directory of format 1 is a valid directory of format 2 without these contents. [`super::carry_over`] makes one of
//! format 3 of it, which older releases refuse.

use std::path::Path;

use crate::store::StoreError;

/// The format that this release writes.
pub(super) const FORMAT: u32 = 3;

/// The oldest format that this release reads.
const FORMAT_MIN: u32 = 1;

/// Decides whether a directory with this marker may be opened. True when the marker must be written, since it
/// is missing or older.
pub(super) fn check(dir: &Path, marker: Option<&[u8]>) -> Result<bool, StoreError> {
    let Some(marker) = marker else {
        return Ok(true);
    };
    let found = marker
        .try_into()
        .map(u32::from_le_bytes)
        .map_err(|_| StoreError::Corrupt(format!("format marker {marker:?}")))?;
    match found {
        FORMAT => Ok(false),
        FORMAT_MIN..FORMAT => Ok(true),
        0 => Err(StoreError::Corrupt("format 0 was never written".to_owned())),
        _ => Err(StoreError::NewerFormat {
            dir: dir.to_owned(),
            found,
            known: FORMAT,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_formats_are_opened() {
        let dir = Path::new("/data");
        assert!(check(dir, None).unwrap());
        assert!(check(dir, Some(&1u32.to_le_bytes())).unwrap());
        assert!(!check(dir, Some(&FORMAT.to_le_bytes())).unwrap());
        assert!(check(dir, Some(&0u32.to_le_bytes())).is_err());
        let newer = check(dir, Some(&(FORMAT + 1).to_le_bytes())).unwrap_err();
        assert_eq!(
            newer.to_string(),
            "the data directory /data has format 4, but this release reads formats up to 3: \
             start it with the release that wrote it, or a later one"
        );
        assert!(matches!(
            check(dir, Some(b"x")),
            Err(StoreError::Corrupt(_))
        ));
    }
}
