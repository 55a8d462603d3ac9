//! What the server answers. Pure.

use crate::model::Name;

const ALLOW: &str = "allow";
const DENY: &str = "deny";

/// The answer to a question about a user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Allow,
    /// With the reason that the server gives, if it does.
    Deny(Option<String>),
}

/// The answer to a login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UserReply {
    /// With the tags of the user.
    Allow(Vec<Name>),
    Deny(Option<String>),
}

impl Reply {
    /// `None` if it is neither.
    pub(super) fn parse(body: &str) -> Option<Reply> {
        let body = body.trim();
        match denial(body) {
            Some(reason) => Some(Reply::Deny(reason)),
            None => body.eq_ignore_ascii_case(ALLOW).then_some(Reply::Allow),
        }
    }
}

impl UserReply {
    /// `None` if it is neither. Tags become small letters, as in RabbitMQ.
    pub(super) fn parse(body: &str) -> Option<UserReply> {
        let body = body.trim();
        if let Some(reason) = denial(body) {
            return Some(UserReply::Deny(reason));
        }
        let lower = body.to_lowercase();
        let tags = lower.strip_prefix(ALLOW)?;
        Some(UserReply::Allow(
            tags.split_whitespace().map(Name::from).collect(),
        ))
    }
}

/// The reason of a denial. Before a reason `deny` is in small letters.
fn denial(body: &str) -> Option<Option<String>> {
    if body.eq_ignore_ascii_case(DENY) {
        return Some(None);
    }
    let reason = body.strip_prefix(DENY)?.strip_prefix(' ')?;
    Some(Some(reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_allowed_with_tags_or_denied_with_a_reason() {
        let allow = |tags: &[&str]| {
            let tags = tags.iter().map(|tag| Name::from(*tag)).collect();
            Some(UserReply::Allow(tags))
        };
        let deny = |reason: Option<&str>| Some(UserReply::Deny(reason.map(str::to_owned)));
        for (body, expected) in [
            ("allow", allow(&[])),
            (" ALLOW \r\n", allow(&[])),
            ("allow management", allow(&["management"])),
            (
                "Allow Administrator  a_custom_tag",
                allow(&["administrator", "a_custom_tag"]),
            ),
            ("deny", deny(None)),
            ("Deny", deny(None)),
            ("deny It is late", deny(Some("It is late"))),
            ("Deny It is late", None),
            ("denied", None),
            ("", None),
            ("<html>", None),
        ] {
            assert_eq!(UserReply::parse(body), expected, "{body:?}");
        }
    }

    #[test]
    fn a_question_is_allowed_or_denied() {
        for (body, expected) in [
            ("allow", Some(Reply::Allow)),
            ("Allow\n", Some(Reply::Allow)),
            ("deny", Some(Reply::Deny(None))),
            ("deny no", Some(Reply::Deny(Some("no".to_owned())))),
            ("allow management", None),
            ("allowed", None),
            ("true", None),
        ] {
            assert_eq!(Reply::parse(body), expected, "{body:?}");
        }
    }
}
