//! The rules of dead letter policies: which queues may have one, and which queues they may name.

use std::sync::Arc;

use crate::broker::permissions::Permission;
use crate::broker::queue::Queue;
use crate::cmq::attributes::DeadLetterPolicy;
use crate::cmq::call::{Call, is_served};
use crate::cmq::error::CmqError;

/// Refuses a policy for the queue named `source` unless its dead letter queue exists, has no policy itself, and serves
/// few enough other queues. `source` may not be a dead letter queue. Replaces the name in the policy by the dead letter
/// queue's own, which may differ by case. Called with `changes` held.
pub(super) fn check(
    call: &Call<'_>,
    source: &str,
    policy: &mut DeadLetterPolicy,
) -> Result<(), CmqError> {
    let api = call.api;
    let vhost = &call.caller.vhost;
    let target = api.queue_lookup.find(vhost, &policy.queue, is_served);
    let target = target.ok_or(CmqError::DeadLetterNotFound)?;
    call.check(Permission::Write, target.name())?;
    policy.queue = target.name().to_string();
    let of_target = api.attributes.of(&target, &api.config);
    if policy.queue == source
        || of_target.dead_letter.is_some()
        || !sources(call, source).is_empty()
    {
        return Err(CmqError::DeadLetterNested);
    }
    let mut others = sources(call, &policy.queue);
    others.retain(|queue| **queue.name() != *source);
    if others.len() >= api.config.dead_letter_sources_max {
        return Err(CmqError::DeadLetterBoundTooOften);
    }
    Ok(())
}

/// The queues whose dead letter queue is `target`.
pub(super) fn sources(call: &Call<'_>, target: &str) -> Vec<Arc<Queue>> {
    let api = call.api;
    let mut queues = call.caller.vhost.queues();
    queues.retain(|queue| {
        let attributes = api.attributes.of(queue, &api.config);
        let policy = attributes.dead_letter.as_ref();
        policy.is_some_and(|policy| policy.queue == target)
    });
    queues
}
