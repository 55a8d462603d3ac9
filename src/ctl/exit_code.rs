//! Exit codes of `leveret ctl`: rabbitmqctl's, which are those of `sysexits.h`.

/// Invalid words.
pub(super) const EX_USAGE: u8 = 64;
/// An invalid argument, or one that names nothing.
pub(super) const EX_DATAERR: u8 = 65;
/// No such user.
pub(super) const EX_NOUSER: u8 = 67;
/// No broker answers, or it refused.
pub(super) const EX_UNAVAILABLE: u8 = 69;
/// A thing with this name exists already.
pub(super) const EX_SOFTWARE: u8 = 70;
/// Timeout.
pub(super) const EX_TEMPFAIL: u8 = 75;
