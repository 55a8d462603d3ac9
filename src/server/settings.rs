//! Translates the configuration into the settings of each room.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use tracing::{info, warn};

use super::error::StartError;
use super::logins;
use crate::auth::{Chain, HttpSettings};
use crate::broker::broker::{BrokerConfig, Defaults};
use crate::broker::password::NewPasswords;
use crate::clock::Mandate;
use crate::config::{self, Config, Durability, PasswordHashing, RawConfig};
use crate::files::{self, Shares};
use crate::model::arguments::QueueKind;
use crate::net::{AlternativeName, ClientCertificates, LoginFrom, TlsSettings, TlsVersion};
use crate::store::{FjallOptions, Limits, OnDamage};
use crate::views::AmqpLimits;
use crate::{amqp, auth, cmq, management, memory, metrics, node};

/// The backends of logins.
pub fn auth_config(config: &Config) -> Result<auth::Settings, StartError> {
    let ca = config.auth_http_ca.as_ref().map(|path| {
        fs::read(path).map_err(|error| StartError::Unreadable {
            path: path.clone(),
            error,
        })
    });
    Ok(auth::Settings {
        chain: Chain::new(config.auth_backends.iter().copied()),
        cache_ttl: config.auth_cache_ttl,
        caches_refusals: config.auth_cache_refusals,
        http: HttpSettings {
            user: config.auth_http_user_url.clone(),
            vhost: config.auth_http_vhost_url.clone(),
            resource: config.auth_http_resource_url.clone(),
            topic: config.auth_http_topic_url.clone(),
            method: config.auth_http_method,
            timeout: config.auth_http_timeout,
            ca: ca.transpose()?,
        },
        oauth2: logins::oauth2(config),
        ldap: logins::ldap(config),
    })
}

pub(super) fn broker(config: &Config, auth: auth::Settings, mandate: Arc<Mandate>) -> BrokerConfig {
    BrokerConfig {
        mandate,
        loopback_users: config.loopback_users.clone(),
        memory_bytes: config.memory_budget,
        defaults: config.load_definitions.is_none().then(|| Defaults {
            user: config.default_user.clone(),
            pass: config.default_pass.clone(),
            tags: config.default_user_tags.clone(),
            vhost: config.default_vhost.clone(),
            permissions: [
                config.default_configure.clone(),
                config.default_write.clone(),
                config.default_read.clone(),
            ],
        }),
        default_users: config.default_users.clone(),
        default_limits: config.default_limits.clone(),
        new_passwords: match config.password_hashing {
            PasswordHashing::Argon2id => NewPasswords::Argon2id,
            PasswordHashing::RabbitMq => NewPasswords::RabbitSha256,
        },
        auth: Some(auth),
        cluster_name: node::name(),
        default_queue_kind: Some(config.default_queue_type)
            .filter(|kind| *kind != QueueKind::Classic),
        ..BrokerConfig::default()
    }
}

/// Numbers of connections that the configuration asks for.
fn wanted(config: &Config) -> files::Wanted {
    let if_listens = |plain: &[Option<SocketAddr>], tls: &[Option<SocketAddr>], connections| {
        let listens = plain.iter().chain(tls).any(Option::is_some);
        if listens { connections } else { 0 }
    };
    files::Wanted {
        amqp: config.connection_max,
        cmq: if_listens(
            &config.cmq_listen,
            &config.cmq_tls_listen,
            config.cmq_connections,
        ),
        management: if_listens(
            &config.management_listen,
            &config.management_tls_listen,
            config.management_connections,
        ),
        pushes: config.cmq_push_connections.into(),
        per_client: 1 + usize::from(config.cluster_listen.is_some()),
    }
}

/// What operators see of the limits of AMQP clients.
pub(super) fn amqp_limits(config: &Config) -> AmqpLimits {
    AmqpLimits {
        connections_max: connection_max(config),
        consumer_timeout_ms: u64::try_from(config.consumer_timeout.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Maximum number of AMQP connections that the configuration asks for and the limit of file descriptors allows.
pub(super) fn connection_max(config: &Config) -> usize {
    files::share(files::limit(), wanted(config))
        .amqp
        .authenticated
}

/// Raises the limit of file descriptors, divides them between store and front doors, and logs the result.
pub(super) fn share_files(config: &Config) -> Shares {
    let limit = files::raise_limit();
    let wanted = wanted(config);
    let shares = files::share(limit, wanted);
    let (amqp, cmq) = (shares.amqp.authenticated, shares.cmq.authenticated);
    let limit = limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
    info!(limit, store = shares.store, amqp, cmq, "file descriptors");
    // The defaults exceed the needs of most brokers, so fewer than a default deserves no warning.
    let default = Config::from_raw(&RawConfig::default()).ok();
    let default = default.map(|config| (config.connection_max, config.cmq_connections));
    let (default_amqp, default_cmq) = default.unzip();
    let is_short = |given, wanted, default| given < wanted && Some(wanted) != default;
    if is_short(amqp, wanted.amqp, default_amqp) || is_short(cmq, wanted.cmq, default_cmq) {
        warn!(
            limit,
            amqp,
            cmq,
            "fewer connections than configured may be open: raise the limit of file descriptors (ulimit -n, LimitNOFILE)"
        );
    }
    shares
}

pub fn cmq_config(config: &Config, shares: &Shares) -> cmq::CmqConfig {
    cmq::CmqConfig {
        connections: shares.cmq,
        newcomer_timeout: config.handshake_timeout,
        clock_skew_ms: u64::try_from(config.cmq_clock_skew.as_millis()).unwrap_or(u64::MAX),
        replays_max: config.cmq_replay_memory,
        batch_max: config.cmq_batch.into(),
        batch_bytes_max: config.cmq_batch_size,
        requests_max: config.cmq_requests,
        name_rest: config.cmq_name_rest,
        queues_max: config.cmq_queues,
        heap_max: config.cmq_heap,
        message_bytes_max: config.cmq_message_size,
        polling_wait_max_secs: config.cmq_polling_wait,
        visibility_timeout_max_secs: config.cmq_visibility_timeout,
        retention_max_secs: config.cmq_retention,
        delay_max_secs: config.cmq_delay,
        delayed_max: config.cmq_delayed,
        unacked_max: config.cmq_unacked,
        dead_letter_sources_max: config.cmq_dead_letter_sources,
        topics_max: config.cmq_topics,
        subscriptions_max: config.cmq_subscriptions,
        filters_max: config.cmq_filters,
        tag_chars_max: config.cmq_tag_size,
        key_bytes_max: config.cmq_key_size,
        push: cmq::PushConfig {
            second: config.cmq_push_second,
            timeout: config.cmq_push_timeout,
            connections_max: shares.pushes,
            endpoint_connections_max: config.cmq_push_endpoint_connections.into(),
            allowed: config.cmq_push_allow.iter().flatten().copied().collect(),
        },
    }
}

pub fn management_config(config: &Config, shares: &Shares) -> management::ManagementConfig {
    management::ManagementConfig {
        connections: shares.management,
        newcomer_timeout: config.handshake_timeout,
        cors_origins: config.management_cors.iter().flatten().cloned().collect(),
        tls: None,
    }
}

/// The settings of TLS, if a certificate and key are configured.
pub(super) fn tls(config: &Config) -> Result<Option<TlsSettings>, StartError> {
    let (certificate, key) = match (&config.tls_cert, &config.tls_key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        (Some(_), None) => return Err(StartError::Missing("tls-cert needs tls-key")),
        (None, Some(_)) => return Err(StartError::Missing("tls-key needs tls-cert")),
    };
    let clients = match (config.tls_verify, config.tls_fail_if_no_peer_cert) {
        (config::TlsVerify::None, false) => ClientCertificates::Ignored,
        (config::TlsVerify::Peer, false) => ClientCertificates::Checked,
        (config::TlsVerify::Peer, true) => ClientCertificates::Required,
        (config::TlsVerify::None, true) => {
            let missing = "tls-fail-if-no-peer-cert needs tls-verify peer";
            return Err(StartError::Missing(missing));
        }
    };
    if clients != ClientCertificates::Ignored && config.tls_ca.is_none() {
        return Err(StartError::Missing("tls-verify peer needs tls-ca"));
    }
    let version = |version: &config::TlsVersion| match version {
        config::TlsVersion::V1_2 => TlsVersion::V1_2,
        config::TlsVersion::V1_3 => TlsVersion::V1_3,
    };
    Ok(Some(TlsSettings {
        certificate,
        key,
        authorities: config.tls_ca.clone(),
        clients,
        depth: config.tls_depth,
        versions: config.tls_versions.iter().map(version).collect(),
    }))
}

pub fn metrics_config(config: &Config) -> metrics::MetricsConfig {
    metrics::MetricsConfig {
        connections: files::METRICS,
        newcomer_timeout: config.handshake_timeout,
    }
}

pub(super) fn amqp(config: &Config, shares: &Shares) -> amqp::Settings {
    let timeout_ms = u64::try_from(config.consumer_timeout.as_millis()).unwrap_or(u64::MAX);
    amqp::Settings {
        channel_max: config.channel_max,
        frame_max: config.frame_max,
        heartbeat_secs: config.heartbeat,
        message_bytes_max: config.max_message_size,
        consumer_timeout_ms: (timeout_ms > 0).then_some(timeout_ms),
        connections: shares.amqp,
        handshake_timeout: config.handshake_timeout,
        server_product: config.server_product.to_string(),
        mechanisms: config.auth_mechanisms.iter().map(mechanism).collect(),
        login_from: login_from(config),
    }
}

fn mechanism(mechanism: &config::AuthMechanism) -> amqp::Mechanism {
    match mechanism {
        config::AuthMechanism::Plain => amqp::Mechanism::Plain,
        config::AuthMechanism::AmqPlain => amqp::Mechanism::AmqPlain,
        config::AuthMechanism::Anonymous => amqp::Mechanism::Anonymous,
        config::AuthMechanism::External => amqp::Mechanism::External,
    }
}

fn login_from(config: &Config) -> LoginFrom {
    let kind = match config.tls_login_san_type {
        config::TlsSanType::Dns => AlternativeName::Dns,
        config::TlsSanType::Ip => AlternativeName::Ip,
        config::TlsSanType::Email => AlternativeName::Email,
        config::TlsSanType::Uri => AlternativeName::Uri,
        config::TlsSanType::OtherName => AlternativeName::Other,
    };
    match config.tls_login_from {
        config::TlsLoginFrom::DistinguishedName => LoginFrom::DistinguishedName,
        config::TlsLoginFrom::CommonName => LoginFrom::CommonName,
        config::TlsLoginFrom::SubjectAlternativeName => {
            LoginFrom::AlternativeName(kind, config.tls_login_san_index)
        }
    }
}

/// The options of the store.
pub(super) fn store(config: &Config, shares: &Shares) -> FjallOptions {
    FjallOptions {
        cached_files: shares.cached,
        on_damage: match config.on_damage {
            config::OnDamage::Refuse => OnDamage::Refuse,
            config::OnDamage::Recover => OnDamage::Recover,
        },
        ..FjallOptions::default()
    }
}

/// The limits of the committer.
pub(super) fn commit_limits(config: &Config) -> Limits {
    Limits {
        disk_free_min: config.disk_free_limit.bytes(memory::total_bytes()),
        sync_within: match config.durability {
            Durability::Sync => None,
            Durability::Write(within) => Some(within),
        },
        ..Limits::default()
    }
}
