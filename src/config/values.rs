//! The types of options that are neither numbers nor names.

use std::time::Duration;

use crate::model::Name;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Data at risk.
    Error,
    /// Unexpected events that the broker recovered from.
    Warn,
    /// Begin and end of connections, virtual hosts and queues.
    Info,
    /// Per method.
    Debug,
    /// Per frame.
    Trace,
}

/// A member of a new set, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterPeer {
    pub name: Name,
    /// `HOST:PORT` where the other members reach it.
    pub address: Name,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// What a confirm waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The sync to the disk: the message survives a power loss.
    Sync,
    /// The write: the message survives the end of the process. It is synced within this time; a power loss before that
    /// loses it.
    Write(Duration),
}

/// What a start does when stored data is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    /// It fails.
    Refuse,
    /// It goes on without what it cannot read.
    Recover,
}

/// How much resident memory blocks publishers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemoryWatermark {
    /// A part of the memory of the machine or its cgroup.
    Fraction(f64),
    Bytes(u64),
}

/// How AMQP clients log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthMechanism {
    Plain,
    AmqPlain,
    Anonymous,
    External,
}

/// Where in a client's certificate the name of its user stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsLoginFrom {
    DistinguishedName,
    CommonName,
    SubjectAlternativeName,
}

/// Types of alternative names in certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsSanType {
    Dns,
    Ip,
    Email,
    Uri,
    OtherName,
}

/// Whether certificates of clients are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVerify {
    None,
    Peer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// How little free disk space blocks publishers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DiskFreeLimit {
    Bytes(u64),
    /// A multiple of the memory of the machine or its cgroup.
    OfMemory(f64),
}

/// How new passwords are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordHashing {
    Argon2id,
    /// Salted SHA-256, RabbitMQ's default.
    RabbitMq,
}

impl DiskFreeLimit {
    /// The limit in bytes on a machine that has `total` bytes of memory.
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            DiskFreeLimit::Bytes(bytes) => bytes,
            DiskFreeLimit::OfMemory(factor) => scale(total, factor),
        }
    }
}

impl MemoryWatermark {
    /// The watermark in bytes on a machine that has `total` bytes.
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
    reason = "factors are from 0 to 100, a conversion saturates, and no limit needs an exact byte"
)]
fn scale(total: u64, fraction: f64) -> u64 {
    (total as f64 * fraction).round() as u64
}
