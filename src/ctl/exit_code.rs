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

/// The broker refuses the login.
pub(super) const EX_NOPERM: u8 = 77;

/// What each code means, for the manual.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "The command was carried out."),
    (EX_USAGE, "Invalid words, or an unknown command."),
    (
        EX_DATAERR,
        "An invalid argument, or one that names nothing.",
    ),
    (EX_NOUSER, "No such user."),
    (
        EX_UNAVAILABLE,
        "No broker answers, it refused, or a check failed.",
    ),
    (EX_SOFTWARE, "An object of this name exists already."),
    (EX_TEMPFAIL, "The command took longer than its timeout."),
    (
        EX_NOPERM,
        "The management API refuses the login of --username.",
    ),
];
