//! The one table of options. A row is the field of [`Config`], its flag (`--data-dir`), its environment variable
//! (`LEVERET_DATA_DIR`), its key in the file (`data-dir`), its default and its help.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::parse::{self, Durability, LogLevel, MemoryWatermark, OnDamage};
use super::raw::{ConfigError, RawConfig};
use crate::model::{IpRange, Name};

/// One option, but for its type.
#[derive(Debug)]
pub struct OptionSpec {
    /// The field of [`Config`].
    pub field: &'static str,
    /// What stands for the value in help.
    pub value: &'static str,
    /// The default as one would write it.
    pub default: &'static str,
    /// What it does; one sentence or two.
    pub help: &'static str,
    /// Whether it may be given more than once, or as a list.
    pub repeatable: bool,
}

impl OptionSpec {
    /// Flag (after `--`) and key in the file.
    pub fn key(&self) -> String {
        self.field.replace('_', "-")
    }

    /// Whether its value is never shown.
    pub fn is_secret(&self) -> bool {
        self.field == "default_pass"
    }

    /// Environment variable.
    pub fn env(&self) -> String {
        format!("LEVERET_{}", self.field.to_uppercase())
    }
}

/// Makes [`Config`] and [`OPTIONS`] from the rows. `one` takes a single value, `many` a list.
macro_rules! options {
    ($($(#[doc = $help:literal])+ $field:ident: $type:ty = $arity:ident($parse:path), $value:literal, $default:literal;)+) => {
        /// Everything that was configured or left at its default.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[doc = $help])+ pub $field: $type,)+
        }

        /// All options, in the order of help.
        pub const OPTIONS: &[OptionSpec] = &[$(OptionSpec {
            field: stringify!($field),
            value: $value,
            default: $default,
            help: concat!($($help),+).trim_ascii(),
            repeatable: options!(@repeatable $arity),
        }),+];

        impl Config {
            /// What was said, made complete with defaults. The first value that makes no sense is the error.
            pub fn from_raw(raw: &RawConfig) -> Result<Config, ConfigError> {
                Ok(Config { $($field: options!(@read $arity, raw, stringify!($field), $default, $parse),)+ })
            }
        }
    };
    (@repeatable one) => { false };
    (@repeatable many) => { true };
    (@read one, $raw:ident, $field:expr, $default:literal, $parse:path) => { $raw.one($field, $default, $parse)? };
    (@read many, $raw:ident, $field:expr, $default:literal, $parse:path) => { $raw.many($field, $default, $parse)? };
}

options! {
    /// Directory that holds everything durable, and the socket of `leveret ctl`. Made if it is missing.
    data_dir: PathBuf = one(parse::path), "DIR", "./leveret-data";
    /// Address and port to accept AMQP 0-9-1 connections on; port 0 takes a free one. May be given more than once.
    amqp_listen: Vec<SocketAddr> = many(parse::address), "ADDRESS:PORT", "0.0.0.0:5672";
    /// What a confirm waits for: `sync`, until the disk has it; `write`, until it is written, to be synced within 100 ms,
    /// or within N ms as `write:N`. With `write` a power loss takes the last messages although they were confirmed.
    durability: Durability = one(parse::durability), "sync|write", "sync";
    /// What to do at the start when something that was on disk is damaged: `refuse`, and say what; or `recover`: go on
    /// without what cannot be read, which is kept aside.
    on_damage: OnDamage = one(parse::on_damage), "refuse|recover", "refuse";
    /// Heartbeat interval offered to clients, in seconds; 0 offers none.
    heartbeat: u16 = one(parse::number), "SECONDS", "60";
    /// Largest frame offered to clients, in bytes; 4096 at least.
    frame_max: u32 = one(parse::frame_max), "BYTES", "131072";
    /// Channels that one connection may have open.
    channel_max: u16 = one(parse::positive), "COUNT", "2047";
    /// Connections of AMQP clients that may be open at once; fewer if file descriptors are short.
    connection_max: usize = one(parse::positive_count), "COUNT", "100000";
    /// Largest message body accepted, in bytes; 512MiB at most.
    max_message_size: u64 = one(parse::message_size), "BYTES", "16777216";
    /// Memory for messages that wait in queues; what is beyond it stays on disk until it is wanted.
    memory_budget: u64 = one(parse::bytes), "BYTES", "256MiB";
    /// Resident memory at which publishers are blocked: a fraction of what the machine (or its cgroup) has, or bytes.
    memory_high_watermark: MemoryWatermark = one(parse::watermark), "FRACTION|BYTES", "0.6";
    /// Free disk space below which publishers are blocked, in bytes.
    disk_free_limit: u64 = one(parse::bytes), "BYTES", "50MB";
    /// Users that may log in from this machine only; `none` lets everyone in from anywhere. May be given more than once.
    loopback_users: Vec<Name> = many(parse::user_or_none), "USER", "guest";
    /// User created, as administrator, when the data directory is new.
    default_user: Name = one(parse::name), "USER", "guest";
    /// Password of the user created when the data directory is new.
    default_pass: Name = one(parse::name), "PASSWORD", "guest";
    /// Virtual host created when the data directory is new.
    default_vhost: Name = one(parse::name), "VHOST", "/";
    /// Time a consumer may take to acknowledge a delivery before its channel is closed, in milliseconds; 0 is forever.
    consumer_timeout: Duration = one(parse::milliseconds), "MILLISECONDS", "1800000";
    /// Time a client may take from connecting to an open connection, or to its first signed CMQ request, in milliseconds.
    handshake_timeout: Duration = one(parse::positive_milliseconds), "MILLISECONDS", "10000";
    /// Product name told to AMQP clients: some take the broker for RabbitMQ only if it says so.
    server_product: Name = one(parse::name), "NAME", "Leveret";
    /// Time that connections are given to close in good order at shutdown, in milliseconds.
    shutdown_grace: Duration = one(parse::milliseconds), "MILLISECONDS", "10000";
    /// Address and port to accept requests of CMQ's HTTP API on; port 0 takes a free one, `none` turns it off.
    /// May be given more than once.
    cmq_listen: Vec<Option<SocketAddr>> = many(parse::address_or_none), "ADDRESS:PORT", "127.0.0.1:5680";
    /// How far the time stamp of a CMQ request may be from the broker's clock, in milliseconds; 0 is any distance.
    cmq_clock_skew: Duration = one(parse::milliseconds), "MILLISECONDS", "300000";
    /// Connections of CMQ clients that are kept open at once; fewer if file descriptors are short.
    cmq_connections: usize = one(parse::positive_count), "COUNT", "8192";
    /// Signatures of sending CMQ requests that are remembered of each key, so that none is carried out twice; 0 is none.
    /// Clients that draw their nonces from few numbers sign alike now and then, and would lose messages.
    cmq_replay_memory: usize = one(parse::number), "COUNT", "0";
    /// Messages or handles in one CMQ batch.
    cmq_batch: u16 = one(parse::positive), "COUNT", "16";
    /// Size of all bodies in one CMQ batch, in bytes.
    cmq_batch_size: u64 = one(parse::bytes), "BYTES", "1MiB";
    /// CMQ requests a second of each sending action for one queue or topic; receiving and deleting may come a tenth more
    /// often; 0 is any number.
    cmq_requests: u64 = one(parse::number), "COUNT", "0";
    /// Time before CMQ clients may use the name of a queue or topic again that they deleted, in milliseconds.
    cmq_name_rest: Duration = one(parse::milliseconds), "MILLISECONDS", "0";
    /// Queues of a virtual host beyond which CMQ clients can create none.
    cmq_queues: usize = one(parse::number), "COUNT", "1000";
    /// Largest maxMsgHeapNum of a CMQ queue.
    cmq_heap: u64 = one(parse::number), "COUNT", "1000000000";
    /// Largest maxMsgSize of a CMQ queue, in bytes.
    cmq_message_size: u64 = one(parse::bytes), "BYTES", "1MiB";
    /// Longest pollingWaitSeconds of CMQ requests and queues.
    cmq_polling_wait: u64 = one(parse::number), "SECONDS", "30";
    /// Longest visibilityTimeout of a CMQ queue, in seconds.
    cmq_visibility_timeout: u64 = one(parse::number), "SECONDS", "43200";
    /// Longest msgRetentionSeconds and rewindSeconds of a CMQ queue.
    cmq_retention: u64 = one(parse::number), "SECONDS", "1296000";
    /// Longest delaySeconds of a CMQ message.
    cmq_delay: u64 = one(parse::number), "SECONDS", "3600";
    /// Delayed messages of a queue beyond which CMQ clients can send it none.
    cmq_delayed: u64 = one(parse::number), "COUNT", "20000";
    /// Received and not deleted messages of a queue beyond which CMQ clients receive none.
    cmq_unacked: u64 = one(parse::number), "COUNT", "100000";
    /// Queues that may share a dead letter queue through CMQ.
    cmq_dead_letter_sources: usize = one(parse::number), "COUNT", "6";
    /// Topics of a virtual host beyond which CMQ clients can create none.
    cmq_topics: usize = one(parse::number), "COUNT", "1000";
    /// Subscriptions of a CMQ topic.
    cmq_subscriptions: usize = one(parse::number), "COUNT", "100";
    /// Tags of a CMQ message; tags or binding keys of a CMQ subscription.
    cmq_filters: usize = one(parse::number), "COUNT", "5";
    /// Characters of a tag of CMQ messages and subscriptions; 247 bytes at most.
    cmq_tag_size: usize = one(parse::number), "COUNT", "16";
    /// Bytes of a routing key or binding key of CMQ topics; 255 at most.
    cmq_key_size: usize = one(parse::number), "BYTES", "64";
    /// Time an endpoint of a CMQ subscription has to answer a push, in milliseconds.
    cmq_push_timeout: Duration = one(parse::positive_milliseconds), "MILLISECONDS", "15000";
    /// How long a second is for the retry strategies of CMQ subscriptions, in milliseconds: less makes them hurry.
    cmq_push_second: Duration = one(parse::positive_milliseconds), "MILLISECONDS", "1000";
    /// Pushes to endpoints of CMQ subscriptions under way at once.
    cmq_push_connections: u16 = one(parse::positive), "COUNT", "256";
    /// Pushes under way at once to one host and port.
    cmq_push_endpoint_connections: u16 = one(parse::positive), "COUNT", "16";
    /// Addresses beyond the public network that CMQ subscriptions may push to, such as 10.0.0.0/8; `none` allows no
    /// others. May be given more than once.
    cmq_push_allow: Vec<Option<IpRange>> = many(parse::range_or_none), "RANGE", "none";
    /// How much is logged to standard error: error, warn, info, debug or trace.
    log_level: LogLevel = one(parse::log_level), "LEVEL", "info";
}
