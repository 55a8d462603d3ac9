//! The README's table of options is made from the options themselves. `UPDATE_README=1 cargo test --test readme`
//! writes it anew.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use leveret::config::OPTIONS;

const BEGIN: &str = "<!-- options -->\n";
const END: &str = "<!-- /options -->";

fn table() -> String {
    let mut table = String::from(
        "| flag and key | environment | default | what it does |\n|---|---|---|---|\n",
    );
    for option in OPTIONS {
        let (key, env) = (option.key(), option.env());
        writeln!(
            table,
            "| `--{key}` | `{env}` | `{}` | {} |",
            option.default,
            option.help.replace('|', "\\|")
        )
        .expect("writing to a string");
    }
    table
}

#[test]
fn the_readme_lists_the_options_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md");
    let (before, rest) = readme
        .split_once(BEGIN)
        .expect("the marker before the table");
    let (current, after) = rest.split_once(END).expect("the marker after the table");
    let wanted = table();
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}"))
            .expect("a writable README.md");
        return;
    }
    assert_eq!(
        current, wanted,
        "run `UPDATE_README=1 cargo test --test readme`"
    );
}
