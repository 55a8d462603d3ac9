//! Dead letter queues: removes a queue's policy, and lists the queues that share a dead letter queue. A policy is set
//! when a queue is created or its attributes are changed.

use super::dead_letter_policy::sources;
use super::listing::queue_list;
use super::names::queue_id;
use super::queue_attributes::set;
use crate::broker::permissions::Permission;
use crate::cmq::attributes::Attributes;
use crate::cmq::call::{Call, Outcome};
use crate::cmq::error::CmqError;

/// `UnbindDeadLetterQueue`.
pub(in crate::cmq) async fn unbind(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Configure)?;
    {
        let _changes = call.api.changes.lock().await;
        let current = call.api.attributes.of(&queue, &call.api.config);
        if current.dead_letter.is_none() {
            return Err(CmqError::DeadLetterNotFound);
        }
        let without = Attributes {
            dead_letter: None,
            modified_secs: call.now_secs(),
            ..Attributes::clone(&current)
        };
        set(call, &queue, without).await?;
    }
    let response = call.success().with(|object| {
        object.text("queueId", &queue_id(queue.id()));
    });
    Ok(response.into())
}

/// `ListDeadLetterSourceQueues`.
pub(in crate::cmq) fn list_sources(call: &Call<'_>) -> Outcome {
    let target = call.parameters.required("deadLetterQueueName")?;
    let target = call.find_queue(Permission::Read, target)?;
    let target = target.ok_or(CmqError::NoSuchQueue)?;
    queue_list(call, sources(call, target.name()))
}
