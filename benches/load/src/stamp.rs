//! The first bytes of every body: when the message was due, and its place in the order of its stream. A stream is what
//! one producer sends with one routing key; whoever gets a stream must get all of it, in order.

/// Length of a stamp in bytes, and so the shortest body.
pub(super) const STAMP_LEN: usize = 16;
/// Streams are numbered in 24 bits, messages of a stream in 40.
pub(super) const STREAMS_MAX: usize = 1 << 24;
const SEQUENCE_BITS: u32 = 40;

/// What a body says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// When the message was to be sent, in nanoseconds on the clock of the run.
    pub(super) due_ns: u64,
    /// Which stream it belongs to.
    pub(super) stream: u32,
    /// How many messages of the stream went before it.
    pub(super) sequence: u64,
}

impl Stamp {
    pub(super) fn encode(self) -> [u8; STAMP_LEN] {
        let place = u64::from(self.stream) << SEQUENCE_BITS | self.sequence;
        (u128::from(self.due_ns) << 64 | u128::from(place)).to_be_bytes()
    }

    pub(super) fn decode(bytes: &[u8; STAMP_LEN]) -> Stamp {
        let [
            d0,
            d1,
            d2,
            d3,
            d4,
            d5,
            d6,
            d7,
            p0,
            p1,
            p2,
            p3,
            p4,
            p5,
            p6,
            p7,
        ] = *bytes;
        let place = u64::from_be_bytes([p0, p1, p2, p3, p4, p5, p6, p7]);
        Stamp {
            due_ns: u64::from_be_bytes([d0, d1, d2, d3, d4, d5, d6, d7]),
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
