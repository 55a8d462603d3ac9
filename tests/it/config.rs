//! Every option of the configuration is used.

use std::fs;
use std::path::{Path, PathBuf};

use leveret::config::OPTIONS;

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("config") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_option_is_read_outside_config() {
    let mut found = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    // rustfmt breaks long chains into lines.
    let text: String = found
        .iter()
        .flat_map(|path| fs::read_to_string(path).unwrap().into_bytes())
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(char::from)
        .collect();
    for option in OPTIONS {
        let read = format!("config.{}", option.field);
        assert!(text.contains(&read), "nothing reads {read}");
    }
}
