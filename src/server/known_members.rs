//! The members that this node has known last. A node whose files are damaged finds the others by them, also without
//! `--cluster-peers`.

use std::io::ErrorKind;
use std::path::Path;

use tracing::warn;

use crate::cluster::raft::MemberInfo;

const FILE: &str = "members.json";
const NEW: &str = "members.json.new";

/// Notes the members, this node among them.
pub(super) fn note(dir: &Path, members: &[MemberInfo]) {
    let written = || {
        std::fs::write(dir.join(NEW), serde_json::to_vec(members)?)?;
        std::fs::rename(dir.join(NEW), dir.join(FILE))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_are_found_by_the_configuration_and_by_what_was_known() {
        let dir = tempfile::tempdir().unwrap();
        let pair = |name: &str, address: &str| (name.to_owned(), address.to_owned());
        let configured = [pair("b", "b:1")];
        assert_eq!(peers(dir.path(), &configured, "a"), configured);
        let members = ["a", "b", "c"].map(|name| MemberInfo {
            id: 1,
            name: name.to_owned(),
            address: format!("{name}:2"),
        });
        note(dir.path(), &members);
        assert_eq!(
            peers(dir.path(), &configured, "a"),
            [pair("b", "b:1"), pair("c", "c:2")]
        );
        assert_eq!(
            peers(dir.path(), &[], "c"),
            [pair("a", "a:2"), pair("b", "b:2")]
        );
        std::fs::write(dir.path().join(FILE), b"no").unwrap();
        assert_eq!(peers(dir.path(), &configured, "a"), configured);
    }
}
