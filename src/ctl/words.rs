//! Splits the words of a command line into options and the rest. By hand, because rabbitmqctl's rules are not those of any
//! parser of command lines: options stand anywhere, `_` equals `-`, and each verb refuses the options that it does not take
//! in a text of its own.

use std::collections::BTreeMap;

use super::options;

#[derive(Default)]
pub(super) struct Words {
    /// Known options by long name. Switches have an empty value.
    pub(super) options: BTreeMap<String, String>,
    /// The verb and its arguments.
    pub(super) plain: Vec<String>,
    /// Unknown options as they were written, with their values.
    pub(super) unknown: Vec<(String, String)>,
}

/// Splits words into options, which may stand anywhere, and the rest.
pub(super) fn split(words: &[String]) -> Words {
    let mut split = Words::default();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            split.plain.extend(words.cloned());
            break;
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) if word.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let long = match name.strip_prefix("--") {
            Some(long) => long.replace('_', "-"),
            None => match letter(name).and_then(options::short) {
                Some(option) => option.long.to_owned(),
                // Plain text, a lone dash, or a negative number.
                None if !name.starts_with('-')
                    || name.len() == 1
                    || name.parse::<f64>().is_ok() =>
                {
                    split.plain.push(word.clone());
                    continue;
                }
                None => name.to_owned(),
            },
        };
        let Some(option) = options::long(&long) else {
            split
                .unknown
                .push((name.to_owned(), inline.unwrap_or_default()));
            continue;
        };
        if option.value.is_none() {
            split.options.insert(long, String::new());
            continue;
        }
        match inline.or_else(|| words.next().cloned()) {
            Some(value) if long == "priority" && value.parse::<i64>().is_err() => {
                split.unknown.push((name.to_owned(), value));
            }
            Some(value) => {
                split.options.insert(long, value);
            }
            None => split.unknown.push((name.to_owned(), String::new())),
        }
    }
    split
}

/// The letter of a word such as `-p`.
fn letter(word: &str) -> Option<char> {
    let mut letters = word.strip_prefix('-')?.chars();
    let letter = letters.next()?;
    letters.next().is_none().then_some(letter)
}
