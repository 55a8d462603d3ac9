//! The file `node`: who the node of this data directory is in its set. Only members of a set have it.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::dir::sync_dir;
use super::error::{Advice, StoreError, io_error};

const NAME: &str = "node";
const VERSION: u32 = 1;

/// Who the node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Random. When the data are lost it is never used again.
    pub node: u64,
    /// The id of the set; `None` before it is formed.
    pub set: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    #[serde(flatten)]
    identity: Identity,
    sum: u64,
}

impl Identity {
    /// The file in a data directory.
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join(NAME)
    }

    /// Reads it. `None` if the directory has none.
    pub fn read(dir: &Path) -> Result<Option<Identity>, StoreError> {
        let path = Identity::path(dir);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error("reading", &path, e)),
        };
        let contents = serde_json::from_slice::<Contents>(&bytes).ok();
        let whole = contents.filter(|it| it.version == VERSION && it.sum == it.identity.sum());
        match whole {
            Some(contents) => Ok(Some(contents.identity)),
            None => Err(StoreError::Damaged {
                what: format!("{}: it is not known which node this is", path.display()),
                advice: Advice::Rejoin,
            }),
        }
    }

    /// Writes it, so that a crash leaves the old or the new one.
    pub(super) fn write(&self, dir: &Path) -> Result<(), StoreError> {
        let path = Identity::path(dir);
        let new = dir.join("node.new");
        let contents = Contents {
            version: VERSION,
            identity: *self,
            sum: self.sum(),
        };
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(&contents)?)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)
        };
        write().map_err(|e| io_error("writing", &path, e))?;
        sync_dir(dir)
    }

    fn sum(&self) -> u64 {
        let set = self.set.map_or([0; 8], u64::to_le_bytes);
        xxh3_64(
            &[
                &self.node.to_le_bytes()[..],
                &[u8::from(self.set.is_some())],
                &set,
            ]
            .concat(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_was_written_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Identity::read(dir.path()).unwrap(), None);
        for set in [None, Some(u64::MAX)] {
            let identity = Identity { node: 5, set };
            identity.write(dir.path()).unwrap();
            assert_eq!(Identity::read(dir.path()).unwrap(), Some(identity));
        }
        let path = dir.path().join(NAME);
        let text = std::fs::read_to_string(&path).unwrap();
        for odd in [
            text.replace(":5", ":6"),
            text.replace("null", "1"),
            String::new(),
        ] {
            if odd != text {
                std::fs::write(&path, odd).unwrap();
                assert!(Identity::read(dir.path()).is_err());
            }
        }
    }
}
