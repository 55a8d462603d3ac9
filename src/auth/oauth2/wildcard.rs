//! Patterns of scopes: `*` stands for any bytes, and the text between is percent-encoded. Pure.

/// Whether `subject` matches `pattern`.
///
/// As in RabbitMQ each part after a `*` is found where it occurs first. So `*a` does not match `aba`: its only part ends
/// at the first `a`, and more follows.
pub(super) fn matches(subject: &str, pattern: &str) -> bool {
    let parts: Option<Vec<Vec<u8>>> = pattern.split('*').map(decode).collect();
    match parts.as_deref() {
        Some([first, rest @ ..]) => match subject.as_bytes().strip_prefix(first.as_slice()) {
            Some(remaining) => follows(remaining, rest),
            None => false,
        },
        Some([]) | None => false,
    }
}

/// Whether `subject` consists of the parts, with any bytes before each of them.
fn follows(mut subject: &[u8], mut parts: &[Vec<u8>]) -> bool {
    loop {
        match parts {
            [last] if last.is_empty() => return true,
            [] => return subject.is_empty(),
            _ if subject.is_empty() => return false,
            [part, rest @ ..] => {
                let Some(at) = memchr::memmem::find(subject, part) else {
                    return false;
                };
                subject = subject.get(at + part.len()..).unwrap_or_default();
                parts = rest;
            }
        }
    }
}

/// Decodes a part as the value of a form: `%2F` is a slash and `+` a space. A bad escape matches nothing.
fn decode(part: &str) -> Option<Vec<u8>> {
    let mut bytes = part.bytes();
    let mut decoded = Vec::with_capacity(part.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? * 16 + hex(bytes.next()?)?,
            other => other,
        });
    }
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_matches_as_in_rabbitmq() {
        for (pattern, matching, others) in [
            ("", &[""][..], &["a", "*"][..]),
            ("*", &["", "a", "/", "a/b"], &[]),
            ("**", &["a", "ab"], &[""]),
            ("vhost", &["vhost"], &["vhosts", "vhos", "Vhost", ""]),
            ("a*", &["a", "ab", "a*"], &["", "ba"]),
            ("*z", &["z", "az", "abz"], &["zz", "za", ""]),
            ("a*z", &["az", "abcz"], &["a", "azz", "za"]),
            ("*mid*", &["mid", "amidst"], &["mad", "mi"]),
            ("a*b*c", &["abc", "a-b-c", "axbbxc"], &["acb", "ab"]),
            ("a**c", &["axc", "abxc"], &["a"]),
            ("%2F", &["/"], &["%2F", "%2f", "2F"]),
            ("%2f*", &["/", "/a"], &["a"]),
            ("%2A", &["*"], &["a"]),
            ("a+b", &["a b"], &["a+b"]),
            ("a%2Bb", &["a+b"], &["a b"]),
            ("%C3%A4*", &["ä", "äh"], &["a"]),
            ("ä*", &["ä"], &["a"]),
            ("%", &[], &["%", ""]),
            ("%2", &[], &["%2"]),
            ("*%zz", &[], &["%zz", "zz"]),
        ] {
            for subject in matching {
                assert!(matches(subject, pattern), "{pattern} matches {subject:?}");
            }
            for subject in others {
                assert!(!matches(subject, pattern), "{pattern} is not {subject:?}");
            }
        }
    }
}
