//! What holds and where it was said, as `check-config` shows it; and what was said to no option. Pure.

use std::fmt;

use super::options::{OPTIONS, OptionSpec};
use super::raw::{RawConfig, Source};
use super::{CONFIG_ENV, nearest};

/// What every environment variable of ours begins with.
const PREFIX: &str = "LEVERET_";
/// Where the remarks begin, unless a value is longer.
const REMARK_COLUMN: usize = 48;

/// What holds for one option, and where it was said. Shown as a line of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    key: String,
    values: Vec<String>,
    is_list: bool,
    source: String,
    is_hidden: bool,
}

impl RawConfig {
    /// What holds for every option, in the order of help.
    pub fn settings(&self) -> Vec<Setting> {
        OPTIONS.iter().map(|option| self.setting(option)).collect()
    }

    fn setting(&self, option: &OptionSpec) -> Setting {
        let said = self.said(option.field);
        Setting {
            key: option.key(),
            values: said.map_or_else(
                || vec![option.default.to_owned()],
                |(_, values)| values.to_vec(),
            ),
            is_list: option.repeatable,
            source: match said {
                None => "default".to_owned(),
                Some((Source::Flag, _)) => format!("flag --{}", option.key()),
                Some((Source::Environment, _)) => format!("environment {}", option.env()),
                Some((Source::File(path), _)) => format!("file {}", path.display()),
            },
            is_hidden: option.is_secret() && said.is_some(),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.values.iter().map(|value| toml_value(value)).collect();
        let line = match self.is_hidden {
            true => format!("# {} is not shown", self.key),
            false if self.is_list => format!("{} = [{}]", self.key, shown.join(", ")),
            false => format!("{} = {}", self.key, shown.join(", ")),
        };
        writeln!(f, "{line:REMARK_COLUMN$} # {}", self.source)
    }
}

/// A number as it is, and everything else as a string.
fn toml_value(text: &str) -> String {
    match text.parse::<u32>() {
        Ok(number) if number.to_string() == text => number.to_string(),
        _ => toml::Value::String(text.to_owned()).to_string(),
    }
}

/// What to say of environment variables that look like ours and are no option's: tests and scripts have some of their
/// own, and so does a later release, so they are named and nothing more.
pub fn stray_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let known: Vec<String> = OPTIONS
        .iter()
        .map(OptionSpec::env)
        .chain([CONFIG_ENV.to_owned()])
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

/// The end of a sentence about a name that is not known.
pub(super) fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean '{near}'?"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    fn raw() -> RawConfig {
        let mut raw = RawConfig::default();
        raw.add_flags(|key| match key {
            "heartbeat" => Some(vec!["7".to_owned()]),
            "default-pass" => Some(vec!["geheim".to_owned()]),
            "amqp-listen" => Some(vec!["127.0.0.1:1".to_owned(), "[::1]:2".to_owned()]),
            _ => None,
        });
        raw.add_environment(|name| (name == "LEVERET_DATA_DIR").then(|| "/a \"b\"\\#c".to_owned()));
        raw.add_toml(Path::new("f.toml"), "memory-high-watermark = 0.5")
            .unwrap();
        raw
    }

    #[test]
    fn what_holds_is_shown_with_its_place() {
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
    fn what_is_shown_is_a_file_that_means_the_same() {
        let raw = raw();
        let shown: String = raw.settings().iter().map(Setting::to_string).collect();
        let mut again = RawConfig::default();
        again.add_toml(Path::new("shown.toml"), &shown).unwrap();
        again.add_flags(|key| (key == "default-pass").then(|| vec!["geheim".to_owned()]));
        let [before, after] = [&raw, &again].map(|raw| Config::from_raw(raw).unwrap());
        assert_eq!(before, after);
    }

    #[test]
    fn variables_that_set_nothing_are_named() {
        let names = [
            "PATH",
            "LEVERET_HEARTBEAT",
            "LEVERET_CONFIG",
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
