//! Where the configuration comes from, and how it is read, at the start and at each reload.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::option::OptionSpec;
use super::options::{Config, OPTIONS};
use super::raw::{ConfigError, RawConfig, Source};
use super::settings::{CONFIG_ENV, RABBITMQ_CONF_ENV, RABBITMQ_VARIABLES_ENV};
use super::{parse, variables};
use crate::rabbitmq_conf;

/// The sources besides the environment, which every reading takes as it is then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The values of flags, by option.
    pub flags: BTreeMap<String, Vec<String>>,
    /// Our own file, in TOML.
    pub file: Option<PathBuf>,
    /// Files in RabbitMQ's format, and directories of them.
    pub rabbitmq_conf: Vec<PathBuf>,
    /// Whether RabbitMQ's environment variables count, if a flag says it.
    pub rabbitmq_variables: Option<String>,
}

/// What all sources say.
#[derive(Debug)]
pub struct Reading {
    pub raw: RawConfig,
    /// What was said without effect.
    pub warnings: Vec<String>,
}

impl Sources {
    /// Reads all sources, in the order of their precedence: flags, our environment variables, RabbitMQ's, our file,
    /// rabbitmq.conf.
    pub fn read(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Reading, ConfigError> {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        let takes_variables = self.takes_variables(&variable)?;
        let Reading {
            mut raw,
            mut warnings,
        } = self.read_ours(takes_variables, &variable)?;
        let files = self.rabbitmq_files(takes_variables, &variable);
        let translation = rabbitmq_conf::read(&files, &variable)?;
        warnings.extend(translation.warnings);
        for given in translation.given {
            let has_name = |option: &&OptionSpec| option.key() == given.option;
            match OPTIONS.iter().find(has_name) {
                Some(option) => raw.set(option, Source::RabbitmqConf(given.origin), given.values),
                None => warnings.push(format!(
                    "{} has no effect: there is no option for it yet",
                    given.origin
                )),
            }
        }
        if takes_variables {
            variables::add_implied(&mut raw, &variable);
        }
        Ok(Reading { raw, warnings })
    }

    /// The data directory alone, which no rabbitmq.conf names.
    pub fn data_dir(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<PathBuf, ConfigError> {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        let takes_variables = self.takes_variables(&variable)?;
        Ok(self
            .read_ours(takes_variables, &variable)?
            .config()?
            .data_dir)
    }

    /// Reads all sources but rabbitmq.conf.
    fn read_ours(
        &self,
        takes_variables: bool,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Reading, ConfigError> {
        let mut warnings = Vec::new();
        let mut raw = RawConfig::default();
        raw.add_flags(|key| self.flags.get(key).cloned());
        raw.add_environment(variable)?;
        if takes_variables {
            variables::add(&mut raw, variable, &mut warnings)?;
        }
        if let Some(file) = self
            .file
            .clone()
            .or_else(|| variable(CONFIG_ENV).map(PathBuf::from))
        {
            raw.add_file(&file)?;
        }
        Ok(Reading { raw, warnings })
    }

    fn takes_variables(
        &self,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<bool, ConfigError> {
        let (origin, value) = match &self.rabbitmq_variables {
            Some(value) => ("--rabbitmq-variables", value.clone()),
            None => (
                RABBITMQ_VARIABLES_ENV,
                variable(RABBITMQ_VARIABLES_ENV).unwrap_or("false".to_owned()),
            ),
        };
        parse::truth(&value).map_err(|reason| ConfigError::Invalid {
            origin: origin.to_owned(),
            value,
            reason,
        })
    }

    fn rabbitmq_files(
        &self,
        takes_variables: bool,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<PathBuf> {
        if !self.rabbitmq_conf.is_empty() {
            return self.rabbitmq_conf.clone();
        }
        match variable(RABBITMQ_CONF_ENV) {
            Some(paths) => paths
                .split(',')
                .map(|path| PathBuf::from(path.trim()))
                .collect(),
            None if takes_variables => variables::configuration_files(variable),
            None => Vec::new(),
        }
    }
}

impl Reading {
    /// The configuration, complete and valid.
    pub fn config(&self) -> Result<Config, ConfigError> {
        Config::from_raw(&self.raw)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::MemoryWatermark;

    fn read(
        conf: &str,
        toml: &str,
        environment: &[(&str, &str)],
    ) -> Result<(Config, Vec<String>), String> {
        let dir = tempfile::tempdir().unwrap();
        let [conf_path, toml_path] =
            ["rabbitmq.conf", "leveret.toml"].map(|name| dir.path().join(name));
        std::fs::write(&conf_path, conf).unwrap();
        std::fs::write(&toml_path, toml).unwrap();
        let sources = Sources {
            file: Some(toml_path),
            rabbitmq_conf: vec![conf_path],
            ..Sources::default()
        };
        let variable = |name: &str| {
            let found = environment.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let reading = sources.read(variable).map_err(|error| error.to_string())?;
        let config = reading.config().map_err(|error| error.to_string())?;
        Ok((config, reading.warnings))
    }

    #[test]
    fn a_usual_rabbitmq_conf_sets_our_options() {
        let (config, warnings) = read(
            "## a comment\nlisteners.tcp.default = 5673\nlisteners.tcp.local = ::1:5674\nheartbeat = 30\nchannel_max = 0\n\
             frame_max = 64KB\nmax_message_size = 1000\nvm_memory_high_watermark.relative = 0.5\n\
             vm_memory_high_watermark.absolute = 2GB\nconsumer_timeout = 60000\nloopback_users.guest = false\n\
             default_user = app\ndefault_pass = 'a#b'\nmanagement.tcp.port = 15673\nprometheus.tcp.ip = 127.0.0.1\n\
             management.cors.allow_origins.1 = https://a.example\nlog.console = true\nlog.console.level = warning\n\
             log.file = false\nlog.file.level = debug\ntcp_listen_options.nodelay = true\n",
            "",
            &[],
        )
        .unwrap();
        let addresses = |list: &[Option<std::net::SocketAddr>]| {
            list.iter()
                .flatten()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        let amqp: Vec<String> = config
            .amqp_listen
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        assert_eq!(amqp, ["0.0.0.0:5673", "[::1]:5674"]);
        assert_eq!(
            (config.heartbeat, config.channel_max, config.frame_max),
            (30, 65535, 65536)
        );
        assert_eq!(
            config.memory_high_watermark,
            MemoryWatermark::Bytes(2_000_000_000)
        );
        assert_eq!(
            (config.max_message_size, config.consumer_timeout.as_secs()),
            (1000, 60)
        );
        assert!(config.loopback_users.is_empty());
        assert_eq!(
            (&*config.default_user, &*config.default_pass),
            ("app", "a#b")
        );
        assert_eq!(addresses(&config.management_listen), ["0.0.0.0:15673"]);
        assert_eq!(addresses(&config.prometheus_listen), ["127.0.0.1:15692"]);
        assert_eq!(
            config.management_cors,
            [Some("https://a.example".to_owned())]
        );
        assert_eq!(config.log_level, crate::config::LogLevel::Warn);
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn default_users_and_limits_of_virtual_hosts_are_gathered_by_name() {
        let (config, warnings) = read(
            "default_users.b.password = $(SECRET)\ndefault_users.b.tags = monitoring, x\ndefault_users.b.read = ^r\n\
             default_users.a.vhost_pattern = ^dev\ndefault_limits.vhosts.1.max_queues = 7\n\
             default_limits.vhosts.1.pattern = ^dev\n",
            "",
            &[("SECRET", "a\"b")],
        )
        .unwrap();
        assert_eq!(warnings, [""; 0]);
        let users: Vec<_> = config.default_users.iter().collect();
        let [(a, dev), (b, user)] = users[..] else {
            panic!("{users:?}");
        };
        assert_eq!(
            (&**a, &*dev.vhost_pattern, dev.password.as_deref()),
            ("a", "^dev", None)
        );
        assert_eq!((&**b, user.password.as_deref()), ("b", Some("a\"b")));
        assert_eq!(user.tags, ["monitoring".into(), "x".into()]);
        assert_eq!(user.patterns(), [".*", ".*", ".*", "^r"]);
        let limits = &config.default_limits["1"];
        assert_eq!((&*limits.pattern, limits.max_queues), ("^dev", Some(7)));
    }

    #[test]
    fn backends_and_their_settings_are_translated() {
        let (config, warnings) = read(
            "auth_backends.2.authn = ldap\nauth_backends.2.authz = internal\nauth_backends.1 = cache\n\
             auth_cache.cached_backend = http\nauth_cache.cache_ttl = 1000\nauth_http.user_path = http://a/user\n\
             auth_http.http_method = post\nauth_ldap.servers.2 = b\nauth_ldap.servers.1 = a\n\
             auth_ldap.use_ssl = false\nauth_ldap.use_starttls = true\nauth_ldap.other_bind.user_dn = cn=x\n\
             auth_ldap.other_bind.password = secret\nauth_ldap.other_bind = anon\n\
             auth_oauth2.resource_server_id = rabbitmq\nauth_oauth2.scope_aliases.admin = rabbitmq.tag:administrator\n\
             auth_oauth2.scope_aliases.1.alias = dev\nauth_oauth2.scope_aliases.1.scope = rabbitmq.read:*/*\n\
             auth_oauth2.preferred_username_claims.1 = user_name\nauth_oauth2.verify_aud = false\n",
            "",
            &[],
        )
        .unwrap();
        let shown = |key: &str| {
            let line = config
                .shown
                .lines()
                .find(|line| line.starts_with(key))
                .unwrap();
            line.split(" # ").next().unwrap().trim_end().to_owned()
        };
        for expected in [
            "auth-backends = [\"http\", \"ldap+internal\"]",
            "auth-cache-ttl = 1000",
            "auth-http-user-url = \"http://a/user\"",
            "auth-http-method = \"post\"",
            "ldap-servers = [\"a\", \"b\"]",
            "ldap-encryption = \"starttls\"",
            "ldap-other-bind = \"cn=x\"",
            "oauth2-resource-server-id = \"rabbitmq\"",
            "oauth2-scope-aliases = [\"dev=rabbitmq.read:*/*\", \"admin=rabbitmq.tag:administrator\"]",
            "oauth2-preferred-username-claims = [\"user_name\"]",
            "oauth2-verify-aud = \"false\"",
        ] {
            let key = expected.split(" = ").next().unwrap();
            assert_eq!(shown(&format!("{key} =")), expected);
        }
        assert!(!config.shown.contains("= \"secret\""), "{}", config.shown);
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn keys_of_tls_and_mechanisms_are_translated() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let conf = format!(
            "listeners.tcp = none\nlisteners.ssl.default = 5671\nssl_options.cacertfile = {path}\n\
             ssl_options.certfile = {path}\nssl_options.keyfile = {path}\nssl_options.verify = verify_peer\n\
             ssl_options.fail_if_no_peer_cert = true\nssl_options.depth = 2\nssl_options.versions.1 = tlsv1.3\n\
             ssl_cert_login_from = common_name\nauth_mechanisms.1 = EXTERNAL\nauth_mechanisms.2 = PLAIN\n\
             management.ssl.port = 15671\nproxy_protocol = true\n"
        );
        let (config, warnings) = read(&conf, "", &[]).unwrap();
        for expected in [
            "amqp-listen = [\"none\"]",
            "amqps-listen = [\"0.0.0.0:5671\"]",
            "tls-verify = \"peer\"",
            "tls-fail-if-no-peer-cert = \"true\"",
            "tls-depth = 2",
            "tls-versions = [\"1.3\"]",
            "tls-login-from = \"common_name\"",
            "auth-mechanisms = [\"EXTERNAL\", \"PLAIN\"]",
            "management-listen = [\"none\"]",
            "management-tls-listen = [\"0.0.0.0:15671\"]",
            "proxy-protocol-from = [\"0.0.0.0/0\", \"::/0\"]",
        ] {
            assert!(
                config.shown.contains(expected),
                "{expected}: {}",
                config.shown
            );
        }
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        for (conf, expected) in [
            (
                "anonymous_login_user = none",
                "auth-mechanisms = [\"PLAIN\", \"AMQPLAIN\"]",
            ),
            (
                "anonymous_login_user = none\nauth_mechanisms.1 = ANONYMOUS\nauth_mechanisms.2 = PLAIN",
                "auth-mechanisms = [\"PLAIN\"]",
            ),
        ] {
            let (config, _) = read(conf, "", &[]).unwrap();
            assert!(config.shown.contains(expected), "{conf}: {}", config.shown);
        }
        assert!(read("anonymous_login_user = app", "", &[]).is_err());
    }

    #[test]
    fn rabbitmq_conf_is_the_weakest_source() {
        let conf = "heartbeat = 1\nchannel_max = 1\nconsumer_timeout = 1000\ndefault_user = conf\n";
        let (config, _) = read(
            conf,
            "channel-max = 2\ndefault-user = 'toml'\nconsumer-timeout = 2000",
            &[
                ("LEVERET_CONSUMER_TIMEOUT", "3000"),
                ("LEVERET_RABBITMQ_VARIABLES", "true"),
                ("RABBITMQ_DEFAULT_USER", "variable"),
            ],
        )
        .unwrap();
        assert_eq!((config.heartbeat, config.channel_max), (1, 2));
        assert_eq!(
            (&*config.default_user, config.consumer_timeout.as_millis()),
            ("variable", 3000)
        );
        assert!(config.loopback_users.is_empty());
        let (config, _) = read(
            "loopback_users.app = true",
            "",
            &[
                ("LEVERET_RABBITMQ_VARIABLES", "true"),
                ("RABBITMQ_DEFAULT_USER", "app"),
            ],
        )
        .unwrap();
        assert_eq!(config.loopback_users, ["app".into()]);
    }

    #[test]
    fn what_has_no_counterpart_gets_one_warning_each() {
        let (_, warnings) = read(
            "cluster_formation.peer_discovery_backend = k8s\ncluster_partition_handling = pause_minority\n\
             log.file = /var/log/rabbit.log\nmqtt.listeners.tcp.default = 1883\nconnection_max = infinity\n\
             deprecated_features.permit.transient_nonexcl_queues = true\n",
            "",
            &[],
        )
        .unwrap();
        assert_eq!(warnings.len(), 5, "{warnings:#?}");
        let log = warnings
            .iter()
            .find(|line| line.starts_with("log.file ("))
            .unwrap();
        assert!(
            log.contains("rabbitmq.conf line 3) has no effect: "),
            "{log}"
        );
    }

    #[test]
    fn what_rabbitmq_refuses_is_refused_with_key_file_and_line() {
        for (conf, expected) in [
            (
                "\nheartbeat = often",
                "invalid value 'often' for heartbeat (FILE line 2): expected a whole number",
            ),
            (
                "heartbeat = 70000",
                "invalid value '70000' for heartbeat in FILE line 1: ",
            ),
            (
                "hartbeat = 1",
                "unknown key 'hartbeat' (FILE line 1); did you mean 'heartbeat'?",
            ),
            ("# x\nheartbeat", "FILE line 2: expected '=' after the key"),
            (
                "listeners.tcp.1 = localhost:5672",
                "invalid value 'localhost:5672' for listeners.tcp.1 (FILE line 1): ",
            ),
            (
                "load_definitions = /nowhere/at/all",
                "invalid value '/nowhere/at/all' for load_definitions (FILE line 1): ",
            ),
            (
                "vm_memory_high_watermark.relative = 1",
                "invalid value '1' for vm_memory_high_watermark.relative (FILE line 1): ",
            ),
            (
                "ssl_options.crl_check = true",
                "ssl_options.crl_check (FILE line 1) cannot be followed: ",
            ),
            (
                "auth_backends.one = internal",
                "invalid value 'internal' for auth_backends.one (FILE line 1): ",
            ),
            (
                "default_users.u.read = (",
                "invalid value '(' for default_users.u.read (FILE line 1): ",
            ),
            (
                "default_users.u.password = ''",
                "invalid value '(not shown)' for default_users.u.password in FILE line 1: u: a password is not empty",
            ),
            (
                "default_pass = $(NO_SUCH)",
                "invalid value '$(NO_SUCH)' for default_pass (FILE line 1): ",
            ),
        ] {
            let error = read(conf, "", &[]).unwrap_err();
            let place = error
                .split_once("/tmp")
                .map(|(_, rest)| rest.split_once("rabbitmq.conf").unwrap().0.to_owned());
            let shown = error.replace(
                &format!("/tmp{}rabbitmq.conf", place.unwrap_or_default()),
                "FILE",
            );
            assert!(shown.contains(expected), "{conf}: {shown}");
        }
    }

    #[test]
    fn every_option_of_the_table_of_keys_exists() {
        for key in rabbitmq_conf::options() {
            let exists = OPTIONS.iter().any(|option| option.key() == key);
            assert!(exists, "{key}");
        }
    }

    #[test]
    fn missing_files_are_named() {
        let sources = Sources {
            rabbitmq_conf: vec![Path::new("/nowhere/rabbitmq.conf").to_owned()],
            ..Sources::default()
        };
        let error = sources.read(|_| None).unwrap_err().to_string();
        assert!(error.contains("/nowhere/rabbitmq.conf"), "{error}");
    }
}
