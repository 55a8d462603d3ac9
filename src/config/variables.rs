//! RabbitMQ's environment variables, as its container image takes them. Pure but for files that hold secrets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::options::OPTIONS;
use super::raw::{ConfigError, RawConfig, Source};
use super::secret_file;

/// What a variable means for this broker.
enum Meaning {
    /// Its value is that of an option.
    Sets(&'static str),
    /// Its value is the directory for data. Ours goes into a directory of its own within it.
    DataDir,
    /// Level and colours of the log.
    Log,
    /// It is read elsewhere: listeners and configuration files.
    Elsewhere,
    /// It has no effect unless its value is this, for this reason.
    Without(&'static str, &'static str),
    /// RabbitMQ refuses to start with it.
    Removed,
}

const SECRET: &str = "the nodes of a set share --cluster-secret";
const LISTENER: &str = "the nodes of a set connect at --cluster-listen";
const NO_ERLANG: &str = "there is no Erlang";
const NO_PLUGINS: &str = "what plugins do is built in or not there";
const STDERR: &str = "the log goes to standard error";
const DEFAULT_USER: &str = "RABBITMQ_DEFAULT_USER";
const DEFAULT_PASS: &str = "RABBITMQ_DEFAULT_PASS";
const PORT: &str = "RABBITMQ_NODE_PORT";
const IP: &str = "RABBITMQ_NODE_IP_ADDRESS";
const CONFIG_FILE: &str = "RABBITMQ_CONFIG_FILE";
const CONFIG_FILES: &str = "RABBITMQ_CONFIG_FILES";
/// Where the image's configuration is when no variable names another place.
const DEFAULT_CONFIG_FILE: &str = "/etc/rabbitmq/rabbitmq.conf";
const DEFAULT_CONFIG_FILES: &str = "/etc/rabbitmq/conf.d";

const VARIABLES: &[(&str, Meaning)] = &[
    (DEFAULT_USER, Meaning::Sets("default-user")),
    (DEFAULT_PASS, Meaning::Sets("default-pass")),
    ("RABBITMQ_DEFAULT_VHOST", Meaning::Sets("default-vhost")),
    ("RABBITMQ_PRODUCT_NAME", Meaning::Sets("server-product")),
    ("RABBITMQ_MNESIA_DIR", Meaning::DataDir),
    ("RABBITMQ_MNESIA_BASE", Meaning::DataDir),
    ("RABBITMQ_LOG", Meaning::Log),
    (PORT, Meaning::Elsewhere),
    (IP, Meaning::Elsewhere),
    (CONFIG_FILE, Meaning::Elsewhere),
    (CONFIG_FILES, Meaning::Elsewhere),
    ("RABBITMQ_LOGS", Meaning::Without("-", STDERR)),
    ("RABBITMQ_LOG_BASE", Meaning::Without("", STDERR)),
    (
        "RABBITMQ_ADVANCED_CONFIG_FILE",
        Meaning::Without(
            "",
            "Erlang terms are not read: use rabbitmq.conf or the options",
        ),
    ),
    (
        "RABBITMQ_CONF_ENV_FILE",
        Meaning::Without("", "no shell runs it: set the variables themselves"),
    ),
    ("RABBITMQ_ENABLED_PLUGINS", Meaning::Without("", NO_PLUGINS)),
    (
        "RABBITMQ_ENABLED_PLUGINS_FILE",
        Meaning::Without("", NO_PLUGINS),
    ),
    ("RABBITMQ_PLUGINS_DIR", Meaning::Without("", NO_PLUGINS)),
    (
        "RABBITMQ_FEATURE_FLAGS",
        Meaning::Without("", "all feature flags are enabled"),
    ),
    (
        "RABBITMQ_NODENAME",
        Meaning::Without("", "the node's name is --node-name"),
    ),
    (
        "RABBITMQ_USE_LONGNAME",
        Meaning::Without("", "the node's name is --node-name"),
    ),
    ("RABBITMQ_ERLANG_COOKIE", Meaning::Without("", SECRET)),
    ("RABBITMQ_DIST_PORT", Meaning::Without("", LISTENER)),
    ("RABBITMQ_SERVER_ERL_ARGS", Meaning::Without("", NO_ERLANG)),
    (
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
        Meaning::Without("", NO_ERLANG),
    ),
    ("RABBITMQ_CTL_ERL_ARGS", Meaning::Without("", NO_ERLANG)),
    (
        "RABBITMQ_QUORUM_DIR",
        Meaning::Without("", "all data is in one directory"),
    ),
    (
        "RABBITMQ_STREAM_DIR",
        Meaning::Without("", "all data is in one directory"),
    ),
    (
        "RABBITMQ_PID_FILE",
        Meaning::Without("", "the service manager knows the process"),
    ),
    (
        "RABBITMQ_MOTD_FILE",
        Meaning::Without("", "the log begins without a message of the day"),
    ),
    (
        "RABBITMQ_PRODUCT_VERSION",
        Meaning::Without("", "clients see Leveret's version"),
    ),
    ("RABBITMQ_MANAGEMENT_SSL_CACERTFILE", Meaning::Removed),
    ("RABBITMQ_MANAGEMENT_SSL_CERTFILE", Meaning::Removed),
    ("RABBITMQ_MANAGEMENT_SSL_DEPTH", Meaning::Removed),
    (
        "RABBITMQ_MANAGEMENT_SSL_FAIL_IF_NO_PEER_CERT",
        Meaning::Removed,
    ),
    ("RABBITMQ_MANAGEMENT_SSL_KEYFILE", Meaning::Removed),
    ("RABBITMQ_MANAGEMENT_SSL_VERIFY", Meaning::Removed),
    ("RABBITMQ_SSL_CACERTFILE", Meaning::Removed),
    ("RABBITMQ_SSL_CERTFILE", Meaning::Removed),
    ("RABBITMQ_SSL_DEPTH", Meaning::Removed),
    ("RABBITMQ_SSL_FAIL_IF_NO_PEER_CERT", Meaning::Removed),
    ("RABBITMQ_SSL_KEYFILE", Meaning::Removed),
    ("RABBITMQ_SSL_VERIFY", Meaning::Removed),
    ("RABBITMQ_VM_MEMORY_HIGH_WATERMARK", Meaning::Removed),
];

/// A variable that is set. Empty ones count as unset.
type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Adds the values of the variables, and warnings for those without effect. `*_FILE` beside a variable with a value for an
/// option names a file with the value.
pub(super) fn add(
    raw: &mut RawConfig,
    variable: Variable,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let invalid = |name: &str, value: String, reason: &str| ConfigError::Invalid {
        origin: name.to_owned(),
        value,
        reason: reason.to_owned(),
    };
    for (name, meaning) in VARIABLES {
        let value = match meaning {
            Meaning::Sets(_) => secret_file::value(name, variable)?,
            Meaning::DataDir
            | Meaning::Log
            | Meaning::Elsewhere
            | Meaning::Without(..)
            | Meaning::Removed => variable(name),
        };
        let Some(value) = value else {
            continue;
        };
        match meaning {
            Meaning::Sets(option) => set(raw, option, name, value),
            Meaning::DataDir => {
                let dir = Path::new(&value).join("leveret");
                set(raw, "data-dir", name, dir.to_string_lossy().into_owned());
            }
            Meaning::Log => {
                if let Some(level) = log_level(&value) {
                    set(raw, "log-level", name, level.to_owned());
                }
            }
            Meaning::Elsewhere => {}
            Meaning::Without(harmless, reason) => {
                if value != *harmless {
                    warnings.push(format!("{name} has no effect: {reason}"));
                }
            }
            Meaning::Removed => {
                let reason = "RabbitMQ has removed this variable: use rabbitmq.conf";
                return Err(invalid(name, value, reason));
            }
        }
    }
    let (ip, port) = (variable(IP), variable(PORT));
    if ip.is_some() || port.is_some() {
        let name = if port.is_some() { PORT } else { IP };
        let address = listener(ip.as_deref(), port.as_deref()).ok_or_else(|| {
            invalid(
                name,
                port.or(ip).unwrap_or_default(),
                "expected a port, and an IP address",
            )
        })?;
        set(raw, "amqp-listen", name, address.to_string());
    }
    Ok(())
}

/// A default user named by a variable may log in from anywhere, as in the image. Weaker than any other source.
pub(super) fn add_implied(raw: &mut RawConfig, variable: Variable) {
    let names = [DEFAULT_USER, DEFAULT_PASS];
    let given = names
        .into_iter()
        .find(|name| variable(name).is_some() || variable(&secret_file::name(name)).is_some());
    if let Some(name) = given {
        set(raw, "loopback-users", name, "none".to_owned());
    }
}

/// The files and directories that the variables name, or the image's. Only what is there, unless a variable names it.
pub(super) fn configuration_files(variable: Variable) -> Vec<PathBuf> {
    let named = variable(CONFIG_FILE).map(|file| {
        // The ending may be left out.
        match Path::new(&file).extension() {
            Some(_) => PathBuf::from(file),
            None => PathBuf::from(format!("{file}.conf")),
        }
    });
    let is_there = |path: &PathBuf| path.exists();
    let main = named.or_else(|| Some(PathBuf::from(DEFAULT_CONFIG_FILE)).filter(is_there));
    let more = variable(CONFIG_FILES).map_or_else(
        || Some(PathBuf::from(DEFAULT_CONFIG_FILES)).filter(is_there),
        |dir| Some(PathBuf::from(dir.trim_end_matches("/*.conf"))),
    );
    main.into_iter().chain(more).collect()
}

fn set(raw: &mut RawConfig, key: &str, name: &'static str, value: String) {
    if let Some(option) = OPTIONS.iter().find(|option| option.key() == key) {
        raw.set(option, Source::Variable(name), vec![value]);
    }
}

fn listener(ip: Option<&str>, port: Option<&str>) -> Option<SocketAddr> {
    let ip = match ip {
        // RabbitMQ's word for any address.
        None | Some("auto") => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(ip) => ip.parse().ok()?,
    };
    Some(SocketAddr::new(
        ip,
        port.map_or(Some(5672), |port| port.parse().ok())?,
    ))
}

/// The level of `RABBITMQ_LOG`, such as `debug,+color`. Levels of single categories have no counterpart.
fn log_level(value: &str) -> Option<&'static str> {
    let level = |word: &str| match word {
        "debug" => Some("debug"),
        "info" | "notice" => Some("info"),
        "warning" => Some("warn"),
        "error" | "critical" | "alert" | "emergency" | "none" => Some("error"),
        _ => None,
    };
    value
        .split(',')
        .filter_map(|word| level(word.trim()))
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// The configuration and the warnings, or the error.
    fn read(variables: &[(&str, &str)]) -> Result<(Config, Vec<String>), String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let (mut raw, mut warnings) = (RawConfig::default(), Vec::new());
        add(&mut raw, &variable, &mut warnings).map_err(|error| error.to_string())?;
        add_implied(&mut raw, &variable);
        let config = Config::from_raw(&raw).map_err(|error| error.to_string())?;
        Ok((config, warnings))
    }

    #[test]
    fn variables_set_options() {
        let (config, warnings) = read(&[
            (DEFAULT_USER, "app"),
            (DEFAULT_PASS, "geheim"),
            ("RABBITMQ_DEFAULT_VHOST", "shop"),
            (PORT, "5673"),
            (IP, "127.0.0.1"),
            ("RABBITMQ_MNESIA_BASE", "/var/lib/rabbitmq/mnesia"),
            ("RABBITMQ_LOG", "debug,+color"),
            ("RABBITMQ_LOGS", "-"),
            ("KUBERNETES_PORT", "tcp://10.0.0.1:443"),
            ("RABBITMQ_PORT", "tcp://10.0.0.2:5672"),
        ])
        .unwrap();
        assert_eq!(
            (
                &*config.default_user,
                &*config.default_pass,
                &*config.default_vhost
            ),
            ("app", "geheim", "shop")
        );
        assert_eq!(
            config.amqp_listen,
            [Some("127.0.0.1:5673".parse().unwrap())]
        );
        assert_eq!(
            config.data_dir,
            Path::new("/var/lib/rabbitmq/mnesia/leveret")
        );
        assert_eq!(config.log_level, crate::config::LogLevel::Debug);
        assert!(config.loopback_users.is_empty() && warnings.is_empty());
        let guest = read(&[]).unwrap().0;
        assert_eq!(guest.loopback_users, ["guest".into()]);
    }

    #[test]
    fn files_hold_secrets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from file\n").unwrap();
        let path = file.path().to_str().unwrap();
        let (config, _) = read(&[
            ("RABBITMQ_DEFAULT_PASS_FILE", path),
            ("RABBITMQ_DEFAULT_USER_FILE", path),
        ])
        .unwrap();
        assert_eq!(
            (&*config.default_pass, &*config.default_user),
            ("from file", "from file")
        );
        assert!(config.loopback_users.is_empty());
        for variables in [
            &[("RABBITMQ_DEFAULT_PASS_FILE", "/nowhere/secret")][..],
            &[("RABBITMQ_DEFAULT_PASS_FILE", path), (DEFAULT_PASS, "x")],
        ] {
            let error = read(variables).unwrap_err();
            assert!(
                error.contains("RABBITMQ_DEFAULT_PASS_FILE") && !error.contains("'x'"),
                "{error}"
            );
        }
    }

    #[test]
    fn others_are_named_or_refused() {
        let (_, warnings) = read(&[
            ("RABBITMQ_NODENAME", "rabbit@a"),
            ("RABBITMQ_LOGS", "/var/log/a"),
        ])
        .unwrap();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        for name in [
            "RABBITMQ_SSL_CERTFILE",
            "RABBITMQ_VM_MEMORY_HIGH_WATERMARK",
            PORT,
            IP,
        ] {
            let error = read(&[(name, "x")]).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn every_variable_that_sets_an_option_names_one() {
        for (name, meaning) in VARIABLES {
            if let Meaning::Sets(key) = meaning {
                assert!(OPTIONS.iter().any(|option| option.key() == *key), "{name}");
            }
        }
    }

    #[test]
    fn the_configuration_files_are_those_of_the_image_or_named() {
        let files = |variables: &'static [(&str, &str)]| {
            configuration_files(&|name: &str| {
                let found = variables.iter().find(|(own, _)| *own == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(
            files(&[(CONFIG_FILE, "/a/my"), (CONFIG_FILES, "/b/conf.d/*.conf")]),
            [Path::new("/a/my.conf"), Path::new("/b/conf.d")]
        );
        assert_eq!(
            files(&[(CONFIG_FILE, "/a/my.conf"), (CONFIG_FILES, "/b")])[0],
            Path::new("/a/my.conf")
        );
    }
}
