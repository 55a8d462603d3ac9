//! Parses the command line into a command and its configuration. All options come from the table in `config`. The words
//! after `leveret ctl` follow rabbitmqctl's rules, which `ctl` knows.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command as Clap};
use clap_complete::Shell;

use crate::config::{
    CONFIG_ENV, Config, ConfigError, OPTIONS, OptionSpec, RABBITMQ_CONF_ENV,
    RABBITMQ_VARIABLES_ENV, RawConfig, Reading, Sources,
};
use crate::ctl;
use crate::fsck;
use crate::migrate;

/// The flag of `check-config`.
const AGAINST_RUNNING: &str = "against-running";

#[derive(Debug)]
pub enum Command {
    /// Run the broker.
    Serve(Box<Serve>),
    /// Report that the configuration is valid, and show the settings that hold.
    CheckConfig(Reading),
    /// Report that the configuration is valid, and what differs from the broker that runs on its data directory.
    CompareConfig(Reading),
    /// Manage a running broker: the words after `ctl`.
    Ctl(Vec<String>),
    /// Move from another broker.
    Migrate(Box<migrate::Options>),
    /// Verify the data directory of a stopped broker.
    Fsck(fsck::Options),
    /// Print the completions of a shell.
    Completions(Shell),
    /// Print a man page, or write all of them to a directory.
    Man { page: String, dir: Option<PathBuf> },
}

/// What the broker runs with.
#[derive(Debug)]
pub struct Serve {
    pub config: Config,
    /// What the sources say without effect.
    pub warnings: Vec<String>,
    /// Read again at a reload.
    pub sources: Sources,
    /// What the sources said.
    pub raw: RawConfig,
}

#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Prints itself. Help and version are errors as well.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Migrate(#[from] migrate::OptionsError),
}

/// Parses the words of the command line. The first word is the program's name.
pub fn parse(
    words: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Command, CliError> {
    let words: Vec<OsString> = words.into_iter().collect();
    if words.get(1).is_some_and(|word| word == "ctl") {
        return Ok(Command::Ctl(
            words
                .iter()
                .skip(2)
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
        ));
    }
    let matches = command().try_get_matches_from(words)?;
    match matches.subcommand() {
        Some(("check-config", inner)) => {
            let reading = sources(inner).read(environment)?;
            reading.config()?;
            match inner.get_flag(AGAINST_RUNNING) {
                true => Ok(Command::CompareConfig(reading)),
                false => Ok(Command::CheckConfig(reading)),
            }
        }
        Some(("migrate", inner)) => {
            let options = migrate::Options::parse(inner, environment)?;
            Ok(Command::Migrate(Box::new(options)))
        }
        Some(("fsck", inner)) => Ok(Command::Fsck(fsck::Options::parse(inner, environment)?)),
        Some(("completions", inner)) => Ok(Command::Completions(
            inner.get_one("shell").copied().unwrap_or(Shell::Bash),
        )),
        Some(("man", inner)) => Ok(Command::Man {
            page: inner.get_one("page").cloned().unwrap_or_default(),
            dir: inner.get_one("dir").cloned(),
        }),
        Some((_, inner)) => serve(inner, environment),
        None => serve(&matches, environment),
    }
}

fn serve(
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Command, CliError> {
    let sources = sources(matches);
    let reading = sources.read(environment)?;
    Ok(Command::Serve(Box::new(Serve {
        config: reading.config()?,
        warnings: reading.warnings,
        raw: reading.raw,
        sources,
    })))
}

/// The sources that the command line names.
fn sources(matches: &ArgMatches) -> Sources {
    let all = |key: &str| {
        matches
            .get_many::<String>(key)
            .map(|values| values.cloned().collect::<Vec<_>>())
    };
    Sources {
        flags: OPTIONS
            .iter()
            .filter_map(|option| Some((option.key(), all(&option.key())?)))
            .collect(),
        file: matches.get_one::<PathBuf>("config").cloned(),
        rabbitmq_conf: matches
            .get_many::<PathBuf>("rabbitmq-conf")
            .map(|paths| paths.cloned().collect())
            .unwrap_or_default(),
        rabbitmq_variables: matches.get_one::<String>("rabbitmq-variables").cloned(),
    }
}

/// All commands with their options.
pub fn command() -> Clap {
    Clap::new("leveret")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .after_help(
            "Every option can also be set by the environment variable shown, or in a TOML file under the name of its \
             flag. Flags take precedence over the environment, and the environment over the file. \
             What none of them sets, RabbitMQ's own configuration may set: see --rabbitmq-conf.",
        )
        .args_conflicts_with_subcommands(true)
        .args(arguments())
        .subcommand(Clap::new("serve").about("Run the broker (the default)").args(arguments()))
        .subcommand(check_config())
        .subcommand(ctl::command())
        .subcommand(migrate::command())
        .subcommand(fsck::command())
        .subcommand(completions())
        .subcommand(man())
}

fn check_config() -> Clap {
    let against_running = Arg::new(AGAINST_RUNNING)
        .long(AGAINST_RUNNING)
        .action(ArgAction::SetTrue)
        .help("Show what a reload (SIGHUP) would change of the broker that runs on the data directory, and what needs a restart");
    Clap::new("check-config")
        .about("Check the configuration without starting: show each setting with its source")
        .arg(against_running)
        .args(arguments())
}

fn completions() -> Clap {
    let shell = Arg::new("shell")
        .required(true)
        .value_parser(clap::value_parser!(Shell));
    Clap::new("completions")
        .about("Print the completions of a shell")
        .arg(shell)
}

fn man() -> Clap {
    let page = Arg::new("page")
        .default_value("leveret")
        .help("Name of the page, such as leveret-ctl");
    let dir = Arg::new("dir")
        .long("dir")
        .value_name("DIR")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Write all pages to this directory");
    Clap::new("man").about("Print a man page").args([page, dir])
}

fn arguments() -> Vec<Arg> {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help(format!(
            "TOML file with options; /etc/leveret/leveret.toml is read without it, if it is there [env: {CONFIG_ENV}]"
        ));
    let rabbitmq_conf = Arg::new("rabbitmq-conf")
        .long("rabbitmq-conf")
        .value_name("FILE|DIR")
        .value_parser(clap::value_parser!(PathBuf))
        .action(ArgAction::Append)
        .help(format!(
            "rabbitmq.conf, or a directory with *.conf files, for what no other source sets. May be given more than once \
             [env: {RABBITMQ_CONF_ENV}]"
        ));
    let rabbitmq_variables = Arg::new("rabbitmq-variables")
        .long("rabbitmq-variables")
        .value_name("true|false")
        .help(format!(
            "Whether the environment variables of RabbitMQ's container image count, and its files in /etc/rabbitmq are read \
             [default: false] [env: {RABBITMQ_VARIABLES_ENV}]"
        ));
    [config, rabbitmq_conf, rabbitmq_variables]
        .into_iter()
        .chain(OPTIONS.iter().map(argument))
        .collect()
}

fn argument(option: &OptionSpec) -> Arg {
    let OptionSpec { help, default, .. } = option;
    Arg::new(option.key())
        .long(option.key())
        .value_name(option.value)
        .help(format!(
            "{help} [default: {default}] [env: {}]",
            option.env()
        ))
        .allow_hyphen_values(true)
        .action(if option.repeatable {
            ArgAction::Append
        } else {
            ArgAction::Set
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str, environment: &[(&str, &str)]) -> Result<Command, CliError> {
        let words = std::iter::once("leveret")
            .chain(line.split_whitespace())
            .map(OsString::from);
        parse(words, |name| {
            environment
                .iter()
                .find(|(own, _)| *own == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn serve(line: &str, environment: &[(&str, &str)]) -> Config {
        match run(line, environment) {
            Ok(Command::Serve(serve)) => serve.config,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn serve_is_the_default_command() {
        let config = serve(
            "--data-dir /a --amqp-listen 127.0.0.1:0 --amqp-listen [::1]:0",
            &[],
        );
        assert_eq!(config.data_dir, PathBuf::from("/a"));
        assert_eq!(config.amqp_listen.len(), 2);
        assert_eq!(serve("serve --heartbeat 5", &[]).heartbeat, 5);
        assert_eq!(serve("", &[("LEVERET_HEARTBEAT", "6")]).heartbeat, 6);
        assert_eq!(
            serve("--heartbeat=7", &[("LEVERET_HEARTBEAT", "6")]).heartbeat,
            7
        );
    }

    #[test]
    fn the_file_has_the_lowest_precedence() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("leveret.toml");
        std::fs::write(&file, "heartbeat = 1\nchannel-max = 1\nframe-max = 5000\n").unwrap();
        let file = file.to_str().unwrap();
        let config = serve(
            &format!("--config {file} --heartbeat 3"),
            &[("LEVERET_CHANNEL_MAX", "2")],
        );
        assert_eq!(
            (config.heartbeat, config.channel_max, config.frame_max),
            (3, 2, 5000)
        );
        assert_eq!(serve("", &[(CONFIG_ENV, file)]).heartbeat, 1);
        assert!(matches!(
            run("--config /nowhere", &[]),
            Err(CliError::Config(_))
        ));
    }

    #[test]
    fn other_commands_are_recognized() {
        assert!(
            matches!(run("check-config --heartbeat 5", &[]), Ok(Command::CheckConfig(reading)) if reading.raw.settings().len() == OPTIONS.len())
        );
        assert!(
            matches!(run("ctl -q list_users --help", &[]), Ok(Command::Ctl(words)) if words.len() == 3)
        );
        assert!(matches!(
            run("check-config --heartbeat x", &[]),
            Err(CliError::Config(_))
        ));
        assert!(matches!(run("bogus", &[]), Err(CliError::Usage(_))));
        assert!(matches!(run("--bogus", &[]), Err(CliError::Usage(_))));
    }

    #[test]
    fn help_names_every_option_its_default_and_variable() {
        let help = command()
            .render_long_help()
            .to_string()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        for option in OPTIONS {
            for part in [
                format!("--{} <{}>", option.key(), option.value),
                format!("[default: {}] [env: {}]", option.default, option.env()),
            ] {
                assert!(help.contains(&part), "{part} in {help}");
            }
        }
    }
}
