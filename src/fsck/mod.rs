//! `leveret fsck`: verifies the data directory of a stopped broker, and lets the store go on behind damage. Its report is
//! also that of `leveret ctl fsck`, which verifies a running broker's.

mod bar; // progress on a terminal
mod comparison; // what several directories hold, compared
mod digest_report; // digests with the names of queues, as text and JSON
mod error; // why a run comes to no outcome
mod live; // the store of a running broker
mod options; // the command line
mod report; // findings with the names of queues, as text and JSON
mod run; // the command

pub use live::verify_gently;
pub use options::{Options, command};
pub use report::Report;
pub use run::run;
