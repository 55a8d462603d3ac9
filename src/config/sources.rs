//! The sources of options: command line, environment and file.

use std::path::Path;

use super::option::OptionSpec;
use super::options::OPTIONS;
use super::raw::{ConfigError, RawConfig, Source};
use super::secret_file;
use crate::nearest::nearest;

/// Size of a configuration file in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A source that was added earlier takes precedence: add flags first, then the environment, then the file.
impl RawConfig {
    pub fn add_flags(&mut self, mut flag: impl FnMut(&str) -> Option<Vec<String>>) {
        for option in OPTIONS {
            if let Some(values) = flag(&option.key()) {
                self.set(option, Source::Flag, values);
            }
        }
    }

    /// Empty variables count as unset. Commas separate the items of a list. A secret may be in a file, which `NAME_FILE`
    /// names.
    pub fn add_environment(
        &mut self,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), ConfigError> {
        for option in OPTIONS {
            let value = match option.is_secret() && !has_file_option(option) {
                true => secret_file::value(&option.env(), variable)?,
                false => variable(&option.env()).filter(|value| !value.is_empty()),
            };
            if let Some(value) = value {
                let values = if option.repeatable {
                    value
                        .split(',')
                        .map(|part| part.trim().to_owned())
                        .collect()
                } else {
                    vec![value]
                };
                self.set(option, Source::Environment, values);
            }
        }
        Ok(())
    }

    /// Adds a TOML file. A key that is no option is an error.
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
            let values = match &value {
                toml::Value::Table(table) if option.value == "JSON" => {
                    serde_json::to_string(table).ok().map(|json| vec![json])
                }
                value => toml_values(value),
            };
            let values = values.ok_or_else(|| ConfigError::Invalid {
                origin: format!("{} in {}", key, path.display()),
                value: value.to_string(),
                reason: "expected text, a number, or a list of them".to_owned(),
            })?;
            self.set(option, Source::File(path.to_owned()), values);
        }
        Ok(())
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

/// Whether another option names the file with this secret, so that its variable has that name.
fn has_file_option(secret: &OptionSpec) -> bool {
    let name = secret_file::name(&secret.env());
    OPTIONS.iter().any(|option| option.env() == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Config;

    /// For every option, a value that is not the default, as each source writes it.
    const OTHERS: &[(&str, &str, &str, &str)] = &[
        // field, for the flag, for the environment, for the file
        ("data_dir", "/flag", "/env", "'/file'"),
        ("amqp_listen", "127.0.0.1:1", "127.0.0.1:2", "'127.0.0.1:3'"),
        (
            "amqps_listen",
            "127.0.0.1:1",
            "127.0.0.1:2",
            "'127.0.0.1:3'",
        ),
        ("tls_cert", "/flag", "/env", "'/file'"),
        ("tls_key", "/flag", "/env", "'/file'"),
        ("tls_ca", "/flag", "/env", "'/file'"),
        ("tls_verify", "peer", "peer", "'peer'"),
        ("tls_fail_if_no_peer_cert", "true", "true", "'true'"),
        ("tls_depth", "1", "2", "3"),
        ("tls_versions", "1.2", "1.3", "['1.3', '1.2']"),
        (
            "tls_login_from",
            "common_name",
            "subject_alternative_name",
            "'common_name'",
        ),
        ("tls_login_san_type", "ip", "uri", "'email'"),
        ("tls_login_san_index", "1", "2", "3"),
        ("auth_mechanisms", "PLAIN", "EXTERNAL", "['AMQPLAIN']"),
        (
            "proxy_protocol_from",
            "10.0.0.0/8",
            "fd00::/8",
            "['127.0.0.1']",
        ),
        ("durability", "write", "write:1", "'write:10000'"),
        ("on_damage", "refuse", "refuse", "'refuse'"),
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
        ("default_user_tags", "flag", "env", "['file']"),
        ("default_configure", "flag", "env", "'file'"),
        ("default_write", "flag", "env", "'file'"),
        ("default_read", "flag", "env", "'file'"),
        ("default_vhost", "flag", "env", "'file'"),
        (
            "default_users",
            r#"{"u":{}}"#,
            r#"{"u":{"read":"^r"}}"#,
            r#"{ u = { tags = ["t"] } }"#,
        ),
        (
            "default_limits",
            r#"{"l":{}}"#,
            r#"{"l":{"max_queues":1}}"#,
            r#"'{"l":{"pattern":"^a"}}'"#,
        ),
        ("load_definitions", "/flag", "/env", "'/file'"),
        ("definitions_skip_if_unchanged", "true", "true", "'true'"),
        (
            "auth_backends",
            "http",
            "http+internal",
            "['internal', 'http']",
        ),
        ("auth_cache_ttl", "1", "2", "3"),
        ("auth_cache_refusals", "true", "true", "'true'"),
        ("auth_http_user_url", "http://a", "http://b", "'https://c'"),
        ("auth_http_vhost_url", "http://a", "http://b", "'https://c'"),
        (
            "auth_http_resource_url",
            "http://a",
            "http://b",
            "'https://c'",
        ),
        ("auth_http_topic_url", "http://a", "http://b", "'https://c'"),
        ("auth_http_method", "post", "post", "'post'"),
        ("auth_http_timeout", "1", "2", "3"),
        ("auth_http_ca", "/flag", "/env", "'/file'"),
        ("oauth2_resource_server_id", "flag", "env", "'file'"),
        ("oauth2_resource_server_type", "flag", "env", "'file'"),
        ("oauth2_scope_prefix", "flag", "none", "'file'"),
        ("oauth2_scope_aliases", "a=b", "a=c d", "['a=b', 'b=c']"),
        ("oauth2_additional_scopes_key", "flag", "env", "'file'"),
        (
            "oauth2_preferred_username_claims",
            "flag",
            "env",
            "['a', 'b']",
        ),
        ("oauth2_verify_aud", "false", "false", "'false'"),
        ("oauth2_require_exp", "false", "false", "'false'"),
        ("oauth2_verify_iss", "true", "true", "'true'"),
        ("oauth2_algorithms", "RS256", "ES256", "['EdDSA', 'HS512']"),
        ("oauth2_signing_keys", "k=/flag", "k=/env", "['k=/file']"),
        ("oauth2_default_key", "flag", "env", "'file'"),
        ("oauth2_jwks", "/flag", "https://env", "'/file'"),
        ("oauth2_issuer", "https://a", "https://b", "'https://c'"),
        ("oauth2_discovery_endpoint_path", "flag", "env", "'file'"),
        ("oauth2_jwks_interval", "1", "2", "3"),
        ("oauth2_ca", "/flag", "/env", "'/file'"),
        ("ldap_servers", "flag", "env", "['a', 'b']"),
        ("ldap_port", "1", "2", "3"),
        ("ldap_encryption", "tls", "starttls", "'tls'"),
        ("ldap_ca", "/flag", "/env", "'/file'"),
        ("ldap_timeout", "1", "2", "3"),
        ("ldap_idle_timeout", "1", "2", "3"),
        ("ldap_connection_pool_size", "1", "2", "3"),
        ("ldap_user_dn_pattern", "flag", "env", "'file'"),
        ("ldap_user_bind_pattern", "flag", "env", "'file'"),
        ("ldap_dn_lookup_attribute", "flag", "env", "'file'"),
        ("ldap_dn_lookup_base", "flag", "env", "'file'"),
        ("ldap_dn_lookup_bind", "anon", "cn=env", "'cn=file'"),
        ("ldap_dn_lookup_bind_password", "flag", "env", "'file'"),
        ("ldap_other_bind", "anon", "cn=env", "'cn=file'"),
        ("ldap_other_bind_password", "flag", "env", "'file'"),
        ("ldap_group_lookup_base", "flag", "env", "'file'"),
        (
            "ldap_vhost_access_query",
            "{constant, false}",
            "{'or', []}",
            "'{constant, false}'",
        ),
        (
            "ldap_resource_access_query",
            "{constant, false}",
            "{'or', []}",
            "'{constant, false}'",
        ),
        (
            "ldap_topic_access_query",
            "{constant, false}",
            "{'or', []}",
            "'{constant, false}'",
        ),
        ("ldap_tag_queries", "[]", "[{a, {constant, true}}]", "'[]'"),
        (
            "cluster_listen",
            "127.0.0.1:1",
            "127.0.0.1:2",
            "'127.0.0.1:3'",
        ),
        ("cluster_peers", "a=h:1", "a=h:2", "'a=h:3,b=h:4'"),
        ("node_name", "flag", "env", "'file'"),
        (
            "cluster_secret",
            "a secret of a flag",
            "a secret of the environment",
            "'a secret of a file'",
        ),
        ("cluster_secret_file", "/flag", "/env", "'/file'"),
        ("cluster_tls_cert", "/flag", "/env", "'/file'"),
        ("cluster_tls_key", "/flag", "/env", "'/file'"),
        ("cluster_tls_ca", "/flag", "/env", "'/file'"),
        ("cluster_heartbeat", "1", "2", "3"),
        ("cluster_election_timeout", "51", "52", "53"),
        ("cluster_name", "flag", "env", "'file'"),
        ("default_queue_type", "quorum", "stream", "'stream'"),
        ("password_hashing", "rabbitmq", "rabbitmq", "'rabbitmq'"),
        ("consumer_timeout", "1", "2", "3"),
        ("handshake_timeout", "1", "2", "3"),
        ("server_product", "flag", "env", "'file'"),
        ("shutdown_grace", "1", "2", "3"),
        ("cmq_listen", "127.0.0.1:1", "127.0.0.1:2", "'none'"),
        (
            "cmq_tls_listen",
            "127.0.0.1:1",
            "127.0.0.1:2",
            "'127.0.0.1:3'",
        ),
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
        ("management_listen", "127.0.0.1:1", "127.0.0.1:2", "'none'"),
        (
            "management_tls_listen",
            "127.0.0.1:1",
            "127.0.0.1:2",
            "'127.0.0.1:3'",
        ),
        ("management_connections", "1", "2", "3"),
        (
            "management_cors",
            "*",
            "https://a.example",
            "'https://b.example'",
        ),
        ("prometheus_listen", "127.0.0.1:1", "127.0.0.1:2", "'none'"),
        (
            "prometheus_tls_listen",
            "127.0.0.1:1",
            "127.0.0.1:2",
            "'127.0.0.1:3'",
        ),
        ("log_format", "json", "json", "'json'"),
        ("log_level", "error", "warn", "'debug'"),
    ];

    /// The configuration when the sources that are not `None` set `field`.
    fn config(field: &str, flag: Option<&str>, env: Option<&str>, file: Option<&str>) -> String {
        let option = OPTIONS.iter().find(|option| option.field == field).unwrap();
        let mut raw = RawConfig::default();
        raw.add_flags(|key| {
            flag.filter(|_| key == option.key())
                .map(|value| vec![value.to_owned()])
        });
        raw.add_environment(&|variable| {
            env.filter(|_| variable == option.env()).map(str::to_owned)
        })
        .unwrap();
        if let Some(value) = file {
            raw.add_toml(Path::new("f.toml"), &format!("{} = {value}", option.key()))
                .unwrap();
        }
        // All but the text that names the sources.
        let config = Config {
            shown: "".into(),
            ..Config::from_raw(&raw).unwrap()
        };
        format!("{config:?}")
    }

    #[test]
    fn every_source_sets_every_option_and_flags_take_precedence() {
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
            // An option with two values has the same one in all sources.
            let given = [flag, env, file].map(|value| value.map(|value| value.replace('\'', "")));
            let given: BTreeSet<Option<String>> = given.into_iter().collect();
            assert_eq!(distinct.len(), given.len() + 1, "{field}");
            assert_eq!(config(field, flag, env, file), by_flag, "{field}");
            assert_eq!(config(field, None, env, file), by_env, "{field}");
        }
    }

    #[test]
    fn every_source_takes_lists() {
        let mut raw = RawConfig::default();
        raw.add_environment(&|variable| {
            (variable == "LEVERET_LOOPBACK_USERS").then(|| "a, b,a".to_owned())
        })
        .unwrap();
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
    fn errors_name_source_option_and_reason() {
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
