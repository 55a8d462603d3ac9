//! The broker's options. [`RawConfig`] has the values that command line, environment and file give; [`Config`] has them
//! parsed, complete and valid, so that no other code needs a default. Values are passed on from here; nothing reads them
//! globally.

mod nearest; // the name that was probably meant
mod option; // what is known of one option
mod options; // the table of all options
mod parse; // from text to values
mod parse_logins;
mod raw; // values as text, and their sources
mod settings; // what `check-config` shows
mod sources; // command line, environment, file
mod values; // types of values

pub use nearest::nearest;
pub use option::OptionSpec;
pub use options::{Config, OPTIONS};
pub use parse::{parse_bytes, parse_fraction};
pub use raw::{ConfigError, RawConfig, Source};
pub use settings::{CONFIG_ENV, Setting, stray_variables};
pub use values::{Durability, LogLevel, MemoryWatermark, OnDamage, PasswordHashing};
