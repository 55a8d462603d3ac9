//! Parses the values of options: one function per kind of value. An error is the reason that follows "invalid value".
//!
//! Bytes are parsed by hand, because RabbitMQ's units are no standard: `k` is 1024 and `kB` is 1000.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::values::{
    AuthMechanism, DiskFreeLimit, Durability, LogFormat, LogLevel, MemoryWatermark, OnDamage,
    PasswordHashing, TlsLoginFrom, TlsSanType, TlsVerify, TlsVersion,
};
use crate::auth::{HttpMethod, InvalidChain, Link, Url};
use crate::model::arguments::QueueKind;
use crate::model::vhost_defaults::{DefaultLimits, DefaultUsers};
use crate::model::{IpRange, Name};

/// RabbitMQ's smallest frame-max up to 4.0. Current clients fail with a smaller one.
const FRAME_MAX_MIN: u32 = 4096;
/// Bounds the memory of a frame, which is read as a whole.
const FRAME_MAX_MAX: u32 = 16 * 1024 * 1024;
/// Milliseconds between write and sync with `write`.
const WRITE_SYNC_MS: u64 = 100;
/// Most milliseconds between write and sync that `write:N` allows.
const WRITE_SYNC_MS_MAX: u64 = 10_000;
/// No broker runs in less: a smaller number is a mistake.
const WATERMARK_BYTES_MIN: u64 = 1024 * 1024;
/// A multiple of the memory beyond this is a mistake.
const MEMORY_FACTOR_MAX: f64 = 100.0;
/// RabbitMQ's hard limit for a message body.
const MESSAGE_SIZE_MAX: u64 = 512 * 1024 * 1024;

/// Bytes with RabbitMQ's units: kB, MB, GB, TB are powers of 1000; k, M, G, T and kiB, MiB, GiB, TiB are powers of 1024.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1000_u64.pow(2),
        "GB" => 1000_u64.pow(3),
        "TB" => 1000_u64.pow(4),
        "k" | "K" | "kiB" | "KiB" => 1024,
        "M" | "MiB" => 1024_u64.pow(2),
        "G" | "GiB" => 1024_u64.pow(3),
        "T" | "TiB" => 1024_u64.pow(4),
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// A number from 0.0 to 1.0.
pub fn parse_fraction(text: &str) -> Option<f64> {
    text.parse::<f64>()
        .ok()
        .filter(|fraction| (0.0..=1.0).contains(fraction))
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        Err("a path is not empty".to_owned())
    } else {
        Ok(PathBuf::from(text))
    }
}

pub(super) fn path_or_none(text: &str) -> Result<Option<PathBuf>, String> {
    match text {
        "none" => Ok(None),
        text => path(text).map(Some),
    }
}

pub(super) fn truth(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("it is true or false".to_owned()),
    }
}

pub(super) fn auth_backend(text: &str) -> Result<Link, String> {
    text.parse()
        .map_err(|error: InvalidChain| error.to_string())
}

pub(super) fn http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => Err("expected a URL, such as https://auth.example.com/user".to_owned()),
    }
}

pub(super) fn http_method(text: &str) -> Result<HttpMethod, String> {
    match text {
        "get" => Ok(HttpMethod::Get),
        "post" => Ok(HttpMethod::Post),
        _ => Err("it is get or post".to_owned()),
    }
}

pub(super) fn password_hashing(text: &str) -> Result<PasswordHashing, String> {
    match text {
        "argon2id" => Ok(PasswordHashing::Argon2id),
        "rabbitmq" => Ok(PasswordHashing::RabbitMq),
        _ => Err("it is argon2id or rabbitmq".to_owned()),
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected ADDRESS:PORT, such as 127.0.0.1:5672 or [::1]:5672".to_owned())
}

/// `none` alone makes the list empty.
pub(super) fn address_or_none(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "none" {
        Ok(None)
    } else {
        address(text).map(Some)
    }
}

/// The scheme, host and port of pages, as browsers send them; `none` alone makes the list empty.
pub(super) fn origin_or_none(text: &str) -> Result<Option<String>, String> {
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"/?#@,".contains(&byte);
        matches!(scheme, "http" | "https") && !host.is_empty() && host.bytes().all(is_plain)
    });
    match text {
        "none" => Ok(None),
        text if text == "*" || is_origin => Ok(Some(text.to_owned())),
        _ => Err(
            "expected an origin without a path, such as https://ops.example.com, or *".to_owned(),
        ),
    }
}

pub(super) fn number<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

pub(super) fn durability(text: &str) -> Result<Durability, String> {
    let within = match text.split_once(':') {
        None if text == "sync" => return Ok(Durability::Sync),
        None if text == "write" => Some(WRITE_SYNC_MS),
        Some(("write", milliseconds)) => milliseconds.parse().ok(),
        _ => None,
    };
    within
        .filter(|milliseconds| (1..=WRITE_SYNC_MS_MAX).contains(milliseconds))
        .map(|milliseconds| Durability::Write(Duration::from_millis(milliseconds)))
        .ok_or_else(|| {
            format!("expected sync, write, or write:MILLISECONDS up to {WRITE_SYNC_MS_MAX}")
        })
}

pub(super) fn on_damage(text: &str) -> Result<OnDamage, String> {
    match text {
        "refuse" => Ok(OnDamage::Refuse),
        "recover" => Ok(OnDamage::Recover),
        _ => Err("expected refuse or recover".to_owned()),
    }
}

pub(super) fn positive(text: &str) -> Result<u16, String> {
    at_least_one(number(text)?)
}

pub(super) fn positive_count(text: &str) -> Result<usize, String> {
    at_least_one(number(text)?)
}

fn at_least_one<N: PartialEq + From<u8>>(count: N) -> Result<N, String> {
    match count == 0.into() {
        true => Err("must be at least 1".to_owned()),
        false => Ok(count),
    }
}

pub(super) fn bytes(text: &str) -> Result<u64, String> {
    parse_bytes(text).ok_or_else(|| "expected bytes, such as 50000000, 50MB or 256MiB".to_owned())
}

pub(super) fn frame_max(text: &str) -> Result<u32, String> {
    u32::try_from(bytes(text)?)
        .ok()
        .filter(|size| (FRAME_MAX_MIN..=FRAME_MAX_MAX).contains(size))
        .ok_or_else(|| format!("must be from {FRAME_MAX_MIN} to {FRAME_MAX_MAX}"))
}

pub(super) fn message_size(text: &str) -> Result<u64, String> {
    let size = bytes(text)?;
    if size <= MESSAGE_SIZE_MAX {
        Ok(size)
    } else {
        Err(format!("must be at most {MESSAGE_SIZE_MAX}"))
    }
}

/// A number with a decimal point is a factor.
pub(super) fn disk_free_limit(text: &str) -> Result<DiskFreeLimit, String> {
    if let Some(limit) = parse_bytes(text) {
        return Ok(DiskFreeLimit::Bytes(limit));
    }
    text.parse::<f64>()
        .ok()
        .filter(|factor| (0.0..=MEMORY_FACTOR_MAX).contains(factor))
        .map(DiskFreeLimit::OfMemory)
        .ok_or_else(|| {
            "expected bytes, such as 50000000, 50MB or 256MiB, or a multiple of the memory such as 1.5".to_owned()
        })
}

pub(super) fn queue_type(text: &str) -> Result<QueueKind, String> {
    let is_named = |kind: &QueueKind| kind.as_str() == text;
    QueueKind::ALL
        .into_iter()
        .find(is_named)
        .ok_or_else(|| "expected classic, quorum or stream".to_owned())
}

/// A regular expression as permissions have it.
pub(super) fn pattern(text: &str) -> Result<String, String> {
    match fancy_regex::Regex::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Users of new virtual hosts, as JSON.
pub(super) fn default_users(text: &str) -> Result<DefaultUsers, String> {
    let users: DefaultUsers = json(text)?;
    for (name, user) in &users {
        for text in user.patterns() {
            pattern(text).map_err(|reason| format!("{name}: {reason}"))?;
        }
        if user
            .password
            .as_ref()
            .is_some_and(|password| password.is_empty())
        {
            return Err(format!("{name}: a password is not empty"));
        }
    }
    Ok(users)
}

/// Limits of new virtual hosts, as JSON.
pub(super) fn default_limits(text: &str) -> Result<DefaultLimits, String> {
    let limits: DefaultLimits = json(text)?;
    for (name, limits) in &limits {
        pattern(&limits.pattern).map_err(|reason| format!("{name}: {reason}"))?;
    }
    Ok(limits)
}

/// The error does not show the text: it may hold passwords.
fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => error.to_string(),
        _ => format!(
            "expected a JSON object; line {} column {} is none",
            error.line(),
            error.column()
        ),
    })
}

pub(super) fn name_or_none(text: &str) -> Result<Option<Name>, String> {
    match text {
        "none" => Ok(None),
        text => name(text).map(Some),
    }
}

pub(super) fn watermark(text: &str) -> Result<MemoryWatermark, String> {
    // `1` means all memory, not one byte.
    if let Some(fraction) = parse_fraction(text) {
        return Ok(MemoryWatermark::Fraction(fraction));
    }
    match parse_bytes(text) {
        Some(bytes) if bytes >= WATERMARK_BYTES_MIN => Ok(MemoryWatermark::Bytes(bytes)),
        Some(few @ 1..=100) => Err(format!(
            "{few} bytes are less than any broker takes; for {few} percent say {}",
            f64::from(u8::try_from(few).unwrap_or(u8::MAX)) / 100.0
        )),
        _ => Err(format!(
            "expected a fraction from 0.0 to 1.0, or bytes such as 2GiB, at least {WATERMARK_BYTES_MIN}"
        )),
    }
}

pub(super) fn name(text: &str) -> Result<Name, String> {
    // The longest short string of AMQP.
    if text.is_empty() || text.len() > 255 {
        Err("must be 1 to 255 bytes long".to_owned())
    } else {
        Ok(text.into())
    }
}

/// `none`, as an empty name, alone makes the list empty.
pub(super) fn user_or_none(text: &str) -> Result<Name, String> {
    if text == "none" {
        Ok("".into())
    } else {
        name(text)
    }
}

/// `none` alone makes the list empty.
pub(super) fn range_or_none(text: &str) -> Result<Option<IpRange>, String> {
    match text {
        "none" => Ok(None),
        range => number(range).map(Some),
    }
}

pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    number(text).map(Duration::from_millis)
}

pub(super) fn positive_milliseconds(text: &str) -> Result<Duration, String> {
    match milliseconds(text)? {
        Duration::ZERO => Err("must be at least 1".to_owned()),
        time => Ok(time),
    }
}

pub(super) fn tls_login_from(text: &str) -> Result<TlsLoginFrom, String> {
    match text {
        "distinguished_name" => Ok(TlsLoginFrom::DistinguishedName),
        "common_name" => Ok(TlsLoginFrom::CommonName),
        "subject_alternative_name" | "subject_alt_name" => Ok(TlsLoginFrom::SubjectAlternativeName),
        _ => Err("it is distinguished_name, common_name or subject_alternative_name".to_owned()),
    }
}

pub(super) fn tls_san_type(text: &str) -> Result<TlsSanType, String> {
    match text {
        "dns" => Ok(TlsSanType::Dns),
        "ip" => Ok(TlsSanType::Ip),
        "email" => Ok(TlsSanType::Email),
        "uri" => Ok(TlsSanType::Uri),
        "other_name" => Ok(TlsSanType::OtherName),
        _ => Err("it is dns, ip, email, uri or other_name".to_owned()),
    }
}

pub(super) fn auth_mechanism(text: &str) -> Result<AuthMechanism, String> {
    match text {
        "PLAIN" => Ok(AuthMechanism::Plain),
        "AMQPLAIN" => Ok(AuthMechanism::AmqPlain),
        "ANONYMOUS" => Ok(AuthMechanism::Anonymous),
        "EXTERNAL" => Ok(AuthMechanism::External),
        _ => Err("it is PLAIN, AMQPLAIN, ANONYMOUS or EXTERNAL".to_owned()),
    }
}

pub(super) fn tls_verify(text: &str) -> Result<TlsVerify, String> {
    match text {
        "none" => Ok(TlsVerify::None),
        "peer" => Ok(TlsVerify::Peer),
        _ => Err("it is none or peer".to_owned()),
    }
}

pub(super) fn tls_version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "1.2" => Ok(TlsVersion::V1_2),
        "1.3" => Ok(TlsVersion::V1_3),
        _ => Err("it is 1.2 or 1.3".to_owned()),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected text or json".to_owned()),
    }
}

pub(super) fn log_level(text: &str) -> Result<LogLevel, String> {
    match text {
        "error" => Ok(LogLevel::Error),
        "warn" => Ok(LogLevel::Warn),
        "info" => Ok(LogLevel::Info),
        "debug" => Ok(LogLevel::Debug),
        "trace" => Ok(LogLevel::Trace),
        _ => Err("expected error, warn, info, debug or trace".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("50000000", Some(50_000_000)),
            ("50MB", Some(50_000_000)),
            ("50 MB", Some(50_000_000)),
            ("1GB", Some(1_000_000_000)),
            ("256MiB", Some(268_435_456)),
            ("2k", Some(2048)),
            ("", None),
            ("MB", None),
            ("5XB", None),
            ("-1", None),
            ("1.5GB", None),
            ("99999999999TB", None),
        ] {
            assert_eq!(parse_bytes(text), expected, "{text:?}");
        }
    }

    #[test]
    fn watermarks_are_fractions_or_bytes() {
        for (text, expected) in [
            ("0.6", Some(600)),
            ("1.0", Some(1000)),
            ("0", Some(0)),
            ("1", Some(1000)),
            ("2GB", Some(2_000_000_000)),
            ("1.5", None),
            ("60", None),
            ("1048575", None),
            ("1048576", Some(1_048_576)),
            ("x", None),
        ] {
            assert_eq!(
                watermark(text).ok().map(|mark| mark.bytes(1000)),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn disk_limits_are_bytes_or_multiples_of_memory() {
        for (text, expected) in [
            ("50MB", Some(50_000_000)),
            ("0", Some(0)),
            ("1", Some(1)),
            ("1.0", Some(1000)),
            ("1.5", Some(1500)),
            ("100.5", None),
            ("-1.0", None),
            ("x", None),
        ] {
            let limit = disk_free_limit(text).ok().map(|limit| limit.bytes(1000));
            assert_eq!(limit, expected, "{text:?}");
        }
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        assert!(frame_max("4096").is_ok() && frame_max("4095").is_err() && frame_max("0").is_err());
        assert!(frame_max("16777216").is_ok() && frame_max("16777217").is_err());
        assert!(message_size("512MiB").is_ok() && message_size("536870913").is_err());
        assert!(positive("65535").is_ok() && positive("0").is_err() && positive("65536").is_err());
        assert!(
            name(&"x".repeat(255)).is_ok() && name(&"x".repeat(256)).is_err() && name("").is_err()
        );
        assert!(address("[::1]:0").is_ok() && address("5672").is_err());
    }
}
