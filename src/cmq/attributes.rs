//! The attributes of queues in the words of the API: their defaults, their ranges, how they are stored and shown.
//! What they do to a queue, the queue knows by its own arguments and overrides.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::config::CmqConfig;
use super::error::CmqError;
use super::parameters::Parameters;
use super::response::Object;
use crate::broker::queue::{Counts, Queue};
use crate::model::arguments::{Overflow, QueueArguments};
use crate::model::{QueueId, QueueOverrides};
use crate::store::{Op, Store, StoreError};

const HEAP_MIN: u64 = 1_000_000;
const HEAP_DEFAULT: u64 = 100_000_000;
const VISIBILITY_DEFAULT_SECS: u64 = 30;
const MESSAGE_BYTES_MIN: u64 = 1024;
const MESSAGE_BYTES_DEFAULT: u64 = 65_536;
const RETENTION_MIN_SECS: u64 = 60;
const RETENTION_DEFAULT_SECS: u64 = 345_600;
const RECEIVES_MAX: u64 = 1000;
const TIME_TO_LIVE_MIN_SECS: u64 = 300;
const TIME_TO_LIVE_MAX_SECS: u64 = 43_200;

/// What keys of stored attributes start with; the queue's id follows.
const KEY_PREFIX: &[u8] = b"cmq-queue\0";

/// The attributes of one queue. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attributes {
    /// `maxMsgHeapNum`: messages that may wait.
    pub(crate) heap: u64,
    /// `pollingWaitSeconds`: how long a receive waits unless it says.
    pub(crate) polling_wait_secs: u64,
    /// `visibilityTimeout`: how long a received message is hidden.
    pub(crate) visibility_timeout_secs: u64,
    /// `maxMsgSize` in bytes.
    pub(crate) message_bytes: u64,
    /// `msgRetentionSeconds`: how long a message is kept at all.
    pub(crate) retention_secs: u64,
    /// `rewindSeconds`: how long a deleted message can be brought back.
    pub(crate) rewind_secs: u64,
    /// `deadLetterPolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dead_letter: Option<DeadLetterPolicy>,
    /// `createTime`; 0 if nobody knows.
    pub(crate) created_secs: u64,
    /// `lastModifyTime`.
    pub(crate) modified_secs: u64,
}

/// Where messages go that nobody deletes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadLetterPolicy {
    /// `deadLetterQueue`: its name.
    pub(crate) queue: String,
    /// When.
    pub(crate) when: Policy,
}

/// `policy`, with what each needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Policy {
    /// 0: received this often and never deleted (`maxReceiveCount`).
    Received(u64),
    /// 1: not deleted for so many seconds (`maxTimeToLive`).
    Age(u64),
}

impl Attributes {
    /// What a new queue has unless it says otherwise.
    pub(crate) fn new(now_secs: u64) -> Attributes {
        Attributes {
            heap: HEAP_DEFAULT,
            polling_wait_secs: 0,
            visibility_timeout_secs: VISIBILITY_DEFAULT_SECS,
            message_bytes: MESSAGE_BYTES_DEFAULT,
            retention_secs: RETENTION_DEFAULT_SECS,
            rewind_secs: 0,
            dead_letter: None,
            created_secs: now_secs,
            modified_secs: now_secs,
        }
    }

    /// What a queue that was declared over AMQP comes to in the API's words. Where AMQP sets no bound, the API's own
    /// stands for none; dead letter exchanges have no name in the API.
    pub(crate) fn of_arguments(arguments: &QueueArguments, config: &CmqConfig) -> Attributes {
        let secs = |ms: Option<u64>| ms.map(|ms| ms.div_ceil(1000));
        Attributes {
            heap: arguments.max_length.unwrap_or(config.heap_max),
            message_bytes: config.message_bytes_max,
            visibility_timeout_secs: secs(arguments.visibility_timeout_ms)
                .unwrap_or(VISIBILITY_DEFAULT_SECS),
            retention_secs: secs(arguments.retention_ms).unwrap_or(config.retention_max_secs),
            rewind_secs: secs(arguments.rewind_ms).unwrap_or(0),
            ..Attributes::new(0)
        }
    }

    /// Whether the queue was made through the API: then all attributes hold, of others only those that were set.
    fn is_native(&self) -> bool {
        self.created_secs > 0
    }

    /// What a queue that was declared with `arguments` has to be told for these attributes to hold.
    pub(crate) fn overrides(
        &self,
        arguments: &QueueArguments,
        config: &CmqConfig,
    ) -> QueueOverrides {
        let declared = Attributes::of_arguments(arguments, config);
        let set = |own: u64, declared: u64| (self.is_native() || own != declared).then_some(own);
        let set_ms = |own, declared| set(own, declared).map(|secs| secs.saturating_mul(1000));
        let max_length = set(self.heap, declared.heap);
        let policy = self.dead_letter.as_ref();
        let (delivery_limit, message_ttl_ms) = match policy.map(|policy| policy.when) {
            // The queue counts how often a message came back, the API how often it was handed out.
            Some(Policy::Received(count)) => (u32::try_from(count.saturating_sub(1)).ok(), None),
            Some(Policy::Age(secs)) => (None, Some(secs.saturating_mul(1000))),
            None => (None, None),
        };
        QueueOverrides {
            visibility_timeout_ms: set_ms(
                self.visibility_timeout_secs,
                declared.visibility_timeout_secs,
            ),
            max_length,
            overflow: max_length.map(|_| Overflow::RejectPublish),
            message_ttl_ms,
            retention_ms: set_ms(self.retention_secs, declared.retention_secs),
            rewind_ms: set_ms(self.rewind_secs, declared.rewind_secs),
            delivery_limit,
            dead_letter_exchange: policy.map(|_| "".into()),
            dead_letter_routing_key: policy.map(|policy| policy.queue.as_str().into()),
        }
    }

    /// These attributes with those changed that the request names.
    pub(crate) fn changed(
        &self,
        parameters: &Parameters<'_>,
        config: &CmqConfig,
        now_secs: u64,
    ) -> Result<Attributes, CmqError> {
        let read = |name, current, min, max: u64| {
            Ok::<u64, CmqError>(parameters.ranged(name, min..=max)?.unwrap_or(current))
        };
        let retention_max = config.retention_max_secs;
        let mut changed = Attributes {
            heap: read("maxMsgHeapNum", self.heap, HEAP_MIN, config.heap_max)?,
            polling_wait_secs: read(
                "pollingWaitSeconds",
                self.polling_wait_secs,
                0,
                config.polling_wait_max_secs,
            )?,
            visibility_timeout_secs: read(
                "visibilityTimeout",
                self.visibility_timeout_secs,
                1,
                config.visibility_timeout_max_secs,
            )?,
            message_bytes: read(
                "maxMsgSize",
                self.message_bytes,
                MESSAGE_BYTES_MIN,
                config.message_bytes_max,
            )?,
            retention_secs: read(
                "msgRetentionSeconds",
                self.retention_secs,
                RETENTION_MIN_SECS,
                retention_max,
            )?,
            rewind_secs: read("rewindSeconds", self.rewind_secs, 0, retention_max)?,
            dead_letter: self.dead_letter.clone(),
            created_secs: self.created_secs,
            modified_secs: now_secs,
        };
        // What was declared over AMQP may be beyond it, and stays so until either is changed.
        let is_as_before = (changed.rewind_secs, changed.retention_secs)
            == (self.rewind_secs, self.retention_secs);
        if changed.rewind_secs > changed.retention_secs && !is_as_before {
            return Err(CmqError::RewindBeyondRetention);
        }
        if let Some(json) = parameters
            .text("deadLetterPolicy")
            .filter(|json| !json.is_empty())
        {
            changed.dead_letter = DeadLetterPolicy::parse(json)?;
        }
        // Also of a policy that stays: messages would be dropped before they are old enough for it.
        let policy = changed.dead_letter.as_ref().map(|policy| policy.when);
        match policy {
            Some(Policy::Age(secs)) if secs >= changed.retention_secs => {
                Err(CmqError::DeadLetterParameters)
            }
            _ => Ok(changed),
        }
    }

    /// All attributes that the API shows, with the queue's numbers and when its oldest message was enqueued.
    pub(crate) fn show(&self, counts: &Counts, oldest_ms: u64, object: &mut Object<'_>) {
        self.show_settings(object);
        object
            .number("activeMsgNum", counts.ready)
            .number("inactiveMsgNum", counts.unacked)
            .number("delayMsgNum", counts.delayed)
            // The clients do not agree on how it is spelt.
            .number("rewindMsgNum", counts.rewindable)
            .number("rewindmsgNum", counts.rewindable)
            .number("minMsgTime", oldest_ms / 1000);
    }

    /// Those that can be set, and when that was done.
    pub(crate) fn show_settings(&self, object: &mut Object<'_>) {
        object
            .number("maxMsgHeapNum", self.heap)
            .number("pollingWaitSeconds", self.polling_wait_secs)
            .number("visibilityTimeout", self.visibility_timeout_secs)
            .number("maxMsgSize", self.message_bytes)
            .number("msgRetentionSeconds", self.retention_secs)
            .number("rewindSeconds", self.rewind_secs)
            .number("createTime", self.created_secs)
            .number("lastModifyTime", self.modified_secs);
        if let Some(policy) = &self.dead_letter {
            object.text("deadLetterPolicy", &policy.to_json());
        }
    }
}

impl DeadLetterPolicy {
    /// Reads the parameter: a JSON object in a string. An empty object takes the policy away.
    fn parse(json: &str) -> Result<Option<DeadLetterPolicy>, CmqError> {
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

    fn to_json(&self) -> String {
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

/// The attributes of all queues that were made or changed through the API.
#[derive(Debug, Default)]
pub(crate) struct AllAttributes {
    by_queue: RwLock<HashMap<QueueId, Arc<Attributes>>>,
}

impl AllAttributes {
    /// What the store holds. Returns also how to remove what belongs to queues that are gone: deleted over AMQP, which
    /// knows nothing of attributes.
    pub(crate) fn load(
        store: &dyn Store,
        alive: &HashSet<QueueId>,
    ) -> Result<(AllAttributes, Vec<Op>), StoreError> {
        let mut all = HashMap::new();
        let mut ops = Vec::new();
        for (key, value) in store.definitions(KEY_PREFIX)? {
            let damaged =
                || StoreError::Corrupt(format!("attributes under {}", key.escape_ascii()));
            let id = key
                .strip_prefix(KEY_PREFIX)
                .and_then(|id| id.try_into().ok());
            let id = QueueId(u64::from_be_bytes(id.ok_or_else(damaged)?));
            if alive.contains(&id) {
                let attributes = serde_json::from_slice(&value).map_err(|_| damaged())?;
                all.insert(id, Arc::new(attributes));
            } else {
                ops.push(Op::RemoveDefinition { key });
            }
        }
        let all = AllAttributes {
            by_queue: RwLock::new(all),
        };
        Ok((all, ops))
    }

    /// The attributes of a queue; those of its arguments if it has none of its own.
    pub(crate) fn of(&self, queue: &Queue, config: &CmqConfig) -> Arc<Attributes> {
        let own = self.by_queue.read().get(&queue.id()).cloned();
        own.unwrap_or_else(|| Arc::new(Attributes::of_arguments(&queue.spec().arguments, config)))
    }

    /// Sets the attributes of a queue; what to write for it.
    pub(crate) fn set(&self, queue: QueueId, attributes: Attributes) -> Op {
        let value = serde_json::to_vec(&attributes)
            .unwrap_or_else(|error| unreachable!("attributes are plain text and numbers: {error}"));
        self.by_queue.write().insert(queue, Arc::new(attributes));
        Op::PutDefinition {
            key: key(queue),
            value,
        }
    }

    /// Forgets the attributes of queues that are not `alive`; what to remove for them.
    pub(crate) fn tidy(&self, alive: &HashSet<QueueId>) -> Vec<Op> {
        let mut by_queue = self.by_queue.write();
        let gone = by_queue.extract_if(|queue, _| !alive.contains(queue));
        gone.map(|(queue, _)| Op::RemoveDefinition { key: key(queue) })
            .collect()
    }

    /// Forgets the attributes of a queue; what to remove for it.
    pub(crate) fn remove(&self, queue: QueueId) -> Op {
        self.by_queue.write().remove(&queue);
        Op::RemoveDefinition { key: key(queue) }
    }
}

fn key(queue: QueueId) -> Vec<u8> {
    [KEY_PREFIX, &queue.0.to_be_bytes()].concat()
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

    #[test]
    fn attributes_come_back_and_go_with_their_queue() {
        let store = crate::store::MemoryStore::new();
        let all = AllAttributes::default();
        let ops = [1, 2].map(|id| all.set(QueueId(id), Attributes::new(id)));
        store.commit(&crate::store::Batch::from_iter(ops)).unwrap();
        let alive = HashSet::from([QueueId(2)]);
        let (loaded, left_over) = AllAttributes::load(&store, &alive).unwrap();
        assert_eq!(loaded.by_queue.read().len(), 1);
        assert_eq!(*loaded.by_queue.read()[&QueueId(2)], Attributes::new(2));
        store
            .commit(&crate::store::Batch::from_iter(left_over))
            .unwrap();
        assert_eq!(store.definitions(KEY_PREFIX).unwrap().len(), 1);

        // What goes while the broker runs is forgotten as well.
        assert!(loaded.tidy(&alive).is_empty());
        let ops = loaded.tidy(&HashSet::new());
        store.commit(&crate::store::Batch::from_iter(ops)).unwrap();
        assert!(
            loaded.by_queue.read().is_empty() && store.definitions(KEY_PREFIX).unwrap().is_empty()
        );
    }
}
