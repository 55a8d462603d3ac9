//! The attributes of one queue: their defaults, their ranges, and how they are shown.

use serde::{Deserialize, Serialize};

use super::dead_letter_policy::{DeadLetterPolicy, Policy};
use crate::broker::queue::Counts;
use crate::cmq::config::CmqConfig;
use crate::cmq::error::CmqError;
use crate::cmq::parameters::Parameters;
use crate::cmq::response::Object;
use crate::model::QueueOverrides;
use crate::model::arguments::{Overflow, QueueArguments};

const HEAP_MIN: u64 = 1_000_000;
const HEAP_DEFAULT: u64 = 100_000_000;
const VISIBILITY_DEFAULT_SECS: u64 = 30;
const MESSAGE_BYTES_MIN: u64 = 1024;
const MESSAGE_BYTES_DEFAULT: u64 = 65_536;
const RETENTION_MIN_SECS: u64 = 60;
const RETENTION_DEFAULT_SECS: u64 = 345_600;

/// The attributes of one queue. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attributes {
    /// `maxMsgHeapNum`: maximum number of ready messages.
    pub(crate) heap: u64,
    /// `pollingWaitSeconds`: how long a receive waits by default.
    pub(crate) polling_wait_secs: u64,
    /// `visibilityTimeout`: how long a received message is hidden.
    pub(crate) visibility_timeout_secs: u64,
    /// `maxMsgSize` in bytes.
    pub(crate) message_bytes: u64,
    /// `msgRetentionSeconds`: maximum age of a message.
    pub(crate) retention_secs: u64,
    /// `rewindSeconds`: how long a rewind can bring a deleted message back.
    pub(crate) rewind_secs: u64,
    /// `deadLetterPolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dead_letter: Option<DeadLetterPolicy>,
    /// `createTime`; 0 if it is unknown.
    pub(crate) created_secs: u64,
    /// `lastModifyTime`.
    pub(crate) modified_secs: u64,
}

impl Attributes {
    /// The defaults of a new queue.
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

    /// The attributes of a queue that was declared over AMQP. The API's maximum stands for no limit. The API cannot name
    /// dead letter exchanges.
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

    /// These attributes with the values that hold for a queue: policies may set other ones.
    pub(crate) fn in_force(&self, effective: &QueueArguments, config: &CmqConfig) -> Attributes {
        let Attributes {
            heap,
            visibility_timeout_secs,
            retention_secs,
            rewind_secs,
            ..
        } = Attributes::of_arguments(effective, config);
        Attributes {
            heap,
            visibility_timeout_secs,
            retention_secs,
            rewind_secs,
            ..self.clone()
        }
    }

    /// Whether the queue was created through the API. Then all attributes hold; of other queues, those that were set.
    fn is_native(&self) -> bool {
        self.created_secs > 0
    }

    /// The overrides that make these attributes hold for a queue that was declared with `arguments`.
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

    /// These attributes with the changes of a request.
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
        // A queue that was declared over AMQP may be beyond it until either value is changed.
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
        // Checked for an unchanged policy too: messages would be dropped before they are old enough for it.
        let policy = changed.dead_letter.as_ref().map(|policy| policy.when);
        match policy {
            Some(Policy::Age(secs)) if secs >= changed.retention_secs => {
                Err(CmqError::DeadLetterParameters)
            }
            _ => Ok(changed),
        }
    }

    /// Shows all attributes, with the queue's counts and the time at which its oldest message was enqueued.
    pub(crate) fn show(&self, counts: &Counts, oldest_ms: u64, object: &mut Object<'_>) {
        self.show_settings(object);
        object
            .number("activeMsgNum", counts.ready)
            .number("inactiveMsgNum", counts.unacked)
            .number("delayMsgNum", counts.delayed)
            // Clients differ in the spelling.
            .number("rewindMsgNum", counts.rewindable)
            .number("rewindmsgNum", counts.rewindable)
            .number("minMsgTime", oldest_ms / 1000);
    }

    /// Shows the attributes that can be set, and when they were set.
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
