//! `deadLetterPolicy`: the queue for messages that no client deletes, and the condition. A JSON object in a string.

use serde::{Deserialize, Serialize};

use crate::cmq::error::CmqError;

const RECEIVES_MAX: u64 = 1000;
const TIME_TO_LIVE_MIN_SECS: u64 = 300;
const TIME_TO_LIVE_MAX_SECS: u64 = 43_200;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadLetterPolicy {
    /// `deadLetterQueue`: its name.
    pub(crate) queue: String,
    pub(crate) when: Policy,
}

/// `policy` with its parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Policy {
    /// 0: after this number of receives (`maxReceiveCount`).
    Received(u64),
    /// 1: at this age in seconds (`maxTimeToLive`).
    Age(u64),
}

impl DeadLetterPolicy {
    /// Reads the parameter: a JSON object in a string. An empty object removes the policy.
    pub(super) fn parse(json: &str) -> Result<Option<DeadLetterPolicy>, CmqError> {
        let value: serde_json::Value =
            serde_json::from_str(json).map_err(|_| CmqError::DeadLetterNotJson)?;
        let object = value.as_object().ok_or(CmqError::DeadLetterNotJson)?;
        if object.is_empty() {
            return Ok(None);
        }
        let queue = object
            .get("deadLetterQueue")
            .and_then(|queue| queue.as_str())
            .filter(|queue| !queue.is_empty())
            .ok_or(CmqError::DeadLetterQueueMember)?;
        // The Java client writes numbers as text.
        let integer = |name: &str| match object.get(name)? {
            serde_json::Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        let bound = |name, min, max| {
            integer(name)
                .filter(|value| (min..=max).contains(value))
                .ok_or(CmqError::DeadLetterParameters)
        };
        let when = match integer("policy") {
            Some(0) => Policy::Received(bound("maxReceiveCount", 1, RECEIVES_MAX)?),
            Some(1) => Policy::Age(bound(
                "maxTimeToLive",
                TIME_TO_LIVE_MIN_SECS,
                TIME_TO_LIVE_MAX_SECS,
            )?),
            _ => return Err(CmqError::DeadLetterPolicyMember),
        };
        Ok(Some(DeadLetterPolicy {
            queue: queue.to_owned(),
            when,
        }))
    }

    pub(super) fn to_json(&self) -> String {
        let queue = &self.queue;
        match self.when {
            Policy::Received(count) => serde_json::json!({
                "deadLetterQueue": queue, "policy": 0, "maxReceiveCount": count,
            }),
            Policy::Age(secs) => serde_json::json!({
                "deadLetterQueue": queue, "policy": 1, "maxTimeToLive": secs,
            }),
        }
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_json_of_a_kind() {
        let received = |count| Policy::Received(count);
        for (json, expected) in [
            (
                r#"{"deadLetterQueue":"d","policy":0,"maxReceiveCount":3}"#,
                Ok(received(3)),
            ),
            (
                r#"{"deadLetterQueue":"d","policy":"0","maxReceiveCount":"3"}"#,
                Ok(received(3)),
            ),
            (
                r#"{"deadLetterQueue":"d","policy":1,"maxTimeToLive":300}"#,
                Ok(Policy::Age(300)),
            ),
            ("x", Err(CmqError::DeadLetterNotJson)),
            ("[1]", Err(CmqError::DeadLetterNotJson)),
            (r#"{"policy":0}"#, Err(CmqError::DeadLetterQueueMember)),
            (
                r#"{"deadLetterQueue":5,"policy":0}"#,
                Err(CmqError::DeadLetterQueueMember),
            ),
            (
                r#"{"deadLetterQueue":"d"}"#,
                Err(CmqError::DeadLetterPolicyMember),
            ),
            (
                r#"{"deadLetterQueue":"d","policy":2}"#,
                Err(CmqError::DeadLetterPolicyMember),
            ),
            (
                r#"{"deadLetterQueue":"d","policy":0}"#,
                Err(CmqError::DeadLetterParameters),
            ),
            (
                r#"{"deadLetterQueue":"d","policy":0,"maxReceiveCount":1001}"#,
                Err(CmqError::DeadLetterParameters),
            ),
            (
                r#"{"deadLetterQueue":"d","policy":1,"maxTimeToLive":299}"#,
                Err(CmqError::DeadLetterParameters),
            ),
            (
                r#"{"deadLetterQueue":"d","policy":1,"maxTimeToLive":43201}"#,
                Err(CmqError::DeadLetterParameters),
            ),
        ] {
            let parsed = DeadLetterPolicy::parse(json);
            let expected = expected.map(|when| {
                Some(DeadLetterPolicy {
                    queue: "d".to_owned(),
                    when,
                })
            });
            assert_eq!(parsed, expected, "{json}");
            if let Ok(Some(policy)) = parsed {
                assert_eq!(DeadLetterPolicy::parse(&policy.to_json()), Ok(Some(policy)));
            }
        }
        assert_eq!(DeadLetterPolicy::parse("{}"), Ok(None));
    }
}
