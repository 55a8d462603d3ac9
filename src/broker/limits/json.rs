//! Limits as JSON objects, as operators write them. Refusals are in RabbitMQ's words.

use serde_json::{Map, Value};

use super::limit::{UserLimits, VhostLimits};

/// Terms that are no limits, or no numbers: one line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct InvalidLimits(Vec<String>);

impl UserLimits {
    /// The limits that an object names.
    pub fn from_json(terms: &Map<String, Value>) -> Result<UserLimits, InvalidLimits> {
        let [max_connections, max_channels] =
            read(terms, ["max-connections", "max-channels"], "user-limits")?;
        Ok(UserLimits {
            max_connections,
            max_channels,
        })
    }

    pub fn to_json(&self) -> Map<String, Value> {
        object([
            ("max-connections", self.max_connections),
            ("max-channels", self.max_channels),
        ])
    }
}

impl VhostLimits {
    /// The limits that an object names.
    pub fn from_json(terms: &Map<String, Value>) -> Result<VhostLimits, InvalidLimits> {
        let [max_connections, max_queues] =
            read(terms, ["max-connections", "max-queues"], "limits")?;
        Ok(VhostLimits {
            max_connections,
            max_queues,
        })
    }

    pub fn to_json(&self) -> Map<String, Value> {
        object([
            ("max-connections", self.max_connections),
            ("max-queues", self.max_queues),
        ])
    }
}

/// The values of the limits called `names`. RabbitMQ calls these limits `of`.
fn read<const N: usize>(
    terms: &Map<String, Value>,
    names: [&str; N],
    of: &str,
) -> Result<[Option<i64>; N], InvalidLimits> {
    let unknown = terms
        .iter()
        .filter(|(name, _)| !names.contains(&name.as_str()));
    let unknown: Vec<String> = unknown
        .map(|(name, value)| format!("{{<<\"{name}\">>,{}}}", erlang(value)))
        .collect();
    let mut faults = Vec::new();
    if !unknown.is_empty() {
        faults.push(format!(
            "Unrecognised terms [{}] in {of}",
            unknown.join(",\n                    ")
        ));
    }
    let limits = names.map(|name| {
        let value = terms.get(name)?;
        if value.as_i64().is_none() {
            let actual = erlang(value);
            faults.push(format!("{name} should be a number, actually was {actual}"));
        }
        value.as_i64()
    });
    match faults.is_empty() {
        true => Ok(limits),
        false => Err(InvalidLimits(faults)),
    }
}

fn object<const N: usize>(limits: [(&str, Option<i64>); N]) -> Map<String, Value> {
    let set = limits
        .into_iter()
        .filter_map(|(name, limit)| Some((name.to_owned(), limit?.into())));
    set.collect()
}

/// A JSON value as RabbitMQ's messages show it.
fn erlang(value: &Value) -> String {
    match value {
        Value::String(text) => format!("<<\"{text}\">>"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_are_read_and_written() {
        let check = |json: Value, expected: Result<VhostLimits, &str>| {
            let terms = json.as_object().unwrap();
            let limits = VhostLimits::from_json(terms).map_err(|invalid| invalid.to_string());
            assert_eq!(limits, expected.map_err(str::to_owned));
            if let Ok(limits) = limits {
                assert_eq!(limits.to_json(), *terms);
            }
        };
        let limits = VhostLimits {
            max_connections: Some(-1),
            max_queues: Some(5),
        };
        check(json!({}), Ok(VhostLimits::default()));
        check(json!({"max-connections": -1, "max-queues": 5}), Ok(limits));
        let text = "max-queues should be a number, actually was <<\"5\">>";
        check(json!({"max-queues": "5"}), Err(text));
        let text = "Unrecognised terms [{<<\"x\">>,5}] in limits\nmax-queues should be a number, actually was <<\"3\">>";
        check(json!({"max-queues": "3", "x": 5}), Err(text));
        let user = json!({"max-channels": 5});
        let limits = UserLimits::from_json(user.as_object().unwrap()).unwrap();
        assert_eq!(
            (limits.max_channels, limits.max_connections),
            (Some(5), None)
        );
    }
}
