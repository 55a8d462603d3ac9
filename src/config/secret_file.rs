//! Secrets in files: the variable `NAME_FILE` names a file with the value of `NAME`, as containers mount secrets.

use std::io::{self, Read};
use std::path::Path;

use super::raw::ConfigError;

/// Most bytes of a secret.
const BYTES_MAX: u64 = 64 * 1024;

/// The variable that names the file.
pub(super) fn name(variable: &str) -> String {
    format!("{variable}_FILE")
}

/// The value of the variable, or of its file without the last line feed. Empty variables count as unset.
pub(super) fn value(
    variable: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, ConfigError> {
    let get = |name: &str| environment(name).filter(|value| !value.is_empty());
    let file_variable = name(variable);
    match (get(variable), get(&file_variable)) {
        (value, None) => Ok(value),
        (None, Some(path)) => match read(Path::new(&path)) {
            Ok(text) => Ok(Some(text)),
            Err(error) => Err(invalid(file_variable, path, error.to_string())),
        },
        (Some(_), Some(path)) => Err(invalid(
            file_variable,
            path,
            format!("{variable} is set too"),
        )),
    }
}

fn invalid(origin: String, value: String, reason: String) -> ConfigError {
    ConfigError::Invalid {
        origin,
        value,
        reason,
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(io::Error::other(format!("larger than {BYTES_MAX} bytes")));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
