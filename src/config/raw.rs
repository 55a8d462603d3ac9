//! The values of options as text, before they are parsed, and where each comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::option::OptionSpec;
use crate::nearest::did_you_mean;
use crate::rabbitmq_conf::RabbitmqConfError;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Flag,
    Environment,
    /// One of RabbitMQ's environment variables.
    Variable(&'static str),
    File(PathBuf),
    /// Key, file and line of a rabbitmq.conf.
    RabbitmqConf(String),
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("rabbitmq.conf: {0}")]
    RabbitmqConf(#[from] RabbitmqConfError),
    #[error("cannot read configuration file {}: {error}", path.display())]
    Unreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("configuration file {}: {error}", path.display())]
    Syntax {
        path: PathBuf,
        error: Box<toml::de::Error>,
    },
    #[error(
        "configuration file {}: unknown option '{key}'{}", path.display(), did_you_mean(near.as_deref())
    )]
    UnknownKey {
        path: PathBuf,
        key: String,
        /// The option with the most similar name.
        near: Option<String>,
    },
    #[error("invalid value '{value}' for {origin}: {reason}")]
    Invalid {
        /// Flag, variable, or key and file.
        origin: String,
        value: String,
        reason: String,
    },
}

/// The values that were given, by field.
#[derive(Clone, Debug, Default)]
pub struct RawConfig {
    values: BTreeMap<&'static str, (Source, Vec<String>)>,
}

impl RawConfig {
    /// Sets the values of an option, unless a source that was added earlier has set them.
    pub(super) fn set(&mut self, option: &OptionSpec, source: Source, values: Vec<String>) {
        self.values.entry(option.field).or_insert((source, values));
    }

    /// The values of an option and their source; `None` if the default holds.
    pub(super) fn get(&self, option: &OptionSpec) -> Option<(&Source, &[String])> {
        let (source, values) = self.values.get(option.field)?;
        Some((source, values))
    }

    /// Takes over the values of one option from another configuration, or that it has none there.
    pub(super) fn take(&mut self, option: &OptionSpec, from: &mut RawConfig) {
        match from.values.remove(option.field) {
            Some(values) => self.values.insert(option.field, values),
            None => self.values.remove(option.field),
        };
    }

    /// Parses the value of an option that takes one.
    pub(super) fn one<T>(
        &self,
        option: &OptionSpec,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let Some((source, values)) = self.get(option) else {
            let value = option.default;
            return parse(value).map_err(|reason| invalid(option, None, value, reason));
        };
        match values {
            [value] => parse(value).map_err(|reason| invalid(option, Some(source), value, reason)),
            several => Err(invalid(
                option,
                Some(source),
                &several.join(", "),
                "expected a single value".to_owned(),
            )),
        }
    }

    /// Parses the values of an option that takes a list. Leaves out repeated values and empty ones (`none`).
    pub(super) fn many<T: Clone + Ord + IsEmpty>(
        &self,
        option: &OptionSpec,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        let given = self.get(option);
        let default = option.defaults();
        let values = given.map_or(&default[..], |(_, values)| values);
        let source = given.map(|(source, _)| source);
        let mut seen = BTreeSet::new();
        let mut parsed = Vec::new();
        for value in values {
            let one = parse(value).map_err(|reason| invalid(option, source, value, reason))?;
            if !one.is_empty() && seen.insert(one.clone()) {
                parsed.push(one);
            }
        }
        Ok(parsed)
    }
}

/// Whether a parsed value is that of `none`.
pub(super) trait IsEmpty {
    fn is_empty(&self) -> bool;
}

impl IsEmpty for crate::model::Name {
    fn is_empty(&self) -> bool {
        str::is_empty(self)
    }
}

/// A chain has one backend at least.
impl IsEmpty for crate::auth::Link {
    fn is_empty(&self) -> bool {
        false
    }
}

impl IsEmpty for std::net::SocketAddr {
    fn is_empty(&self) -> bool {
        false
    }
}

impl IsEmpty for super::values::AuthMechanism {
    fn is_empty(&self) -> bool {
        false
    }
}

impl IsEmpty for super::values::TlsVersion {
    fn is_empty(&self) -> bool {
        false
    }
}

impl<T> IsEmpty for Option<T> {
    fn is_empty(&self) -> bool {
        self.is_none()
    }
}

fn invalid(
    option: &OptionSpec,
    source: Option<&Source>,
    value: &str,
    reason: String,
) -> ConfigError {
    let key = option.key();
    let origin = match source {
        Some(Source::Flag) => format!("--{key}"),
        Some(Source::Environment) => option.env(),
        Some(Source::Variable(name)) => (*name).to_owned(),
        Some(Source::RabbitmqConf(origin)) => origin.clone(),
        Some(Source::File(path)) => format!("{key} in {}", path.display()),
        None => format!("{key} (default)"),
    };
    let value = match option.is_secret() {
        true => "(not shown)",
        false => value,
    };
    ConfigError::Invalid {
        origin,
        value: value.to_owned(),
        reason,
    }
}
