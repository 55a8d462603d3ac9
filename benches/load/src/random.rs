//! Random numbers that are the same in every run (xorshift64). By hand, since no crate promises the same
//! numbers in its next version.

#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Each `series` has its own numbers.
    pub(crate) fn new(series: u64) -> Random {
        Random(0x9E37_79B9_7F4A_7C15 ^ series)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The next number below `end`; 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let scaled = (u128::from(self.draw()) * u128::from(end)) >> 64;
        u64::try_from(scaled).unwrap_or(0)
    }
}
