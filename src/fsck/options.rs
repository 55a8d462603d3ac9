//! The options of `leveret fsck`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command as Clap};

use crate::config::{CONFIG_ENV, ConfigError, Sources};

const DATA_DIR: &str = "data-dir";
const CONFIG: &str = "config";
const REPAIR: &str = "repair";
const DIGEST: &str = "digest";
const COMPARE: &str = "compare";
const FORMAT: &str = "format";
const JSON: &str = "json";

#[derive(Debug)]
pub struct Options {
    pub(super) task: Task,
    pub(super) format: Format,
}

/// What a run does, and with which data directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Verify(PathBuf),
    /// Also keeps what is damaged aside and lets the store go on behind it.
    Repair(PathBuf),
    /// Prints digests of what the directory holds.
    Digest(PathBuf),
    /// Compares what the directories hold.
    Compare(Vec<PathBuf>),
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

/// The subcommand with its options.
pub fn command() -> Clap {
    Clap::new("fsck")
        .about("Verify all that the data directory of a stopped broker holds")
        .after_help(
            "Reads every file and verifies its checksums. Changes nothing without --repair. \
             Exits with 0 when the directory is whole, 1 when damage was found, 2 when it could not be verified. \
             'leveret ctl fsck' verifies the directory of a running broker.\n\n\
             Members of a cluster that have applied the same entries hold the same: --compare says so, or in what they \
             differ (exit code 1). On directories of several machines compare the output of --digest.",
        )
        .args([
            Arg::new(DATA_DIR)
                .long(DATA_DIR)
                .value_name("DIR")
                .value_parser(clap::value_parser!(PathBuf))
                .help("The data directory [default: that of the configuration] [env: LEVERET_DATA_DIR]"),
            Arg::new(CONFIG)
                .long(CONFIG)
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help(format!("TOML file with options, which names the data directory [env: {CONFIG_ENV}]")),
            Arg::new(REPAIR)
                .long(REPAIR)
                .action(ArgAction::SetTrue)
                .help("Copy damaged bytes to damaged/ in the data directory, and let the store go on behind them"),
            Arg::new(DIGEST)
                .long(DIGEST)
                .action(ArgAction::SetTrue)
                .conflicts_with(REPAIR)
                .help("Print digests of definitions and queues, which are equal where their messages and states are"),
            Arg::new(COMPARE)
                .long(COMPARE)
                .value_name("DIR")
                .num_args(2..)
                .conflicts_with_all([REPAIR, DIGEST, DATA_DIR])
                .value_parser(clap::value_parser!(PathBuf))
                .help("Compare what the data directories of stopped members of a cluster hold"),
            Arg::new(FORMAT)
                .long(FORMAT)
                .value_name("FORMAT")
                .value_parser(["text", JSON])
                .default_value("text")
                .help("How the outcome is printed"),
        ])
}

impl Options {
    pub fn parse(
        matches: &ArgMatches,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Options, ConfigError> {
        let data_dir = matches.get_one::<PathBuf>(DATA_DIR);
        let flags = data_dir.map(|dir| {
            let value = dir.to_string_lossy().into_owned();
            (DATA_DIR.to_owned(), vec![value])
        });
        let sources = Sources {
            flags: flags.into_iter().collect(),
            file: matches.get_one::<PathBuf>(CONFIG).cloned(),
            ..Sources::default()
        };
        let format = matches.get_one::<String>(FORMAT);
        let task = match matches.get_many::<PathBuf>(COMPARE) {
            Some(dirs) => Task::Compare(dirs.cloned().collect()),
            None => {
                let task = match (matches.get_flag(REPAIR), matches.get_flag(DIGEST)) {
                    (true, _) => Task::Repair,
                    (false, true) => Task::Digest,
                    (false, false) => Task::Verify,
                };
                task(sources.data_dir(environment)?)
            }
        };
        Ok(Options {
            task,
            format: match format.is_some_and(|format| format == JSON) {
                true => Format::Json,
                false => Format::Text,
            },
        })
    }
}
