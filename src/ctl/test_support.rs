//! What unit tests of the command line share.

use super::args::{Parsed, parse};
use super::invocation::Invocation;
use super::verbs::{self, Verb};

/// The verb of a line and the rest of it, as a user types them.
pub(super) fn invocation(line: &str) -> (Verb, Invocation) {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    match parse(&words) {
        Ok(Parsed::Run(invocation)) => (verbs::find(invocation.verb).unwrap().verb, *invocation),
        other => panic!("{line}: {other:?}"),
    }
}
