//! The members that this node has known last. A node whose files are damaged finds the others by them, also without
//! `--cluster-peers`.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::warn;

use crate::cluster::raft::MemberInfo;

const FILE: &str = "members.json";
const NEW: &str = "members.json.new";

/// The members that this node has known last, in the file of its data directory.
pub(super) struct KnownMembers {
    dir: PathBuf,
    /// What is not written yet.
    latest: Mutex<Option<Vec<MemberInfo>>>,
    /// One is written at a time.
    writing: Mutex<()>,
}

impl KnownMembers {
    pub(super) fn of(dir: PathBuf) -> KnownMembers {
        KnownMembers {
            dir,
            latest: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    /// Notes the members, this node among them, on a thread that may block.
    pub(super) fn note(self: &Arc<KnownMembers>, members: Vec<MemberInfo>) {
        *self.latest.lock() = Some(members);
        let known = Arc::clone(self);
        tokio::task::spawn_blocking(move || known.write());
    }

    /// Writes the latest ones.
    fn write(&self) {
        let _writing = self.writing.lock();
        let Some(members) = self.latest.lock().take() else {
            return;
        };
        let written = || {
            let mut file = File::create(self.dir.join(NEW))?;
            file.write_all(&serde_json::to_vec(&members)?)?;
            file.sync_all()?;
            std::fs::rename(self.dir.join(NEW), self.dir.join(FILE))
        };
        if let Err(error) = written() {
            warn!(%error, "cannot note the members of the set in {FILE}");
        }
    }

    /// Names and addresses of the nodes that can have what this node, which is called `this`, has lost: the configured ones,
    /// and those that it has known.
    pub(super) fn peers(
        dir: &Path,
        configured: &[(String, String)],
        this: &str,
    ) -> Vec<(String, String)> {
        let known = match std::fs::read(dir.join(FILE)) {
            Ok(json) => serde_json::from_slice::<Vec<MemberInfo>>(&json).unwrap_or_else(|error| {
                warn!(%error, "{FILE} is not understood");
                Vec::new()
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                warn!(%error, "cannot read {FILE}");
                Vec::new()
            }
        };
        let mut peers = configured.to_vec();
        for member in known {
            if member.name != this && !peers.iter().any(|(name, _)| *name == member.name) {
                peers.push((member.name, member.address));
            }
        }
        peers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use KnownMembers as Known;

    #[tokio::test]
    async fn the_others_are_found_by_the_configuration_and_by_what_was_known() {
        let dir = tempfile::tempdir().unwrap();
        let pair = |name: &str, address: &str| (name.to_owned(), address.to_owned());
        let configured = [pair("b", "b:1")];
        assert_eq!(Known::peers(dir.path(), &configured, "a"), configured);
        let members = ["a", "b", "c"].map(|name| MemberInfo {
            id: 1,
            name: name.to_owned(),
            address: format!("{name}:2"),
        });
        let known = Arc::new(Known::of(dir.path().to_owned()));
        known.note(vec![members[0].clone()]);
        known.note(members.to_vec());
        let is_written = || Known::peers(dir.path(), &[], "a").len() == 2;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !is_written() {
            assert!(std::time::Instant::now() < deadline, "it is not written");
            tokio::task::yield_now().await;
        }
        assert_eq!(
            Known::peers(dir.path(), &configured, "a"),
            [pair("b", "b:1"), pair("c", "c:2")]
        );
        assert_eq!(
            Known::peers(dir.path(), &[], "c"),
            [pair("a", "a:2"), pair("b", "b:2")]
        );
        std::fs::write(dir.path().join(FILE), b"no").unwrap();
        assert_eq!(Known::peers(dir.path(), &configured, "a"), configured);
    }
}
