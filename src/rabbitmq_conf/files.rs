//! The files of a rabbitmq.conf: one file, or all `*.conf` files of a directory in the order of their names; what they
//! include; within bounds.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::RabbitmqConfError;
use super::syntax::{Item, Key, parse};

/// Most bytes of one file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Most files that one configuration is read from.
const FILES_MAX: usize = 256;
/// How deep files may include others. Ends circles.
const INCLUDES_MAX: usize = 8;

/// A setting with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) key: Key,
    pub(super) value: String,
    pub(super) path: PathBuf,
    pub(super) line: usize,
}

/// All settings of a file or directory, in the order in which they are read.
pub(super) fn settings(path: &Path) -> Result<Vec<Setting>, RabbitmqConfError> {
    let unreadable = |error| RabbitmqConfError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let paths = match std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        true => matching(path, "*.conf").map_err(unreadable)?,
        false => vec![path.to_owned()],
    };
    let mut reader = Reader::default();
    for path in paths {
        reader.read(&path, 0)?;
    }
    Ok(reader.settings)
}

#[derive(Default)]
struct Reader {
    files: usize,
    settings: Vec<Setting>,
}

impl Reader {
    fn read(&mut self, path: &Path, depth: usize) -> Result<(), RabbitmqConfError> {
        let unreadable = |error| RabbitmqConfError::Unreadable {
            path: path.to_owned(),
            error,
        };
        self.files += 1;
        if self.files > FILES_MAX || depth > INCLUDES_MAX {
            return Err(unreadable(io::Error::other(format!(
                "more than {FILES_MAX} files, or includes deeper than {INCLUDES_MAX}"
            ))));
        }
        let text = read(path).map_err(unreadable)?;
        let items = parse(&text).map_err(|error| RabbitmqConfError::Syntax {
            path: path.to_owned(),
            line: error.line,
            reason: error.reason,
        })?;
        for (line, item) in items {
            match item {
                Item::Setting { key, value } => self.settings.push(Setting {
                    key,
                    value,
                    path: path.to_owned(),
                    line,
                }),
                Item::Include(included) => self.include(path, &included, depth)?,
            }
        }
        Ok(())
    }

    /// Reads the files that a pattern names, relative to the file with the include. RabbitMQ ignores one without files.
    fn include(
        &mut self,
        by: &Path,
        included: &str,
        depth: usize,
    ) -> Result<(), RabbitmqConfError> {
        let whole = by.parent().unwrap_or(Path::new("")).join(included);
        let (Some(dir), Some(pattern)) = (whole.parent(), whole.file_name()) else {
            return Ok(());
        };
        for path in matching(dir, &pattern.to_string_lossy()).unwrap_or_default() {
            self.read(&path, depth + 1)?;
        }
        Ok(())
    }
}

/// The files of a directory whose names match a pattern with `*`, in the order of their names.
fn matching(dir: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if is_match(pattern, &name) && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether `name` fits a pattern where `*` stands for any characters, but not for a leading dot.
fn is_match(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    if first.is_empty() && name.starts_with('.') {
        return false;
    }
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

/// The text of a file of bounded size.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other(format!(
            "larger than {FILE_BYTES_MAX} bytes"
        ))),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(dir: &Path, name: &str) -> Result<Vec<String>, RabbitmqConfError> {
        let line = |setting: Setting| {
            let file = setting
                .path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned();
            format!("{}={} {file}:{}", setting.key, setting.value, setting.line)
        };
        Ok(settings(&dir.join(name))?.into_iter().map(line).collect())
    }

    #[test]
    fn directories_and_includes_are_read_in_order() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("conf.d")).unwrap();
        for (name, text) in [
            (
                "rabbitmq.conf",
                "a = 1\ninclude conf.d/*.conf\nb = 2\ninclude none/*.conf",
            ),
            ("conf.d/20-x.conf", "d = 4"),
            ("conf.d/10-x.conf", "# first\nc = 3"),
            ("conf.d/readme.txt", "not a setting"),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        assert_eq!(
            read_all(dir.path(), "rabbitmq.conf").unwrap(),
            [
                "a=1 rabbitmq.conf:1",
                "c=3 10-x.conf:2",
                "d=4 20-x.conf:1",
                "b=2 rabbitmq.conf:3"
            ]
        );
        assert_eq!(
            read_all(dir.path(), "conf.d").unwrap(),
            ["c=3 10-x.conf:2", "d=4 20-x.conf:1"]
        );
    }

    #[test]
    fn circles_and_large_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.conf"), "include a.conf").unwrap();
        let large = format!(
            "a = {}",
            "x".repeat(usize::try_from(FILE_BYTES_MAX).unwrap())
        );
        std::fs::write(dir.path().join("b.conf"), large).unwrap();
        for name in ["a.conf", "b.conf", "missing.conf"] {
            assert!(
                matches!(
                    read_all(dir.path(), name),
                    Err(RabbitmqConfError::Unreadable { .. })
                ),
                "{name}"
            );
        }
    }

    #[test]
    fn patterns_match_names() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            ("*.conf", "a.conf.bak", false),
            ("a.conf", "a.conf", true),
            ("a.conf", "b.conf", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("*", "x", true),
        ] {
            assert_eq!(is_match(pattern, name), expected, "{pattern} {name}");
        }
    }
}
