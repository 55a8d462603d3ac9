//! The parameters of one request: a form from a body or a query, decoded and sorted by name, as the signature needs them.
//! Pure; knows no action, and nothing of HTTP but the form.
//!
//! `form_urlencoded` would replace bytes that are no UTF-8, but bodies may be any bytes and are signed as they are. So the
//! form is split here, and `percent-encoding` decodes the pieces.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use memchr::{memchr, memchr_iter, memchr2};
use percent_encoding::percent_decode;

use super::error::CmqError;

/// Characters of a client's text that an error repeats.
const SHOWN_CHARS_MAX: usize = 64;

type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// Parameters in byte order of their names, each name once. Borrows what needs no decoding.
#[derive(Debug)]
pub(crate) struct Parameters<'a> {
    pairs: Vec<Pair<'a>>,
}

impl<'a> Parameters<'a> {
    /// Parses a form of up to `max` parameters.
    pub(crate) fn parse(form: &'a [u8], max: usize) -> Result<Parameters<'a>, CmqError> {
        let expected = memchr_iter(b'&', form).count() + 1;
        let mut pairs = Vec::with_capacity(expected.min(max));
        let mut rest = form;
        while !rest.is_empty() {
            let (pair, tail) = split_at(rest, b'&');
            rest = tail;
            if pair.is_empty() {
                continue;
            }
            if pairs.len() == max {
                return Err(CmqError::Unreadable("parameters"));
            }
            let (name, value) = split_at(pair, b'=');
            pairs.push((decode(name), decode(value)));
        }
        pairs.sort_unstable_by(|(a, _): &Pair<'a>, (b, _)| a.cmp(b));
        let repeated = pairs.windows(2).find_map(|two| match two {
            [(first, _), (second, _)] if first == second => Some(shown(first)),
            _ => None,
        });
        match repeated {
            Some(name) => Err(CmqError::NotRepeatable(name)),
            None => Ok(Parameters { pairs }),
        }
    }

    /// All parameters, in byte order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of a parameter, if there is one. The parameter may begin with a capital or a small letter.
    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(own, _)| is_called(own, name))
            .map(|(_, value)| value)
    }

    /// The value as text; `None` also if it is no text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.bytes(name)?).ok()
    }

    /// Refuses parameters that are no text, except `name` and the items `name.N`.
    pub(crate) fn check_text_but(&self, name: &str) -> Result<(), CmqError> {
        let wrong = self.iter().find(|(own, value)| {
            let (stem, _) = split_at(own, b'.');
            !is_called(stem, name) && std::str::from_utf8(value).is_err()
        });
        wrong.map_or(Ok(()), |(own, _)| Err(CmqError::WrongType(shown(own))))
    }

    /// The value of a parameter that may neither be missing nor empty.
    pub(crate) fn required(&self, name: &str) -> Result<&str, CmqError> {
        self.text(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| CmqError::Missing(name.to_owned()))
    }

    /// An integer. An empty value counts as missing.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, CmqError> {
        self.text(name)
            .filter(|value| !value.is_empty())
            .map(|value| value.parse())
            .transpose()
            .map_err(|_| CmqError::WrongType(name.to_owned()))
    }

    /// An integer that has to be within `range`.
    pub(crate) fn ranged(
        &self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, CmqError> {
        let Some(value) = self.integer(name)? else {
            return Ok(None);
        };
        u64::try_from(value)
            .ok()
            .filter(|value| range.contains(value))
            .map(Some)
            .ok_or_else(|| CmqError::OutOfRange(name.to_owned()))
    }

    /// The items `name.N` as text, as [`Parameters::items`] returns them.
    pub(crate) fn list(&self, name: &str, max: usize) -> Result<Vec<(u32, &str)>, CmqError> {
        let items = self.items(name, max)?.into_iter();
        let texts = items.map(|(index, value)| Some((index, std::str::from_utf8(value).ok()?)));
        let texts: Option<Vec<_>> = texts.collect();
        texts.ok_or_else(|| CmqError::WrongType(name.to_owned()))
    }

    /// The items `name.N` with their N, in its order. N has to count from 0 or 1 without gaps.
    pub(crate) fn items(&self, name: &str, max: usize) -> Result<Vec<(u32, &[u8])>, CmqError> {
        let mut items = Vec::new();
        for (own, value) in self.iter() {
            let (stem, suffix) = split_at(own, b'.');
            if !is_called(stem, name) {
                continue;
            }
            // `parse` alone would also take a sign.
            let digits = stem != own && suffix.iter().all(u8::is_ascii_digit);
            let index = std::str::from_utf8(suffix).ok().filter(|_| digits);
            let index: Option<u32> = index.and_then(|digits| digits.parse().ok());
            let index = index.ok_or_else(|| CmqError::KeyFormat(shown(own)))?;
            items.push((index, value));
        }
        if items.len() > max {
            return Err(CmqError::BatchSize(name.to_owned()));
        }
        items.sort_unstable_by_key(|(index, _)| *index);
        let starts_well = items.first().is_none_or(|(index, _)| *index <= 1);
        let has_no_gap = items.windows(2).all(|two| match two {
            [(one, _), (next, _)] => one.checked_add(1) == Some(*next),
            _ => true,
        });
        if !starts_well || !has_no_gap {
            return Err(CmqError::NotConsecutive(name.to_owned()));
        }
        Ok(items)
    }
}

/// Splits at the first `at`; without one, returns `(text, [])`.
fn split_at(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    let found = memchr(at, text).and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?)));
    found.unwrap_or((text, &[]))
}

/// Decodes a name or value. `%` without two hexadecimal digits stands for itself.
fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    // Bodies come through here, and most need no decoding.
    if memchr2(b'+', b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let spaced = match memchr(b'+', text) {
        Some(_) => Cow::Owned(text.iter().copied().map(plus_as_space).collect()),
        None => Cow::Borrowed(text),
    };
    Cow::Owned(Cow::from(percent_decode(&spaced)).into_owned())
}

fn plus_as_space(byte: u8) -> u8 {
    match byte {
        b'+' => b' ',
        other => other,
    }
}

/// Whether two names are equal, except for the case of their first letters.
fn is_called(own: &[u8], name: &str) -> bool {
    match (own.split_first(), name.as_bytes().split_first()) {
        (Some((a, own)), Some((b, name))) => a.eq_ignore_ascii_case(b) && own == name,
        _ => false,
    }
}

/// Text from a client, cut to the length that an error repeats.
pub(crate) fn shown(name: impl AsRef<[u8]>) -> String {
    let name = String::from_utf8_lossy(name.as_ref());
    name.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 512;

    proptest! {
        #[test]
        fn an_encoded_form_is_decoded(pairs: BTreeMap<String, String>) {
            let form = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&pairs)
                .finish();
            let parsed = Parameters::parse(form.as_bytes(), MAX).unwrap();
            let parsed: Vec<_> = parsed.iter().collect();
            let expected: Vec<_> = pairs.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect();
            prop_assert_eq!(parsed, expected);
        }

        #[test]
        fn forms_are_parsed_as_the_url_standard_says(form in "([a-b]|=|&|\\+|%|%2|%2[5-7bBg]|%C3%A9|%ff|é){0,24}") {
            let mut expected: Vec<_> = form_urlencoded::parse(form.as_bytes()).collect();
            expected.sort();
            if let Ok(parsed) = Parameters::parse(form.as_bytes(), 64) {
                let lossy = |bytes| String::from_utf8_lossy(bytes);
                let mut parsed: Vec<_> = parsed.iter().map(|(k, v)| (lossy(k), lossy(v))).collect();
                parsed.sort();
                prop_assert_eq!(parsed, expected);
            } else {
                prop_assert!(expected.windows(2).any(|two| two[0].0 == two[1].0));
            }
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(form: Vec<u8>, max in 0_usize..3) {
            if let Ok(parsed) = Parameters::parse(&form, MAX) {
                for (name, _) in parsed.iter() {
                    let Ok(name) = std::str::from_utf8(name) else { continue };
                    let stem = name.split('.').next().unwrap();
                    let items = parsed.items(stem, max);
                    prop_assert!(items.is_err() || items.unwrap().len() <= max);
                    prop_assert!(name.is_empty() || parsed.bytes(name).is_some());
                }
            }
        }
    }

    fn parse(form: &str) -> Parameters<'_> {
        Parameters::parse(form.as_bytes(), MAX).unwrap()
    }

    #[test]
    fn values_are_decoded_and_sorted_by_bytes() {
        let form = parse("msgBody.2=b&msgBody.10=c&Action=A+b%2B%E4%BD%A0&a=&msgBody.1=%26%3D");
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let all: Vec<_> = form.iter().map(|(k, v)| (text(k), text(v))).collect();
        assert_eq!(
            all,
            [
                ("Action", "A b+你"),
                ("a", ""),
                ("msgBody.1", "&="),
                ("msgBody.10", "c"),
                ("msgBody.2", "b"),
            ]
        );
        assert!(matches!(form.iter().nth(1), Some((_, b""))));
    }

    #[test]
    fn values_that_are_no_text_are_bytes_and_refused_as_text() {
        let form = parse("msgBody=%ff%00&msgBody.1=%fe&%fd=x&queueName=q");
        assert_eq!(form.bytes("msgBody"), Some(&[0xff, 0][..]));
        assert_eq!(form.text("msgBody"), None);
        assert_eq!(form.check_text_but("msgBody"), Ok(()));
        assert_eq!(
            form.check_text_but("x"),
            Err(CmqError::WrongType("msgBody".into()))
        );
        let form = parse("msgBody.1=%fe&msgBody.2=x");
        assert_eq!(
            form.items("msgBody", 2),
            Ok(vec![(1, &[0xfe][..]), (2, b"x")])
        );
        assert_eq!(
            form.list("msgBody", 2),
            Err(CmqError::WrongType("msgBody".into()))
        );
    }

    #[test]
    fn names_may_begin_with_a_capital_letter() {
        let form = parse("TopicName=t&queueName=q&x=");
        assert_eq!(form.text("topicName"), Some("t"));
        assert_eq!(form.required("queueName"), Ok("q"));
        assert_eq!(form.required("x"), Err(CmqError::Missing("x".into())));
        assert_eq!(form.text("topicname"), None);
    }

    #[test]
    fn a_repeated_name_is_refused() {
        let error = Parameters::parse(b"a=1&b=2&a=1", MAX).unwrap_err();
        assert_eq!(error, CmqError::NotRepeatable("a".into()));
        let many = "a=1&".repeat(MAX + 1);
        let error = Parameters::parse(many.as_bytes(), MAX).unwrap_err();
        assert_eq!(error, CmqError::Unreadable("parameters"));
    }

    #[test]
    fn integers_are_checked_against_their_range() {
        let form = parse("a=5&b=-1&c=x&d=&e=99999999999999999999");
        assert_eq!(form.ranged("a", 0..=5), Ok(Some(5)));
        assert_eq!(
            form.ranged("a", 6..=9),
            Err(CmqError::OutOfRange("a".into()))
        );
        assert_eq!(
            form.ranged("b", 0..=9),
            Err(CmqError::OutOfRange("b".into()))
        );
        assert_eq!(form.integer("b"), Ok(Some(-1)));
        assert_eq!(form.integer("c"), Err(CmqError::WrongType("c".into())));
        assert_eq!(form.integer("d"), Ok(None));
        assert_eq!(form.integer("e"), Err(CmqError::WrongType("e".into())));
        assert_eq!(form.integer("f"), Ok(None));
    }

    #[test]
    fn lists_count_from_zero_or_one_without_gaps() {
        let twelve: String = (1..=12).map(|n| format!("b.{n}={n}&")).collect();
        assert_eq!(
            parse(&twelve).list("b", 16).unwrap().last(),
            Some(&(12, "12"))
        );
        for (form, expected) in [
            ("b.0=x&b.1=y", Ok(vec![(0, "x"), (1, "y")])),
            ("b.1=x&b.2=y&c.7=z", Ok(vec![(1, "x"), (2, "y")])),
            ("B.1=x", Ok(vec![(1, "x")])),
            ("a=1", Ok(vec![])),
            ("b.1=x&b.3=y", Err(CmqError::NotConsecutive("b".into()))),
            ("b.2=x", Err(CmqError::NotConsecutive("b".into()))),
            ("b.1=x&b.01=y", Err(CmqError::NotConsecutive("b".into()))),
            ("b.x=1", Err(CmqError::KeyFormat("b.x".into()))),
            ("b.+1=1", Err(CmqError::KeyFormat("b. 1".into()))),
            ("b.=1", Err(CmqError::KeyFormat("b.".into()))),
            ("b=1", Err(CmqError::KeyFormat("b".into()))),
            ("b.1.2=1", Err(CmqError::KeyFormat("b.1.2".into()))),
            ("b.1=x&b.2=y&b.3=z", Err(CmqError::BatchSize("b".into()))),
        ] {
            assert_eq!(parse(form).list("b", 2), expected, "{form}");
        }
    }
}
