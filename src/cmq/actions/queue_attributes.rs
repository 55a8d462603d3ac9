//! Gets and sets the attributes of queues.

use super::dead_letter_policy;
use super::names::queue_id;
use crate::broker::permissions::Permission;
use crate::broker::queue::Queue;
use crate::cmq::attributes::Attributes;
use crate::cmq::call::{Call, Outcome};
use crate::cmq::error::CmqError;

/// `GetQueueAttributes`.
pub(in crate::cmq) async fn get_attributes(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Read)?;
    let config = &call.api.config;
    let attributes = call.api.attributes.of(&queue, config);
    let attributes = attributes.in_force(&queue.arguments(), config);
    let counts = queue.counts();
    let oldest_ms = oldest_ms(call, &queue).await?;
    let response = call.success().with(|object| {
        object
            .text("queueId", &queue_id(queue.id()))
            .text("queueName", queue.name());
        attributes.show(&counts, oldest_ms, object);
    });
    Ok(response.into())
}

/// `SetQueueAttributes`: attributes that the request does not name stay as they are.
pub(in crate::cmq) async fn set_attributes(call: &Call<'_>) -> Outcome {
    let api = call.api;
    let queue = call.queue(Permission::Configure)?;
    let attributes = {
        let _changes = api.changes.lock().await;
        let current = api.attributes.of(&queue, &api.config);
        let mut attributes = current.changed(call.parameters, &api.config, call.now_secs())?;
        if let Some(policy) = &mut attributes.dead_letter {
            dead_letter_policy::check(call, queue.name(), policy)?;
        }
        set(call, &queue, attributes.clone()).await?;
        attributes
    };
    let response = call.success().with(|object| {
        object.text("queueId", &queue_id(queue.id()));
        attributes.show_settings(object);
    });
    Ok(response.into())
}

/// Sets a queue's attributes and the overrides that make them hold. Called with `changes` held.
pub(super) async fn set(
    call: &Call<'_>,
    queue: &Queue,
    attributes: Attributes,
) -> Result<(), CmqError> {
    let api = call.api;
    let overrides = attributes.overrides(&queue.spec().arguments, &api.config);
    let also = |id| match queue.spec().durable {
        true => api.attributes.put(id, attributes),
        false => api.attributes.put_transient(id, attributes),
    };
    let vhost = &call.caller.vhost;
    Ok(vhost
        .set_queue_overrides_with(queue.name(), overrides, also)
        .await?)
}

/// When the oldest message was enqueued that is neither deleted nor delayed, in Unix milliseconds. For an empty queue it
/// is now: the queue may be rewound to any earlier time.
pub(super) async fn oldest_ms(call: &Call<'_>, queue: &Queue) -> Result<u64, CmqError> {
    let oldest = queue.oldest().await.map_err(|error| {
        tracing::warn!(queue = %queue.name(), %error, "cannot read the oldest message");
        CmqError::Internal
    })?;
    let clock = call.clock();
    Ok(oldest.map_or_else(|| clock.wall_ms(), |oldest| clock.wall_ms_at(oldest)))
}
