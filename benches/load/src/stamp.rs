//! The first bytes of every body: due time and sequence number of the message. The messages of one producer
//! with one routing key are a stream, and must arrive completely and in order.

use bytes::Buf;

/// Length of a stamp in bytes, and so of the shortest body.
pub(crate) const STAMP_LEN: usize = 16;
/// A stream's number has 24 bits, a sequence number 40.
pub(crate) const STREAMS_MAX: usize = 1 << 24;
const SEQUENCE_BITS: u32 = 40;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Time when the message was to be sent, in ns on the clock of the run. For delayed messages the Unix
    /// time when they are due.
    pub(crate) due_ns: u64,
    pub(crate) stream: u32,
    /// Number of earlier messages of the stream.
    pub(crate) sequence: u64,
}

impl Stamp {
    pub(crate) fn encode(self) -> [u8; STAMP_LEN] {
        let place = u64::from(self.stream) << SEQUENCE_BITS | self.sequence;
        (u128::from(self.due_ns) << 64 | u128::from(place)).to_be_bytes()
    }

    pub(crate) fn decode(bytes: &[u8; STAMP_LEN]) -> Stamp {
        let mut bytes = bytes.as_slice();
        let (due_ns, place) = (bytes.get_u64(), bytes.get_u64());
        Stamp {
            due_ns,
            stream: u32::try_from(place >> SEQUENCE_BITS).unwrap_or_default(),
            sequence: place & ((1 << SEQUENCE_BITS) - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_come_back() {
        for stamp in [
            Stamp {
                due_ns: 0,
                stream: 0,
                sequence: 0,
            },
            Stamp {
                due_ns: u64::MAX,
                stream: (1 << 24) - 1,
                sequence: (1 << 40) - 1,
            },
            Stamp {
                due_ns: 0x0102_0304_0506_0708,
                stream: 3,
                sequence: 99,
            },
        ] {
            assert_eq!(Stamp::decode(&stamp.encode()), stamp);
        }
    }
}
