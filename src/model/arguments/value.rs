//! Argument values: reads integers and texts, and formats values as RabbitMQ's texts do.

use amq_protocol::types::AMQPValue;

use crate::model::Name;

const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 24 * 60 * 60 * SECOND_MS;

/// A value in the notation of RabbitMQ's texts.
pub fn term(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::Void => "undefined".to_owned(),
        AMQPValue::Float(value) => format!("{value:?}"),
        AMQPValue::Double(value) => format!("{value:?}"),
        AMQPValue::DecimalValue(value) => format!("{{{},{}}}", value.scale, value.value),
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::ShortString(_) | AMQPValue::LongString(_) | AMQPValue::ByteArray(_) => {
            let bytes = bytes_value(value).unwrap_or_default();
            match printable(bytes) {
                Some(text) if text.is_empty() => "<<>>".to_owned(),
                Some(text) => format!("<<\"{text}\">>"),
                None => format!("<<{}>>", numbers(bytes)),
            }
        }
        AMQPValue::FieldArray(values) => {
            let items = values
                .as_slice()
                .iter()
                .map(|value| format!("{{{},{}}}", type_name(value), term(value)));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        AMQPValue::FieldTable(table) => {
            let items = table.into_iter().map(|(name, value)| {
                format!("{{<<\"{name}\">>,{},{}}}", type_name(value), term(value))
            });
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        AMQPValue::ShortShortInt(_)
        | AMQPValue::ShortShortUInt(_)
        | AMQPValue::ShortInt(_)
        | AMQPValue::ShortUInt(_)
        | AMQPValue::LongInt(_)
        | AMQPValue::LongUInt(_)
        | AMQPValue::LongLongInt(_) => integer_value(value).unwrap_or_default().to_string(),
    }
}

/// A string in Erlang's notation, which RabbitMQ's texts use.
pub fn quoted_string(bytes: &[u8]) -> String {
    match printable(bytes) {
        Some(text) => format!("\"{text}\""),
        None => format!("[{}]", numbers(bytes)),
    }
}

/// The text that Erlang writes between quotes: Latin-1 with some characters escaped. `None` for a control
/// character without an escape.
fn printable(bytes: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x08 => text.push_str("\\b"),
            0x0b => text.push_str("\\v"),
            0x0c => text.push_str("\\f"),
            0x1b => text.push_str("\\e"),
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            0x20..0x7f | 0xa0.. => text.push(char::from(*byte)),
            _ => return None,
        }
    }
    Some(text)
}

fn numbers(bytes: &[u8]) -> String {
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    numbers.join(",")
}

/// The name of a value's wire type in RabbitMQ's texts.
pub fn type_name(value: &AMQPValue) -> &'static str {
    match value {
        AMQPValue::Boolean(_) => "bool",
        AMQPValue::ShortShortInt(_) => "byte",
        AMQPValue::ShortShortUInt(_) => "unsignedbyte",
        AMQPValue::ShortInt(_) => "short",
        AMQPValue::ShortUInt(_) => "unsignedshort",
        AMQPValue::LongInt(_) => "signedint",
        AMQPValue::LongUInt(_) => "unsignedint",
        AMQPValue::LongLongInt(_) => "long",
        AMQPValue::Float(_) => "float",
        AMQPValue::Double(_) => "double",
        AMQPValue::DecimalValue(_) => "decimal",
        AMQPValue::ShortString(_) | AMQPValue::LongString(_) => "longstr",
        AMQPValue::FieldArray(_) => "array",
        AMQPValue::Timestamp(_) => "timestamp",
        AMQPValue::FieldTable(_) => "table",
        AMQPValue::ByteArray(_) => "binary",
        AMQPValue::Void => "void",
    }
}

/// The value of an integer of any width.
pub fn integer_value(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(value) => Some(i64::from(*value)),
        AMQPValue::ShortShortUInt(value) => Some(i64::from(*value)),
        AMQPValue::ShortInt(value) => Some(i64::from(*value)),
        AMQPValue::ShortUInt(value) => Some(i64::from(*value)),
        AMQPValue::LongInt(value) => Some(i64::from(*value)),
        AMQPValue::LongUInt(value) => Some(i64::from(*value)),
        AMQPValue::LongLongInt(value) => Some(*value),
        AMQPValue::Boolean(_)
        | AMQPValue::Float(_)
        | AMQPValue::Double(_)
        | AMQPValue::DecimalValue(_)
        | AMQPValue::ShortString(_)
        | AMQPValue::LongString(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::Timestamp(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => None,
    }
}

pub(super) fn float_value(value: &AMQPValue) -> Option<f64> {
    match value {
        AMQPValue::Float(value) => Some(f64::from(*value)),
        AMQPValue::Double(value) => Some(*value),
        _ => None,
    }
}

pub(super) fn bytes_value(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(value) => Some(value.as_bytes()),
        AMQPValue::ShortString(value) => Some(value.as_str().as_bytes()),
        AMQPValue::ByteArray(value) => Some(value.as_slice()),
        _ => None,
    }
}

/// The text of a string value. Replaces bytes that are not UTF-8.
pub fn text_value(value: &AMQPValue) -> Option<Name> {
    match value {
        AMQPValue::LongString(value) => Some(String::from_utf8_lossy(value.as_bytes()).into()),
        AMQPValue::ShortString(value) => Some(value.as_str().into()),
        _ => None,
    }
}

/// Parses an age: a number above zero and one of the units Y, M, D, h, m, s. A month has 30 days, a year 365.
/// The result is in milliseconds.
pub fn age_ms(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at_checked(digits)?;
    // A number that overflows saturates: it exceeds any real age. No digits read as zero.
    let number = number.iter().fold(0u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    let unit_ms = match unit {
        b"Y" => 365 * DAY_MS,
        b"M" => 30 * DAY_MS,
        b"D" => DAY_MS,
        b"h" => 60 * 60 * SECOND_MS,
        b"m" => 60 * SECOND_MS,
        b"s" => SECOND_MS,
        _ => return None,
    };
    (number > 0).then(|| number.saturating_mul(unit_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_written_as_in_erlang() {
        for (text, quoted, as_term) in [
            ("", "\"\"", "<<>>"),
            ("x", "\"x\"", "<<\"x\">>"),
            ("first\n", r#""first\n""#, r#"<<"first\n">>"#),
            ("a\tb", r#""a\tb""#, r#"<<"a\tb">>"#),
            ("q\"x\\", r#""q\"x\\""#, r#"<<"q\"x\\">>"#),
            ("\u{e9}", "\"\u{c3}\u{a9}\"", "<<\"\u{c3}\u{a9}\">>"),
            ("\u{1}a", "[1,97]", "<<1,97>>"),
            ("\u{7f}", "[127]", "<<127>>"),
        ] {
            assert_eq!(quoted_string(text.as_bytes()), quoted);
            assert_eq!(term(&AMQPValue::LongString(text.into())), as_term);
        }
    }

    #[test]
    fn ages() {
        let cases = [
            ("1s", Some(1_000)),
            ("90m", Some(5_400_000)),
            ("1h", Some(3_600_000)),
            ("7D", Some(604_800_000)),
            ("2M", Some(5_184_000_000)),
            ("1Y", Some(31_536_000_000)),
            ("99999999999999999999h", Some(u64::MAX)),
            ("0s", None),
            ("10", None),
            ("1H", None),
            ("1 h", None),
            ("-1h", None),
            ("h", None),
            ("", None),
        ];
        for (age, expected) in cases {
            assert_eq!(age_ms(age.as_bytes()), expected, "{age:?}");
        }
    }
}
