//! The arrows between the rooms of `src`, as ARCHITECTURE.md draws them, and rules that no compiler checks.
//! Reads the sources; runs nothing.

mod cycles;
mod imports;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files beside the rooms, which rooms may use where they are listed.
const FILES: &[&str] = &[
    "cli",
    "clock",
    "files",
    "logging",
    "memory",
    "nearest",
    "node",
    "pool",
    "seldom",
    "server",
    "service_manager",
    "shutdown",
];

/// Each room with what it may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("model", &["wire"]),
    ("store", &["model", "clock"]),
    ("auth", &["model", "clock", "seldom"]),
    (
        "broker",
        &["auth", "model", "store", "wire", "clock", "node", "pool"],
    ),
    ("shovel", &["broker", "model", "wire", "clock"]),
    ("net", &["clock", "model", "seldom"]),
    ("migrate", &["shovel", "model", "wire"]),
    ("cluster", &["clock", "model", "net", "seldom", "store"]),
    ("fsck", &["broker", "clock", "config", "model", "store"]),
    (
        "amqp",
        &[
            "auth", "broker", "model", "store", "wire", "clock", "net", "seldom",
        ],
    ),
    (
        "cmq",
        &[
            "broker", "model", "store", "wire", "clock", "net", "pool", "seldom",
        ],
    ),
    (
        "ctl",
        &[
            "broker",
            "cluster",
            "definitions_file",
            "fsck",
            "views",
            "config",
            "model",
            "store",
            "wire",
            "clock",
            "files",
            "logging",
            "memory",
            "nearest",
            "node",
        ],
    ),
    (
        "views",
        &[
            "shovel", "broker", "model", "store", "clock", "files", "memory", "node",
        ],
    ),
    ("definitions_file", &["broker", "model", "store", "wire"]),
    ("config", &["auth", "model", "nearest", "rabbitmq_conf"]),
    ("rabbitmq_conf", &["nearest"]),
    ("http", &["net"]),
    (
        "metrics",
        &["views", "broker", "model", "store", "net", "http"],
    ),
    (
        "management",
        &[
            "auth",
            "views",
            "cmq",
            "broker",
            "definitions_file",
            "model",
            "store",
            "wire",
            "clock",
            "net",
            "seldom",
            "http",
            "memory",
            "node",
            "files",
        ],
    ),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn under(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    if root.exists() {
        sources(&root, &mut found);
    }
    found
}

/// The rooms that a source names as `crate::room`.
fn rooms_used(text: &str) -> Vec<String> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let after = code.flat_map(|line| {
        line.split("crate::")
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    after
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

#[test]
fn dependence_points_one_way() {
    let mut wrong = Vec::new();
    for (room, allowed) in ROOMS {
        for path in under(&format!("src/{room}")) {
            let text = fs::read_to_string(&path).expect("a readable source");
            for used in rooms_used(&text) {
                let known =
                    ROOMS.iter().any(|(name, _)| *name == used) || FILES.contains(&used.as_str());
                if known && used != *room && !allowed.contains(&used.as_str()) {
                    wrong.push(format!("{} uses {used}", path.display()));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that ARCHITECTURE.md does not draw:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn files_of_a_room_do_not_import_each_other_in_a_circle() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let imports = imports::Imports::read(&src);
    let mut found = Vec::new();
    for (room, _) in ROOMS {
        let cycles = cycles_within(&imports, &src, &src.join(room));
        found.extend(cycles.iter().map(|cycle| format!("{room}:\n{cycle}")));
    }
    assert!(found.is_empty(), "cycles of imports:\n{}", found.join("\n"));
}

#[test]
fn files_of_the_load_generator_do_not_import_each_other_in_a_circle() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/load/src");
    let found = cycles_within(&imports::Imports::read(&src), &src, &src);
    assert!(found.is_empty(), "cycles of imports:\n{}", found.join("\n"));
}

/// The cycles of imports among the files in a folder of `src`, each with a line per import.
fn cycles_within(imports: &imports::Imports, src: &Path, folder: &Path) -> Vec<String> {
    let is_inside = |file: &Path| file.starts_with(folder);
    let edges = imports.edges();
    let inside: BTreeMap<&Path, _> = edges
        .iter()
        .filter(|(file, _)| is_inside(file))
        .map(|(file, used)| {
            let used = used.iter().copied().filter(|used| is_inside(used));
            (*file, used.collect())
        })
        .collect();
    let cycles = cycles::cycles(&inside);
    let imports = cycles.iter().map(|cycle| {
        let edges = cycle.iter().flat_map(|file| {
            let used = inside.get(file).into_iter().flatten();
            let used = used.filter(|used| cycle.contains(*used));
            used.map(|used| format!("  {} uses {}", short(src, file), short(src, used)))
        });
        edges.collect::<Vec<_>>().join("\n")
    });
    imports.collect()
}

fn short(src: &Path, file: &Path) -> String {
    let file = file.strip_prefix(src).unwrap_or(file);
    file.display().to_string()
}

#[test]
fn the_load_generator_knows_only_the_wire() {
    let wrong: Vec<_> = under("benches/load/src")
        .into_iter()
        .filter(|path| {
            let text = fs::read_to_string(path).expect("a readable source");
            text.match_indices("leveret::")
                .any(|(at, _)| !text[at..].starts_with("leveret::wire"))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "the load generator is a client, and uses leveret::wire only: {wrong:?}"
    );
}

#[test]
fn every_file_says_what_lives_there() {
    let files = ["src", "tests", "benches"].into_iter().flat_map(under);
    let silent: Vec<_> = files
        .filter(|path| {
            !fs::read_to_string(path)
                .expect("a readable source")
                .starts_with("//!")
        })
        .collect();
    assert!(
        silent.is_empty(),
        "files that do not open with //!: {silent:?}"
    );
}

#[test]
fn only_the_store_touches_the_database() {
    let outside = under("src")
        .into_iter()
        .filter(|path| !path.components().any(|part| part.as_os_str() == "store"));
    let users: Vec<_> = outside
        .filter(|path| {
            fs::read_to_string(path)
                .expect("a readable source")
                .contains("fjall::")
        })
        .collect();
    assert!(
        users.is_empty(),
        "fjall is used outside src/store: {users:?}"
    );
}

/// Sources outside these rooms in which one of the words stands.
fn naming(words: &[&str], allowed: &[&str]) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let outside = under("src").into_iter().filter(|path| {
        !allowed
            .iter()
            .any(|room| path.starts_with(root.join("src").join(room)))
    });
    outside
        .filter(|path| {
            let text = fs::read_to_string(path).expect("a readable source");
            words.iter().any(|word| text.contains(word))
        })
        .collect()
}

#[test]
fn only_the_clock_reads_the_wall_clock() {
    let readers = naming(&["SystemTime", "clock_gettime"], &["clock"]);
    assert!(
        readers.is_empty(),
        "a broker's time comes from src/clock: {readers:?}"
    );
}

#[test]
fn what_queues_decide_knows_no_wall_clock() {
    let pure = [
        "work_queue",
        "lane",
        "stream",
        "delayed",
        "offsets",
        "machine",
        "effects",
        "consumer",
    ];
    let named: Vec<_> = naming(&["Clock", "wall_ms"], &[])
        .into_iter()
        .filter(|path| {
            pure.iter().any(|part| {
                let place = format!("src/broker/queue/{part}");
                path.to_string_lossy().contains(&place)
            })
        })
        .collect();
    assert!(
        named.is_empty(),
        "the wall clock belongs into the shell: {named:?}"
    );
}

#[test]
fn the_files_that_the_architecture_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let named = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.ends_with(".rs") && !word.contains(' '));
    let missing: Vec<_> = named
        .filter(|word| {
            ![root.join(word), root.join("src").join(word)]
                .iter()
                .any(|path| path.exists())
        })
        .collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md names files that are not there: {missing:?}"
    );
}

/// What ARCHITECTURE.md shows as walks through the files.
const WALKS: &[&str] = &[
    "publish",
    "delivery",
    "ack",
    "dead letter",
    "rewind",
    "CMQ receive",
    "declare",
];

#[test]
fn each_walk_names_existing_files_and_none_of_them_twice() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let (_, section) = text.split_once("\n## Walks\n").expect("a section of walks");
    let section = section.split("\n## ").next().expect("the section's text");
    let walks: BTreeMap<&str, Vec<&str>> = section
        .lines()
        .filter_map(|line| line.strip_prefix("- **")?.split_once("**: "))
        .map(|(name, files)| (name, files.split('`').skip(1).step_by(2).collect()))
        .collect();
    for name in WALKS {
        let files = walks
            .get(name)
            .unwrap_or_else(|| panic!("ARCHITECTURE.md has no walk of a {name}"));
        assert!(files.len() > 3, "the walk of a {name} is too short");
        for (index, file) in files.iter().enumerate() {
            assert!(
                root.join("src").join(file).is_file(),
                "the walk of a {name} names {file}, which is not there"
            );
            assert!(
                !files.iter().take(index).any(|earlier| earlier == file),
                "the walk of a {name} comes to {file} twice"
            );
        }
    }
}
