//! Answers queries with the help of a directory.

use std::collections::{HashSet, VecDeque};

use fancy_regex::RegexBuilder;

use super::pattern::Variables;
use super::query::{GroupScope, Operand, Query};

/// Most groups that a search for nested groups looks at.
const GROUPS_MAX: usize = 1000;
/// Asks for entries without their attributes.
const NO_ATTRIBUTE: &str = "1.1";
/// Steps of a regular expression before it counts as not matching.
const BACKTRACK_LIMIT: usize = 100_000;

/// Where entries are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The entry itself.
    Base,
    SingleLevel,
    Subtree,
}

/// What the entries of a search have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter<'a> {
    Any,
    Equal { attribute: &'a str, value: &'a str },
}

/// An entry that was found, with the values of the attribute that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) dn: String,
    pub(super) values: Vec<String>,
}

/// Answers searches.
pub(super) trait Directory {
    type Error;

    /// The entries at or below `base`, or `None` if there is no such entry.
    fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: Filter<'_>,
        attribute: &str,
    ) -> impl Future<Output = Result<Option<Vec<Found>>, Self::Error>> + Send;
}

/// Why a query has no answer, which is a refusal.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueryError<E> {
    #[error("{0}")]
    Directory(E),
    #[error("no condition of a 'for' fits")]
    NoCondition,
    #[error("a 'for' asks for '{0}', which is not known here")]
    UnknownVariable(String),
    /// As in RabbitMQ this is no answer, so that `not` does not turn a missing group into a permission.
    #[error("there is no entry '{0}'")]
    NoEntry(String),
    #[error("an entry has no attribute '{0}'")]
    NoAttribute(String),
    #[error("the user has no entry")]
    NoUserDn,
    #[error("more than {GROUPS_MAX} groups contain the user")]
    TooManyGroups,
}

/// A query's circumstances.
pub(super) struct Evaluation<'a, D> {
    pub(super) directory: &'a mut D,
    pub(super) variables: &'a Variables,
    /// Where nested groups are looked for.
    pub(super) group_lookup_base: Option<&'a str>,
}

impl<D: Directory + Send> Evaluation<'_, D>
where
    D::Error: Send,
{
    pub(super) async fn answer(&mut self, query: &Query) -> Result<bool, QueryError<D::Error>> {
        match query {
            Query::Constant(answer) => Ok(*answer),
            Query::For(conditions) => {
                for condition in conditions {
                    let value = self.variables.get(&condition.variable);
                    let value = value
                        .ok_or_else(|| QueryError::UnknownVariable(condition.variable.clone()))?;
                    if value == condition.value {
                        return Box::pin(self.answer(&condition.query)).await;
                    }
                }
                Err(QueryError::NoCondition)
            }
            Query::Exists(entry) => self.has(entry, Filter::Any).await,
            Query::InGroup { group, attribute } => {
                let user_dn = self.user_dn()?;
                let value = user_dn.as_str();
                self.has(group, Filter::Equal { attribute, value }).await
            }
            Query::InGroupNested {
                group,
                attribute,
                scope,
            } => self.in_nested_group(group, attribute, *scope).await,
            Query::Not(query) => Ok(!Box::pin(self.answer(query)).await?),
            // As in RabbitMQ, a query without an answer counts as no.
            Query::And(queries) => {
                for query in queries {
                    if !matches!(Box::pin(self.answer(query)).await, Ok(true)) {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Query::Or(queries) => {
                for query in queries {
                    if matches!(Box::pin(self.answer(query)).await, Ok(true)) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Query::Equals(one, other) => {
                let (one, other) = (self.texts(one).await, self.texts(other).await);
                let (Ok(one), Ok(other)) = (one, other) else {
                    return Ok(false);
                };
                Ok(one.iter().any(|text| other.contains(text)))
            }
            Query::Match(texts, patterns) => {
                let (texts, patterns) = (self.texts(texts).await, self.texts(patterns).await);
                let (Ok(texts), Ok(patterns)) = (texts, patterns) else {
                    return Ok(false);
                };
                let mut pairs = texts
                    .iter()
                    .flat_map(|text| patterns.iter().map(move |pattern| (text, pattern)));
                Ok(pairs.any(|(text, pattern)| matches(text, pattern)))
            }
        }
    }

    async fn found(
        &mut self,
        base: &str,
        scope: Scope,
        filter: Filter<'_>,
        attribute: &str,
    ) -> Result<Vec<Found>, QueryError<D::Error>> {
        let search = self.directory.search(base, scope, filter, attribute);
        let found = search.await.map_err(QueryError::Directory)?;
        found.ok_or_else(|| QueryError::NoEntry(base.to_owned()))
    }

    fn user_dn(&self) -> Result<String, QueryError<D::Error>> {
        let dn = self.variables.get("user_dn").map(str::to_owned);
        dn.ok_or(QueryError::NoUserDn)
    }

    /// Whether an entry exists and passes the filter.
    async fn has(&mut self, entry: &str, filter: Filter<'_>) -> Result<bool, QueryError<D::Error>> {
        let dn = self.variables.fill_dn(entry);
        let found = self.found(&dn, Scope::Base, filter, "objectClass").await?;
        Ok(!found.is_empty())
    }

    /// Goes from the user to the groups that contain it, to the groups that contain these, and so on, each once.
    async fn in_nested_group(
        &mut self,
        group: &str,
        attribute: &str,
        scope: GroupScope,
    ) -> Result<bool, QueryError<D::Error>> {
        let target = self.variables.fill_dn(group).to_lowercase();
        let base = self.group_lookup_base.unwrap_or_default().to_owned();
        let scope = match scope {
            GroupScope::Subtree => Scope::Subtree,
            GroupScope::SingleLevel => Scope::SingleLevel,
        };
        let user_dn = self.user_dn()?;
        let mut known = HashSet::from([user_dn.to_lowercase()]);
        let mut members = VecDeque::from([user_dn]);
        while let Some(value) = members.pop_front() {
            let value = value.as_str();
            let containing = Filter::Equal { attribute, value };
            for group in self.found(&base, scope, containing, NO_ATTRIBUTE).await? {
                let dn = group.dn.to_lowercase();
                if dn == target {
                    return Ok(true);
                }
                if known.insert(dn) {
                    members.push_back(group.dn);
                }
            }
            if known.len() > GROUPS_MAX {
                return Err(QueryError::TooManyGroups);
            }
        }
        Ok(false)
    }

    /// A text with its variables filled in, or the values of an attribute.
    async fn texts(&mut self, operand: &Operand) -> Result<Vec<String>, QueryError<D::Error>> {
        match operand {
            Operand::Text(pattern) => Ok(vec![self.variables.fill(pattern)]),
            Operand::Attribute { entry, attribute } => {
                let dn = self.variables.fill_dn(entry);
                let found = self
                    .found(&dn, Scope::Subtree, Filter::Any, attribute)
                    .await?;
                let mut values = found.into_iter().map(|entry| entry.values);
                values
                    .find(|values| !values.is_empty())
                    .ok_or_else(|| QueryError::NoAttribute(attribute.clone()))
            }
        }
    }
}

/// Whether a text matches a regular expression anywhere. An invalid one matches nothing.
fn matches(text: &str, pattern: &str) -> bool {
    let regex = RegexBuilder::new(pattern)
        .backtrack_limit(BACKTRACK_LIMIT)
        .build();
    regex.is_ok_and(|regex| regex.is_match(text).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "cn=alice,ou=people";

    /// A directory in memory.
    struct Entries(Vec<(&'static str, Vec<(&'static str, &'static str)>)>);

    impl Directory for Entries {
        type Error = &'static str;

        async fn search(
            &mut self,
            base: &str,
            scope: Scope,
            filter: Filter<'_>,
            attribute: &str,
        ) -> Result<Option<Vec<Found>>, &'static str> {
            if base.contains("broken") {
                return Err("broken");
            }
            if !self.0.iter().any(|(dn, _)| dn.ends_with(base)) {
                return Ok(None);
            }
            let is_in = |dn: &str| {
                let above = dn
                    .strip_suffix(base)
                    .and_then(|rest| rest.strip_suffix(','));
                match scope {
                    Scope::Base => dn == base,
                    Scope::SingleLevel => above.is_some_and(|rest| !rest.contains(',')),
                    Scope::Subtree => dn == base || above.is_some(),
                }
            };
            let found = self.0.iter().filter(|(dn, attributes)| {
                is_in(dn)
                    && match filter {
                        Filter::Any => true,
                        Filter::Equal { attribute, value } => {
                            attributes.contains(&(attribute, value))
                        }
                    }
            });
            let found = found.map(|(dn, attributes)| Found {
                dn: (*dn).to_owned(),
                values: attributes
                    .iter()
                    .filter(|(own, _)| *own == attribute)
                    .map(|(_, value)| (*value).to_owned())
                    .collect(),
            });
            Ok(Some(found.collect()))
        }
    }

    fn directory() -> Entries {
        Entries(vec![
            (
                ALICE,
                vec![("mail", "alice@example.com"), ("mail", "a@example.com")],
            ),
            ("cn=v-users,ou=groups", vec![("member", ALICE)]),
            ("cn=owners,ou=groups", vec![("owner", ALICE)]),
            (
                "cn=inner,ou=groups",
                vec![("member", ALICE), ("member", "cn=outer,ou=groups")],
            ),
            (
                "cn=Middle,ou=groups",
                vec![("member", "cn=inner,ou=groups")],
            ),
            (
                "cn=outer,ou=groups",
                vec![("member", "cn=Middle,ou=groups")],
            ),
            ("cn=deep,ou=sub,ou=groups", vec![("member", ALICE)]),
        ])
    }

    fn variables() -> Variables {
        let mut variables = Variables::of_user("alice");
        for (name, value) in [
            ("user_dn", ALICE),
            ("vhost", "v"),
            ("resource", "queue"),
            ("name", "alice-q"),
            ("permission", "write"),
        ] {
            variables.set(name, value);
        }
        variables
    }

    async fn answer(query: &str) -> Result<bool, QueryError<&'static str>> {
        let query = Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        let mut evaluation = Evaluation {
            directory: &mut directory(),
            variables: &variables(),
            group_lookup_base: Some("ou=groups"),
        };
        evaluation.answer(&query).await
    }

    #[tokio::test]
    async fn queries_are_answered() {
        for (query, expected) in [
            ("{constant, true}", true),
            ("{constant, false}", false),
            ("{'not', {constant, false}}", true),
            ("{'and', []}", true),
            ("{'or', []}", false),
            ("{'and', [{constant, true}, {constant, false}]}", false),
            ("{'or', [{constant, false}, {constant, true}]}", true),
            (r#"{exists, "cn=${vhost}-users,ou=groups"}"#, true),
            (
                r#"{'or', [{exists, "cn=missing"}, {constant, true}]}"#,
                true,
            ),
            (r#"{equals, "", {attribute, "cn=missing", "mail"}}"#, false),
            (r#"{in_group, "cn=${vhost}-users,ou=groups"}"#, true),
            (r#"{in_group, "cn=owners,ou=groups"}"#, false),
            (r#"{in_group, "cn=owners,ou=groups", "owner"}"#, true),
            (r#"{in_group, "cn=outer,ou=groups"}"#, false),
            (r#"{in_group_nested, "cn=inner,ou=groups"}"#, true),
            (r#"{in_group_nested, "CN=Outer,ou=groups"}"#, true),
            (r#"{in_group_nested, "cn=other,ou=groups"}"#, false),
            (r#"{in_group_nested, "cn=deep,ou=sub,ou=groups"}"#, true),
            (
                r#"{in_group_nested, "cn=deep,ou=sub,ou=groups", "member", onelevel}"#,
                false,
            ),
            (r#"{in_group_nested, "cn=owners,ou=groups", "owner"}"#, true),
            (r#"{equals, "${vhost}", "v"}"#, true),
            (r#"{equals, "${vhost}", "w"}"#, false),
            (
                r#"{equals, "a@example.com", {attribute, "${user_dn}", "mail"}}"#,
                true,
            ),
            (
                r#"{equals, "b@example.com", {attribute, "${user_dn}", "mail"}}"#,
                false,
            ),
            (r#"{equals, "", {attribute, "${user_dn}", "phone"}}"#, false),
            (r#"{match, "${name}", "^${username}-"}"#, true),
            (r#"{match, {string, "${name}"}, {string, "^bob-"}}"#, false),
            (r#"{match, {attribute, "${user_dn}", "mail"}, "^a@"}"#, true),
            (r#"{match, "${name}", "("}"#, false),
            (
                r#"{for, [{permission, configure, {constant, false}}, {permission, write, {constant, true}}]}"#,
                true,
            ),
            (
                r#"{for, [{resource, queue, {for, [{vhost, <<"v">>, {constant, true}}]}}]}"#,
                true,
            ),
            (r#"{'or', [{exists, "cn=broken"}, {constant, true}]}"#, true),
            (
                r#"{'and', [{exists, "cn=broken"}, {constant, true}]}"#,
                false,
            ),
        ] {
            assert_eq!(answer(query).await, Ok(expected), "{query}");
        }
    }

    #[tokio::test]
    async fn a_query_without_an_answer_is_an_error() {
        for (query, expected) in [
            (
                "{for, [{permission, read, {constant, true}}]}",
                QueryError::NoCondition,
            ),
            (
                "{for, [{routing_key, a, {constant, true}}]}",
                QueryError::UnknownVariable("routing_key".to_owned()),
            ),
            (r#"{exists, "cn=broken"}"#, QueryError::Directory("broken")),
            (
                r#"{'not', {in_group, "cn=${username}"}}"#,
                QueryError::NoEntry("cn=alice".to_owned()),
            ),
            (
                r#"{'not', {exists, "cn=broken"}}"#,
                QueryError::Directory("broken"),
            ),
        ] {
            assert_eq!(answer(query).await, Err(expected), "{query}");
        }
    }
}
