//! The pages for users, and the fenced blocks in them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A page in Markdown.
pub(crate) struct Page {
    /// From the root of the repository.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// A fenced block of a page.
pub(crate) struct Block {
    /// The page and the line where the block begins.
    pub(crate) place: String,
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

/// What a block holds, by the word after its fence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Command lines that `command_lines` runs: `sh`.
    Shell,
    /// Command lines that a script of the repository runs: `sh by=SCRIPT`.
    ShellBy(String),
    /// Python that `interop/docs/run` runs: `python`.
    Python,
    /// A configuration file that `configurations` checks: `toml`.
    Configuration,
    /// A `rabbitmq.conf`, checked likewise: `ini`.
    RabbitConf,
    /// What a program prints, or data that belongs to a command: `text`, `json`.
    Shown,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and everything in `docs`.
pub(crate) fn pages() -> Vec<Page> {
    let mut paths = vec![PathBuf::from("README.md")];
    for entry in fs::read_dir(root().join("docs")).expect("docs") {
        let name = entry.expect("an entry").file_name();
        let path = Path::new("docs").join(name);
        if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.into_iter().map(Page::read).collect()
}

impl Page {
    fn read(path: PathBuf) -> Page {
        let text = fs::read_to_string(root().join(&path)).expect("a readable page");
        Page { path, text }
    }

    /// The blocks in their order.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (number, line) in (1..).zip(self.text.lines()) {
            let fence = line.trim_start().strip_prefix("```");
            match (fence, open.as_mut()) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(word), None) => {
                    let place = format!("{self}:{number}");
                    open = Some(Block {
                        kind: Kind::named(word, &place),
                        place,
                        text: String::new(),
                    });
                }
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{self}: a fence is left open");
        blocks
    }
}

impl Kind {
    fn named(word: &str, place: &str) -> Kind {
        match word {
            "sh" => Kind::Shell,
            "python" => Kind::Python,
            "toml" => Kind::Configuration,
            "ini" => Kind::RabbitConf,
            "text" | "json" => Kind::Shown,
            word => match word.strip_prefix("sh by=") {
                Some(script) => Kind::ShellBy(script.to_owned()),
                None => panic!("{place}: a block needs a kind that is checked, not '{word}'"),
            },
        }
    }
}

#[test]
fn blocks_are_found_with_their_kinds() {
    let page = Page {
        path: "p.md".into(),
        text: "a\n```sh\nb\nc\n```\n```sh by=x/run\nd\n```\n".to_owned(),
    };
    let found: Vec<_> = page
        .blocks()
        .into_iter()
        .map(|block| (block.place, block.kind, block.text))
        .collect();
    let expected = [
        ("p.md:2".to_owned(), Kind::Shell, "b\nc\n".to_owned()),
        (
            "p.md:6".to_owned(),
            Kind::ShellBy("x/run".to_owned()),
            "d\n".to_owned(),
        ),
    ];
    assert_eq!(found, expected);
}
