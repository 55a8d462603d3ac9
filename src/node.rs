//! The name of this node, as operators and clients see it.

use std::sync::OnceLock;

/// As the process was told at its start.
static NAME: OnceLock<String> = OnceLock::new();

/// Sets the name without `leveret@`, unless it was asked for or set before.
pub(crate) fn set_name(name: &str) {
    // A process has one name.
    NAME.set(full(name)).unwrap_or_default();
}

/// `leveret@` and the name of this node: as it was set, or the machine's host name without its domain.
pub fn name() -> String {
    NAME.get_or_init(|| full(&host_name())).clone()
}

/// The machine's host name without its domain.
pub(crate) fn host_name() -> String {
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    host.split('.').next().unwrap_or("localhost").to_owned()
}

/// The name as operators see it.
pub(crate) fn full(name: &str) -> String {
    format!("leveret@{name}")
}
