//! Erlang terms as text, as far as RabbitMQ's LDAP queries use them: tuples, lists, strings, binaries and atoms. Pure.

use std::fmt;

/// How deep terms may be nested. Queries are written by hand.
const DEPTH_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Term {
    Tuple(Vec<Term>),
    List(Vec<Term>),
    /// A string or a binary: for queries both are text.
    Text(String),
    Atom(String),
}

/// Why a text is no term.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TermError {
    #[error("the query ends too early")]
    End,
    #[error("unexpected '{0}' at character {1}")]
    Unexpected(char, usize),
    #[error("the query is nested more than {DEPTH_MAX} deep")]
    TooDeep,
}

/// Reads one term, which may end with a full stop.
pub(super) fn parse(text: &str) -> Result<Term, TermError> {
    let mut reader = Reader {
        characters: text.chars().collect(),
        at: 0,
    };
    let term = reader.term(0)?;
    if reader.next_visible() == Some('.') {
        reader.at += 1;
    }
    match reader.next_visible() {
        None => Ok(term),
        Some(extra) => Err(TermError::Unexpected(extra, reader.at + 1)),
    }
}

struct Reader {
    characters: Vec<char>,
    at: usize,
}

impl Reader {
    fn term(&mut self, depth: usize) -> Result<Term, TermError> {
        if depth > DEPTH_MAX {
            return Err(TermError::TooDeep);
        }
        match self.next_visible() {
            None => Err(TermError::End),
            Some('{') => self.several('}', depth).map(Term::Tuple),
            Some('[') => self.several(']', depth).map(Term::List),
            Some('"') => self.quoted('"').map(Term::Text),
            Some('\'') => self.quoted('\'').map(Term::Atom),
            Some('<') => self.binary(),
            Some(first) if first.is_ascii_lowercase() => Ok(Term::Atom(self.word())),
            Some(other) => Err(self.unexpected(other)),
        }
    }

    /// The terms between brackets, of which the first one comes next.
    fn several(&mut self, closing: char, depth: usize) -> Result<Vec<Term>, TermError> {
        self.at += 1;
        let mut terms = Vec::new();
        if self.next_visible() == Some(closing) {
            self.at += 1;
            return Ok(terms);
        }
        loop {
            terms.push(self.term(depth + 1)?);
            match self.next_visible() {
                Some(',') => self.at += 1,
                Some(found) if found == closing => {
                    self.at += 1;
                    return Ok(terms);
                }
                Some(other) => return Err(self.unexpected(other)),
                None => return Err(TermError::End),
            }
        }
    }

    /// `<<"text">>`, which may say `/utf8` after the text.
    fn binary(&mut self) -> Result<Term, TermError> {
        self.expect("<<")?;
        if self.next_visible() != Some('"') {
            return Err(self
                .next_visible()
                .map_or(TermError::End, |c| self.unexpected(c)));
        }
        let text = self.quoted('"')?;
        if self.next_visible() == Some('/') {
            self.expect("/utf8")?;
        }
        self.next_visible();
        self.expect(">>")?;
        Ok(Term::Text(text))
    }

    fn expect(&mut self, text: &str) -> Result<(), TermError> {
        for expected in text.chars() {
            match self.current() {
                Some(found) if found == expected => self.at += 1,
                Some(other) => return Err(self.unexpected(other)),
                None => return Err(TermError::End),
            }
        }
        Ok(())
    }

    fn quoted(&mut self, quote: char) -> Result<String, TermError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let found = self.current().ok_or(TermError::End)?;
            self.at += 1;
            match found {
                '\\' => {
                    let escaped = self.current().ok_or(TermError::End)?;
                    self.at += 1;
                    text.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        's' => ' ',
                        other => other,
                    });
                }
                found if found == quote => return Ok(text),
                other => text.push(other),
            }
        }
    }

    fn word(&mut self) -> String {
        let rest = self.characters.get(self.at..).unwrap_or_default();
        let is_part = |c: &&char| c.is_ascii_alphanumeric() || matches!(c, '_' | '@');
        let word: String = rest.iter().take_while(is_part).collect();
        self.at += word.len();
        word
    }

    /// The next character that is no space, and not part of a comment.
    fn next_visible(&mut self) -> Option<char> {
        loop {
            match self.current()? {
                space if space.is_whitespace() => self.at += 1,
                '%' => {
                    while self.current().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                visible => return Some(visible),
            }
        }
    }

    fn current(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn unexpected(&self, found: char) -> TermError {
        TermError::Unexpected(found, self.at + 1)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = |f: &mut fmt::Formatter<'_>, terms: &[Term]| {
            for (index, term) in terms.iter().enumerate() {
                let separator = if index == 0 { "" } else { ", " };
                write!(f, "{separator}{term}")?;
            }
            Ok(())
        };
        match self {
            Term::Tuple(terms) => {
                f.write_str("{")?;
                several(f, terms)?;
                f.write_str("}")
            }
            Term::List(terms) => {
                f.write_str("[")?;
                several(f, terms)?;
                f.write_str("]")
            }
            Term::Text(text) => write!(f, "{text:?}"),
            Term::Atom(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read() {
        for (text, expected) in [
            ("{constant, true}", "{constant, true}"),
            ("  {constant,\n true}\n.  ", "{constant, true}"),
            ("{'not', {constant, false}}.", "{not, {constant, false}}"),
            ("[]", "[]"),
            ("{}", "{}"),
            (r#"{in_group, "cn=a\"b\\c"}"#, r#"{in_group, "cn=a\"b\\c"}"#),
            (r#"{vhost, <<"v">>, <<"ä"/utf8>>}"#, r#"{vhost, "v", "ä"}"#),
            ("[a, % a comment\n b]", "[a, b]"),
            ("[a1_B@c]", "[a1_B@c]"),
        ] {
            let term = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(term.to_string(), expected);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(&deep(DEPTH_MAX + 1)).is_ok());
        assert_eq!(parse(&deep(DEPTH_MAX + 2)), Err(TermError::TooDeep));
        for (text, expected) in [
            ("", TermError::End),
            ("{constant, true", TermError::End),
            ("\"open", TermError::End),
            ("<<\"open\"", TermError::End),
            ("{a b}", TermError::Unexpected('b', 4)),
            ("{a,}", TermError::Unexpected('}', 4)),
            ("[a}", TermError::Unexpected('}', 3)),
            ("{a} {b}", TermError::Unexpected('{', 5)),
            ("a..", TermError::Unexpected('.', 3)),
            ("Variable", TermError::Unexpected('V', 1)),
            ("7", TermError::Unexpected('7', 1)),
            ("<a>", TermError::Unexpected('a', 2)),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }
}
