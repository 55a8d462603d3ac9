//! The broker's options. [`RawConfig`] has the values that command line, environment and file give; [`Config`] has them
//! parsed, complete and valid, so that no other code needs a default. Values are passed on from here; nothing reads them
//! globally.

mod changes; // what a reload changes
mod option; // what is known of one option
mod options; // the table of all options
mod parse; // from text to values
mod parse_cluster; // of options about a set of nodes
mod parse_logins;
mod raw; // values as text, and their sources
mod reading; // all sources together
mod secret_file; // secrets that variables name by their files
mod settings; // what `check-config` shows
mod sources; // command line, environment, file
mod values; // types of values
mod variables; // RabbitMQ's environment variables

pub use changes::{Change, changes, changes_to_shown};
pub use option::{OptionSpec, Reload};
pub use options::{Config, OPTIONS};
pub use parse::{parse_bytes, parse_fraction};
pub use raw::{ConfigError, RawConfig, Source};
pub use reading::{Reading, Sources};
pub use settings::{
    CONFIG_ENV, RABBITMQ_CONF_ENV, RABBITMQ_VARIABLES_ENV, Setting, stray_variables,
};
pub use values::{
    AuthMechanism, ClusterPeer, DiskFreeLimit, Durability, LogFormat, LogLevel, MemoryWatermark,
    OnDamage, PasswordHashing, TlsLoginFrom, TlsSanType, TlsVerify, TlsVersion,
};
