//! Man pages and completions: the tools that use them accept them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn leveret(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(args).output().unwrap()
}

fn text(args: &[&str]) -> String {
    let output = leveret(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn is_installed(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok()
}

/// What bash offers for the last word of a line.
fn bash_offers(script: &str, line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let last = words.len() - 1;
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let driver = format!(
        "{script}\nCOMP_WORDS=({})\nCOMP_CWORD={last}\n_leveret leveret '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        quoted.join(" "),
        words[last],
        words[last - 1],
    );
    let mut bash = Command::new("bash")
        .arg("--norc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    bash.stdin
        .take()
        .unwrap()
        .write_all(driver.as_bytes())
        .unwrap();
    let output = bash.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let offers = String::from_utf8(output.stdout).unwrap();
    offers.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_verbs_options_and_columns() {
    let script = text(&["completions", "bash"]);
    for (line, offer) in [
        ("leveret chec", "check-config"),
        ("leveret ctl set_perm", "set_permissions"),
        ("leveret ctl -q set_perm", "set_permissions"),
        ("leveret ctl delete_queue --if-", "--if-empty"),
        ("leveret ctl list_queues --form", "--formatter"),
        ("leveret ctl list_queues --formatter pre", "pretty_table"),
        (
            "leveret ctl list_queues messages_unack",
            "messages_unacknowledged",
        ),
        ("leveret --heartb", "--heartbeat"),
    ] {
        let offers = bash_offers(&script, line);
        assert!(offers.iter().any(|own| own == offer), "{line}: {offers:?}");
    }
    assert!(
        !bash_offers(&script, "leveret ctl list_users --if-").contains(&"--if-empty".to_owned())
    );
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(
            text(&["completions", shell]).contains("set_permissions"),
            "{shell}"
        );
    }
    assert!(!leveret(&["completions", "csh"]).status.success());
}

#[test]
fn man_pages_list_all_verbs_and_options_and_pass_the_formatter() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    text(&["man", "--dir", pages.to_str().unwrap()]);
    let read = |page: &str| std::fs::read_to_string(pages.join(page)).unwrap();
    let ctl = read("leveret-ctl.1").replace('\\', "");
    for part in [
        "set_permissions",
        "--no-table-headers",
        "messages_unacknowledged",
        "64",
    ] {
        assert!(ctl.contains(part), "{part}");
    }
    assert!(read("leveret.1").replace('\\', "").contains("--heartbeat"));
    assert!(read("leveret-check-config.1").contains("check"));
    assert_eq!(text(&["man", "leveret-ctl"]), read("leveret-ctl.1"));
    assert!(!leveret(&["man", "leveret-bogus"]).status.success());
    if !is_installed("groff") {
        return;
    }
    for page in std::fs::read_dir(&pages).unwrap() {
        formats_without_warnings(&page.unwrap().path());
    }
}

fn formats_without_warnings(page: &Path) {
    let mut groff = Command::new("groff");
    let output = groff
        .args(["-man", "-ww", "-z", "-Tutf8", "-K", "utf8"])
        .arg(page)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{}: {said}",
        page.display()
    );
}
