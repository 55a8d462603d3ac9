//! The format of rabbitmq.conf: `key = value` lines with `#` comments. Pure.
//!
//! Follows RabbitMQ's parser also where it surprises: a `#` ends a bare value even without a space before it, and a value
//! in single quotes may have any character, line feeds included.

use std::fmt;

/// A key: words between dots. A dot within a word is written `\.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) Vec<String>);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|word| word.replace('.', "\\.")).collect();
        f.write_str(&words.join("."))
    }
}

/// What one line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Setting {
        key: Key,
        value: String,
    },
    /// `include FILE`, or a pattern such as `conf.d/*.conf`.
    Include(String),
}

/// Where and why the text is no rabbitmq.conf.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) reason: &'static str,
}

/// The items with the numbers of their lines.
pub(super) fn parse(text: &str) -> Result<Vec<(usize, Item)>, SyntaxError> {
    let mut items = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let after = parse_line(rest, line, &mut items)?;
        let taken = rest.len() - after.len();
        line += rest.get(..taken).unwrap_or_default().matches('\n').count();
        rest = after;
    }
    Ok(items)
}

/// Parses the line that `text` begins with; returns the text after it.
fn parse_line<'a>(
    text: &'a str,
    line: usize,
    items: &mut Vec<(usize, Item)>,
) -> Result<&'a str, SyntaxError> {
    let error = |reason| SyntaxError { line, reason };
    let start = skip_blanks(text);
    if let Some(after) = end_of_line(start) {
        return Ok(after);
    }
    if let Some(included) = included(start) {
        let (path, after) = bare(included);
        let after = end_of_line(after).ok_or(error("expected the end of the line"))?;
        items.push((line, Item::Include(path.to_owned())));
        return Ok(after);
    }
    let (key, after) = key(start).ok_or(error("expected KEY = VALUE"))?;
    let after = skip_blanks(after)
        .strip_prefix('=')
        .ok_or(error("expected '=' after the key"))?;
    let start = skip_blanks(after);
    let (value, after) = value(start);
    // Quotes may be empty.
    if value.is_empty() && !start.starts_with('\'') {
        return Err(error("expected a value after '='"));
    }
    let after =
        end_of_line(skip_blanks(after)).ok_or(error("expected nothing after the quoted value"))?;
    items.push((
        line,
        Item::Setting {
            key,
            value: value.to_owned(),
        },
    ));
    Ok(after)
}

/// What stands after the word `include`, unless it is a key.
fn included(text: &str) -> Option<&str> {
    let after = text.strip_prefix("include")?;
    let path = skip_blanks(after);
    (after.starts_with(BLANKS) && !path.starts_with('=')).then_some(path)
}

const BLANKS: [char; 2] = [' ', '\t'];

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches(BLANKS)
}

/// The text of the next line, if only a comment stands before it.
fn end_of_line(text: &str) -> Option<&str> {
    let after = match text.strip_prefix('#') {
        Some(comment) => comment.trim_start_matches(|c| c != '\n'),
        None => text,
    };
    match after
        .strip_prefix("\r\n")
        .or_else(|| after.strip_prefix('\n'))
    {
        Some(next) => Some(next),
        None => after.is_empty().then_some(""),
    }
}

fn key(text: &str) -> Option<(Key, &str)> {
    let mut words = vec![String::new()];
    let mut rest = text;
    loop {
        let mut chars = rest.chars();
        match chars.next() {
            Some('\\') if chars.next() == Some('.') => words.last_mut()?.push('.'),
            Some('.') => words.push(String::new()),
            Some(c) if c.is_ascii_alphanumeric() || c == '_' || c == '-' => {
                words.last_mut()?.push(c);
                rest = rest.get(1..)?;
                continue;
            }
            _ => break,
        }
        rest = rest.get(if rest.starts_with('\\') { 2 } else { 1 }..)?;
    }
    let is_whole = words.iter().all(|word| !word.is_empty());
    is_whole.then_some((Key(words), rest))
}

/// The value that `text` begins with, and what stands after it.
fn value(text: &str) -> (&str, &str) {
    if let Some((value, after)) = text
        .strip_prefix("'''")
        .and_then(|inner| inner.split_once("'''"))
    {
        return (value.trim_matches(['\'', '\n', '\r']), after);
    }
    match text
        .strip_prefix('\'')
        .and_then(|inner| inner.split_once('\''))
    {
        Some(quoted) => quoted,
        None => bare(text),
    }
}

/// A value without quotes ends with its line or at a comment.
fn bare(text: &str) -> (&str, &str) {
    let end = text.find(['#', '\n']).unwrap_or(text.len());
    let (value, after) = text.split_at(end);
    let trimmed = value.trim_end_matches(['\r', ' ', '\t']);
    match after.is_empty() || after.starts_with('#') {
        true => (trimmed, after),
        false => (
            trimmed,
            text.get(trimmed.len()..).map_or(after, skip_blanks),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Vec<(usize, String, String)> {
        let items = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
        let setting = |(line, item)| match item {
            Item::Setting { key, value } => (line, key.to_string(), value),
            Item::Include(path) => (line, "include".to_owned(), path),
        };
        items.into_iter().map(setting).collect()
    }

    #[test]
    fn lines_have_keys_and_values() {
        for (text, key, value) in [
            ("heartbeat = 60", "heartbeat", "60"),
            ("  heartbeat=60  \r\n", "heartbeat", "60"),
            ("\theartbeat\t=\t60\n", "heartbeat", "60"),
            ("heartbeat = 60 # seconds", "heartbeat", "60"),
            ("default_pass = a#b", "default_pass", "a"),
            ("default_pass = 'a#b '", "default_pass", "a#b "),
            ("default_pass = 'a#b' # secret", "default_pass", "a#b"),
            ("default_pass = 'open", "default_pass", "'open"),
            ("default_pass = it's", "default_pass", "it's"),
            ("default_pass = '' # none", "default_pass", ""),
            ("default_pass = a b", "default_pass", "a b"),
            ("query = '''\nfor(a,\n b)\n'''", "query", "for(a,\n b)"),
            (
                "default_users.a\\.b.tags = x",
                "default_users.a\\.b.tags",
                "x",
            ),
            ("log.file-x_1.level = info", "log.file-x_1.level", "info"),
            ("include conf.d/*.conf", "include", "conf.d/*.conf"),
            ("include /a/b.conf # more", "include", "/a/b.conf"),
            ("include = 1", "include", "1"),
            ("motd = gr\u{fc}n", "motd", "gr\u{fc}n"),
        ] {
            assert_eq!(
                settings(text),
                [(1, key.to_owned(), value.to_owned())],
                "{text:?}"
            );
        }
    }

    #[test]
    fn comments_and_empty_lines_say_nothing_but_are_counted() {
        let text = "# one\n\n \t\r\n  ## four\na = 1\nb = '''\n7\n'''\nc = 3";
        let lines: Vec<usize> = settings(text).iter().map(|setting| setting.0).collect();
        assert_eq!(lines, [5, 6, 9]);
        assert!(settings("").is_empty() && settings("#").is_empty());
    }

    #[test]
    fn other_text_is_refused_with_its_line() {
        for text in [
            "heartbeat",
            "heartbeat 60",
            "= 60",
            "heartbeat =",
            "heartbeat = # 60",
            "a..b = 1",
            ".a = 1",
            "a. = 1",
            "a = 'b' c",
            "a b = 1",
            "[section]",
            "a = 'b'c",
            "\u{fc} = 1",
        ] {
            let error = parse(&format!("# first\n{text}\n")).expect_err(text);
            assert_eq!(error.line, 2, "{text}");
        }
    }
}
