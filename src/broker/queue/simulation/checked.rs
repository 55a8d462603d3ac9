//! How a check reports what is wrong: as a text, so that a schedule shrinks without a panic for each try.

/// A result, or what is wrong.
pub(super) type Checked<T = ()> = Result<T, String>;

/// Returns what is wrong, unless this holds.
macro_rules! ensure {
    ($holds:expr, $($wrong:tt)+) => {
        if !$holds {
            return Err(format!($($wrong)+));
        }
    };
}
pub(super) use ensure;
