//! Keys of the management API and of the metrics.

use super::listeners::TLS;
use crate::rabbitmq_conf::kind::Kind::{
    File, Infinite, Integer, Ip, ListenerOrNone, Port, Secret, Text, Truth, Words,
};
use crate::rabbitmq_conf::row::Meaning::{Adds, Always, Refused, Sets, Web, Without};
use crate::rabbitmq_conf::row::{Door, Part, Row, row};

const NONE: &[(&str, &str)] = &[("none", "none")];
const SERVER: &str = "the HTTP server has limits of its own";
const PAGE: &str = "the web page has headers of its own";
const STATISTICS: &str = "statistics are taken every 5 s of what is looked at";
/// Certificates of their own for the HTTP listeners do not exist.
const ONE_CERTIFICATE: &str = "all listeners share the certificate of ssl_options";

pub(super) const ROWS: &[Row] = &[
    row("management.tcp.ip", Ip, Web(Door::Management, Part::Ip)),
    row(
        "management.tcp.port",
        Port,
        Web(Door::Management, Part::Port),
    ),
    row(
        "management.tcp.max_connections",
        Infinite,
        Sets("management-connections"),
    ),
    row("management.tcp.*", Text, Without(SERVER)),
    row("management.ssl.ip", Ip, Web(Door::ManagementTls, Part::Ip)),
    row(
        "management.ssl.port",
        Port,
        Web(Door::ManagementTls, Part::Port),
    ),
    row("management.ssl.certfile", File, Sets("tls-cert")),
    row("management.ssl.keyfile", File, Sets("tls-key")),
    row("management.ssl.cacertfile", File, Sets("tls-ca")),
    row(
        "management.ssl.password",
        Secret,
        Refused(&[], "keys that are encrypted cannot be read"),
    ),
    row(
        "management.ssl.verify",
        Text,
        Always(&["verify_none"], ONE_CERTIFICATE),
    ),
    row(
        "management.ssl.fail_if_no_peer_cert",
        Truth,
        Always(&["false"], ONE_CERTIFICATE),
    ),
    row(
        "management.ssl.max_connections",
        Infinite,
        Sets("management-connections"),
    ),
    row(
        "management.ssl.honor_cipher_order",
        Truth,
        Always(&["true"], TLS),
    ),
    row(
        "management.ssl.honor_ecc_order",
        Truth,
        Always(&["true"], TLS),
    ),
    row(
        "management.ssl.client_renegotiation",
        Truth,
        Always(&["false"], TLS),
    ),
    row(
        "management.ssl.secure_renegotiate",
        Truth,
        Always(&["true"], TLS),
    ),
    row("management.ssl.*", Text, Without(TLS)),
    row(
        "management.listener.ip",
        Ip,
        Web(Door::Management, Part::Ip),
    ),
    row(
        "management.listener.port",
        Port,
        Web(Door::Management, Part::Port),
    ),
    row(
        "management.listener.ssl",
        Truth,
        Refused(&["false"], "say management.ssl.port instead"),
    ),
    row("management.listener.*", Text, Without(SERVER)),
    row(
        "management.cors.allow_origins",
        Words(NONE),
        Adds("management-cors"),
    ),
    row(
        "management.cors.allow_origins.$",
        Text,
        Adds("management-cors"),
    ),
    row(
        "management.cors.max_age",
        Integer,
        Without("browsers ask again after 10 minutes"),
    ),
    row(
        "management.path_prefix",
        Text,
        Without("a reverse proxy can take the prefix away"),
    ),
    row(
        "management.disable_basic_auth",
        Truth,
        Refused(&["false"], "the API is always open to Basic logins"),
    ),
    row(
        "management.disable_stats",
        Truth,
        Always(&["false"], STATISTICS),
    ),
    row("management.enable_queue_totals", Truth, Without(STATISTICS)),
    row(
        "management.rates_mode",
        Text,
        Always(&["basic", "detailed"], STATISTICS),
    ),
    row(
        "management.sample_retention_policies.*",
        Integer,
        Without(STATISTICS),
    ),
    row(
        "management.db_cache_multiplier",
        Integer,
        Without(STATISTICS),
    ),
    row(
        "management.delegate_count",
        Integer,
        Without("there are no Erlang processes"),
    ),
    row(
        "management.http_log_dir",
        Text,
        Without("requests are not logged"),
    ),
    row("management.http.*", Text, Without(SERVER)),
    row(
        "management.definitions.*",
        Text,
        Without("definitions are taken from the body, whatever their file is called"),
    ),
    row(
        "management.login_session_timeout",
        Integer,
        Without("the page asks for the login again when the browser has forgotten it"),
    ),
    row(
        "management.credential_encryption_secret",
        Secret,
        Without(PAGE),
    ),
    row("management.csp.policy", Text, Without(PAGE)),
    row("management.hsts.policy", Text, Without(PAGE)),
    row("management.headers.*", Text, Without(PAGE)),
    row(
        "management.oauth_enabled",
        Truth,
        Always(
            &["false"],
            "the page logs in by name and password; the API takes tokens",
        ),
    ),
    row(
        "management.require_auth_for_api_reference",
        Truth,
        Without("the description of the API is no secret"),
    ),
    row(
        "management.restrictions.operator_policy_changes.disabled",
        Truth,
        Refused(
            &["false"],
            "administrators can always change operator policies",
        ),
    ),
    row(
        "management.restrictions.quorum_queue_replica_operations.disabled",
        Truth,
        Without("queues have no replicas"),
    ),
    row(
        "management.*",
        Text,
        Without("the page logs in by name and password; the API takes tokens"),
    ),
    row(
        "management_agent.disable_metrics_collector",
        Truth,
        Without(STATISTICS),
    ),
    row("management_agent.*", Text, Without(STATISTICS)),
    row("collect_statistics", Text, Without(STATISTICS)),
    row("collect_statistics_interval", Integer, Without(STATISTICS)),
    row("prometheus.tcp.ip", Ip, Web(Door::Prometheus, Part::Ip)),
    row(
        "prometheus.tcp.port",
        Port,
        Web(Door::Prometheus, Part::Port),
    ),
    row(
        "prometheus.tcp.listener",
        ListenerOrNone,
        Web(Door::Prometheus, Part::Whole),
    ),
    row("prometheus.tcp.*", Text, Without(SERVER)),
    row("prometheus.ssl.ip", Ip, Web(Door::PrometheusTls, Part::Ip)),
    row(
        "prometheus.ssl.port",
        Port,
        Web(Door::PrometheusTls, Part::Port),
    ),
    row("prometheus.ssl.certfile", File, Sets("tls-cert")),
    row("prometheus.ssl.keyfile", File, Sets("tls-key")),
    row("prometheus.ssl.cacertfile", File, Sets("tls-ca")),
    row(
        "prometheus.ssl.password",
        Secret,
        Refused(&[], "keys that are encrypted cannot be read"),
    ),
    row("prometheus.ssl.*", Text, Without(TLS)),
    row(
        "prometheus.authentication.enabled",
        Truth,
        Refused(
            &["false"],
            "the metrics need no login: bind them to a private address",
        ),
    ),
    row(
        "prometheus.path",
        Text,
        Always(&["/metrics"], "the metrics are at /metrics"),
    ),
    row(
        "prometheus.return_per_object_metrics",
        Truth,
        Always(&["false"], "they are at /metrics/per-object"),
    ),
    row(
        "prometheus.filter_aggregated_queue_metrics_pattern",
        Text,
        Without("the metrics of all queues count"),
    ),
];
