//! Quotes bytes as RabbitMQ does inside its error texts (`<<1,2,3>>`, `<<"text">>`), since clients' tests and
//! operators' searches look for those texts.

use std::fmt::Write as _;

/// Maximum number of bytes that are written out; reply texts are cut at 255 bytes anyway.
const SHOWN_MAX: usize = 128;

/// `<<1,2,3>>`: the bytes as numbers.
pub(super) fn numbers(bytes: &[u8]) -> String {
    let mut text = String::from("<<");
    for (i, byte) in bytes.iter().take(SHOWN_MAX).enumerate() {
        let separator = if i == 0 { "" } else { "," };
        write!(text, "{separator}{byte}").expect("writing to a String cannot fail");
    }
    text.push_str(if bytes.len() > SHOWN_MAX {
        ",...>>"
    } else {
        ">>"
    });
    text
}

/// `<<"abc">>` when all bytes are printable, the numbers otherwise.
pub(super) fn pretty(bytes: &[u8]) -> String {
    let printable = |byte: &u8| matches!(byte, 0x08..=0x0d | 0x1b | 0x20..=0x7e);
    if bytes.is_empty() || bytes.len() > SHOWN_MAX || !bytes.iter().all(printable) {
        return numbers(bytes);
    }
    let mut text = String::from("<<\"");
    for &byte in bytes {
        match byte {
            0x08 => text.push_str("\\b"),
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            0x0b => text.push_str("\\v"),
            0x0c => text.push_str("\\f"),
            b'\r' => text.push_str("\\r"),
            0x1b => text.push_str("\\e"),
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            other => text.push(char::from(other)),
        }
    }
    text.push_str("\">>");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_quoted_as_rabbitmq_quotes_them() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "<<>>"),
            (&[0, 1, 255], "<<0,1,255>>"),
            (b"GET / HTTP", "<<\"GET / HTTP\">>"),
            (b"a\"b\\\n", "<<\"a\\\"b\\\\\\n\">>"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(pretty(bytes), *expected);
        }
        assert_eq!(numbers(b"ab"), "<<97,98>>");
        assert!(numbers(&[7; 1000]).ends_with(",7,...>>"));
    }
}
