//! What an import came to: how many entries of each category were imported, and which were not, with the reason.

use std::fmt;

use serde::Serialize;

use crate::model::Name;

/// Entries that a report names one by one. Further ones are counted.
const NAMED_MAX: usize = 1000;

/// The categories of a document, in the order of their import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Category {
    Users,
    Vhosts,
    Permissions,
    Exchanges,
    TopicPermissions,
    GlobalParameters,
    Policies,
    Parameters,
    Queues,
    Bindings,
    SecretKeys,
    QueueOverrides,
}

impl Category {
    /// Several of them, as logs and texts call them.
    fn plural(self) -> &'static str {
        match self {
            Category::Users => "users",
            Category::Vhosts => "virtual hosts",
            Category::Permissions => "permissions",
            Category::Exchanges => "exchanges",
            Category::TopicPermissions => "topic permissions",
            Category::GlobalParameters => "global parameters",
            Category::Policies => "policies",
            Category::Parameters => "parameters",
            Category::Queues => "queues",
            Category::Bindings => "bindings",
            Category::SecretKeys => "secret keys",
            Category::QueueOverrides => "queue overrides",
        }
    }

    /// One of them.
    fn singular(self) -> &'static str {
        match self {
            Category::Users => "user",
            Category::Vhosts => "virtual host",
            Category::Permissions => "permission",
            Category::Exchanges => "exchange",
            Category::TopicPermissions => "topic permission",
            Category::GlobalParameters => "global parameter",
            Category::Policies => "policy",
            Category::Parameters => "parameter",
            Category::Queues => "queue",
            Category::Bindings => "binding",
            Category::SecretKeys => "secret key",
            Category::QueueOverrides => "override",
        }
    }
}

/// An entry that was not imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NotImported {
    pub(super) category: Category,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vhost: Option<Name>,
    pub(super) name: String,
    pub(super) reason: String,
}

impl fmt::Display for NotImported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotImported {
            category,
            vhost,
            name,
            reason,
        } = self;
        let kind = category.singular();
        match vhost {
            Some(vhost) => write!(f, "{kind} '{name}' in vhost '{vhost}': {reason}"),
            None => write!(f, "{kind} '{name}': {reason}"),
        }
    }
}

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// Entries that hold now, by category, in the order of their import.
    imported: Vec<(Category, usize)>,
    not_imported: Vec<NotImported>,
    /// Entries beyond [`NAMED_MAX`] that were not imported.
    #[serde(skip_serializing_if = "is_zero")]
    further: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Report {
    pub(super) fn imported(&mut self, category: Category, count: usize) {
        if count > 0 {
            self.imported.push((category, count));
        }
    }

    pub(super) fn skip(
        &mut self,
        category: Category,
        vhost: Option<&Name>,
        name: impl Into<String>,
        reason: impl Into<String>,
    ) {
        if self.not_imported.len() == NAMED_MAX {
            self.further += 1;
            return;
        }
        self.not_imported.push(NotImported {
            category,
            vhost: vhost.cloned(),
            name: name.into(),
            reason: reason.into(),
        });
    }

    /// Whether every entry was imported.
    pub(crate) fn is_complete(&self) -> bool {
        self.not_imported.is_empty()
    }

    /// Such as `3 users, 2 queues`.
    pub(crate) fn summary(&self) -> String {
        let counts = self.imported.iter();
        let counts: Vec<_> = counts
            .map(|(category, count)| match count {
                1 => format!("1 {}", category.singular()),
                _ => format!("{count} {}", category.plural()),
            })
            .collect();
        match counts.is_empty() {
            true => "nothing".to_owned(),
            false => counts.join(", "),
        }
    }

    /// One line for each entry that was not imported.
    pub(crate) fn lines(&self) -> Vec<String> {
        let named = self.not_imported.iter().map(NotImported::to_string);
        let further = (self.further > 0).then(|| format!("and {} more", self.further));
        named.chain(further).collect()
    }
}

/// How far an import has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) done: usize,
    pub(crate) total: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_was_not_imported() {
        let mut report = Report::default();
        assert_eq!(report.summary(), "nothing");
        report.imported(Category::Users, 1);
        report.imported(Category::Vhosts, 0);
        report.imported(Category::Queues, 2);
        assert_eq!(report.summary(), "1 user, 2 queues");
        assert!(report.is_complete());
        report.skip(Category::Queues, Some(&"/".into()), "q", "it is reserved");
        report.skip(Category::Users, None, "u", "it is odd");
        assert_eq!(
            report.lines(),
            [
                "queue 'q' in vhost '/': it is reserved",
                "user 'u': it is odd"
            ]
        );
        assert!(!report.is_complete());
    }

    #[test]
    fn a_report_names_a_bounded_number_of_entries() {
        let mut report = Report::default();
        for number in 0..NAMED_MAX + 2 {
            report.skip(Category::Queues, None, number.to_string(), "it is odd");
        }
        assert_eq!(report.not_imported.len(), NAMED_MAX);
        assert_eq!(report.lines().last().unwrap(), "and 2 more");
    }
}
