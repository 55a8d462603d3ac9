//! Creates, lists, clears, rewinds and deletes queues.

use super::dead_letter_policy;
use super::listing::queue_list;
use super::names::{is_name, queue_id};
use super::queue_attributes::oldest_ms;
use crate::broker::permissions::Permission;
use crate::broker::queue::{RewindError, RewindTo};
use crate::broker::vhost::{Created, NewQueue};
use crate::clock::monotonic;
use crate::cmq::attributes::Attributes;
use crate::cmq::call::{Call, Outcome, is_served};
use crate::cmq::error::CmqError;
use crate::cmq::recently_deleted::NameOf;
use crate::model::arguments::{DELIVERY_LIMIT, QUEUE_TYPE, QueueArguments, QueueKind};
use crate::wire::{AMQPValue, FieldTable};

/// `CreateQueue`.
pub(in crate::cmq) async fn create(call: &Call<'_>) -> Outcome {
    let api = call.api;
    let name = call.parameters.required("queueName")?;
    if !is_name(name) {
        return Err(CmqError::QueueNameFormat);
    }
    call.check(Permission::Configure, name)?;
    let now_secs = call.now_secs();
    let mut attributes =
        Attributes::new(now_secs).changed(call.parameters, &api.config, now_secs)?;
    let queue = {
        let changes = api.changes.lock().await;
        // Before the queues, so that one that is created meanwhile is in either.
        let mut coming = call.caller.vhost.coming_queues();
        let queues = call.caller.vhost.queues();
        coming.retain(|name| !queues.iter().any(|queue| queue.name() == name));
        // Half of the clients take names that differ only by case for the same name.
        let mut names = queues.iter().map(|queue| queue.name()).chain(&coming);
        if names.any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(CmqError::QueueExists);
        }
        let vhost = call.caller.vhost.name();
        let recently_deleted = &api.recently_deleted;
        if recently_deleted.contains(NameOf::Queue, vhost, name, monotonic()) {
            return Err(CmqError::QueueNameRests);
        }
        let served = queues.iter().filter(|queue| is_served(queue)).count();
        if served + coming.len() >= api.config.queues_max {
            return Err(CmqError::TooManyQueues);
        }
        if let Some(policy) = &mut attributes.dead_letter {
            dead_letter_policy::check(call, name, policy)?;
        }
        let new = new_queue(name);
        let declared = QueueArguments::shared(&new.arguments).map_err(|_| CmqError::Internal)?;
        let overrides = attributes.overrides(&declared, &api.config);
        // Other requests check the policy, and so wait until it is committed. Without one, creations share a sync.
        let is_checked = attributes.dead_letter.is_some();
        let also = |id| api.attributes.put(id, attributes);
        let vhost = &call.caller.vhost;
        let (proposal, created) = vhost.propose_queue(new, overrides, also).await?;
        let Created::New(queue) = created else {
            return Err(CmqError::QueueExists);
        };
        let changes = is_checked.then_some(changes);
        proposal.commit(api.broker.committer()).await?;
        drop(changes);
        queue
    };
    let response = call.success().with(|object| {
        object.text("queueId", &queue_id(queue.id()));
    });
    Ok(response.into())
}

/// A queue of the API in AMQP's terms: durable, a quorum queue, which counts deliveries, and without a delivery limit.
fn new_queue(name: &str) -> NewQueue {
    let mut arguments = FieldTable::default();
    let kind = QueueKind::Quorum.as_str().into();
    arguments.insert(QUEUE_TYPE.into(), AMQPValue::LongString(kind));
    arguments.insert(DELIVERY_LIMIT.into(), AMQPValue::LongInt(-1));
    NewQueue {
        name: name.into(),
        durable: true,
        exclusive_owner: None,
        auto_delete: false,
        arguments,
    }
}

/// `ListQueue`.
pub(in crate::cmq) fn list(call: &Call<'_>) -> Outcome {
    queue_list(call, call.caller.vhost.queues())
}

/// `DeleteQueue`.
pub(in crate::cmq) async fn delete(call: &Call<'_>) -> Outcome {
    let api = call.api;
    let queue = call.queue(Permission::Configure)?;
    queue.letters_published().await;
    {
        let _changes = api.changes.lock().await;
        if !dead_letter_policy::sources(call, queue.name()).is_empty() {
            return Err(CmqError::DeadLetterInUse);
        }
        let deleted = call.caller.vhost.delete_queue(&queue, |_| true).await?;
        if deleted.is_none() {
            return Err(CmqError::NoSuchQueue);
        }
        let vhost = call.caller.vhost.name();
        let recently_deleted = &api.recently_deleted;
        recently_deleted.insert(NameOf::Queue, vhost, queue.name(), monotonic());
        // Not waited for: the next start removes attributes without a queue.
        let forgotten = api.attributes.remove(queue.id());
        forgotten.write(api.broker.committer()).in_background();
    }
    Ok(call.success().into())
}

/// `ClearQueue`: drops ready and delayed messages. Received ones stay received.
pub(in crate::cmq) async fn clear(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Read)?;
    let (_, ticket) = queue.purge();
    call.durable(ticket).await?;
    Ok(call.success().into())
}

/// `QueryQueueRoute`: the addresses that serve the queue over CMQ's own TCP protocol. There are none.
pub(in crate::cmq) fn query_route(call: &Call<'_>) -> Outcome {
    call.queue(Permission::Read)?;
    let response = call.success().with(|object| {
        object.texts("addr", [""; 0]);
    });
    Ok(response.into())
}

/// `RewindQueue`: makes deleted messages ready again that were enqueued since a time.
pub(in crate::cmq) async fn rewind(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Read)?;
    let secs = call.parameters.integer("startConsumeTime")?;
    let secs = secs.ok_or_else(|| CmqError::Missing("startConsumeTime".to_owned()))?;
    let to_ms = u64::try_from(secs)
        .map_err(|_| CmqError::RewindTime)?
        .saturating_mul(1000);
    let history_ms = queue.arguments().rewind_ms.ok_or(CmqError::NotRewindable)?;
    // The time lacks its fraction of a second, so the earliest second may begin before the history does. A rewind cannot
    // skip messages that are not deleted yet.
    let since_ms = call.clock().wall_ms().saturating_sub(history_ms);
    let is_past = to_ms.saturating_add(999) < since_ms;
    if is_past || to_ms > oldest_ms(call, &queue).await? {
        return Err(CmqError::RewindTime);
    }
    let rewound = queue.rewind(RewindTo::Time(to_ms)).await;
    let rewound = rewound.map_err(|error| match error {
        RewindError::Gone => CmqError::NoSuchQueue,
        RewindError::NotEnabled => CmqError::NotRewindable,
        RewindError::InFuture | RewindError::NoSuchOffset { .. } | RewindError::SeveralLanes => {
            CmqError::RewindTime
        }
        RewindError::Store(error) => {
            tracing::warn!(queue = %queue.name(), %error, "cannot rewind");
            CmqError::Internal
        }
    })?;
    call.durable(rewound.ticket).await?;
    Ok(call.success().into())
}
