//! What differs between two configurations, and when it holds. Pure.

use std::fmt;
use std::path::Path;

use super::option::{OptionSpec, Reload};
use super::options::{Config, OPTIONS};
use super::raw::{ConfigError, RawConfig};

/// An option with another value.
#[derive(Debug)]
pub struct Change {
    pub option: &'static OptionSpec,
    before: String,
    after: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change {
            option,
            before,
            after,
        } = self;
        write!(f, "{} from {before} to {after}", option.key())?;
        match option.reload {
            Reload::Live => Ok(()),
            Reload::Restart => f.write_str(", which needs a restart"),
        }
    }
}

impl RawConfig {
    /// Takes over the values of live options.
    pub fn take_live(&mut self, mut from: RawConfig) {
        for option in OPTIONS
            .iter()
            .filter(|option| option.reload == Reload::Live)
        {
            self.take(option, &mut from);
        }
    }
}

/// The options whose values differ, in the order of help. Other texts for the same value are no difference.
pub fn changes(before: &RawConfig, after: &RawConfig) -> Result<Vec<Change>, ConfigError> {
    let differs = Config::from_raw(before)?.differs(&Config::from_raw(after)?);
    let changed = OPTIONS.iter().zip(differs).filter(|(_, differs)| *differs);
    let change = |(option, _)| Change {
        option,
        before: before.shown(option),
        after: after.shown(option),
    };
    Ok(changed.map(change).collect())
}

/// What differs from a broker that shows its configuration as a file. Secrets are not shown, and not compared.
pub fn changes_to_shown(shown: &str, after: &RawConfig) -> Result<Vec<Change>, ConfigError> {
    let mut before = RawConfig::default();
    before.add_toml(Path::new("of the running broker"), shown)?;
    let mut secrets = after.clone();
    for option in OPTIONS.iter().filter(|option| option.is_secret()) {
        before.take(option, &mut secrets);
    }
    changes(&before, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(toml: &str) -> RawConfig {
        let mut raw = RawConfig::default();
        raw.add_toml(Path::new("f.toml"), toml).unwrap();
        raw
    }

    #[test]
    fn changes_say_what_and_when() {
        for (before, after, expected) in [
            ("", "", &[][..]),
            ("", "heartbeat = 60", &[]),
            ("memory-budget = '1MiB'", "memory-budget = 1048576", &[]),
            ("", "heartbeat = 30", &["heartbeat from 60 to 30"]),
            (
                "data-dir = '/a'",
                "log-level = 'debug'",
                &[
                    "data-dir from \"/a\" to \"./leveret-data\", which needs a restart",
                    "log-level from \"info\" to \"debug\"",
                ],
            ),
            (
                "loopback-users = ['a', 'b']",
                "loopback-users = 'none'",
                &["loopback-users from [\"a\", \"b\"] to [\"none\"]"],
            ),
            (
                "default-pass = 'a'",
                "default-pass = 'b'",
                &["default-pass from (not shown) to (not shown), which needs a restart"],
            ),
        ] {
            let changes = changes(&raw(before), &raw(after)).unwrap();
            let shown: Vec<String> = changes.iter().map(ToString::to_string).collect();
            assert_eq!(shown, expected, "{before} {after}");
        }
    }

    #[test]
    fn what_a_running_broker_shows_is_compared_without_secrets() {
        let running = raw("heartbeat = 30\ndefault-pass = 'a'").shown_settings();
        let other = raw("heartbeat = 31\ndefault-pass = 'b'");
        let changes = changes_to_shown(&running, &other).unwrap();
        let shown: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["heartbeat from 30 to 31"]);
        assert!(changes_to_shown("bogus = 1", &other).is_err());
    }
}
