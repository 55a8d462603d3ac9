//! The table of options in `docs/configure.md` comes from the options themselves. `UPDATE_DOCS=1 cargo test --test docs`
//! writes it again.

use std::fmt::Write;
use std::fs;

use leveret::config::{OPTIONS, Reload};

use crate::pages::root;

const BEGIN: &str = "<!-- options -->\n";
const END: &str = "<!-- /options -->";

fn table() -> String {
    let mut table = String::from(
        "| flag and key | environment | default | live | what it does |\n|---|---|---|---|---|\n",
    );
    for option in OPTIONS {
        let (key, env) = (option.key(), option.env());
        writeln!(
            table,
            "| `--{key}` | `{env}` | `{}` | {} | {} |",
            option.default,
            match option.reload {
                Reload::Live => "yes",
                Reload::Restart => "",
            },
            option.help.replace('|', "\\|")
        )
        .expect("writing to a string");
    }
    table
}

#[test]
fn configure_has_the_current_table_of_options() {
    let path = root().join("docs/configure.md");
    let page = fs::read_to_string(&path).expect("docs/configure.md");
    let (before, rest) = page.split_once(BEGIN).expect("the marker before the table");
    let (current, after) = rest.split_once(END).expect("the marker after the table");
    let expected = table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}"))
            .expect("a writable docs/configure.md");
        return;
    }
    assert_eq!(
        current, expected,
        "run `UPDATE_DOCS=1 cargo test --test docs`"
    );
}
