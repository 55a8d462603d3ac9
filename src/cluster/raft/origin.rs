//! The node that a request comes from, as it has proven, and what is wrong with a request that says something else.

use std::time::Duration;

use tracing::warn;

use super::message::{Envelope, MessageError};
use super::types::NodeFacts;
use crate::clock::monotonic;
use crate::seldom::Seldom;

const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// A node that asks this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub id: u64,
    pub name: String,
}

/// Refuses nodes with the id of another one.
#[derive(Debug)]
pub(super) struct Impostors(Seldom);

impl Default for Impostors {
    fn default() -> Impostors {
        Impostors(Seldom::new(1, LOGGED_EVERY))
    }
}

impl Impostors {
    /// `known` is the member with the id of the origin. A copy of its data directory has its id too.
    pub(super) fn check(
        &self,
        origin: &Origin,
        envelope: &Envelope,
        known: Option<&NodeFacts>,
    ) -> Result<(), MessageError> {
        let refused = |text: String| Err(MessageError::Refused(text));
        if envelope.from != origin.id {
            return refused(format!(
                "leveret@{} speaks for another node than itself",
                origin.name
            ));
        }
        let Some(known) = known.filter(|known| known.name != origin.name) else {
            return Ok(());
        };
        let text = format!(
            "leveret@{} has the id of the member leveret@{}: its data directory was copied, or the node was renamed. Start \
             it with a data directory of its own",
            origin.name, known.name
        );
        if let Some(unsaid) = self.0.passes(monotonic()) {
            warn!(%unsaid, "a node is refused: {text}");
        }
        refused(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_speaks_for_itself_and_under_its_own_name() {
        let origin = |id, name: &str| Origin {
            id,
            name: name.to_owned(),
        };
        let envelope = Envelope {
            set: 1,
            from: 3,
            to: 4,
        };
        let c = NodeFacts {
            name: "c".to_owned(),
            address: "c:1".to_owned(),
        };
        let impostors = Impostors::default();
        for (from, known, refusal) in [
            (origin(3, "c"), Some(&c), ""),
            (origin(3, "new"), None, ""),
            (origin(5, "c"), None, "leveret@c speaks for another node"),
            (
                origin(3, "d"),
                Some(&c),
                "leveret@d has the id of the member leveret@c",
            ),
        ] {
            match impostors.check(&from, &envelope, known) {
                Ok(()) => assert_eq!(refusal, "", "{from:?}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!refusal.is_empty() && text.starts_with(refusal), "{text}");
                }
            }
        }
    }
}
