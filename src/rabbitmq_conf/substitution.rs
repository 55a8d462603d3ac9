//! `$(...)` in values: another key, an environment variable, or with `<` the contents of a file. Pure but for that file.

use std::path::Path;

use super::files;
use super::syntax::Key;

/// How deep values may refer to others. Ends circles.
const DEPTH_MAX: usize = 16;
/// Most bytes of a value. Ends growth by repetition.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Where references lead.
pub(super) struct Known<'a> {
    pub(super) value_of: &'a dyn Fn(&str) -> Option<String>,
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
}

/// The value with all references replaced. `dir` is that of the file with the value.
pub(super) fn substitute(
    key: &Key,
    value: &str,
    dir: &Path,
    known: &Known,
) -> Result<String, String> {
    if let Some(path) = value
        .strip_prefix("$(<")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        let text = files::read(&dir.join(path.trim())).map_err(|error| error.to_string())?;
        return Ok(text
            .strip_suffix('\n')
            .unwrap_or(&text)
            .trim_end_matches('\r')
            .to_owned());
    }
    expand(&key.to_string(), value, known, 0)
}

fn expand(key: &str, value: &str, known: &Known, depth: usize) -> Result<String, String> {
    if depth > DEPTH_MAX {
        return Err(format!("the references of {key} go in a circle"));
    }
    let Some((before, rest)) = value.split_once("$(") else {
        return Ok(value.to_owned());
    };
    let Some((name, after)) = rest.split_once(')') else {
        return Ok(value.to_owned());
    };
    let name = name.trim();
    let referred = (known.value_of)(name)
        .or_else(|| (known.variable)(name))
        .ok_or_else(|| format!("neither a key nor an environment variable is called '{name}'"))?;
    let referred = expand(name, &referred, known, depth + 1)?;
    let after = expand(key, after, known, depth)?;
    let whole = [before, &referred, &after].concat();
    match whole.len() > VALUE_BYTES_MAX {
        true => Err(format!("longer than {VALUE_BYTES_MAX} bytes")),
        false => Ok(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn substituted(value: &str) -> Result<String, String> {
        let value_of = |name: &str| match name {
            "a" => Some("1".to_owned()),
            "b.c" => Some("$(a)2".to_owned()),
            "round" => Some("$(round)".to_owned()),
            "wide" => Some("x".repeat(40 * 1024)),
            _ => None,
        };
        let variable = |name: &str| (name == "VAR").then(|| "v".to_owned());
        let known = Known {
            value_of: &value_of,
            variable: &variable,
        };
        let dir = std::env::temp_dir();
        substitute(&Key(vec!["k".to_owned()]), value, &dir, &known)
    }

    #[test]
    fn references_are_replaced() {
        for (value, expected) in [
            ("plain", "plain"),
            ("$(a)", "1"),
            ("x$( b.c )y", "x12y"),
            ("$(VAR)$(a)", "v1"),
            ("$(open", "$(open"),
            ("$a", "$a"),
        ] {
            assert_eq!(substituted(value).as_deref(), Ok(expected), "{value}");
        }
        for value in [
            "$(missing)",
            "$(round)",
            "$(wide)$(wide)",
            "$(</nowhere/at all)",
        ] {
            assert!(substituted(value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_file_is_read_without_its_last_line_feed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "se\ncret\r\n").unwrap();
        let value = format!("$(< {})", file.path().display());
        assert_eq!(substituted(&value).as_deref(), Ok("se\ncret"));
    }
}
