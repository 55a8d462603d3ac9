//! The table of all options. A row has the field of [`Config`], from which flag (`--data-dir`), environment variable
//! (`LEVERET_DATA_DIR`) and key in the file (`data-dir`) follow; the type, the parser, the default and the help. `live` at its end: a
//! running broker takes a new value; all others wait for the next start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::option::{OptionSpec, Reload};
use super::parse;
use super::parse_cluster::{election_timeout, node_name_or_none, peers, secret_or_none};
use super::parse_logins::{
    algorithm_or_none, alias_or_none, attribute_or_none, bind, encryption, jwks_or_none,
    key_file_or_none, query, safe_url_or_none, scope_prefix, tag_queries, text, text_or_none,
};
use super::raw::{ConfigError, RawConfig};
use super::values::{
    AuthMechanism, ClusterPeer, DiskFreeLimit, Durability, LogFormat, LogLevel, MemoryWatermark,
    OnDamage, PasswordHashing, TlsLoginFrom, TlsSanType, TlsVerify, TlsVersion,
};
use crate::auth::ldap::{Bind, Encryption, Query, TagQueries};
use crate::auth::oauth2::KeySource;
use crate::auth::{HttpMethod, Link, Url};
use crate::model::arguments::QueueKind;
use crate::model::vhost_defaults::{DefaultLimits, DefaultUsers};
use crate::model::{IpRange, Name};

/// Makes [`Config`] and [`OPTIONS`] from the rows. `one` takes a single value, `many` a list.
macro_rules! options {
    ($($(#[doc = $help:literal])+ $field:ident: $type:ty = $arity:ident($parse:path), $value:literal, $default:literal
        $(, $live:ident)?;)+) => {
        /// The complete configuration.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[doc = $help])+ pub $field: $type,)+
            /// Each setting with its source, as a line of a configuration file. Secrets are not shown.
            pub shown: String,
        }

        /// All options, in the order of help.
        pub const OPTIONS: &[OptionSpec] = &ALL;

        const ALL: [OptionSpec; [$($default),+].len()] = [$(OptionSpec {
            field: stringify!($field),
            value: $value,
            default: $default,
            help: concat!($($help),+).trim_ascii(),
            repeatable: options!(@repeatable $arity),
            reload: options!(@reload $($live)?),
        }),+];

        impl Config {
            /// Parses the raw values, and defaults where there are none. Fails at the first invalid value.
            pub fn from_raw(raw: &RawConfig) -> Result<Config, ConfigError> {
                let [$($field),+] = &ALL;
                Ok(Config {
                    $($field: raw.$arity($field, $parse)?,)+
                    shown: raw.shown_settings(),
                })
            }

            /// For each option, in the order of help, whether its value differs.
            pub(super) fn differs(&self, other: &Config) -> Vec<bool> {
                vec![$(self.$field != other.$field),+]
            }
        }
    };
    (@reload) => { Reload::Restart };
    (@reload live) => { Reload::Live };
    (@repeatable one) => { false };
    (@repeatable many) => { true };
}

options! {
    /// Directory of all durable data and of the socket of `leveret ctl`. Created if it is missing.
    data_dir: PathBuf = one(parse::path), "DIR", "./leveret-data";
    /// Address and port that accept AMQP 0-9-1 connections; port 0 takes a free one, `none` accepts them through TLS only.
    /// May be given more than once.
    amqp_listen: Vec<Option<SocketAddr>> = many(parse::address_or_none), "ADDRESS:PORT", "0.0.0.0:5672";
    /// Address and port that accept AMQP connections through TLS, usually port 5671; port 0 takes a free one, `none` accepts
    /// none. May be given more than once. Needs --tls-cert and --tls-key.
    amqps_listen: Vec<Option<SocketAddr>> = many(parse::address_or_none), "ADDRESS:PORT", "none";
    /// File with the broker's certificate in PEM, followed by intermediate certificates. When it changes, new connections
    /// get the new one; so on SIGHUP.
    tls_cert: Option<PathBuf> = one(parse::path_or_none), "FILE", "none";
    /// File with the private key of the certificate in PEM, not encrypted (PKCS#8, PKCS#1 or SEC1). Read again with the
    /// certificate.
    tls_key: Option<PathBuf> = one(parse::path_or_none), "FILE", "none";
    /// File with the certificates in PEM of the authorities that issue certificates of clients. Read again with the
    /// broker's certificate.
    tls_ca: Option<PathBuf> = one(parse::path_or_none), "FILE", "none";
    /// Whether a client's certificate is checked: `peer` checks one that is sent, `none` asks for none.
    tls_verify: TlsVerify = one(parse::tls_verify), "none|peer", "none";
    /// Whether `--tls-verify peer` refuses clients without a certificate: `true` or `false`.
    tls_fail_if_no_peer_cert: bool = one(parse::truth), "true|false", "false";
    /// Maximum number of intermediate certificates between a client's certificate and an authority's.
    tls_depth: usize = one(parse::number), "COUNT", "10";
    /// Versions of TLS that clients may use: 1.2, 1.3 or both. May be given more than once.
    tls_versions: Vec<TlsVersion> = many(parse::tls_version), "VERSION", "1.2,1.3";
    /// Where in a client's certificate the name of its user stands, for the mechanism EXTERNAL.
    tls_login_from: TlsLoginFrom = one(parse::tls_login_from), "distinguished_name|common_name|subject_alternative_name", "distinguished_name";
    /// The type of the alternative name, if --tls-login-from is subject_alternative_name.
    tls_login_san_type: TlsSanType = one(parse::tls_san_type), "dns|ip|email|uri|other_name", "dns";
    /// Which alternative name of that type, counted from 0.
    tls_login_san_index: usize = one(parse::number), "INDEX", "0";
    /// SASL mechanisms that AMQP clients may log in with: PLAIN, AMQPLAIN, ANONYMOUS, and EXTERNAL, by which a client's
    /// certificate names its user (with TLS only; needs --tls-verify peer). May be given more than once.
    auth_mechanisms: Vec<AuthMechanism> = many(parse::auth_mechanism), "MECHANISM", "PLAIN,AMQPLAIN,ANONYMOUS";
    /// Addresses of proxies whose connections begin with a header of the PROXY protocol, version 1 or 2, such as
    /// 10.0.0.0/8, at all listeners. The client that the header names counts for limits, logs and --loopback-users. May be
    /// given more than once.
    proxy_protocol_from: Vec<Option<IpRange>> = many(parse::range_or_none), "RANGE", "none";
    /// What a confirm waits for: `sync` for the sync to the disk; `write` only for the write, with the sync within 100 ms,
    /// or within N ms as `write:N`. With `write`, a power loss can lose the last confirmed messages.
    durability: Durability = one(parse::durability), "sync|write", "sync";
    /// What a start does when the disk does not return an entry of the log: `recover`: go on without it, keep its bytes in
    /// the directory `damaged`, and say so in the log and in `status`; or `refuse` to start, and say what is damaged.
    on_damage: OnDamage = one(parse::on_damage), "refuse|recover", "recover";
    /// Heartbeat interval offered to clients, in seconds; 0 offers none.
    heartbeat: u16 = one(parse::number), "SECONDS", "60", live;
    /// Largest frame offered to clients, in bytes; 4096 at least.
    frame_max: u32 = one(parse::frame_max), "BYTES", "131072", live;
    /// Maximum number of open channels of one connection.
    channel_max: u16 = one(parse::positive), "COUNT", "2047", live;
    /// Maximum number of open AMQP connections; less if there are too few file descriptors.
    connection_max: usize = one(parse::positive_count), "COUNT", "100000", live;
    /// Largest message body accepted, in bytes; 512MiB at most.
    max_message_size: u64 = one(parse::message_size), "BYTES", "16777216";
    /// Memory for messages that wait in queues; more messages stay on disk only, until they are needed.
    memory_budget: u64 = one(parse::bytes), "BYTES", "256MiB";
    /// Resident memory at which publishers are blocked: a fraction of the memory of the machine or its cgroup, or bytes.
    memory_high_watermark: MemoryWatermark = one(parse::watermark), "FRACTION|BYTES", "0.6", live;
    /// Free disk space below which publishers are blocked: bytes, or a multiple of the memory of the machine or its cgroup
    /// such as `1.5`.
    disk_free_limit: DiskFreeLimit = one(parse::disk_free_limit), "BYTES|FACTOR", "50MB", live;
    /// Users that may log in from this machine only; `none` restricts no user. May be given more than once.
    loopback_users: Vec<Name> = many(parse::user_or_none), "USER", "guest", live;
    /// Administrator created when the data directory is new.
    default_user: Name = one(parse::name), "USER", "guest";
    /// Password of the default user.
    default_pass: Name = one(parse::name), "PASSWORD", "guest";
    /// Tags of the default user; `none` is no tag. May be given more than once.
    default_user_tags: Vec<Name> = many(parse::user_or_none), "TAG", "administrator";
    /// What the default user may configure in the default virtual host: a regular expression.
    default_configure: String = one(parse::pattern), "PATTERN", ".*";
    /// What the default user may write to: a regular expression.
    default_write: String = one(parse::pattern), "PATTERN", ".*";
    /// What the default user may read: a regular expression.
    default_read: String = one(parse::pattern), "PATTERN", ".*";
    /// Virtual host created when the data directory is new.
    default_vhost: Name = one(parse::name), "VHOST", "/";
    /// Users that get permissions in new virtual hosts, and are created with the first of them: a JSON object of users, each
    /// with `vhost_pattern`, `password`, `tags`, `configure`, `write` and `read`, all of which may be left out.
    default_users: DefaultUsers = one(parse::default_users), "JSON", "{}";
    /// Limits of new virtual hosts: a JSON object of entries with `pattern`, `max_connections` and `max_queues`. The first
    /// entry, by name, whose pattern matches holds.
    default_limits: DefaultLimits = one(parse::default_limits), "JSON", "{}";
    /// File of definitions, or directory of such files, that each start imports before it accepts clients. A new data
    /// directory then gets no default user and virtual host, as in RabbitMQ. `none` imports nothing.
    load_definitions: Option<PathBuf> = one(parse::path_or_none), "FILE|DIR", "none";
    /// Whether a start skips definitions that it imported last: `true` or `false`.
    definitions_skip_if_unchanged: bool = one(parse::truth), "true|false", "false";
    /// The backends that logins and permission checks go through, in this order: `internal`, which has the broker's own users,
    /// and `http`; `A+B` authenticates users by A and authorises them by B. May be given more than once.
    auth_backends: Vec<Link> = many(parse::auth_backend), "BACKEND", "internal";
    /// How long the answers of other systems than `internal` are kept, in milliseconds.
    auth_cache_ttl: Duration = one(parse::positive_milliseconds), "MILLISECONDS", "15000";
    /// Whether refusals of other systems are kept, too: `true` or `false`.
    auth_cache_refusals: bool = one(parse::truth), "true|false", "false";
    /// Address that the backend `http` asks about logins.
    auth_http_user_url: Url = one(parse::http_url), "URL", "http://localhost:8000/auth/user";
    /// Address that the backend `http` asks whether a user may enter a virtual host.
    auth_http_vhost_url: Url = one(parse::http_url), "URL", "http://localhost:8000/auth/vhost";
    /// Address that the backend `http` asks whether a user may use a queue or exchange.
    auth_http_resource_url: Url = one(parse::http_url), "URL", "http://localhost:8000/auth/resource";
    /// Address that the backend `http` asks whether a user may use a routing key on a topic exchange.
    auth_http_topic_url: Url = one(parse::http_url), "URL", "http://localhost:8000/auth/topic";
    /// How the backend `http` asks: `get` with the parameters in the query, or `post` with a form.
    auth_http_method: HttpMethod = one(parse::http_method), "get|post", "get";
    /// Longest time that the backend `http` waits for an answer, in milliseconds.
    auth_http_timeout: Duration = one(parse::positive_milliseconds), "MILLISECONDS", "15000";
    /// File with the certificates in PEM that vouch for the server of the backend `http`; `none` trusts those of the system.
    auth_http_ca: Option<PathBuf> = one(parse::path_or_none), "FILE", "none";
    /// Name of this broker in the audience of OAuth 2 tokens; the backend `oauth2` needs it.
    oauth2_resource_server_id: Option<Name> = one(text_or_none), "ID", "none";
    /// Type of the rich authorization requests in OAuth 2 tokens that are for this broker; `none` reads no such requests.
    oauth2_resource_server_type: Option<Name> = one(text_or_none), "TYPE", "none";
    /// Beginning of the scopes in OAuth 2 tokens that are for this broker: `auto` is the resource server's id and a dot,
    /// `none` takes all scopes.
    oauth2_scope_prefix: Option<Name> = one(scope_prefix), "auto|PREFIX|none", "auto";
    /// Name of a role in OAuth 2 tokens, and the scopes that it stands for, separated by spaces. May be given more than once.
    oauth2_scope_aliases: Vec<Option<(Name, Vec<Name>)>> = many(alias_or_none), "ROLE=SCOPES", "none";
    /// Claims of OAuth 2 tokens that hold scopes besides `scope`, as paths such as `realm_access.roles`, separated by spaces.
    oauth2_additional_scopes_key: Option<Name> = one(text_or_none), "PATHS", "none";
    /// Claims of OAuth 2 tokens that may hold the name of the user, in this order; `none` is `sub`, or else `client_id`.
    /// May be given more than once.
    oauth2_preferred_username_claims: Vec<Option<Name>> = many(text_or_none), "CLAIM", "none";
    /// Whether OAuth 2 tokens for other audiences are refused: `true` or `false`.
    oauth2_verify_aud: bool = one(parse::truth), "true|false", "true";
    /// Whether OAuth 2 tokens that do not expire are refused: `true` or `false`.
    oauth2_require_exp: bool = one(parse::truth), "true|false", "true";
    /// Whether OAuth 2 tokens of other issuers than `oauth2-issuer` are refused: `true` or `false`.
    oauth2_verify_iss: bool = one(parse::truth), "true|false", "false";
    /// Algorithms that OAuth 2 tokens may be signed with; `none` restricts none. May be given more than once.
    oauth2_algorithms: Vec<Option<Name>> = many(algorithm_or_none), "ALGORITHM", "none";
    /// Public key, in a PEM file, of OAuth 2 tokens that name its id. May be given more than once.
    oauth2_signing_keys: Vec<Option<(Name, PathBuf)>> = many(key_file_or_none), "ID=FILE", "none";
    /// Id of the key of OAuth 2 tokens that name none.
    oauth2_default_key: Option<Name> = one(text_or_none), "ID", "none";
    /// JSON Web Key set with the keys of OAuth 2 tokens: a file, or an https address.
    oauth2_jwks: KeySource = one(jwks_or_none), "FILE|URL", "none";
    /// Issuer of OAuth 2 tokens, an https address. Its discovery document says where its keys are, unless `oauth2-jwks` does.
    oauth2_issuer: Option<Url> = one(safe_url_or_none), "URL", "none";
    /// Path of the discovery document below the issuer's address.
    oauth2_discovery_endpoint_path: Name = one(text), "PATH", ".well-known/openid-configuration";
    /// Minimum time between two readings of the keys of OAuth 2 tokens, in milliseconds. A token with an unknown key asks
    /// for one.
    oauth2_jwks_interval: Duration = one(parse::positive_milliseconds), "MILLISECONDS", "10000";
    /// File with certificates in PEM that vouch for the server with the keys of OAuth 2 tokens, besides those of the system.
    oauth2_ca: Option<PathBuf> = one(parse::path_or_none), "FILE", "none";
    /// Host of an LDAP server; the backend `ldap` tries them in this order. May be given more than once.
    ldap_servers: Vec<Option<Name>> = many(text_or_none), "HOST", "none";
    /// Port of the LDAP servers.
    ldap_port: u16 = one(parse::positive), "PORT", "389";
    /// How connections to LDAP servers are encrypted: `none`, `tls` from the first byte (usually on port 636), or `starttls`.
    ldap_encryption: Encryption = one(encryption), "none|tls|starttls", "none";
    /// File with the certificates in PEM that vouch for the LDAP servers; `none` trusts those of the system.
    ldap_ca: Option<PathBuf> = one(parse::path_or_none), "FILE", "none";
    /// Longest time of a login or check by LDAP, in milliseconds.
    ldap_timeout: Duration = one(parse::positive_milliseconds), "MILLISECONDS", "5000";
    /// Time after which an idle connection to an LDAP server is closed, in milliseconds.
    ldap_idle_timeout: Duration = one(parse::positive_milliseconds), "MILLISECONDS", "300000";
    /// Maximum number of connections to the LDAP servers.
    ldap_connection_pool_size: usize = one(parse::positive_count), "COUNT", "64";
    /// Distinguished name of a user's entry, with the variable `${username}`; or the value of `ldap-dn-lookup-attribute`.
    ldap_user_dn_pattern: Name = one(text), "PATTERN", "${username}";
    /// Name that a user binds with, with the variable `${username}`; `none` is `ldap-user-dn-pattern`.
    ldap_user_bind_pattern: Option<Name> = one(text_or_none), "PATTERN", "none";
    /// Attribute by which a user's entry is searched for; `none` takes `ldap-user-dn-pattern` as the entry's name.
    ldap_dn_lookup_attribute: Option<Name> = one(attribute_or_none), "ATTRIBUTE", "none";
    /// Entry below which users are searched for.
    ldap_dn_lookup_base: Option<Name> = one(text_or_none), "DN", "none";
    /// Login of the search for users: as the user after its bind (`as_user`), anonymous (`anon`), or as the entry of this name.
    ldap_dn_lookup_bind: Bind = one(bind), "as_user|anon|DN", "as_user";
    /// Password of the entry that searches for users.
    ldap_dn_lookup_bind_password: Option<Name> = one(text_or_none), "PASSWORD", "none";
    /// Login of the queries: as the user (`as_user`), anonymous (`anon`), or as the entry of this name.
    ldap_other_bind: Bind = one(bind), "as_user|anon|DN", "as_user";
    /// Password of the entry that asks the queries.
    ldap_other_bind_password: Option<Name> = one(text_or_none), "PASSWORD", "none";
    /// Entry below which nested groups are searched for; `none` is `ldap-dn-lookup-base`.
    ldap_group_lookup_base: Option<Name> = one(text_or_none), "DN", "none";
    /// Query whether a user may enter a virtual host.
    ldap_vhost_access_query: Query = one(query), "QUERY", "{constant, true}";
    /// Query whether a user may use a queue or exchange.
    ldap_resource_access_query: Query = one(query), "QUERY", "{constant, true}";
    /// Query whether a user may use a routing key on a topic exchange.
    ldap_topic_access_query: Query = one(query), "QUERY", "{constant, true}";
    /// Queries which users have a tag.
    ldap_tag_queries: TagQueries = one(tag_queries), "[{TAG, QUERY}, …]", "[{administrator, {constant, false}}]";
    /// Address and port that accept connections of the other nodes of a set; `none` runs this node by itself. Needs
    /// --cluster-secret, --cluster-secret-file or --cluster-tls-cert.
    cluster_listen: Option<SocketAddr> = one(parse::address_or_none), "ADDRESS:PORT", "none";
    /// All members of a new set with the addresses at which the others reach them, this node too; they form it when they
    /// start together for the first time: three or five, with commas between them. `none` makes this node a set of one, which
    /// other nodes can join.
    cluster_peers: Vec<ClusterPeer> = one(peers), "NAME=HOST:PORT,…", "none";
    /// Name of this node, shown as leveret@NAME; `none` takes this machine's host name.
    node_name: Option<Name> = one(node_name_or_none), "NAME", "none";
    /// Secret that all nodes of a set share, 16 bytes at least.
    cluster_secret: Option<Name> = one(secret_or_none), "SECRET", "none";
    /// File with the secret that all nodes of a set share; a line feed at its end does not count.
    cluster_secret_file: Option<PathBuf> = one(parse::path_or_none), "FILE", "none";
    /// File with this node's certificate in PEM for connections between the nodes of a set; each node checks the other's.
    cluster_tls_cert: Option<PathBuf> = one(parse::path_or_none), "FILE", "none";
    /// File with the private key of that certificate.
    cluster_tls_key: Option<PathBuf> = one(parse::path_or_none), "FILE", "none";
    /// File with the certificates of the authorities that issue the certificates of nodes, and nothing else.
    cluster_tls_ca: Option<PathBuf> = one(parse::path_or_none), "FILE", "none";
    /// How often the leader of a set tells the others that it leads.
    cluster_heartbeat: Duration = one(parse::positive_milliseconds), "MILLISECONDS", "100";
    /// How long the leader of a set serves without an answer of a majority. The others elect another after about twice this
    /// time, or immediately if the leader's process has ended and its host says so. Three heartbeats at least.
    cluster_election_timeout: Duration = one(election_timeout), "MILLISECONDS", "500";
    /// Name of the cluster that each start sets; `none` leaves what `set_cluster_name` has set.
    cluster_name: Option<Name> = one(parse::name_or_none), "NAME", "none";
    /// Type of the queues whose arguments name none, in virtual hosts that have no default of their own: `classic`, `quorum`
    /// or `stream`.
    default_queue_type: QueueKind = one(parse::queue_type), "TYPE", "classic";
    /// How new passwords are hashed: `argon2id`, or `rabbitmq` for salted SHA-256, which a RabbitMQ can import but which a
    /// thief of the data directory guesses faster.
    password_hashing: PasswordHashing = one(parse::password_hashing), "argon2id|rabbitmq", "argon2id";
    /// Time a consumer has to acknowledge a delivery before its channel is closed, in milliseconds; 0 is no limit.
    consumer_timeout: Duration = one(parse::milliseconds), "MILLISECONDS", "1800000", live;
    /// Time a client has from connecting to an open AMQP connection or its first signed CMQ request, in milliseconds.
    handshake_timeout: Duration = one(parse::positive_milliseconds), "MILLISECONDS", "10000";
    /// Product name sent to AMQP clients; some enable features only for `RabbitMQ`.
    server_product: Name = one(parse::name), "NAME", "Leveret";
    /// Time connections have to close in good order at shutdown, in milliseconds.
    shutdown_grace: Duration = one(parse::milliseconds), "MILLISECONDS", "10000";
    /// Address and port that accept requests of CMQ's HTTP API; port 0 takes a free one, `none` turns the API off.
    /// May be given more than once.
    cmq_listen: Vec<Option<SocketAddr>> = many(parse::address_or_none), "ADDRESS:PORT", "127.0.0.1:5680";
    /// Address and port that accept requests of CMQ's HTTP API through TLS; otherwise as --cmq-listen and --amqps-listen.
    cmq_tls_listen: Vec<Option<SocketAddr>> = many(parse::address_or_none), "ADDRESS:PORT", "none";
    /// Most that the time stamp of a CMQ request may differ from the broker's clock, in milliseconds; 0 is no limit.
    cmq_clock_skew: Duration = one(parse::milliseconds), "MILLISECONDS", "300000";
    /// Maximum number of open CMQ connections; less if there are too few file descriptors.
    cmq_connections: usize = one(parse::positive_count), "COUNT", "8192";
    /// Signatures of sending CMQ requests remembered per key, so that a copied request is refused; 0 is none.
    /// Clients that draw nonces from few numbers sometimes sign two requests alike, and would lose messages.
    cmq_replay_memory: usize = one(parse::number), "COUNT", "0";
    /// Maximum number of messages or receipt handles in one CMQ batch.
    cmq_batch: u16 = one(parse::positive), "COUNT", "16";
    /// Largest sum of the bodies in one CMQ batch, in bytes.
    cmq_batch_size: u64 = one(parse::bytes), "BYTES", "1MiB";
    /// Maximum number of CMQ requests a second of each sending action to one queue or topic, and a tenth more of receiving
    /// and deleting actions; 0 is no limit.
    cmq_requests: u64 = one(parse::number), "COUNT", "0";
    /// Time before CMQ clients may use the name of a deleted queue or topic again, in milliseconds.
    cmq_name_rest: Duration = one(parse::milliseconds), "MILLISECONDS", "0";
    /// Number of queues in a virtual host from which on CMQ clients can create none.
    cmq_queues: usize = one(parse::number), "COUNT", "1000";
    /// Largest maxMsgHeapNum of a CMQ queue.
    cmq_heap: u64 = one(parse::number), "COUNT", "1000000000";
    /// Largest maxMsgSize of a CMQ queue, in bytes.
    cmq_message_size: u64 = one(parse::bytes), "BYTES", "1MiB";
    /// Longest pollingWaitSeconds of a CMQ request or queue.
    cmq_polling_wait: u64 = one(parse::number), "SECONDS", "30";
    /// Longest visibilityTimeout of a CMQ queue, in seconds.
    cmq_visibility_timeout: u64 = one(parse::number), "SECONDS", "43200";
    /// Longest msgRetentionSeconds and rewindSeconds of a CMQ queue.
    cmq_retention: u64 = one(parse::number), "SECONDS", "1296000";
    /// Longest delaySeconds of a CMQ message.
    cmq_delay: u64 = one(parse::number), "SECONDS", "3600";
    /// Maximum number of delayed messages that CMQ clients can send to a queue.
    cmq_delayed: u64 = one(parse::number), "COUNT", "20000";
    /// Number of received and not yet deleted messages of a queue from which on CMQ clients receive none.
    cmq_unacked: u64 = one(parse::number), "COUNT", "100000";
    /// Maximum number of queues that share a dead letter queue through CMQ.
    cmq_dead_letter_sources: usize = one(parse::number), "COUNT", "6";
    /// Number of topics in a virtual host from which on CMQ clients can create none.
    cmq_topics: usize = one(parse::number), "COUNT", "1000";
    /// Maximum number of subscriptions of a CMQ topic.
    cmq_subscriptions: usize = one(parse::number), "COUNT", "100";
    /// Maximum number of tags of a CMQ message, and of tags or binding keys of a CMQ subscription.
    cmq_filters: usize = one(parse::number), "COUNT", "5";
    /// Longest tag of CMQ messages and subscriptions, in characters; 247 bytes at most.
    cmq_tag_size: usize = one(parse::number), "COUNT", "16";
    /// Longest routing key or binding key of CMQ topics, in bytes; 255 at most.
    cmq_key_size: usize = one(parse::number), "BYTES", "64";
    /// Time the endpoint of a CMQ subscription has to answer a push, in milliseconds.
    cmq_push_timeout: Duration = one(parse::positive_milliseconds), "MILLISECONDS", "15000";
    /// Length of a second in the retry strategies of CMQ subscriptions, in milliseconds; less makes retries come sooner.
    cmq_push_second: Duration = one(parse::positive_milliseconds), "MILLISECONDS", "1000";
    /// Maximum number of concurrent pushes to endpoints of CMQ subscriptions.
    cmq_push_connections: u16 = one(parse::positive), "COUNT", "256";
    /// Maximum number of concurrent pushes to one host and port.
    cmq_push_endpoint_connections: u16 = one(parse::positive), "COUNT", "16";
    /// Addresses beyond the public network that CMQ subscriptions may push to, such as 10.0.0.0/8; `none` allows only the
    /// public network. May be given more than once.
    cmq_push_allow: Vec<Option<IpRange>> = many(parse::range_or_none), "RANGE", "none";
    /// Address and port of the management HTTP API and the web page; port 0 takes a free one, `none` turns both off.
    /// May be given more than once.
    management_listen: Vec<Option<SocketAddr>> = many(parse::address_or_none), "ADDRESS:PORT", "127.0.0.1:15672";
    /// Address and port of the management HTTP API and the web page through TLS, usually port 15671; otherwise as
    /// --management-listen and --amqps-listen.
    management_tls_listen: Vec<Option<SocketAddr>> = many(parse::address_or_none), "ADDRESS:PORT", "none";
    /// Maximum number of open connections to the management API; less if there are too few file descriptors.
    management_connections: usize = one(parse::positive_count), "COUNT", "1024";
    /// Origins, such as https://ops.example.com, whose pages may use the management API; `*` is any, without logins that
    /// a browser keeps; `none` allows only the API's own page. May be given more than once.
    management_cors: Vec<Option<String>> = many(parse::origin_or_none), "ORIGIN", "none";
    /// Address and port of the metrics for Prometheus; port 0 takes a free one, `none` turns them off. They need no login.
    /// May be given more than once.
    prometheus_listen: Vec<Option<SocketAddr>> = many(parse::address_or_none), "ADDRESS:PORT", "127.0.0.1:15692";
    /// Address and port of the metrics for Prometheus through TLS, usually port 15691; otherwise as --prometheus-listen and
    /// --amqps-listen.
    prometheus_tls_listen: Vec<Option<SocketAddr>> = many(parse::address_or_none), "ADDRESS:PORT", "none";
    /// Form of the log on standard error: `text`, or `json` with one object per line.
    log_format: LogFormat = one(parse::log_format), "text|json", "text";
    /// How much is logged to standard error: error, warn, info, debug or trace.
    log_level: LogLevel = one(parse::log_level), "LEVEL", "info", live;
}
