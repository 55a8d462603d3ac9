//! What values a key takes, and how our options spell them. Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// RabbitMQ refuses a longer body.
const MESSAGE_SIZE_MAX: u64 = 536_870_912;

/// The values that RabbitMQ accepts for a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    /// Text, where nothing within quotes is `none`.
    TextOrNone,
    /// A regular expression.
    Pattern,
    /// Texts with commas between them.
    Texts,
    /// Text that is not shown in errors.
    Secret,
    /// The path of a file that must be there.
    File,
    Integer,
    Positive,
    /// Where 0 means the largest that our option takes.
    ZeroIsMost(u64),
    /// A number or `infinity`.
    Infinite,
    /// A number with a decimal point.
    Float,
    /// `true` or `false`.
    Truth,
    /// `true` stands for this word, `false` for nothing.
    IfTrue(&'static str),
    /// Bytes with units as in Kubernetes: `M` is 1000², `Mi` and `MiB` are 1024².
    Bytes,
    /// Bytes with units where `MB` is 1024².
    ByteSize,
    MessageSize,
    /// A port, or an address and a port.
    Listener,
    /// The same, or `none`.
    ListenerOrNone,
    Port,
    Ip,
    /// RabbitMQ's words with ours.
    Words(&'static [(&'static str, &'static str)]),
}

/// A value that RabbitMQ accepts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// In the spelling of our options.
    Is(String),
    /// It asks for nothing.
    Nothing,
    /// Ours has no such value, so the default stays.
    Stays(&'static str),
}

impl Kind {
    /// Reads a value. The error says what RabbitMQ expects.
    pub(super) fn read(self, text: &str) -> Result<Value, String> {
        let is = |text: String| Ok(Value::Is(text));
        match self {
            Kind::Secret if text.starts_with("encrypted:") => {
                Err("encrypted values cannot be read: say $(VARIABLE) or $(<FILE)".to_owned())
            }
            Kind::TextOrNone if text.is_empty() => is("none".to_owned()),
            Kind::Text | Kind::TextOrNone | Kind::Texts | Kind::Secret => is(text.to_owned()),
            Kind::Pattern => match fancy_regex::Regex::new(text) {
                Ok(_) => is(text.to_owned()),
                Err(error) => Err(error.to_string()),
            },
            Kind::File => match std::fs::metadata(text) {
                Ok(_) => is(text.to_owned()),
                Err(error) => Err(format!("the file cannot be read: {error}")),
            },
            Kind::Integer => integer(text).map(|number| Value::Is(number.to_string())),
            Kind::Positive => match integer(text)? {
                number if number > 0 => is(number.to_string()),
                _ => Err("expected a number of at least 1".to_owned()),
            },
            Kind::ZeroIsMost(most) => match integer(text)? {
                0 => is(most.to_string()),
                number => is(number.to_string()),
            },
            Kind::Infinite if text == "infinity" => Ok(Value::Stays(
                "no number is without limit here, and the default stays",
            )),
            Kind::Infinite => integer(text).map(|number| Value::Is(number.to_string())),
            Kind::Float => match text.parse::<f64>() {
                Ok(number) if text.contains('.') && number.is_finite() => is(text.to_owned()),
                _ => Err("expected a number with a decimal point, such as 0.6".to_owned()),
            },
            Kind::Truth => match text {
                "true" | "false" => is(text.to_owned()),
                _ => Err("expected true or false".to_owned()),
            },
            Kind::IfTrue(word) => match text {
                "true" => is(word.to_owned()),
                "false" => Ok(Value::Nothing),
                _ => Err("expected true or false".to_owned()),
            },
            Kind::Bytes => bytes(text, information_unit)
                .map(|bytes| Value::Is(bytes.to_string()))
                .ok_or_else(|| "expected bytes, such as 2GB or 512MiB".to_owned()),
            Kind::ByteSize => bytes(text, binary_unit)
                .map(|bytes| Value::Is(bytes.to_string()))
                .ok_or_else(|| "expected bytes, such as 131072 or 128KB".to_owned()),
            Kind::MessageSize => match integer(text)? {
                number if (1..=MESSAGE_SIZE_MAX.cast_signed()).contains(&number) => {
                    is(number.to_string())
                }
                _ => Err(format!("expected a number from 1 to {MESSAGE_SIZE_MAX}")),
            },
            Kind::ListenerOrNone if text == "none" => is(text.to_owned()),
            Kind::Listener | Kind::ListenerOrNone => {
                listener(text).map(|address| Value::Is(address.to_string()))
            }
            Kind::Port => match text.parse::<u16>() {
                Ok(port) => is(port.to_string()),
                Err(_) => Err("expected a port".to_owned()),
            },
            Kind::Ip => match text.parse::<IpAddr>() {
                Ok(ip) => is(ip.to_string()),
                Err(_) => Err("expected an IP address".to_owned()),
            },
            Kind::Words(words) => match words.iter().find(|(word, _)| *word == text) {
                Some((_, ours)) => is((*ours).to_owned()),
                None => {
                    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                    Err(format!("expected one of {}", known.join(", ")))
                }
            },
        }
    }
}

impl Kind {
    /// A value that was read, as JSON.
    pub(super) fn json(self, value: String) -> serde_json::Value {
        match self {
            Kind::Integer | Kind::Positive => value
                .parse::<i64>()
                .map_or(value.into(), serde_json::Value::from),
            Kind::Texts => {
                let texts = value
                    .split(',')
                    .map(str::trim)
                    .filter(|text| !text.is_empty());
                texts.collect()
            }
            Kind::Text
            | Kind::TextOrNone
            | Kind::Pattern
            | Kind::Secret
            | Kind::File
            | Kind::ZeroIsMost(_)
            | Kind::Infinite
            | Kind::Float
            | Kind::Truth
            | Kind::IfTrue(_)
            | Kind::Bytes
            | Kind::ByteSize
            | Kind::MessageSize
            | Kind::Listener
            | Kind::ListenerOrNone
            | Kind::Port
            | Kind::Ip
            | Kind::Words(_) => value.into(),
        }
    }
}

fn integer(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| "expected a whole number".to_owned())
}

/// A port alone listens on every address.
fn listener(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    text.rsplit_once(':')
        .and_then(|(ip, port)| Some((ip.parse::<IpAddr>().ok()?, port.parse::<u16>().ok()?)))
        .map(SocketAddr::from)
        .ok_or_else(|| {
            "expected a port, or an IP address and a port such as 127.0.0.1:5672 or ::1:5672"
                .to_owned()
        })
}

fn bytes(text: &str, scale: fn(&str) -> Option<u64>) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    number.parse::<u64>().ok()?.checked_mul(scale(unit)?)
}

fn information_unit(unit: &str) -> Option<u64> {
    let power = |letter: char| {
        "kmgtp"
            .find(letter)
            .and_then(|at| u32::try_from(at + 1).ok())
    };
    let lower = unit.to_ascii_lowercase();
    let mut letters = lower.chars();
    let Some(first) = letters.next() else {
        return Some(1);
    };
    match letters.as_str() {
        "" | "b" => 1000_u64.checked_pow(power(first)?),
        "i" | "ib" => 1024_u64.checked_pow(power(first)?),
        _ => None,
    }
}

fn binary_unit(unit: &str) -> Option<u64> {
    match unit {
        "" => Some(1),
        "KB" | "kb" => Some(1024),
        "MB" | "mb" => Some(1024 * 1024),
        "GB" | "gb" => Some(1024 * 1024 * 1024),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_rabbitmq_reads_them() {
        for (kind, text, expected) in [
            (Kind::Text, "x", Some("x")),
            (Kind::TextOrNone, "", Some("none")),
            (Kind::TextOrNone, "x", Some("x")),
            (Kind::Pattern, "^(?!amq)", Some("^(?!amq)")),
            (Kind::Pattern, "(", None),
            (Kind::Texts, "a, b", Some("a, b")),
            (Kind::Integer, "-1", Some("-1")),
            (Kind::Integer, "1.5", None),
            (Kind::Positive, "0", None),
            (Kind::Positive, "7", Some("7")),
            (Kind::ZeroIsMost(65535), "0", Some("65535")),
            (Kind::ZeroIsMost(65535), "9", Some("9")),
            (Kind::Infinite, "10", Some("10")),
            (Kind::Infinite, "ten", None),
            (Kind::Float, "0.4", Some("0.4")),
            (Kind::Float, "1", None),
            (Kind::Truth, "true", Some("true")),
            (Kind::Truth, "yes", None),
            (Kind::Bytes, "2GB", Some("2000000000")),
            (Kind::Bytes, "2G", Some("2000000000")),
            (Kind::Bytes, "1Gi", Some("1073741824")),
            (Kind::Bytes, "1MiB", Some("1048576")),
            (Kind::Bytes, "10k", Some("10000")),
            (Kind::Bytes, "1.5GB", None),
            (Kind::Bytes, "5XB", None),
            (Kind::Bytes, "50", Some("50")),
            (Kind::ByteSize, "128KB", Some("131072")),
            (Kind::ByteSize, "131072", Some("131072")),
            (Kind::ByteSize, "1kiB", None),
            (Kind::MessageSize, "536870912", Some("536870912")),
            (Kind::MessageSize, "536870913", None),
            (Kind::MessageSize, "0", None),
            (Kind::Listener, "5672", Some("0.0.0.0:5672")),
            (Kind::Listener, "127.0.0.1:5672", Some("127.0.0.1:5672")),
            (Kind::Listener, "::1:5672", Some("[::1]:5672")),
            (Kind::Listener, ":::5672", Some("[::]:5672")),
            (Kind::Listener, "localhost:5672", None),
            (Kind::Listener, "70000", None),
            (Kind::ListenerOrNone, "none", Some("none")),
            (Kind::ListenerOrNone, "127.0.0.1:1", Some("127.0.0.1:1")),
            (Kind::Secret, "encrypted:abc", None),
            (Kind::Port, "15672", Some("15672")),
            (Kind::Port, "x", None),
            (Kind::Ip, "::", Some("::")),
            (Kind::Ip, "host", None),
            (Kind::File, "/nowhere/at all", None),
            (
                Kind::Words(&[("verify_peer", "peer")]),
                "verify_peer",
                Some("peer"),
            ),
            (Kind::Words(&[("verify_peer", "peer")]), "peer", None),
        ] {
            let read = kind.read(text).ok();
            let expected = expected.map(|text| Value::Is(text.to_owned()));
            assert_eq!(read, expected, "{kind:?} {text}");
        }
        assert_eq!(
            Kind::Texts.json("a, b".to_owned()),
            serde_json::json!(["a", "b"])
        );
        assert_eq!(Kind::Positive.json("7".to_owned()), 7);
        assert_eq!(Kind::Text.json("7".to_owned()), "7");
        assert_eq!(
            Kind::IfTrue("tls").read("true"),
            Ok(Value::Is("tls".to_owned()))
        );
        assert_eq!(Kind::IfTrue("tls").read("false"), Ok(Value::Nothing));
        assert!(matches!(
            Kind::Infinite.read("infinity"),
            Ok(Value::Stays(_))
        ));
    }
}
