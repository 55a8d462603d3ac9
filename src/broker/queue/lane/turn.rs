//! The turn of a lease. It grows each time the message returns, so that an answer to an earlier lease of a
//! message never ends a later one.
//!
//! The low 20 bits count how often the message came back since it was last rewound. The 12 bits above count
//! the rewinds of the log. So a rewound message starts over with its delivery count, and yet its turn is
//! above all earlier ones.

const RETURNS_BITS: u32 = 20;

/// The count of returns stays at this value.
pub(super) const RETURNS_MAX: u32 = (1 << RETURNS_BITS) - 1;

/// The turn of a message that has not come back since the latest rewind of its log. Repeats after 4,096
/// rewinds.
pub(in crate::broker::queue) fn first_turn(rewinds: u32) -> u32 {
    rewinds.wrapping_mul(1 << RETURNS_BITS)
}

/// How often the message had come back, since it was last rewound, when the lease of this turn began.
pub(in crate::broker::queue) fn returns(turn: u32) -> u32 {
    turn & RETURNS_MAX
}

/// How often the log had been rewound, modulo 4,096.
pub(in crate::broker::queue) fn rewinds(turn: u32) -> u32 {
    turn >> RETURNS_BITS
}
