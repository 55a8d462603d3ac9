//! Numbers that look random and are the same in every run. Not for secrets.

/// A series of numbers.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Each `series` is one of its own.
    pub(super) fn new(series: u64) -> Random {
        Random(0x9E37_79B9_7F4A_7C15 ^ series)
    }

    /// The next number (xorshift64).
    pub(super) fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The next number, below `end`; 0 if that is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        let scaled = (u128::from(self.draw()) * u128::from(end)) >> 64;
        u64::try_from(scaled).unwrap_or(0)
    }
}
