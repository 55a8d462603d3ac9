//! The parameters of a detailed request: families and virtual hosts, each any number of times. Pure.

use std::collections::BTreeSet;

/// Maximum number of parameters. Further ones are ignored.
const PARAMETERS_MAX: usize = 256;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) families: BTreeSet<String>,
    /// `None`: all of them.
    pub(super) vhosts: Option<BTreeSet<String>>,
}

impl Query {
    pub(super) fn of(parameters: Vec<(String, String)>) -> Query {
        let mut query = Query::default();
        for (name, value) in parameters.into_iter().take(PARAMETERS_MAX) {
            match &*name {
                "family" => {
                    query.families.insert(value);
                }
                "vhost" => {
                    query.vhosts.get_or_insert_default().insert(value);
                }
                _ => {}
            }
        }
        query
    }

    pub(super) fn shows(&self, vhost: &str) -> bool {
        let vhosts = self.vhosts.as_ref();
        vhosts.is_none_or(|vhosts| vhosts.contains(vhost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_vhosts_may_repeat() {
        let parameters = [
            ("family", "queue_metrics"),
            ("vhost", "/"),
            ("vhost", "a b"),
            ("family", "x"),
            ("other", "1"),
        ];
        let owned = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let query = Query::of(owned.to_vec());
        assert_eq!(query.families.len(), 2);
        assert!(query.shows("/") && query.shows("a b") && !query.shows("c"));
        assert!(Query::default().shows("anything"));
    }
}
