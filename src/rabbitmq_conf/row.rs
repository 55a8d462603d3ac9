//! One row of the table of keys: which keys it is about, what values they take, and what they mean here.

use super::kind::Kind;
use super::syntax::Key;

/// What a key means for this broker.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning {
    /// Its value is that of an option.
    Sets(&'static str),
    /// Its value is one item of an option that takes a list, in the order of the keys.
    Adds(&'static str),
    /// Its value is the items of an option that takes a list, with commas between them.
    Spreads(&'static str),
    /// The last word of the key and the value, as `WORD=VALUE`, are an item of an option that takes a list.
    Pairs(&'static str),
    /// With `true`, the last word of the key is an item of an option that takes a list.
    Marks(&'static str),
    /// With `none`, the mechanism ANONYMOUS is not offered.
    AnonymousUser,
    /// The last word of the key is a field of the object that the word before it names, in an option that takes a JSON
    /// object of objects.
    Field(&'static str),
    /// A part of one item of `oauth2-scope-aliases`; the keys with one number belong together.
    Alias(AliasPart),
    /// A part of the address of an HTTP listener.
    Web(Door, Part),
    /// One backend of the chain.
    Backend(Step),
    /// The broker does so without an option. Another value gets a warning with this reason.
    Always(&'static [&'static str], &'static str),
    /// It has no counterpart, for this reason.
    Without(&'static str),
    /// To go on without it would be unsafe, for this reason. These values are harmless.
    Refused(&'static [&'static str], &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AliasPart {
    Role,
    Scopes,
}

/// A listener for HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Management,
    ManagementTls,
    Prometheus,
    PrometheusTls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Ip,
    Port,
    /// Address and port, or `none`.
    Whole,
}

/// What a backend of the chain is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Both,
    Authn,
    Authz,
    /// What the backend `cache` stands for.
    CachedBoth,
    CachedAuthn,
    CachedAuthz,
}

#[derive(Debug)]
pub(super) struct Row {
    /// Words between dots. `$` is any word; `*` at the end is any further words.
    pub(super) pattern: &'static str,
    pub(super) kind: Kind,
    pub(super) meaning: Meaning,
}

pub(super) const fn row(pattern: &'static str, kind: Kind, meaning: Meaning) -> Row {
    Row {
        pattern,
        kind,
        meaning,
    }
}

impl Row {
    pub(super) fn is_about(&self, key: &Key) -> bool {
        let mut words = key.0.iter();
        for part in self.pattern.split('.') {
            match (part, words.next()) {
                ("*", Some(_)) => return true,
                ("$", Some(_)) => {}
                (part, Some(word)) if part == word => {}
                (_, Some(_) | None) => return false,
            }
        }
        words.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_keys_word_by_word() {
        for (pattern, key, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a", false),
            ("a", "a.b", false),
            ("a.$", "a.x", true),
            ("a.$", "a", false),
            ("a.$", "a.x.y", false),
            ("a.$.c", "a.x.c", true),
            ("a.*", "a.x.y", true),
            ("a.*", "a", false),
        ] {
            let row = row(pattern, Kind::Text, Meaning::Without(""));
            let key = Key(key.split('.').map(str::to_owned).collect());
            assert_eq!(row.is_about(&key), expected, "{pattern} {key}");
        }
    }
}
