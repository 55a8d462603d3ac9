//! The settings that hold and their sources, as `check-config` shows them; and environment variables that set no option.
//! Pure.

use std::fmt;

use super::option::OptionSpec;
use super::options::OPTIONS;
use super::raw::{RawConfig, Source};
use super::secret_file;
use crate::nearest::{did_you_mean, nearest};

/// The environment variable that names the configuration file.
pub const CONFIG_ENV: &str = "LEVERET_CONFIG";
/// The environment variable that names files in RabbitMQ's format.
pub const RABBITMQ_CONF_ENV: &str = "LEVERET_RABBITMQ_CONF";
/// The environment variable that says whether RabbitMQ's environment variables count.
pub const RABBITMQ_VARIABLES_ENV: &str = "LEVERET_RABBITMQ_VARIABLES";
/// All environment variables of the broker begin with it.
const PREFIX: &str = "LEVERET_";
/// The column of the comments, unless a value is longer.
const COMMENT_COLUMN: usize = 48;

/// The values of one option and their source. Displayed as a line of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    key: String,
    values: Vec<String>,
    is_list: bool,
    source: String,
    is_hidden: bool,
}

impl RawConfig {
    /// All settings, in the order of help.
    pub fn settings(&self) -> Vec<Setting> {
        OPTIONS.iter().map(|option| self.setting(option)).collect()
    }

    /// All settings as the text of a file.
    pub fn shown_settings(&self) -> String {
        self.settings().iter().map(ToString::to_string).collect()
    }

    /// The value of one option as it stands in a file. Secrets are not shown.
    pub(super) fn shown(&self, option: &OptionSpec) -> String {
        self.setting(option).value()
    }

    fn setting(&self, option: &OptionSpec) -> Setting {
        let given = self.get(option);
        Setting {
            key: option.key(),
            values: given.map_or_else(|| option.defaults(), |(_, values)| values.to_vec()),
            is_list: option.repeatable,
            source: match given {
                None => "default".to_owned(),
                Some((Source::Flag, _)) => format!("flag --{}", option.key()),
                Some((Source::Environment, _)) => format!("environment {}", option.env()),
                Some((Source::Variable(name), _)) => format!("environment {name}"),
                Some((Source::RabbitmqConf(origin), _)) => origin.clone(),
                Some((Source::File(path), _)) => format!("file {}", path.display()),
            },
            is_hidden: option.is_secret() && given.is_some(),
        }
    }
}

impl Setting {
    fn value(&self) -> String {
        let shown: Vec<String> = self.values.iter().map(|value| toml_value(value)).collect();
        match self.is_hidden {
            true => "(not shown)".to_owned(),
            false if self.is_list => format!("[{}]", shown.join(", ")),
            false => shown.join(", "),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = match self.is_hidden {
            true => format!("# {} is not shown", self.key),
            false => format!("{} = {}", self.key, self.value()),
        };
        writeln!(f, "{line:COMMENT_COLUMN$} # {}", self.source)
    }
}

/// Numbers are bare, all other values are quoted.
fn toml_value(text: &str) -> String {
    match text.parse::<u32>() {
        Ok(number) if number.to_string() == text => number.to_string(),
        _ => toml::Value::String(text.to_owned()).to_string(),
    }
}

/// Warnings about environment variables that look like ours but set no option. They are no errors: scripts have variables
/// of their own, and a later release has more options.
pub fn stray_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let secrets = OPTIONS.iter().filter(|option| option.is_secret());
    let secrets = secrets.map(|option| secret_file::name(&option.env()));
    let known: Vec<String> = OPTIONS
        .iter()
        .map(OptionSpec::env)
        .chain(secrets)
        .chain([CONFIG_ENV, RABBITMQ_CONF_ENV, RABBITMQ_VARIABLES_ENV].map(str::to_owned))
        .collect();
    let is_stray = |name: &String| name.starts_with(PREFIX) && !known.contains(name);
    let mut strays: Vec<String> = names.filter(is_stray).collect();
    strays.sort();
    let endings = || known.iter().filter_map(|name| name.strip_prefix(PREFIX));
    let line = |name: &String| {
        let ending = name.strip_prefix(PREFIX).unwrap_or_default();
        let near = nearest(ending, endings()).map(|near| format!("{PREFIX}{near}"));
        format!(
            "the environment variable {name} sets no option{}",
            did_you_mean(near.as_deref())
        )
    };
    strays.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn raw() -> RawConfig {
        let mut raw = RawConfig::default();
        raw.add_flags(|key| match key {
            "heartbeat" => Some(vec!["7".to_owned()]),
            "default-pass" => Some(vec!["geheim".to_owned()]),
            "amqp-listen" => Some(vec!["127.0.0.1:1".to_owned(), "[::1]:2".to_owned()]),
            _ => None,
        });
        raw.add_environment(&|name| {
            (name == "LEVERET_DATA_DIR").then(|| "/a \"b\"\\#c".to_owned())
        })
        .unwrap();
        raw.add_toml(Path::new("f.toml"), "memory-high-watermark = 0.5")
            .unwrap();
        raw
    }

    #[test]
    fn settings_are_shown_with_their_sources() {
        let lines: Vec<String> = raw().settings().iter().map(Setting::to_string).collect();
        let line = |key: &str| {
            let found = lines.iter().find(|line| line.contains(key));
            let words = found.expect(key).split_whitespace();
            words.collect::<Vec<_>>().join(" ")
        };
        for (key, expected) in [
            ("heartbeat", "heartbeat = 7 # flag --heartbeat"),
            (
                "amqp-listen",
                "amqp-listen = [\"127.0.0.1:1\", \"[::1]:2\"] # flag --amqp-listen",
            ),
            (
                "memory-high-watermark",
                "memory-high-watermark = \"0.5\" # file f.toml",
            ),
            ("channel-max", "channel-max = 2047 # default"),
            (
                "default-pass",
                "# default-pass is not shown # flag --default-pass",
            ),
        ] {
            assert_eq!(line(key), expected);
        }
        assert!(line("data-dir").ends_with("# environment LEVERET_DATA_DIR"));
        assert_eq!(lines.len(), OPTIONS.len());
    }

    #[test]
    fn the_shown_settings_are_a_file_that_sets_the_same() {
        let raw = raw();
        let shown: String = raw.settings().iter().map(Setting::to_string).collect();
        let mut again = RawConfig::default();
        again.add_toml(Path::new("shown.toml"), &shown).unwrap();
        again.add_flags(|key| (key == "default-pass").then(|| vec!["geheim".to_owned()]));
        // All but the text that names the sources.
        let [before, after] = [&raw, &again].map(|raw| Config {
            shown: "".into(),
            ..Config::from_raw(raw).unwrap()
        });
        assert_eq!(before, after);
    }

    #[test]
    fn variables_that_set_no_option_are_named() {
        let names = [
            "PATH",
            "LEVERET_HEARTBEAT",
            "LEVERET_CONFIG",
            "LEVERET_RABBITMQ_CONF",
            "LEVERET_DEFAULT_PASS_FILE",
            "LEVERET_HARTBEAT",
            "LEVERET_BIN",
        ];
        assert_eq!(
            stray_variables(names.iter().map(|&name| name.to_owned())),
            [
                "the environment variable LEVERET_BIN sets no option",
                "the environment variable LEVERET_HARTBEAT sets no option; did you mean 'LEVERET_HEARTBEAT'?"
            ]
        );
    }
}
