//! Command lines in the pages. Each page's run in order, in one folder, against a broker with the objects of
//! `objects.json`. Addresses with the usual ports lead to the broker's own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use regex::Regex;
use tempfile::TempDir;

use crate::pages::{Block, Kind, Page, pages, root};

/// Longest time of one command line.
const SECONDS_MAX: &str = "60";
/// The usual port of a listener, and how the log names its address.
const LISTENERS: [(&str, &str); 4] = [
    ("5672", "AMQP listener on "),
    ("5680", "CMQ listener on "),
    ("15672", "management listener on "),
    ("15692", "metrics listener on "),
];

/// Prepares what the pages take for granted.
const SETUP: [&str; 2] = [
    "leveret ctl import_definitions definitions.json",
    "curl -sSf -u guest:guest http://localhost:15672/api/exchanges/%2F/amq.default/publish \
     -d '{\"routing_key\":\"payments\",\"payload\":\"10\",\"payload_encoding\":\"string\",\"properties\":{}}'",
];

/// A running broker; it ends with this value.
struct Broker {
    process: Child,
    folder: TempDir,
    /// Usual ports, and the addresses that stand for them.
    addresses: Vec<(&'static str, String)>,
}

impl Broker {
    fn start() -> Broker {
        let folder = tempfile::tempdir().expect("a folder");
        let mut leveret = Command::new(env!("CARGO_BIN_EXE_leveret"));
        for option in ["amqp", "cmq", "management", "prometheus"] {
            leveret.args([&format!("--{option}-listen"), "127.0.0.1:0"]);
        }
        let mut process = leveret
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let log = BufReader::new(process.stderr.take().expect("its log"));
        let mut addresses = Vec::new();
        let mut lines = log.lines().map(|line| line.expect("a line"));
        for line in lines.by_ref() {
            let listener = LISTENERS.iter().find_map(|(port, words)| {
                let (_, address) = line.split_once(words)?;
                Some((*port, address.trim().to_owned()))
            });
            addresses.extend(listener);
            if line.contains("leveret is ready") {
                break;
            }
        }
        // The broker must be able to go on logging.
        std::thread::spawn(move || lines.for_each(drop));
        assert_eq!(addresses.len(), LISTENERS.len(), "{addresses:?}");
        Broker {
            process,
            folder,
            addresses,
        }
    }

    /// Runs a command line; its output if it fails.
    fn run(&self, line: &str) -> Result<(), String> {
        let binary = Path::new(env!("CARGO_BIN_EXE_leveret"));
        let folder = binary.parent().expect("a folder").display();
        let path = std::env::var("PATH").unwrap_or_default();
        let ran = Command::new("timeout")
            .args([SECONDS_MAX, "sh", "-c", &self.addressed(line)])
            .current_dir(self.folder.path())
            .env("PATH", format!("{folder}:{path}"))
            .env("LEVERET_DATA_DIR", self.folder.path().join("data"))
            .stdin(Stdio::null())
            .output()
            .expect("a shell");
        match ran.status.success() {
            true => Ok(()),
            false => Err(format!(
                "{line}\n{}{}",
                String::from_utf8_lossy(&ran.stdout),
                String::from_utf8_lossy(&ran.stderr)
            )),
        }
    }

    /// The line with the addresses of this broker.
    fn addressed(&self, line: &str) -> String {
        let usual = Regex::new(r"(?:localhost|127\.0\.0\.1):(\d+)").expect("a pattern");
        let own = |found: &regex::Captures<'_>| {
            let known = self.addresses.iter().find(|(port, _)| *port == &found[1]);
            known.map_or(found[0].to_owned(), |(_, address)| address.clone())
        };
        usual.replace_all(line, own).into_owned()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.kill().expect("a process");
        self.process.wait().expect("its end");
    }
}

/// The command lines of a block; a line that ends in a backslash goes on in the next one.
fn command_lines(block: &Block) -> Vec<String> {
    let joined = block.text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Runs all command lines of a page; returns what failed.
fn failures(page: &Page) -> Vec<String> {
    let blocks: Vec<_> = page
        .blocks()
        .into_iter()
        .filter(|block| block.kind == Kind::Shell)
        .collect();
    if blocks.is_empty() {
        return Vec::new();
    }
    let broker = Broker::start();
    let objects = root().join("tests/docs/objects.json");
    fs::copy(objects, broker.folder.path().join("definitions.json")).expect("a file");
    for line in SETUP {
        broker.run(line).expect("the setup");
    }
    let mut failures = Vec::new();
    for block in blocks {
        for line in command_lines(&block) {
            if let Err(output) = broker.run(&line) {
                failures.push(format!("{}: {output}", block.place));
            }
        }
    }
    failures
}

#[test]
fn every_command_line_in_the_pages_works() {
    let failures: Vec<_> = pages().iter().flat_map(failures).collect();
    let mut shown = std::io::stderr().lock();
    for failure in &failures {
        writeln!(shown, "{failure}").expect("standard error");
    }
    assert!(failures.is_empty(), "{} failed", failures.len());
}

#[test]
fn command_lines_of_scripts_are_in_these_scripts() {
    for page in pages() {
        for block in page.blocks() {
            let Kind::ShellBy(script) = &block.kind else {
                continue;
            };
            let path = root().join(script);
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {script}: {error}", block.place));
            // A script may read the page itself.
            if text.contains(&page.to_string()) {
                continue;
            }
            for line in command_lines(&block) {
                let command = line.split(" #").next().expect("a part").trim();
                assert!(
                    text.contains(command),
                    "{}: {script} does not run '{command}'",
                    block.place
                );
            }
        }
    }
}
