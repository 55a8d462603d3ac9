//! The options of `leveret migrate`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command as Clap};
use regex::Regex;

use super::limits::{PARALLEL, PARALLEL_MAX, PREFETCH};
use crate::model::amqp_uri::{AmqpUri, AmqpUriError, Target};

const FROM: &str = "from";
const MANAGEMENT: &str = "management";
const TO: &str = "to";
const TO_MANAGEMENT: &str = "to-management";
/// The port of a management API on the host of a broker.
const MANAGEMENT_PORT: u16 = 15672;

#[derive(Debug)]
pub struct Options {
    pub(super) from: AmqpUri,
    pub(super) from_management: reqwest::Url,
    pub(super) to: AmqpUri,
    pub(super) to_management: reqwest::Url,
    /// Empty: all.
    pub(super) vhosts: Vec<String>,
    pub(super) queues: Option<Regex>,
    pub(super) prefetch: u16,
    pub(super) parallel: usize,
    pub(super) steps: Steps,
    pub(super) end: End,
    pub(super) state: Option<PathBuf>,
    pub(super) report: Option<PathBuf>,
}

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steps {
    All,
    DefinitionsOnly,
    MessagesOnly,
    /// Only says what it would do.
    DryRun,
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Each queue is left when it is empty.
    UntilEmpty,
    /// Stays at the queues until a signal.
    Follow,
}

#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    #[error("--{0} is missing")]
    Missing(&'static str),
    #[error("--{option}: {error}")]
    Uri {
        option: &'static str,
        error: AmqpUriError,
    },
    #[error("--{option}: {why}")]
    Value { option: &'static str, why: String },
}

/// The subcommand with its options.
pub fn command() -> Clap {
    let value = |name: &'static str, value: &'static str, help: String| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let uri = |name: &'static str, kind, help: &str| {
        value(name, kind, format!("{help} [env: {}]", variable(name)))
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    Clap::new("migrate")
        .about("Move from another broker: copy its definitions and move the messages of its queues")
        .after_help(
            "Both brokers may be RabbitMQ or Leveret. URLs have the login: http://user:password@host:15672. \
             Exits with 0 when the counts of all queues agree, 1 when they do not or a queue was not moved to its end.",
        )
        .args([
            uri(FROM, "URI", "AMQP URI of the source, without a virtual host"),
            uri(MANAGEMENT, "URL", "Management API of the source"),
            uri(TO, "URI", "AMQP URI of the target [default: amqp://guest:guest@localhost]"),
            uri(TO_MANAGEMENT, "URL", "Management API of the target [default: port 15672 of the host and login of --to]"),
            value("vhost", "NAME", "Only this virtual host; may be given several times".to_owned())
                .action(ArgAction::Append),
            value("queues", "REGEX", "Move only messages of queues whose name matches".to_owned()),
            value("prefetch", "N", format!("Unacked messages of a queue at the source [default: {PREFETCH}]"))
                .value_parser(clap::value_parser!(u16).range(1..)),
            value("parallel", "N", format!("Queues that are moved at the same time, at most {PARALLEL_MAX} [default: {PARALLEL}]"))
                .value_parser(clap::value_parser!(u64).range(1..=PARALLEL_MAX as u64)),
            flag("until-empty", "Leave each queue when it is empty (the default)"),
            flag("follow", "Stay at the queues until a signal, while clients go over").conflicts_with("until-empty"),
            flag("definitions-only", "Copy the definitions, move no message"),
            flag("messages-only", "Move messages, copy no definitions").conflicts_with("definitions-only"),
            flag("dry-run", "Say what would be copied and moved"),
            value("state", "FILE", "State of the migration: a second run with it continues. Streams need it".to_owned())
                .value_parser(clap::value_parser!(PathBuf)),
            value("report", "FILE", "Write the report as JSON".to_owned())
                .value_parser(clap::value_parser!(PathBuf)),
        ])
}

/// The environment variable of an option with a login, which a command line would show to all users of the machine.
fn variable(option: &str) -> String {
    format!(
        "LEVERET_MIGRATE_{}",
        option.replace('-', "_").to_uppercase()
    )
}

impl Options {
    pub fn parse(
        matches: &ArgMatches,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Options, OptionsError> {
        let text = |option: &'static str| {
            let given = matches.get_one::<String>(option).cloned();
            given.or_else(|| environment(&variable(option)))
        };
        let uri = |option, text: &str| {
            AmqpUri::parse(text).map_err(|error| OptionsError::Uri { option, error })
        };
        let required = |option| text(option).ok_or(OptionsError::Missing(option));
        let from = uri(FROM, &required(FROM)?)?;
        let from_management = url(MANAGEMENT, &required(MANAGEMENT)?)?;
        let to = uri(
            TO,
            &text(TO).unwrap_or_else(|| "amqp://guest:guest@localhost".to_owned()),
        )?;
        let to_management = match text(TO_MANAGEMENT) {
            Some(text) => url(TO_MANAGEMENT, &text)?,
            None => management_of(&to)?,
        };
        let queues = matches.get_one::<String>("queues");
        let queues = queues.map(|regex| Regex::new(regex)).transpose();
        let is_set = |flag: &str| matches.get_flag(flag);
        Ok(Options {
            from,
            from_management,
            to,
            to_management,
            vhosts: matches
                .get_many::<String>("vhost")
                .map(|names| names.cloned().collect())
                .unwrap_or_default(),
            queues: queues.map_err(|error| OptionsError::Value {
                option: "queues",
                why: error.to_string(),
            })?,
            prefetch: matches.get_one("prefetch").copied().unwrap_or(PREFETCH),
            parallel: matches
                .get_one::<u64>("parallel")
                .and_then(|count| usize::try_from(*count).ok())
                .unwrap_or(PARALLEL),
            steps: match (
                is_set("dry-run"),
                is_set("definitions-only"),
                is_set("messages-only"),
            ) {
                (true, _, _) => Steps::DryRun,
                (false, true, _) => Steps::DefinitionsOnly,
                (false, false, true) => Steps::MessagesOnly,
                (false, false, false) => Steps::All,
            },
            end: match is_set("follow") {
                true => End::Follow,
                false => End::UntilEmpty,
            },
            state: matches.get_one("state").cloned(),
            report: matches.get_one("report").cloned(),
        })
    }
}

fn url(option: &'static str, text: &str) -> Result<reqwest::Url, OptionsError> {
    let wrong = |why: String| OptionsError::Value { option, why };
    let url = reqwest::Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(wrong(
            "it does not begin with http:// or https://".to_owned(),
        )),
    }
}

/// The management API on the host of a broker, with its login.
fn management_of(uri: &AmqpUri) -> Result<reqwest::Url, OptionsError> {
    let wrong = |why: &str| OptionsError::Value {
        option: TO_MANAGEMENT,
        why: why.to_owned(),
    };
    let Target::Network {
        host, credentials, ..
    } = &uri.target
    else {
        return Err(wrong("--to needs a host"));
    };
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.clone(),
    };
    let mut url = url(TO_MANAGEMENT, &format!("http://{host}:{MANAGEMENT_PORT}"))?;
    url.set_username(&credentials.user)
        .and_then(|()| url.set_password(Some(&credentials.password)))
        .map_err(|()| wrong("it cannot have the login of --to"))?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words = std::iter::once("migrate").chain(line.split_whitespace());
        let matches = command()
            .try_get_matches_from(words)
            .map_err(|error| error.to_string())?;
        let environment = |name: &str| {
            (name == "LEVERET_MIGRATE_FROM").then(|| "amqp://env:secret@there".to_owned())
        };
        Options::parse(&matches, environment).map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_source_is_needed() {
        let options = parse("--from amqp://a:b@old --management http://a:b@old:15672").unwrap();
        assert_eq!(options.from.to_string(), "amqp://old");
        assert_eq!(
            options.to_management.as_str(),
            "http://guest:guest@localhost:15672/"
        );
        assert_eq!((options.steps, options.end), (Steps::All, End::UntilEmpty));
        assert_eq!((options.prefetch, options.parallel), (PREFETCH, PARALLEL));
        let options =
            parse("--management https://a:b@old --to amqp://u:p%40@[::1]:1 --follow --dry-run")
                .unwrap();
        assert_eq!(options.from.to_string(), "amqp://there");
        assert_eq!(options.to_management.as_str(), "http://u:p%40@[::1]:15672/");
        assert_eq!((options.steps, options.end), (Steps::DryRun, End::Follow));
    }

    #[test]
    fn invalid_options_are_refused() {
        for (line, error) in [
            ("", "--management is missing"),
            (
                "--management ftp://x",
                "--management: it does not begin with http:// or https://",
            ),
            (
                "--management x",
                "--management: relative URL without a base",
            ),
            (
                "--management http://x --from http://x",
                "--from: it does not begin with amqp:// or amqps://",
            ),
            ("--management http://x --queues (", "--queues: "),
            (
                "--management http://x --prefetch 0",
                "0 is not in 1..=65535",
            ),
            ("--management http://x --parallel 65", "65 is not in 1..=64"),
            (
                "--management http://x --follow --until-empty",
                "cannot be used with",
            ),
            (
                "--management http://x --to amqp:///",
                "--to-management: --to needs a host",
            ),
        ] {
            let refused = parse(line).unwrap_err();
            assert!(refused.contains(error), "{line}: {refused}");
        }
    }
}
