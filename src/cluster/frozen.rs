//! Encodings that are frozen: what nodes of different releases say to each other during a rolling upgrade. The files are what
//! release 1 writes. A test that fails here has found a change that needs a new version of the encoding, beside the old.

use std::path::PathBuf;

/// Asserts that this release writes what is frozen under a name, and returns that. A new name is written the first time
/// with `LEVERET_FREEZE=1`.
pub(super) fn frozen(name: &str, now: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/set-v1")
        .join(name);
    if std::env::var("LEVERET_FREEZE").is_ok_and(|freeze| freeze == "1") && !path.exists() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, now).expect("a file");
    }
    let frozen = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(
        frozen.escape_ascii().to_string(),
        now.escape_ascii().to_string(),
        "{name} is written in another way than release 1 did"
    );
    frozen
}
