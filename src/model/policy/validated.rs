//! A policy, checked, and the refusal of one that is not valid.

use fancy_regex::{Regex, RegexBuilder};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::{Map, Number, Value};

use super::apply_to::{ApplyTo, Target};
use super::definition::{PolicyKind, check};
use super::keys::Key;
use crate::model::Name;
use crate::model::json_term::json_term;

/// Maximum length of a policy's name.
pub const POLICY_NAME_BYTES_MAX: usize = 1024;
/// Maximum number of steps back of one match. Each change of policies matches all queues.
const BACKTRACK_MAX: usize = 20_000;
/// Maximum length of a pattern.
const PATTERN_BYTES_MAX: usize = 4096;

/// A policy as a user gives it: not checked.
#[derive(Clone, Debug)]
pub struct PolicyDraft {
    pub name: Name,
    pub pattern: Value,
    /// `None` means `all`.
    pub apply_to: Option<Value>,
    pub definition: Value,
    /// `None` means 0.
    pub priority: Option<Value>,
}

/// A valid policy. Its JSON has RabbitMQ's fields without the virtual host.
#[derive(Clone, Debug)]
pub struct Policy {
    name: Name,
    pattern: Pattern,
    apply_to: ApplyTo,
    /// Ordered by key.
    definition: Map<String, Value>,
    priority: Number,
}

/// A policy that is not valid. Its text is RabbitMQ's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Validation failed\n\n{}\n", .0.join("\n"))]
pub struct InvalidPolicy(Vec<String>);

impl Policy {
    /// Checks a draft.
    ///
    /// # Errors
    /// All that is wrong with it, in RabbitMQ's order and words.
    pub fn new(kind: PolicyKind, draft: PolicyDraft) -> Result<Policy, InvalidPolicy> {
        let definition = check(kind, &draft.definition);
        let apply_to = apply_to(draft.apply_to.as_ref());
        let pattern = Pattern::new(&draft.pattern);
        let priority = priority(draft.priority.as_ref());
        let name = match draft.name.len() {
            ..=POLICY_NAME_BYTES_MAX => Ok(draft.name),
            _ => Err(format!(
                "name must not exceed {POLICY_NAME_BYTES_MAX} bytes"
            )),
        };
        match (name, definition, apply_to, pattern, priority) {
            (Ok(name), Ok(definition), Ok(apply_to), Ok(pattern), Ok(priority)) => Ok(Policy {
                name,
                pattern,
                apply_to,
                definition,
                priority,
            }),
            (name, definition, apply_to, pattern, priority) => {
                let faults = [
                    definition.err(),
                    apply_to.err(),
                    pattern.err(),
                    priority.err(),
                    name.err(),
                ];
                Err(InvalidPolicy(faults.into_iter().flatten().collect()))
            }
        }
    }

    pub fn name(&self) -> &Name {
        &self.name
    }

    pub fn pattern(&self) -> &str {
        &self.pattern.text
    }

    pub fn apply_to(&self) -> ApplyTo {
        self.apply_to
    }

    /// Ordered by key.
    pub fn definition(&self) -> &Map<String, Value> {
        &self.definition
    }

    pub fn priority(&self) -> &Number {
        &self.priority
    }

    /// The keys that are accepted for RabbitMQ's sake and change nothing in Leveret.
    pub fn without_effect(&self) -> Vec<&str> {
        let has_none = |name: &&str| Key::of(name).is_some_and(|key| !key.has_effect());
        self.definition
            .keys()
            .map(String::as_str)
            .filter(has_none)
            .collect()
    }

    /// The draft of the same policy.
    pub fn draft(&self) -> PolicyDraft {
        PolicyDraft {
            name: self.name.clone(),
            pattern: self.pattern.text.clone().into(),
            apply_to: Some(self.apply_to.as_str().into()),
            definition: Value::Object(self.definition.clone()),
            priority: Some(Value::Number(self.priority.clone())),
        }
    }

    /// Whether it applies to the target of this name, unless another one comes first. A policy with a key that a type
    /// of queue does not take is not for queues of that type, with none of its keys.
    pub fn matches(&self, name: &str, target: Target) -> bool {
        self.apply_to.includes(target)
            && self
                .definition
                .keys()
                .all(|name| Key::of(name).is_none_or(|key| key.fits(target)))
            && self.pattern.matches(name)
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Policy) -> bool {
        let Policy {
            name,
            pattern,
            apply_to,
            definition,
            priority,
        } = self;
        *name == other.name
            && pattern.text == other.pattern.text
            && *apply_to == other.apply_to
            && *definition == other.definition
            && *priority == other.priority
    }
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Policy", 5)?;
        fields.serialize_field("name", &self.name)?;
        fields.serialize_field("pattern", &self.pattern.text)?;
        fields.serialize_field("apply-to", &self.apply_to)?;
        fields.serialize_field("definition", &self.definition)?;
        fields.serialize_field("priority", &self.priority)?;
        fields.end()
    }
}

/// A regular expression that matches anywhere in a name, as in RabbitMQ.
#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    fn new(value: &Value) -> Result<Pattern, String> {
        let Some(text) = value.as_str() else {
            let term = json_term(value);
            return Err(format!("pattern should be a binary but was {term}"));
        };
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("pattern must not exceed {PATTERN_BYTES_MAX} bytes"));
        }
        let regex = RegexBuilder::new(text)
            .backtrack_limit(BACKTRACK_MAX)
            .build();
        let regex = regex.map_err(|error| {
            format!("pattern should be regular expression but is invalid: {{\"{error}\",0}}")
        })?;
        Ok(Pattern {
            text: text.to_owned(),
            regex,
        })
    }

    /// A pattern that backtracks beyond its limit does not match.
    fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name).unwrap_or(false)
    }
}

fn apply_to(value: Option<&Value>) -> Result<ApplyTo, String> {
    let Some(value) = value else {
        return Ok(ApplyTo::All);
    };
    let parsed = value.as_str().and_then(ApplyTo::parse);
    parsed.ok_or_else(|| {
        let word = value.as_str().map_or_else(|| json_term(value), str::to_owned);
        format!(
            "apply-to '{word}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', \
             'streams', 'exchanges', or 'all'"
        )
    })
}

fn priority(value: Option<&Value>) -> Result<Number, String> {
    match value {
        None => Ok(Number::from(0)),
        Some(Value::Number(number)) => Ok(number.clone()),
        Some(other) => Err(format!(
            "priority should be a number, actually was {}",
            json_term(other)
        )),
    }
}
