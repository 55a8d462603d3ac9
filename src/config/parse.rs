//! From text to typed values: one function per kind of value. Errors are what comes after "invalid value".

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::model::{IpRange, Name};

/// RabbitMQ's smallest frame-max up to 4.0, below which clients that are current fail.
const FRAME_MAX_MIN: u32 = 4096;
/// Largest frame-max that can be configured: a frame is held in memory whole.
const FRAME_MAX_MAX: u32 = 16 * 1024 * 1024;
/// Milliseconds until what was written is synced, where a confirm does not wait for it and nothing else is said.
const WRITE_SYNC_MS: u64 = 100;
/// The longest that may be said.
const WRITE_SYNC_MS_MAX: u64 = 10_000;
/// No broker lives in less: whoever says so meant something else.
const WATERMARK_BYTES_MIN: u64 = 1024 * 1024;
/// RabbitMQ's hard cap on a message body.
const MESSAGE_SIZE_MAX: u64 = 512 * 1024 * 1024;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Data at risk.
    Error,
    /// Surprises that were dealt with.
    Warn,
    /// Life of connections, virtual hosts and queues.
    Info,
    /// Per method.
    Debug,
    /// Per frame.
    Trace,
}

/// What a confirm promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The message outlives a power loss: it is synced to the disk.
    Sync,
    /// The message outlives the end of the process. It is synced within this time, and a power loss before takes it.
    Write(Duration),
}

/// What the start does about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    /// It is refused.
    Refuse,
    /// It goes on without what cannot be read.
    Recover,
}

/// Where memory is too full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemoryWatermark {
    /// Of what the machine or its cgroup has.
    Fraction(f64),
    /// In bytes.
    Bytes(u64),
}

impl MemoryWatermark {
    /// The watermark in bytes where `total` bytes of memory are to be had.
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            MemoryWatermark::Bytes(bytes) => bytes,
            MemoryWatermark::Fraction(fraction) => scale(total, fraction),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the fraction is from 0 to 1, so the product lies within u64, and a watermark needs no exact byte"
)]
fn scale(total: u64, fraction: f64) -> u64 {
    (total as f64 * fraction).round() as u64
}

/// Bytes with RabbitMQ's units: kB, MB, GB, TB count in thousands; k, M, G, T and kiB, MiB, GiB, TiB in 1024s.
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

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected ADDRESS:PORT, such as 127.0.0.1:5672 or [::1]:5672".to_owned())
}

/// `none` is nowhere; it makes an empty list where nothing else is said.
pub(super) fn address_or_none(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "none" {
        Ok(None)
    } else {
        address(text).map(Some)
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

pub(super) fn watermark(text: &str) -> Result<MemoryWatermark, String> {
    // `1` is all of the memory rather than one byte.
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
    // AMQP's short strings end there.
    if text.is_empty() || text.len() > 255 {
        Err("must be 1 to 255 bytes long".to_owned())
    } else {
        Ok(text.into())
    }
}

/// `none` is nobody; it makes an empty list where nothing else is said.
pub(super) fn user_or_none(text: &str) -> Result<Name, String> {
    if text == "none" {
        Ok("".into())
    } else {
        name(text)
    }
}

/// `none` is no range; it makes an empty list where nothing else is said.
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
    fn bounds_are_kept() {
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
