//! The queries that decide about permissions, written as in RabbitMQ. Pure.

use super::term::{Term, TermError, parse};

/// The attribute of a group that names its members.
const MEMBER: &str = "member";

/// A question about a user and what it wants to do, with the answer yes or no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    Constant(bool),
    /// The first condition that fits decides.
    For(Vec<Condition>),
    /// Whether an entry exists.
    Exists(String),
    /// Whether a group has the user as a member, by the named attribute.
    InGroup {
        group: String,
        attribute: String,
    },
    /// Also through groups that are members of the group.
    InGroupNested {
        group: String,
        attribute: String,
        scope: GroupScope,
    },
    Not(Box<Query>),
    And(Vec<Query>),
    Or(Vec<Query>),
    Equals(Operand, Operand),
    /// Whether the first text matches the second one, a regular expression.
    Match(Operand, Operand),
}

/// A query that decides if a variable has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub(super) variable: String,
    pub(super) value: String,
    pub(super) query: Query,
}

/// A text to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// With variables.
    Text(String),
    /// The values of an attribute of an entry.
    Attribute { entry: String, attribute: String },
}

/// Where a nested group is looked for below the base of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupScope {
    Subtree,
    SingleLevel,
}

/// Tags, and the queries that say which users have them.
pub type TagQueries = Vec<(String, Query)>;

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuery {
    #[error("{0}")]
    Syntax(String),
    #[error("'{0}' is no query")]
    Unknown(String),
    #[error(
        "'{0}' is no list of tags with their queries, such as [{{management, {{constant, true}}}}]"
    )]
    Tags(String),
}

impl From<TermError> for InvalidQuery {
    fn from(error: TermError) -> InvalidQuery {
        InvalidQuery::Syntax(error.to_string())
    }
}

impl Query {
    /// Reads a query such as `{in_group, "cn=${vhost}-users,ou=groups,dc=example,dc=com"}`.
    pub fn parse(text: &str) -> Result<Query, InvalidQuery> {
        query(&parse(text)?)
    }
}

/// Reads `[{TAG, QUERY}, …]`.
pub fn parse_tag_queries(text: &str) -> Result<TagQueries, InvalidQuery> {
    let term = parse(text)?;
    let Term::List(tags) = &term else {
        return Err(InvalidQuery::Tags(term.to_string()));
    };
    let tags = tags.iter().map(|tag| match tag {
        Term::Tuple(parts) => match parts.as_slice() {
            [Term::Atom(tag) | Term::Text(tag), of_tag] => Ok((tag.clone(), query(of_tag)?)),
            _ => Err(InvalidQuery::Tags(term.to_string())),
        },
        _ => Err(InvalidQuery::Tags(term.to_string())),
    });
    tags.collect()
}

fn query(term: &Term) -> Result<Query, InvalidQuery> {
    let unknown = || InvalidQuery::Unknown(term.to_string());
    let Term::Tuple(parts) = term else {
        return Err(unknown());
    };
    let [Term::Atom(name), arguments @ ..] = parts.as_slice() else {
        return Err(unknown());
    };
    match (name.as_str(), arguments) {
        ("constant", [Term::Atom(value)]) => match value.as_str() {
            "true" => Ok(Query::Constant(true)),
            "false" => Ok(Query::Constant(false)),
            _ => Err(unknown()),
        },
        ("for", [Term::List(conditions)]) => {
            let conditions = conditions.iter().map(condition);
            Ok(Query::For(conditions.collect::<Result<_, _>>()?))
        }
        ("exists", [Term::Text(entry)]) => Ok(Query::Exists(entry.clone())),
        ("in_group", [Term::Text(group), by @ ..]) => Ok(Query::InGroup {
            group: group.clone(),
            attribute: match by {
                [] => MEMBER.to_owned(),
                [by] => attribute(by).ok_or_else(unknown)?,
                _ => return Err(unknown()),
            },
        }),
        ("in_group_nested", [Term::Text(group), rest @ ..]) => {
            let (by, scope) = match rest {
                [] => (Some(MEMBER.to_owned()), GroupScope::Subtree),
                [by] => (attribute(by), GroupScope::Subtree),
                [by, scope] => (attribute(by), group_scope(scope).ok_or_else(unknown)?),
                _ => return Err(unknown()),
            };
            Ok(Query::InGroupNested {
                group: group.clone(),
                attribute: by.ok_or_else(unknown)?,
                scope,
            })
        }
        ("not", [of]) => Ok(Query::Not(Box::new(query(of)?))),
        ("and", [Term::List(of)]) => {
            Ok(Query::And(of.iter().map(query).collect::<Result<_, _>>()?))
        }
        ("or", [Term::List(of)]) => Ok(Query::Or(of.iter().map(query).collect::<Result<_, _>>()?)),
        ("equals", [one, other]) => Ok(Query::Equals(operand(one)?, operand(other)?)),
        ("match", [one, other]) => Ok(Query::Match(operand(one)?, operand(other)?)),
        _ => Err(unknown()),
    }
}

/// Reads `{VARIABLE, VALUE, QUERY}`.
fn condition(term: &Term) -> Result<Condition, InvalidQuery> {
    if let Term::Tuple(parts) = term
        && let [
            Term::Atom(variable),
            Term::Atom(value) | Term::Text(value),
            then,
        ] = parts.as_slice()
    {
        return Ok(Condition {
            variable: variable.clone(),
            value: value.clone(),
            query: query(then)?,
        });
    }
    Err(InvalidQuery::Unknown(term.to_string()))
}

fn operand(term: &Term) -> Result<Operand, InvalidQuery> {
    let unknown = || InvalidQuery::Unknown(term.to_string());
    match term {
        Term::Text(text) => Ok(Operand::Text(text.clone())),
        Term::Tuple(parts) => match parts.as_slice() {
            [Term::Atom(name), Term::Text(text)] if name == "string" => {
                Ok(Operand::Text(text.clone()))
            }
            [Term::Atom(name), Term::Text(entry), of] if name == "attribute" => {
                Ok(Operand::Attribute {
                    entry: entry.clone(),
                    attribute: attribute(of).ok_or_else(unknown)?,
                })
            }
            _ => Err(unknown()),
        },
        Term::List(_) | Term::Atom(_) => Err(unknown()),
    }
}

/// The name of an attribute. It goes into filters, so it has no other characters.
fn attribute(term: &Term) -> Option<String> {
    match term {
        Term::Text(name) if is_attribute(name) => Some(name.clone()),
        Term::Text(_) | Term::Atom(_) | Term::Tuple(_) | Term::List(_) => None,
    }
}

/// Whether a text can be the name of an attribute.
pub fn is_attribute(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b';');
    !name.is_empty() && name.bytes().all(is_part)
}

fn group_scope(term: &Term) -> Option<GroupScope> {
    let Term::Atom(name) = term else { return None };
    match name.as_str() {
        "subtree" => Some(GroupScope::Subtree),
        "singlelevel" | "single_level" | "onelevel" | "one_level" => Some(GroupScope::SingleLevel),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let group = "cn=g".to_owned();
        let in_group = |attribute: &str| Query::InGroup {
            group: group.clone(),
            attribute: attribute.to_owned(),
        };
        let nested = |attribute: &str, scope| Query::InGroupNested {
            group: group.clone(),
            attribute: attribute.to_owned(),
            scope,
        };
        let text = |text: &str| Operand::Text(text.to_owned());
        for (query, expected) in [
            ("{constant, true}", Query::Constant(true)),
            ("{constant, false}.", Query::Constant(false)),
            (r#"{exists, "cn=g"}"#, Query::Exists(group.clone())),
            (r#"{in_group, "cn=g"}"#, in_group("member")),
            (
                r#"{in_group, "cn=g", "uniqueMember"}"#,
                in_group("uniqueMember"),
            ),
            (
                r#"{in_group_nested, "cn=g"}"#,
                nested("member", GroupScope::Subtree),
            ),
            (
                r#"{in_group_nested, "cn=g", "m"}"#,
                nested("m", GroupScope::Subtree),
            ),
            (
                r#"{in_group_nested, "cn=g", "m", onelevel}"#,
                nested("m", GroupScope::SingleLevel),
            ),
            (
                "{'not', {constant, true}}",
                Query::Not(Box::new(Query::Constant(true))),
            ),
            (
                "{'and', [{constant, true}, {constant, false}]}",
                Query::And(vec![Query::Constant(true), Query::Constant(false)]),
            ),
            ("{'or', []}", Query::Or(vec![])),
            (
                r#"{equals, "a", {attribute, "cn=g", "mail"}}"#,
                Query::Equals(
                    text("a"),
                    Operand::Attribute {
                        entry: group.clone(),
                        attribute: "mail".to_owned(),
                    },
                ),
            ),
            (
                r#"{match, {string, "${name}"}, {string, "^a"}}"#,
                Query::Match(text("${name}"), text("^a")),
            ),
            (
                r#"{for, [{permission, configure, {constant, true}}, {vhost, <<"v">>, {constant, false}}]}"#,
                Query::For(vec![
                    Condition {
                        variable: "permission".to_owned(),
                        value: "configure".to_owned(),
                        query: Query::Constant(true),
                    },
                    Condition {
                        variable: "vhost".to_owned(),
                        value: "v".to_owned(),
                        query: Query::Constant(false),
                    },
                ]),
            ),
        ] {
            assert_eq!(Query::parse(query), Ok(expected), "{query}");
        }
    }

    #[test]
    fn other_terms_are_refused() {
        for (text, part) in [
            ("true", "true"),
            ("{constant, maybe}", "{constant, maybe}"),
            ("{unknown, true}", "{unknown, true}"),
            ("{in_group, name}", "{in_group, name}"),
            (
                r#"{in_group, "g", "a)(b=*"}"#,
                r#"{in_group, "g", "a)(b=*"}"#,
            ),
            (
                r#"{in_group_nested, "g", "m", deep}"#,
                r#"{in_group_nested, "g", "m", deep}"#,
            ),
            ("{'not', {constant, 'x'}}", "{constant, x}"),
            (
                "{for, [{permission, configure}]}",
                "{permission, configure}",
            ),
            (r#"{equals, "a", b}"#, "b"),
            ("[]", "[]"),
        ] {
            let expected = InvalidQuery::Unknown(part.to_owned());
            assert_eq!(Query::parse(text), Err(expected), "{text}");
        }
        assert!(matches!(
            Query::parse("{constant"),
            Err(InvalidQuery::Syntax(_))
        ));
    }

    #[test]
    fn tags_have_queries() {
        let text = "[{administrator, {constant, false}}, {\"my tag\", {constant, true}}]";
        let expected = vec![
            ("administrator".to_owned(), Query::Constant(false)),
            ("my tag".to_owned(), Query::Constant(true)),
        ];
        assert_eq!(parse_tag_queries(text), Ok(expected));
        assert_eq!(parse_tag_queries("[]"), Ok(vec![]));
        for text in ["{constant, true}", "[administrator]", "[{administrator}]"] {
            assert!(
                matches!(parse_tag_queries(text), Err(InvalidQuery::Tags(_))),
                "{text}"
            );
        }
    }
}
