//! What the broker can be told. [`RawConfig`] is what was said, and where; [`Config`] is what it means: typed,
//! complete and valid, so that nothing after it asks for a default. Values are passed in from here, never read
//! globally.

mod nearest;
mod options;
mod parse;
mod raw;
mod settings;

/// The environment variable that names the configuration file.
pub const CONFIG_ENV: &str = "LEVERET_CONFIG";

pub use nearest::nearest;
pub use options::{Config, OPTIONS, OptionSpec};
pub use parse::{Durability, LogLevel, MemoryWatermark, OnDamage, parse_bytes, parse_fraction};
pub use raw::{ConfigError, RawConfig, Source};
pub use settings::{Setting, stray_variables};
