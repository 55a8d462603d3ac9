//! Receipt handles: integers of 64 bits, as CMQ's protocols have them. Each names one receive of one message
//! of one queue. Its fields are mixed over all bits with the queue's id, so that another queue reads fields
//! from it that fit no message.

use std::fmt;
use std::str::FromStr;

use crate::broker::queue::lane::turn;
use crate::model::{Lease, QueueId};

/// Names one receive of one message. As text it is decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReceiptHandle(u64);

/// The fields of a handle: the low bits of a lease's numbers. Two leases of one message differ unless the
/// message came back 16,384 times, or was rewound 64 times, between them. Two messages differ unless 68
/// billion lie between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker::queue) struct HandleFields {
    pub(in crate::broker::queue) lane: u8,
    turn: u64,
    offset: u64,
}

const OFFSET_BITS: u32 = 36;
const RETURNS_BITS: u32 = 14;
const REWINDS_BITS: u32 = 6;
const TURN_BITS: u32 = RETURNS_BITS + REWINDS_BITS;

/// A mask of the lowest `bits`.
const fn low(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// The bits of a turn that a handle has.
fn turn_bits(turn: u32) -> u64 {
    let returns = u64::from(turn::returns(turn));
    let rewinds = u64::from(turn::rewinds(turn));
    (rewinds & low(REWINDS_BITS)) << RETURNS_BITS | returns & low(RETURNS_BITS)
}

impl ReceiptHandle {
    /// The handle of a lease that a receive gave.
    pub(in crate::broker::queue) fn new(queue: QueueId, lease: Lease) -> ReceiptHandle {
        let lane = u64::from(lease.lane) << (OFFSET_BITS + TURN_BITS);
        let turn = turn_bits(lease.turn) << OFFSET_BITS;
        let fields = lane | turn | lease.offset & low(OFFSET_BITS);
        ReceiptHandle(mix(mix(fields) ^ salt(queue)))
    }

    /// The fields, if `queue` issued the handle. The fields of another queue's handle are arbitrary.
    pub(in crate::broker::queue) fn fields(self, queue: QueueId) -> HandleFields {
        let fields = unmix(unmix(self.0) ^ salt(queue));
        let [lane, ..] = fields.to_be_bytes();
        HandleFields {
            lane,
            turn: fields >> OFFSET_BITS & low(TURN_BITS),
            offset: fields & low(OFFSET_BITS),
        }
    }
}

impl HandleFields {
    /// The offset of the message: the last one below `next` that has these low bits.
    pub(in crate::broker::queue) fn offset(self, next: u64) -> Option<u64> {
        let last = next.checked_sub(1)?;
        let fits = last & !low(OFFSET_BITS) | self.offset;
        match fits <= last {
            true => Some(fits),
            false => fits.checked_sub(1 << OFFSET_BITS),
        }
    }

    /// Whether it names this turn of its message.
    pub(in crate::broker::queue) fn is_of(self, turn: u32) -> bool {
        self.turn == turn_bits(turn)
    }
}

fn salt(queue: QueueId) -> u64 {
    // The constant keeps the salt of queue 0 from being 0.
    mix(queue.0.wrapping_add(0x9e37_79b9_7f4a_7c15))
}

/// Every input bit changes every output bit: the last step of the generator SplitMix64. [`unmix`] is its
/// inverse.
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

fn unmix(bits: u64) -> u64 {
    let bits = (bits ^ bits >> 31 ^ bits >> 62).wrapping_mul(0x3196_42b2_d24d_8ec3);
    let bits = (bits ^ bits >> 27 ^ bits >> 54).wrapping_mul(0x96de_1b17_3f11_9089);
    bits ^ bits >> 30 ^ bits >> 60
}

impl fmt::Display for ReceiptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not a receipt handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a receipt handle")]
pub struct InvalidReceiptHandle;

impl FromStr for ReceiptHandle {
    type Err = InvalidReceiptHandle;

    /// Takes canonical decimals only, so that each handle has one text.
    fn from_str(text: &str) -> Result<ReceiptHandle, InvalidReceiptHandle> {
        let canonical = text == "0" || !text.starts_with(['0', '+']);
        let bits = text.parse().ok().filter(|_| canonical);
        bits.map(ReceiptHandle).ok_or(InvalidReceiptHandle)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_canonical_decimals_of_64_bits_are_handles() {
        for text in [
            "",
            "x",
            "-1",
            "+1",
            "01",
            " 1",
            "1 ",
            "18446744073709551616",
            "0x10",
            "1.0",
        ] {
            assert!(text.parse::<ReceiptHandle>().is_err(), "{text:?}");
        }
        for text in ["0", "1", "18446744073709551615"] {
            assert_eq!(text.parse::<ReceiptHandle>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn each_lease_of_a_message_has_its_own_handle() {
        let handle = |turn| {
            let (offset, lane) = (7, 0);
            ReceiptHandle::new(QueueId(1), Lease { offset, turn, lane })
        };
        let turns = (0..16_384).chain((1..64).map(turn::first_turn));
        let handles: std::collections::HashSet<_> = turns.map(handle).collect();
        assert_eq!(handles.len(), 16_384 + 63);
    }

    proptest! {
        #[test]
        fn a_handle_leads_its_queue_to_its_lease_and_another_queue_nowhere(queue: u64, offset in 0..u64::MAX, turn: u32, lane: u8, ahead in 0..1_u64 << 36) {
            let lease = Lease { offset, turn, lane };
            let handle = ReceiptHandle::new(QueueId(queue), lease);
            let text = handle.to_string();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_digit()));
            prop_assert_eq!(text.parse(), Ok(handle));
            let fields = handle.fields(QueueId(queue));
            prop_assert_eq!(fields.lane, lane);
            prop_assert!(fields.is_of(turn));
            prop_assert_eq!(fields.offset(offset.saturating_add(ahead).saturating_add(1)), Some(offset));
            prop_assert!(handle.fields(QueueId(queue.wrapping_add(1))) != fields);
        }

        #[test]
        fn unmix_is_the_inverse_of_mix(bits: u64) {
            prop_assert_eq!(unmix(mix(bits)), bits);
            prop_assert_eq!(mix(unmix(bits)), bits);
        }
    }
}
