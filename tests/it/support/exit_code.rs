//! Exit codes, by their names in sysexits.h.

pub(crate) const EX_USAGE: i32 = 64;
pub(crate) const EX_DATAERR: i32 = 65;
pub(crate) const EX_NOUSER: i32 = 67;
pub(crate) const EX_UNAVAILABLE: i32 = 69;
pub(crate) const EX_SOFTWARE: i32 = 70;
pub(crate) const EX_TEMPFAIL: i32 = 75;
pub(crate) const EX_CONFIG: i32 = 78;
