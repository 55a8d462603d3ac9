//! Dead letter queues: what may be bound to what, taking a binding away, and listing who is bound. A queue is bound by
//! its `deadLetterPolicy`, when it is created or changed.

use std::sync::Arc;

use super::super::attributes::{Attributes, DeadLetterPolicy};
use super::super::dispatch::{Call, Outcome, is_served};
use super::super::error::CmqError;
use super::queue::{apply, listing, public_id};
use crate::broker::permissions::Permission;
use crate::broker::queue::Queue;

/// Refuses a policy that must not be: its queue has to be there, to have none itself, and not to serve too many. `source`
/// is the name of the queue that is to have it, which must not be a dead letter queue. The policy names its queue as that
/// is written from then on. Called with `changes` held.
pub(super) fn check(
    call: &Call<'_>,
    source: &str,
    policy: &mut DeadLetterPolicy,
) -> Result<(), CmqError> {
    let front = call.front;
    let target = front
        .queue_lookup
        .queue(&call.caller.vhost, &policy.queue, is_served);
    let target = target.ok_or(CmqError::DeadLetterNotFound)?;
    call.check(Permission::Write, target.name())?;
    policy.queue = target.name().to_string();
    let of_target = front.attributes.of(&target, &front.config);
    if policy.queue == source
        || of_target.dead_letter.is_some()
        || !sources(call, source).is_empty()
    {
        return Err(CmqError::DeadLetterNested);
    }
    let mut others = sources(call, &policy.queue);
    others.retain(|queue| **queue.name() != *source);
    if others.len() >= front.config.dead_letter_sources_max {
        return Err(CmqError::DeadLetterBoundTooOften);
    }
    Ok(())
}

/// The queues whose dead letters go to `target`.
pub(super) fn sources(call: &Call<'_>, target: &str) -> Vec<Arc<Queue>> {
    let front = call.front;
    let mut queues = call.caller.vhost.queues();
    queues.retain(|queue| {
        let attributes = front.attributes.of(queue, &front.config);
        let policy = attributes.dead_letter.as_ref();
        policy.is_some_and(|policy| policy.queue == target)
    });
    queues
}

/// `UnbindDeadLetterQueue`.
pub(in super::super) async fn unbind(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Configure)?;
    let ticket = {
        let _changes = call.front.changes.lock();
        let current = call.front.attributes.of(&queue, &call.front.config);
        if current.dead_letter.is_none() {
            return Err(CmqError::DeadLetterNotFound);
        }
        let without = Attributes {
            dead_letter: None,
            modified_secs: call.now_secs(),
            ..Attributes::clone(&current)
        };
        apply(call, &queue, without)?
    };
    call.durable(Some(ticket)).await?;
    let answer = call.success().with(|object| {
        object.text("queueId", &public_id(queue.id()));
    });
    Ok(answer.into())
}

/// `ListDeadLetterSourceQueues`.
pub(in super::super) fn list_sources(call: &Call<'_>) -> Outcome {
    let target = call.parameters.required("deadLetterQueueName")?;
    let target = call.find_queue(Permission::Read, target)?;
    let target = target.ok_or(CmqError::NoSuchQueue)?;
    listing(call, sources(call, target.name()))
}
