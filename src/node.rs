//! The name of this node, as operators and clients see it.

/// `leveret@` and the machine's host name without its domain.
pub fn name() -> String {
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    format!("leveret@{}", host.split('.').next().unwrap_or("localhost"))
}
