//! Keys of listeners, sockets and TLS.

use crate::rabbitmq_conf::kind::Kind::{File, Infinite, Integer, Listener, Text, Truth, Words};
use crate::rabbitmq_conf::row::Meaning::{Adds, Always, Refused, Sets, Spreads, Without};
use crate::rabbitmq_conf::row::{Row, row};

const NONE: &[(&str, &str)] = &[("none", "none")];
pub(super) const VERIFY: &[(&str, &str)] = &[("verify_peer", "peer"), ("verify_none", "none")];
/// Trusts every address to name another, as RabbitMQ does.
const PROXIES: &[(&str, &str)] = &[("true", "0.0.0.0/0,::/0"), ("false", "none")];
const LOGIN_FROM: &[(&str, &str)] = &[
    ("distinguished_name", "distinguished_name"),
    ("common_name", "common_name"),
    ("subject_alternative_name", "subject_alternative_name"),
    ("subject_alt_name", "subject_alternative_name"),
];
const SAN_TYPES: &[(&str, &str)] = &[
    ("dns", "dns"),
    ("ip", "ip"),
    ("email", "email"),
    ("uri", "uri"),
    ("other_name", "other_name"),
];
const VERSIONS: &[(&str, &str)] = &[("tlsv1.2", "1.2"), ("tlsv1.3", "1.3")];
pub(super) const TLS: &str = "the TLS library decides this";
const SOCKETS: &str = "the broker sets the options of its sockets itself";

pub(super) const ROWS: &[Row] = &[
    row("listeners.tcp", Words(NONE), Adds("amqp-listen")),
    row("listeners.tcp.$", Listener, Adds("amqp-listen")),
    row("listeners.ssl", Words(NONE), Adds("amqps-listen")),
    row("listeners.ssl.$", Listener, Adds("amqps-listen")),
    row(
        "listeners.startup_delay",
        Integer,
        Without("listeners open when the broker is ready"),
    ),
    row(
        "num_acceptors.tcp",
        Integer,
        Without("one task accepts the connections of a listener"),
    ),
    row(
        "num_acceptors.ssl",
        Integer,
        Without("one task accepts the connections of a listener"),
    ),
    row("handshake_timeout", Infinite, Sets("handshake-timeout")),
    row(
        "ssl_handshake_timeout",
        Integer,
        Without("handshake_timeout holds for TLS too"),
    ),
    row(
        "reverse_dns_lookups",
        Truth,
        Always(&["false"], "peers are named by their addresses"),
    ),
    row(
        "proxy_protocol",
        Words(PROXIES),
        Spreads("proxy-protocol-from"),
    ),
    row("tcp_listen_options", Words(NONE), Without(SOCKETS)),
    row(
        "tcp_listen_options.backlog",
        Integer,
        Without("1024 connections wait until they are accepted"),
    ),
    row(
        "tcp_listen_options.nodelay",
        Truth,
        Always(&["true"], "small frames are sent without a delay"),
    ),
    row(
        "tcp_listen_options.exit_on_close",
        Truth,
        Always(&["false"], SOCKETS),
    ),
    row("tcp_listen_options.*", Text, Without(SOCKETS)),
    row(
        "socket_writer.gc_threshold",
        Text,
        Without("there is no garbage collector"),
    ),
    row("ssl_options", Words(NONE), Always(&["none"], "")),
    row("ssl_options.cacertfile", File, Sets("tls-ca")),
    row("ssl_options.certfile", File, Sets("tls-cert")),
    row("ssl_options.keyfile", File, Sets("tls-key")),
    row("ssl_options.verify", Words(VERIFY), Sets("tls-verify")),
    row(
        "ssl_options.fail_if_no_peer_cert",
        Truth,
        Sets("tls-fail-if-no-peer-cert"),
    ),
    row("ssl_options.depth", Integer, Sets("tls-depth")),
    row(
        "ssl_options.versions.$",
        Words(VERSIONS),
        Adds("tls-versions"),
    ),
    row(
        "ssl_options.crl_check",
        Text,
        Refused(&["false"], "revoked certificates cannot be recognized"),
    ),
    row(
        "ssl_options.password",
        Text,
        Refused(&[], "keys that are encrypted cannot be read"),
    ),
    row(
        "ssl_options.client_renegotiation",
        Truth,
        Always(&["false"], "clients cannot renegotiate"),
    ),
    row(
        "ssl_options.honor_cipher_order",
        Truth,
        Always(&["true"], TLS),
    ),
    row("ssl_options.honor_ecc_order", Truth, Always(&["true"], TLS)),
    row(
        "ssl_options.secure_renegotiate",
        Truth,
        Always(&["true"], "clients cannot renegotiate"),
    ),
    row("ssl_options.*", Text, Without(TLS)),
    row(
        "ssl_allow_poodle_attack",
        Truth,
        Always(&["false"], "old versions of TLS are not spoken"),
    ),
    row(
        "ssl_cert_login_from",
        Words(LOGIN_FROM),
        Sets("tls-login-from"),
    ),
    row(
        "ssl_cert_login_san_type",
        Words(SAN_TYPES),
        Sets("tls-login-san-type"),
    ),
    row(
        "ssl_cert_login_san_index",
        Integer,
        Sets("tls-login-san-index"),
    ),
    row(
        "trust_store.*",
        Text,
        Without("client certificates are trusted by ssl_options.cacertfile only"),
    ),
];
