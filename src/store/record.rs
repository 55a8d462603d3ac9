//! The small records and their encodings: log, delivery count, segment, receive, stretch. Each starts with a
//! version. Pure; decoding never panics on any bytes.

use bytes::Buf;

/// The state of a log as a whole: its next offset and its settled floor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRecord {
    /// Offset of the next message.
    pub next: u64,
    /// Every offset below is settled.
    pub floor: u64,
    /// Bytes of properties and body of the durable messages that are not settled.
    pub bytes: u64,
    /// In a log with history: every offset below is gone.
    pub history_from: Option<u64>,
    /// Number of rewinds of the log.
    pub rewinds: u32,
}

/// A stretch of a log with history: its times, and the bytes that a rewind could bring back. It ends where
/// the next stretch begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StretchRecord {
    /// No message of it was enqueued earlier; in milliseconds on the broker's time line.
    pub first_ms: u64,
    /// No message of it was enqueued later.
    pub last_ms: u64,
    /// Bytes of the bodies of rewindable messages.
    pub bytes: u64,
}

/// A run of whole chunks of a log that retention drops together. It ends where the next begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Offset of its first message.
    pub first: u64,
    /// When its first message was enqueued.
    pub first_ms: u64,
    /// When its last message was enqueued.
    pub last_ms: u64,
    /// Bytes of properties and body of its messages.
    pub bytes: u64,
}

/// The leases of one receive. No connection holds them, so a restart has to restore them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiveRecord {
    /// Its number in the log; a later receive has a higher one.
    pub number: u64,
    /// When the leases end.
    pub until_ms: u64,
    /// The leased messages by ascending offset. Entries of settled messages have no effect.
    pub leases: Vec<ReceivedLease>,
}

/// One message of a [`ReceiveRecord`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceivedLease {
    pub offset: u64,
    /// Number of its earlier returns. A higher delivery count means that the lease has ended.
    pub turn: u32,
    /// When it was first received.
    pub first_ms: u64,
}

/// The delivery count of an unsettled message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReturnCount {
    /// The turn of its next lease; it grows with each return.
    pub turn: u32,
    /// Number of returns from receives that were never accepted.
    pub uncounted: u32,
    /// `None`: all returns that count were failures, and the message does not rest.
    pub details: Option<ReturnDetails>,
}

/// What the number of returns does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReturnDetails {
    /// Number of deliveries that failed, those before a dead-lettering included.
    pub failures: u32,
    /// When the rest ends that the message has before its next delivery.
    pub rests_until_ms: Option<u64>,
}

/// A record that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A version that this release does not know.
    #[error("record version {0} is not known")]
    Version(u8),
    /// Too short, too long or inconsistent.
    #[error("record is malformed")]
    Malformed,
}

pub(super) const VERSION: u8 = 1;
/// Version of the record of a log that has, or had, history. Other log records keep version 1.
const VERSION_KEEPING: u8 = 2;
/// Version of a delivery count with returns from receives that were never accepted. Others keep version 1.
const VERSION_UNCOUNTED: u8 = 2;
/// Version of a delivery count with its own number of failures.
const VERSION_FAILURES: u8 = 3;
/// Version of a delivery count of a message that rests.
const VERSION_RESTS: u8 = 4;
/// Length of an encoded [`LogRecord`].
pub(super) const LOG_RECORD_LEN: usize = 25;
/// Length of an encoded [`Segment`]; its first offset is in the key.
pub(super) const SEGMENT_LEN: usize = 25;
/// Length of an encoded [`ReceiveRecord`] without leases; its number is in the key.
const RECEIVE_LEN_MIN: usize = 9;
/// Length of an encoded [`ReceivedLease`].
const RECEIVED_LEASE_LEN: usize = 20;
/// Length of the fields that [`VERSION_KEEPING`] adds: rewinds u32, has history u8, `history_from` u64.
const KEEPING_LEN: usize = 13;
/// Length of an encoded [`StretchRecord`].
pub(super) const STRETCH_LEN: usize = 25;

impl LogRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let keeping = self.history_from.is_some() || self.rewinds > 0;
        let mut out = Vec::with_capacity(LOG_RECORD_LEN + KEEPING_LEN);
        out.push(if keeping { VERSION_KEEPING } else { VERSION });
        for field in [self.next, self.floor, self.bytes] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        if keeping {
            out.extend_from_slice(&self.rewinds.to_le_bytes());
            out.push(u8::from(self.history_from.is_some()));
            out.extend_from_slice(&self.history_from.unwrap_or(0).to_le_bytes());
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<LogRecord, RecordError> {
        let (keeping, mut body) = match bytes.split_first() {
            Some((&VERSION_KEEPING, rest)) => (true, rest),
            _ => (false, versioned(bytes)?),
        };
        let expected = LOG_RECORD_LEN - 1 + if keeping { KEEPING_LEN } else { 0 };
        if body.len() != expected {
            return Err(RecordError::Malformed);
        }
        let mut record = LogRecord {
            next: body.get_u64_le(),
            floor: body.get_u64_le(),
            bytes: body.get_u64_le(),
            ..LogRecord::default()
        };
        if keeping {
            record.rewinds = body.get_u32_le();
            record.history_from = match (body.get_u8(), body.get_u64_le()) {
                (0, _) => None,
                (1, from) => Some(from),
                _ => return Err(RecordError::Malformed),
            };
        }
        Ok(record)
    }
}

impl StretchRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(STRETCH_LEN);
        out.push(VERSION);
        for field in [self.first_ms, self.last_ms, self.bytes] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<StretchRecord, RecordError> {
        let mut bytes = versioned(bytes)?;
        if bytes.len() != STRETCH_LEN - 1 {
            return Err(RecordError::Malformed);
        }
        Ok(StretchRecord {
            first_ms: bytes.get_u64_le(),
            last_ms: bytes.get_u64_le(),
            bytes: bytes.get_u64_le(),
        })
    }
}

impl Segment {
    /// Encodes without the first offset, which is in the key.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_LEN);
        out.push(VERSION);
        for field in [self.first_ms, self.last_ms, self.bytes] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out
    }

    pub(super) fn decode(first: u64, bytes: &[u8]) -> Result<Segment, RecordError> {
        let mut bytes = versioned(bytes)?;
        if bytes.len() != SEGMENT_LEN - 1 {
            return Err(RecordError::Malformed);
        }
        Ok(Segment {
            first,
            first_ms: bytes.get_u64_le(),
            last_ms: bytes.get_u64_le(),
            bytes: bytes.get_u64_le(),
        })
    }
}

impl ReceiveRecord {
    /// Length of the encoding.
    pub(super) fn encoded_len(&self) -> usize {
        RECEIVE_LEN_MIN + self.leases.len() * RECEIVED_LEASE_LEN
    }

    /// Encodes without the number, which is in the key.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        out.push(VERSION);
        out.extend_from_slice(&self.until_ms.to_le_bytes());
        for lease in &self.leases {
            out.extend_from_slice(&lease.offset.to_le_bytes());
            out.extend_from_slice(&lease.turn.to_le_bytes());
            out.extend_from_slice(&lease.first_ms.to_le_bytes());
        }
        out
    }

    pub(super) fn decode(number: u64, bytes: &[u8]) -> Result<ReceiveRecord, RecordError> {
        let mut bytes = versioned(bytes)?;
        let until_ms = bytes.try_get_u64_le().map_err(|_| RecordError::Malformed)?;
        if !bytes.len().is_multiple_of(RECEIVED_LEASE_LEN) {
            return Err(RecordError::Malformed);
        }
        let mut leases = Vec::with_capacity(bytes.len() / RECEIVED_LEASE_LEN);
        while bytes.has_remaining() {
            leases.push(ReceivedLease {
                offset: bytes.get_u64_le(),
                turn: bytes.get_u32_le(),
                first_ms: bytes.get_u64_le(),
            });
        }
        Ok(ReceiveRecord {
            number,
            until_ms,
            leases,
        })
    }
}

impl ReturnCount {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + 3 * size_of::<u32>() + size_of::<u64>());
        let rests_until_ms = self.details.and_then(|details| details.rests_until_ms);
        let version = match (self.uncounted, self.details) {
            (0, None) => VERSION,
            (_, None) => VERSION_UNCOUNTED,
            (_, Some(_)) if rests_until_ms.is_none() => VERSION_FAILURES,
            (_, Some(_)) => VERSION_RESTS,
        };
        out.push(version);
        out.extend_from_slice(&self.turn.to_le_bytes());
        if version != VERSION {
            out.extend_from_slice(&self.uncounted.to_le_bytes());
        }
        if let Some(details) = self.details {
            out.extend_from_slice(&details.failures.to_le_bytes());
        }
        if let Some(until_ms) = rests_until_ms {
            out.extend_from_slice(&until_ms.to_le_bytes());
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<ReturnCount, RecordError> {
        let (version, mut bytes) = bytes.split_first().ok_or(RecordError::Malformed)?;
        if !(VERSION..=VERSION_RESTS).contains(version) {
            return Err(RecordError::Version(*version));
        }
        let mut field = || bytes.try_get_u32_le().map_err(|_| RecordError::Malformed);
        let turn = field()?;
        let uncounted = match *version {
            VERSION => 0,
            _ => field()?,
        };
        let failures = (*version >= VERSION_FAILURES).then(field).transpose()?;
        let time = || bytes.try_get_u64_le().map_err(|_| RecordError::Malformed);
        let rests_until_ms = (*version == VERSION_RESTS).then(time).transpose()?;
        match bytes {
            [] => Ok(ReturnCount {
                turn,
                uncounted,
                details: failures.map(|failures| ReturnDetails {
                    failures,
                    rests_until_ms,
                }),
            }),
            _ => Err(RecordError::Malformed),
        }
    }
}

/// Strips the version byte, which must be [`VERSION`].
pub(super) fn versioned(bytes: &[u8]) -> Result<&[u8], RecordError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((&version, _)) => Err(RecordError::Version(version)),
        None => Err(RecordError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_survive_encoding() {
        let record = LogRecord {
            next: u64::MAX,
            floor: 7,
            bytes: 1 << 40,
            history_from: None,
            rewinds: 0,
        };
        assert_eq!(record.encode().len(), LOG_RECORD_LEN);
        assert_eq!(LogRecord::decode(&record.encode()), Ok(record));
        for (history_from, rewinds) in [(Some(5), 0), (Some(0), 3), (None, 1)] {
            let record = LogRecord {
                history_from,
                rewinds,
                ..record
            };
            assert_eq!(record.encode().len(), LOG_RECORD_LEN + KEEPING_LEN);
            assert_eq!(LogRecord::decode(&record.encode()), Ok(record));
        }
        let stretch = StretchRecord {
            first_ms: 1 << 41,
            last_ms: 1 << 42,
            bytes: 9,
        };
        assert_eq!(stretch.encode().len(), STRETCH_LEN);
        assert_eq!(StretchRecord::decode(&stretch.encode()), Ok(stretch));
        let details = |rests_until_ms| {
            Some(ReturnDetails {
                failures: 5,
                rests_until_ms,
            })
        };
        for (uncounted, details, len) in [
            (0, None, 5),
            (3, None, 9),
            (0, details(None), 13),
            (3, details(Some(1 << 50)), 21),
        ] {
            let count = ReturnCount {
                turn: 77,
                uncounted,
                details,
            };
            assert_eq!(count.encode().len(), len);
            assert_eq!(ReturnCount::decode(&count.encode()), Ok(count));
        }
        let segment = Segment {
            first: 5,
            first_ms: 1,
            last_ms: 2,
            bytes: 1 << 40,
        };
        assert_eq!(segment.encode().len(), SEGMENT_LEN);
        assert_eq!(Segment::decode(5, &segment.encode()), Ok(segment));
        let lease = ReceivedLease {
            offset: 1 << 40,
            turn: 2,
            first_ms: 1 << 50,
        };
        for count in 0..3 {
            let receive = ReceiveRecord {
                number: 6,
                until_ms: 77,
                leases: vec![lease; count],
            };
            assert_eq!(receive.encode().len(), receive.encoded_len());
            assert_eq!(
                ReceiveRecord::decode(6, &receive.encode()).as_ref(),
                Ok(&receive)
            );
        }
    }

    #[test]
    fn unknown_versions_are_refused() {
        assert_eq!(LogRecord::decode(&[9; 25]), Err(RecordError::Version(9)));
        assert_eq!(ReturnCount::decode(&[]), Err(RecordError::Malformed));
        assert_eq!(
            ReturnCount::decode(&[5, 0, 0, 0, 0]),
            Err(RecordError::Version(5))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600), version in 0u8..3) {
            let mut bytes = bytes;
            if let Some(first) = bytes.get_mut(0) { *first = version; }
            prop_assert!(LogRecord::decode(&bytes).is_err() || [LOG_RECORD_LEN, LOG_RECORD_LEN + KEEPING_LEN].contains(&bytes.len()));
            prop_assert!(StretchRecord::decode(&bytes).is_err() || bytes.len() == STRETCH_LEN);
            prop_assert!(ReturnCount::decode(&bytes).is_err() || [5, 9, 13, 21].contains(&bytes.len()));
            prop_assert!(Segment::decode(0, &bytes).is_err() || bytes.len() == SEGMENT_LEN);
            if let Ok(receive) = ReceiveRecord::decode(0, &bytes) {
                prop_assert_eq!(receive.encode(), bytes.clone());
            }
        }
    }
}
