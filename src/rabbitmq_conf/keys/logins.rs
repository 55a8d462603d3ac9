//! Keys of users, mechanisms and backends.

use super::listeners::{TLS, VERIFY};
use crate::rabbitmq_conf::kind::Kind::{
    File, IfTrue, Infinite, Integer, Pattern, Positive, Secret, Text, TextOrNone, Texts, Truth,
    Words,
};
use crate::rabbitmq_conf::row::Meaning::{
    Adds, Alias, Always, AnonymousUser, Backend, Field, Marks, Pairs, Refused, Sets, Without,
};
use crate::rabbitmq_conf::row::{AliasPart, Row, Step, row};

const NONE: &[(&str, &str)] = &[("none", "none")];
const BACKENDS: &[(&str, &str)] = &[
    ("internal", "internal"),
    ("rabbit_auth_backend_internal", "internal"),
    ("http", "http"),
    ("rabbit_auth_backend_http", "http"),
    ("oauth2", "oauth2"),
    ("oauth", "oauth2"),
    ("rabbit_auth_backend_oauth2", "oauth2"),
    ("ldap", "ldap"),
    ("rabbit_auth_backend_ldap", "ldap"),
    ("cache", "cache"),
    ("rabbit_auth_backend_cache", "cache"),
];
/// Whom anonymous clients log in as; with `none` they cannot.
const ANONYMOUS: &[(&str, &str)] = &[("guest", "guest"), ("none", "none")];
const HASHINGS: &[(&str, &str)] = &[
    ("rabbit_password_hashing_sha256", "rabbitmq"),
    ("rabbit_password_hashing_sha512", "rabbitmq"),
];
const METHODS: &[(&str, &str)] = &[("get", "get"), ("post", "post")];
const ONE_SERVER: &str = "one resource server with one provider can be configured";

pub(super) const ROWS: &[Row] = &[
    row("loopback_users", Words(NONE), Adds("loopback-users")),
    row("loopback_users.$", Truth, Marks("loopback-users")),
    row("default_user", Text, Sets("default-user")),
    row("default_pass", Secret, Sets("default-pass")),
    row("default_vhost", Text, Sets("default-vhost")),
    row("default_user_tags.$", Truth, Marks("default-user-tags")),
    row(
        "default_permissions.configure",
        Text,
        Sets("default-configure"),
    ),
    row("default_permissions.write", Text, Sets("default-write")),
    row("default_permissions.read", Text, Sets("default-read")),
    row(
        "default_users.$.vhost_pattern",
        Pattern,
        Field("default-users"),
    ),
    row("default_users.$.password", Secret, Field("default-users")),
    row("default_users.$.configure", Pattern, Field("default-users")),
    row("default_users.$.read", Pattern, Field("default-users")),
    row("default_users.$.write", Pattern, Field("default-users")),
    row("default_users.$.tags", Texts, Field("default-users")),
    row(
        "default_limits.vhosts.$.pattern",
        Pattern,
        Field("default-limits"),
    ),
    row(
        "default_limits.vhosts.$.max_connections",
        Positive,
        Field("default-limits"),
    ),
    row(
        "default_limits.vhosts.$.max_queues",
        Positive,
        Field("default-limits"),
    ),
    row(
        "default_policies.*",
        Text,
        Without(
            "new virtual hosts get no operator policies: use set_operator_policy or a definitions file",
        ),
    ),
    row("anonymous_login_user", Words(ANONYMOUS), AnonymousUser),
    row(
        "anonymous_login_pass",
        Secret,
        Refused(
            &["guest"],
            "anonymous clients are guest, with its first password",
        ),
    ),
    row(
        "password_hashing_module",
        Words(HASHINGS),
        Sets("password-hashing"),
    ),
    row(
        "credential_validator.*",
        Text,
        Without("new passwords are not checked"),
    ),
    row(
        "credentials_obfuscation.*",
        Text,
        Without("there are no logs of crashed Erlang processes"),
    ),
    row("auth_mechanisms.$", Text, Adds("auth-mechanisms")),
    row("auth_backends.$", Words(BACKENDS), Backend(Step::Both)),
    row(
        "auth_backends.$.authn",
        Words(BACKENDS),
        Backend(Step::Authn),
    ),
    row(
        "auth_backends.$.authz",
        Words(BACKENDS),
        Backend(Step::Authz),
    ),
    row(
        "auth_cache.cached_backend",
        Words(BACKENDS),
        Backend(Step::CachedBoth),
    ),
    row(
        "auth_cache.cached_backend.authn",
        Words(BACKENDS),
        Backend(Step::CachedAuthn),
    ),
    row(
        "auth_cache.cached_backend.authz",
        Words(BACKENDS),
        Backend(Step::CachedAuthz),
    ),
    row("auth_cache.cache_ttl", Integer, Sets("auth-cache-ttl")),
    row(
        "auth_cache.cache_refusals",
        Truth,
        Sets("auth-cache-refusals"),
    ),
    row(
        "auth_cache.cache_module",
        Text,
        Without("the cache decides this"),
    ),
    row(
        "http_dispatch.*",
        Text,
        Without("the management API asks the backends of auth_backends"),
    ),
    row(
        "auth_http.http_method",
        Words(METHODS),
        Sets("auth-http-method"),
    ),
    row("auth_http.user_path", Text, Sets("auth-http-user-url")),
    row("auth_http.vhost_path", Text, Sets("auth-http-vhost-url")),
    row(
        "auth_http.resource_path",
        Text,
        Sets("auth-http-resource-url"),
    ),
    row("auth_http.topic_path", Text, Sets("auth-http-topic-url")),
    row(
        "auth_http.request_timeout",
        Integer,
        Sets("auth-http-timeout"),
    ),
    row(
        "auth_http.connection_timeout",
        Integer,
        Without("auth_http.request_timeout holds for the whole request"),
    ),
    row(
        "auth_http.ssl_options.cacertfile",
        File,
        Sets("auth-http-ca"),
    ),
    row(
        "auth_http.ssl_options.verify",
        Words(VERIFY),
        Refused(
            &["verify_peer"],
            "the server's certificate is always checked",
        ),
    ),
    row("auth_http.ssl_options.password", Secret, Without(TLS)),
    row("auth_http.*", Text, Without(TLS)),
    row(
        "auth_oauth2.resource_server_id",
        Text,
        Sets("oauth2-resource-server-id"),
    ),
    row(
        "auth_oauth2.resource_server_type",
        Text,
        Sets("oauth2-resource-server-type"),
    ),
    row(
        "auth_oauth2.scope_prefix",
        TextOrNone,
        Sets("oauth2-scope-prefix"),
    ),
    row(
        "auth_oauth2.scope_aliases.$",
        Text,
        Pairs("oauth2-scope-aliases"),
    ),
    row(
        "auth_oauth2.scope_aliases.$.alias",
        Text,
        Alias(AliasPart::Role),
    ),
    row(
        "auth_oauth2.scope_aliases.$.scope",
        Text,
        Alias(AliasPart::Scopes),
    ),
    row(
        "auth_oauth2.additional_scopes_key",
        Text,
        Sets("oauth2-additional-scopes-key"),
    ),
    row(
        "auth_oauth2.preferred_username_claims.$",
        Text,
        Adds("oauth2-preferred-username-claims"),
    ),
    row("auth_oauth2.issuer", Text, Sets("oauth2-issuer")),
    row("auth_oauth2.jwks_uri", Text, Sets("oauth2-jwks")),
    row("auth_oauth2.jwks_url", Text, Sets("oauth2-jwks")),
    row(
        "auth_oauth2.signing_keys.$",
        File,
        Pairs("oauth2-signing-keys"),
    ),
    row("auth_oauth2.default_key", Text, Sets("oauth2-default-key")),
    row("auth_oauth2.verify_aud", Truth, Sets("oauth2-verify-aud")),
    row("auth_oauth2.require_exp", Truth, Sets("oauth2-require-exp")),
    row(
        "auth_oauth2.discovery_endpoint_path",
        Text,
        Sets("oauth2-discovery-endpoint-path"),
    ),
    row("auth_oauth2.algorithms.$", Text, Adds("oauth2-algorithms")),
    row("auth_oauth2.https.cacertfile", File, Sets("oauth2-ca")),
    row(
        "auth_oauth2.https.verify",
        Words(VERIFY),
        Refused(
            &["verify_peer"],
            "the provider's certificate is always checked",
        ),
    ),
    row(
        "auth_oauth2.https.peer_verification",
        Words(VERIFY),
        Refused(
            &["verify_peer"],
            "the provider's certificate is always checked",
        ),
    ),
    row("auth_oauth2.https.*", Text, Without(TLS)),
    row(
        "auth_oauth2.resource_servers.*",
        Text,
        Refused(&[], ONE_SERVER),
    ),
    row(
        "auth_oauth2.oauth_providers.*",
        Text,
        Refused(&[], ONE_SERVER),
    ),
    row(
        "auth_oauth2.*",
        Text,
        Without("the broker needs it for no login"),
    ),
    row("auth_ldap.servers", Words(NONE), Adds("ldap-servers")),
    row("auth_ldap.servers.$", Text, Adds("ldap-servers")),
    row("auth_ldap.port", Integer, Sets("ldap-port")),
    row("auth_ldap.use_ssl", IfTrue("tls"), Sets("ldap-encryption")),
    row(
        "auth_ldap.use_starttls",
        IfTrue("starttls"),
        Sets("ldap-encryption"),
    ),
    row(
        "auth_ldap.user_dn_pattern",
        Text,
        Sets("ldap-user-dn-pattern"),
    ),
    row(
        "auth_ldap.user_bind_pattern",
        Text,
        Sets("ldap-user-bind-pattern"),
    ),
    row(
        "auth_ldap.dn_lookup_attribute",
        Text,
        Sets("ldap-dn-lookup-attribute"),
    ),
    row(
        "auth_ldap.dn_lookup_base",
        Text,
        Sets("ldap-dn-lookup-base"),
    ),
    row("auth_ldap.ssl_options", Words(NONE), Always(&["none"], TLS)),
    // The entry by its name is more than the word.
    row(
        "auth_ldap.dn_lookup_bind.user_dn",
        Text,
        Sets("ldap-dn-lookup-bind"),
    ),
    row(
        "auth_ldap.dn_lookup_bind.password",
        Secret,
        Sets("ldap-dn-lookup-bind-password"),
    ),
    row(
        "auth_ldap.dn_lookup_bind",
        Text,
        Sets("ldap-dn-lookup-bind"),
    ),
    row(
        "auth_ldap.other_bind.user_dn",
        Text,
        Sets("ldap-other-bind"),
    ),
    row(
        "auth_ldap.other_bind.password",
        Secret,
        Sets("ldap-other-bind-password"),
    ),
    row("auth_ldap.other_bind", Text, Sets("ldap-other-bind")),
    row(
        "auth_ldap.group_lookup_base",
        Text,
        Sets("ldap-group-lookup-base"),
    ),
    row(
        "auth_ldap.queries.vhost_access",
        Text,
        Sets("ldap-vhost-access-query"),
    ),
    row(
        "auth_ldap.queries.resource_access",
        Text,
        Sets("ldap-resource-access-query"),
    ),
    row(
        "auth_ldap.queries.topic_access",
        Text,
        Sets("ldap-topic-access-query"),
    ),
    row("auth_ldap.queries.tags", Text, Sets("ldap-tag-queries")),
    row("auth_ldap.timeout", Infinite, Sets("ldap-timeout")),
    row(
        "auth_ldap.connection_pool_size",
        Integer,
        Sets("ldap-connection-pool-size"),
    ),
    row("auth_ldap.ssl_options.cacertfile", File, Sets("ldap-ca")),
    row(
        "auth_ldap.ssl_options.verify",
        Words(VERIFY),
        Refused(
            &["verify_peer"],
            "the server's certificate is always checked",
        ),
    ),
    row("auth_ldap.ssl_options.*", Text, Without(TLS)),
    row(
        "auth_ldap.idle_timeout",
        Infinite,
        Sets("ldap-idle-timeout"),
    ),
    row(
        "auth_ldap.log",
        Text,
        Always(&["false"], "log-level decides this"),
    ),
];
