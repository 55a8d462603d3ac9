//! What was said on the command line, in the environment and in the file, and which of them counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::nearest;
use super::options::{OPTIONS, OptionSpec};
use super::settings::did_you_mean;

/// Bound on the size of a configuration file in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where a value was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On the command line.
    Flag,
    /// In the environment.
    Environment,
    /// In the configuration file.
    File(PathBuf),
}

/// Something said makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is no TOML.
    #[error("configuration file {}: {error}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// No option has that name.
    #[error(
        "configuration file {}: unknown option '{key}'{}", path.display(), did_you_mean(near.as_deref())
    )]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key as it was written.
        key: String,
        /// The option that was probably meant.
        near: Option<String>,
    },
    /// An option cannot have that value.
    #[error("invalid value '{value}' for {said_as}: {reason}")]
    Invalid {
        /// Flag, variable, or file and key.
        said_as: String,
        /// The value as it was written.
        value: String,
        /// What it should be.
        reason: String,
    },
}

/// What was said, by field: the values and where.
#[derive(Debug, Default)]
pub struct RawConfig {
    said: BTreeMap<&'static str, (Source, Vec<String>)>,
}

impl RawConfig {
    /// Adds flags. What was said before counts more: add flags first, then environment, then file.
    pub fn add_flags(&mut self, mut flag: impl FnMut(&str) -> Option<Vec<String>>) {
        for option in OPTIONS {
            if let Some(values) = flag(&option.key()) {
                self.add(option.field, Source::Flag, values);
            }
        }
    }

    /// Adds the environment; empty variables are as if they were not set. Lists are separated by commas.
    pub fn add_environment(&mut self, variable: impl Fn(&str) -> Option<String>) {
        for option in OPTIONS {
            if let Some(value) = variable(&option.env()).filter(|value| !value.is_empty()) {
                let values = if option.repeatable {
                    value
                        .split(',')
                        .map(|part| part.trim().to_owned())
                        .collect()
                } else {
                    vec![value]
                };
                self.add(option.field, Source::Environment, values);
            }
        }
    }

    /// Adds a TOML file. A key that is no option is an error: nothing that was written is passed over.
    pub fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let unreadable = |error| ConfigError::Unreadable {
            path: path.to_owned(),
            error,
        };
        if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
            return Err(unreadable(std::io::Error::other(format!(
                "larger than {FILE_BYTES_MAX} bytes"
            ))));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        self.add_toml(path, &text)
    }

    pub(super) fn add_toml(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = text.parse().map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            error: Box::new(error),
        })?;
        for (key, value) in table {
            let option = OPTIONS
                .iter()
                .find(|option| option.key() == key)
                .ok_or_else(|| ConfigError::UnknownKey {
                    path: path.to_owned(),
                    key: key.clone(),
                    near: nearest(&key, OPTIONS.iter().map(OptionSpec::key)),
                })?;
            let values = toml_values(&value).ok_or_else(|| ConfigError::Invalid {
                said_as: format!("{} in {}", key, path.display()),
                value: value.to_string(),
                reason: "expected text, a number, or a list of them".to_owned(),
            })?;
            self.add(option.field, Source::File(path.to_owned()), values);
        }
        Ok(())
    }

    /// What was said of an option, and where; `None` if nothing was.
    pub(super) fn said(&self, field: &str) -> Option<(&Source, &[String])> {
        let (source, values) = self.said.get(field)?;
        Some((source, values))
    }

    fn add(&mut self, field: &'static str, source: Source, values: Vec<String>) {
        self.said.entry(field).or_insert((source, values));
    }

    /// The value of an option that has one.
    pub(super) fn one<T>(
        &self,
        field: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let Some((source, values)) = self.said.get(field) else {
            return parse(default).map_err(|reason| invalid(field, None, default, reason));
        };
        match values.as_slice() {
            [value] => parse(value).map_err(|reason| invalid(field, Some(source), value, reason)),
            other => Err(invalid(
                field,
                Some(source),
                &other.join(", "),
                "expected a single value".to_owned(),
            )),
        }
    }

    /// The values of an option that may have several: each once, and empty ones (`none`) left out.
    pub(super) fn many<T: Clone + Ord + ValueIsEmpty>(
        &self,
        field: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        let said = self.said.get(field);
        let default = [default.to_owned()];
        let values = said.map_or(&default[..], |(_, values)| values);
        let mut seen = BTreeSet::new();
        let mut parsed = Vec::new();
        for value in values {
            let one = parse(value)
                .map_err(|reason| invalid(field, said.map(|(source, _)| source), value, reason))?;
            if !one.value_is_empty() && seen.insert(one.clone()) {
                parsed.push(one);
            }
        }
        Ok(parsed)
    }
}

/// Whether a parsed value stands for nothing at all, as `none` does in a list of names.
pub(super) trait ValueIsEmpty {
    fn value_is_empty(&self) -> bool;
}

impl ValueIsEmpty for crate::model::Name {
    fn value_is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl ValueIsEmpty for std::net::SocketAddr {
    fn value_is_empty(&self) -> bool {
        false
    }
}

impl<T> ValueIsEmpty for Option<T> {
    fn value_is_empty(&self) -> bool {
        self.is_none()
    }
}

fn toml_values(value: &toml::Value) -> Option<Vec<String>> {
    let scalar = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    };
    match value {
        toml::Value::Array(values) => values.iter().map(scalar).collect(),
        single => scalar(single).map(|value| vec![value]),
    }
}

fn invalid(field: &str, source: Option<&Source>, value: &str, reason: String) -> ConfigError {
    let option = OPTIONS.iter().find(|option| option.field == field);
    let key = option.map_or_else(|| field.to_owned(), super::OptionSpec::key);
    let said_as = match source {
        Some(Source::Flag) => format!("--{key}"),
        Some(Source::Environment) => option.map_or(key, super::OptionSpec::env),
        Some(Source::File(path)) => format!("{key} in {}", path.display()),
        None => format!("{key} (default)"),
    };
    ConfigError::Invalid {
        said_as,
        value: value.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    /// A value other than the default for every option, as one writes it in each place.
    const OTHERS: &[(&str, &str, &str, &str)] = &[
        // field, for the flag, for the environment, for the file
        ("data_dir", "/flag", "/env", "'/file'"),
        ("amqp_listen", "127.0.0.1:1", "127.0.0.1:2", "'127.0.0.1:3'"),
        ("durability", "write", "write:1", "'write:10000'"),
        ("on_damage", "recover", "recover", "'recover'"),
        ("heartbeat", "1", "2", "3"),
        ("frame_max", "5001", "5002", "5003"),
        ("channel_max", "1", "2", "3"),
        ("connection_max", "1", "2", "3"),
        ("max_message_size", "1", "2", "3"),
        ("memory_budget", "1", "2", "3"),
        ("memory_high_watermark", "0.1", "0.2", "0.3"),
        ("disk_free_limit", "1", "2", "3"),
        ("loopback_users", "flag", "env", "['file']"),
        ("default_user", "flag", "env", "'file'"),
        ("default_pass", "flag", "env", "'file'"),
        ("default_vhost", "flag", "env", "'file'"),
        ("consumer_timeout", "1", "2", "3"),
        ("handshake_timeout", "1", "2", "3"),
        ("server_product", "flag", "env", "'file'"),
        ("shutdown_grace", "1", "2", "3"),
        ("cmq_listen", "127.0.0.1:1", "127.0.0.1:2", "'none'"),
        ("cmq_clock_skew", "1", "2", "3"),
        ("cmq_connections", "1", "2", "3"),
        ("cmq_replay_memory", "1", "2", "3"),
        ("cmq_batch", "1", "2", "3"),
        ("cmq_batch_size", "1", "2", "3"),
        ("cmq_requests", "1", "2", "3"),
        ("cmq_name_rest", "1", "2", "3"),
        ("cmq_queues", "1", "2", "3"),
        ("cmq_heap", "1", "2", "3"),
        ("cmq_message_size", "1", "2", "3"),
        ("cmq_polling_wait", "1", "2", "3"),
        ("cmq_visibility_timeout", "1", "2", "3"),
        ("cmq_retention", "1", "2", "3"),
        ("cmq_delay", "1", "2", "3"),
        ("cmq_delayed", "1", "2", "3"),
        ("cmq_unacked", "1", "2", "3"),
        ("cmq_dead_letter_sources", "1", "2", "3"),
        ("cmq_topics", "1", "2", "3"),
        ("cmq_subscriptions", "1", "2", "3"),
        ("cmq_filters", "1", "2", "3"),
        ("cmq_tag_size", "1", "2", "3"),
        ("cmq_key_size", "1", "2", "3"),
        ("cmq_push_timeout", "1", "2", "3"),
        ("cmq_push_second", "1", "2", "3"),
        ("cmq_push_connections", "1", "2", "3"),
        ("cmq_push_endpoint_connections", "1", "2", "3"),
        ("cmq_push_allow", "10.0.0.0/8", "fd00::/8", "['127.0.0.1']"),
        ("log_level", "error", "warn", "'debug'"),
    ];

    /// The configuration when `field` is said in the places that are not None.
    fn config(field: &str, flag: Option<&str>, env: Option<&str>, file: Option<&str>) -> String {
        let option = OPTIONS.iter().find(|option| option.field == field).unwrap();
        let mut raw = RawConfig::default();
        raw.add_flags(|key| {
            flag.filter(|_| key == option.key())
                .map(|value| vec![value.to_owned()])
        });
        raw.add_environment(|variable| env.filter(|_| variable == option.env()).map(str::to_owned));
        if let Some(value) = file {
            raw.add_toml(Path::new("f.toml"), &format!("{} = {value}", option.key()))
                .unwrap();
        }
        format!("{:?}", Config::from_raw(&raw).unwrap())
    }

    #[test]
    fn every_option_works_from_everywhere_and_flags_count_most() {
        let fields: Vec<&str> = OPTIONS.iter().map(|option| option.field).collect();
        assert_eq!(
            OTHERS.iter().map(|other| other.0).collect::<Vec<_>>(),
            fields
        );
        for (field, flag, env, file) in OTHERS {
            let (flag, env, file) = (Some(*flag), Some(*env), Some(*file));
            let default = config(field, None, None, None);
            let (by_flag, by_env, by_file) = (
                config(field, flag, None, None),
                config(field, None, env, None),
                config(field, None, None, file),
            );
            let distinct: BTreeSet<&String> = [&default, &by_flag, &by_env, &by_file]
                .into_iter()
                .collect();
            // Where there are only two values, all places say the other one.
            let said = [flag, env, file].map(|said| said.map(|said| said.replace('\'', "")));
            let said: BTreeSet<Option<String>> = said.into_iter().collect();
            let heard = said.len() + 1;
            assert_eq!(distinct.len(), heard, "{field}: each place is heard");
            assert_eq!(config(field, flag, env, file), by_flag, "{field}");
            assert_eq!(config(field, None, env, file), by_env, "{field}");
        }
    }

    #[test]
    fn lists_come_in_every_form() {
        let mut raw = RawConfig::default();
        raw.add_environment(|variable| {
            (variable == "LEVERET_LOOPBACK_USERS").then(|| "a, b,a".to_owned())
        });
        raw.add_toml(Path::new("f"), "amqp-listen = ['127.0.0.1:1', '[::1]:2']")
            .unwrap();
        let config = Config::from_raw(&raw).unwrap();
        assert_eq!(config.loopback_users, ["a".into(), "b".into()]);
        assert_eq!(config.amqp_listen.len(), 2);
        let mut raw = RawConfig::default();
        raw.add_toml(Path::new("f"), "loopback-users = 'none'")
            .unwrap();
        assert!(Config::from_raw(&raw).unwrap().loopback_users.is_empty());
    }

    #[test]
    fn nonsense_is_named() {
        let check = |toml: &str, expected: &str| {
            let mut raw = RawConfig::default();
            let error = raw
                .add_toml(Path::new("f.toml"), toml)
                .and_then(|()| Config::from_raw(&raw))
                .unwrap_err();
            assert!(error.to_string().starts_with(expected), "{toml}: {error}");
        };
        check(
            "bogus = 1",
            "configuration file f.toml: unknown option 'bogus'",
        );
        check(
            "memory-high-water-mark = 0.4",
            "configuration file f.toml: unknown option 'memory-high-water-mark'; did you mean \
             'memory-high-watermark'?",
        );
        check(
            "data_dir = 'x'",
            "configuration file f.toml: unknown option 'data_dir'; did you mean 'data-dir'?",
        );
        check(
            "heartbeat = 70000",
            "invalid value '70000' for heartbeat in f.toml: ",
        );
        check(
            "heartbeat = [1, 2]",
            "invalid value '1, 2' for heartbeat in f.toml: expected a single value",
        );
        check(
            "heartbeat = {}",
            "invalid value '{}' for heartbeat in f.toml: expected text",
        );
        check(
            "amqp-listen = 'here'",
            "invalid value 'here' for amqp-listen in f.toml: expected ADDRESS:PORT",
        );
        for durability in ["none", "sync:1", "write:0", "write:10001", "write:x"] {
            check(
                &format!("durability = '{durability}'"),
                &format!("invalid value '{durability}' for durability in f.toml: expected sync"),
            );
        }
        check("heartbeat", "configuration file f.toml: ");
        let mut raw = RawConfig::default();
        raw.add_flags(|key| (key == "heartbeat").then(|| vec!["x".to_owned()]));
        assert!(
            Config::from_raw(&raw)
                .unwrap_err()
                .to_string()
                .starts_with("invalid value 'x' for --heartbeat: ")
        );
        assert!(matches!(
            raw.add_file(Path::new("/nowhere/f.toml")),
            Err(ConfigError::Unreadable { .. })
        ));
    }
}
