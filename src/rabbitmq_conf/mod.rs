//! Reads rabbitmq.conf. [`read`] gives the values of our options that its keys stand for, and a warning for each key that has
//! no counterpart; a key or value that RabbitMQ refuses is an error. Knows options by name only: `config` checks the values.

mod error; // why a file cannot be used
mod files; // one file, or all of a directory
mod keys; // the table of all keys
mod kind; // the values that a key takes
mod row; // what one row of the table says
mod substitution; // references within values
mod syntax; // lines, keys and values
mod translate; // from settings to values of options

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use error::RabbitmqConfError;
pub use translate::{Given, Translation};

use files::Setting;
use substitution::Known;
use syntax::Key;

/// Reads files, or the `*.conf` files of directories. As in RabbitMQ, a later setting of a key replaces an earlier one.
pub fn read(
    paths: &[PathBuf],
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Translation, RabbitmqConfError> {
    let mut settings = BTreeMap::<Key, Setting>::new();
    for path in paths {
        for setting in files::settings(path)? {
            settings.insert(setting.key.clone(), setting);
        }
    }
    let mut replaced = Vec::new();
    for setting in settings.values() {
        let value_of = |name: &str| {
            let key = Key(name.split('.').map(str::to_owned).collect());
            settings.get(&key).map(|setting| setting.value.clone())
        };
        let known = Known {
            value_of: &value_of,
            variable,
        };
        let dir = setting.path.parent().unwrap_or(Path::new(""));
        let value = substitution::substitute(&setting.key, &setting.value, dir, &known);
        let value = value.map_err(|reason| translate::invalid(setting, &setting.value, reason))?;
        replaced.push(Setting {
            value,
            ..setting.clone()
        });
    }
    translate::translate(&replaced)
}

/// The options that keys stand for.
#[cfg(test)]
pub fn options() -> std::collections::BTreeSet<&'static str> {
    translate::options()
}
