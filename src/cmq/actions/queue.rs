//! Queues: create, list, show and set attributes, delete, clear, rewind.

use std::sync::Arc;

use super::super::attributes::Attributes;
use super::super::dispatch::{Call, Outcome, is_served};
use super::super::error::CmqError;
use super::super::limits::{LIST_DEFAULT, LIST_MAX};
use super::super::recently_deleted::NameOf;
use super::dead_letter;
use crate::broker::permissions::Permission;
use crate::broker::queue::{Queue, RewindError, RewindTo};
use crate::broker::vhost::{Created, NewQueue};
use crate::clock::monotonic;
use crate::model::arguments::{DELIVERY_LIMIT, QUEUE_TYPE, QueueArguments, QueueKind};
use crate::model::{QueueId, Ticket};
use crate::wire::{AMQPValue, FieldTable};

/// The longest name of a queue that is created here, in characters.
const NAME_CHARS_MAX: usize = 64;

/// What answers call a queue beside its name.
pub(super) fn public_id(queue: QueueId) -> String {
    format!("queue-{:08x}", queue.0)
}

/// `CreateQueue`.
pub(in super::super) async fn create(call: &Call<'_>) -> Outcome {
    let front = call.front;
    let name = call.parameters.required("queueName")?;
    if !is_name(name) {
        return Err(CmqError::QueueNameFormat);
    }
    call.check(Permission::Configure, name)?;
    let now_secs = call.now_secs();
    let mut attributes =
        Attributes::new(now_secs).changed(call.parameters, &front.config, now_secs)?;
    let (queue, ticket) = {
        let _changes = front.changes.lock();
        let queues = call.caller.vhost.queues();
        // Names that differ in case only would be one to half of the clients.
        if queues
            .iter()
            .any(|queue| queue.name().eq_ignore_ascii_case(name))
        {
            return Err(CmqError::QueueExists);
        }
        let vhost = call.caller.vhost.name();
        if front
            .recently_deleted
            .rests(NameOf::Queue, vhost, name, monotonic())
        {
            return Err(CmqError::QueueNameRests);
        }
        if queues.iter().filter(|queue| is_served(queue)).count() >= front.config.queues_max {
            return Err(CmqError::TooManyQueues);
        }
        if let Some(policy) = &mut attributes.dead_letter {
            dead_letter::check(call, name, policy)?;
        }
        let new = new_queue(name);
        let declared = QueueArguments::shared(&new.arguments).map_err(|_| CmqError::Internal)?;
        let overrides = attributes.overrides(&declared, &front.config);
        let also = |id| vec![front.attributes.set(id, attributes)];
        match call.caller.vhost.create_queue_set(new, overrides, also)? {
            Created::New(queue, ticket) => (queue, ticket),
            Created::Existing(_) => return Err(CmqError::QueueExists),
        }
    };
    call.durable(ticket).await?;
    let answer = call.success().with(|object| {
        object.text("queueId", &public_id(queue.id()));
    });
    Ok(answer.into())
}

/// A letter, then letters, digits, `-` and `_`.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= NAME_CHARS_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// What a queue of the API is to AMQP: durable, of the type that counts deliveries, and never given up on.
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
pub(in super::super) fn list(call: &Call<'_>) -> Outcome {
    listing(call, call.caller.vhost.queues())
}

/// Whether a name has a word in it, in whatever letters.
pub(super) fn holds_word(name: &str, word: &str) -> bool {
    let [name, word] = [name, word].map(str::to_ascii_lowercase);
    name.contains(&word)
}

/// The part of `queues` that the caller may see and `searchWord`, `offset` and `limit` ask for.
pub(super) fn listing(call: &Call<'_>, mut queues: Vec<Arc<Queue>>) -> Outcome {
    let word = call.parameters.text("searchWord").unwrap_or_default();
    queues.retain(|queue| {
        holds_word(queue.name(), word) && is_served(queue) && call.sees_queue(queue.name())
    });
    let offset = call.parameters.ranged("offset", 0..=u64::MAX)?.unwrap_or(0);
    let limit = call.parameters.ranged("limit", 0..=LIST_MAX)?;
    let [offset, limit] =
        [offset, limit.unwrap_or(LIST_DEFAULT)].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let answer = call.success().with(|object| {
        object
            .number(
                "totalCount",
                u64::try_from(queues.len()).unwrap_or(u64::MAX),
            )
            .objects(
                "queueList",
                queues.iter().skip(offset).take(limit),
                |item, queue| {
                    item.text("queueId", &public_id(queue.id()))
                        .text("queueName", queue.name());
                },
            );
    });
    Ok(answer.into())
}

/// `GetQueueAttributes`.
pub(in super::super) async fn get_attributes(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Read)?;
    let attributes = call.front.attributes.of(&queue, &call.front.config);
    let counts = queue.counts();
    // Of an empty queue anything up to now may be rewound to.
    let oldest_ms = oldest_ms(call, &queue).await?;
    let answer = call.success().with(|object| {
        object
            .text("queueId", &public_id(queue.id()))
            .text("queueName", queue.name());
        attributes.show(&counts, oldest_ms, object);
    });
    Ok(answer.into())
}

/// `SetQueueAttributes`: what the request does not name stays.
pub(in super::super) async fn set_attributes(call: &Call<'_>) -> Outcome {
    let front = call.front;
    let queue = call.queue(Permission::Configure)?;
    let (attributes, ticket) = {
        let _changes = front.changes.lock();
        let current = front.attributes.of(&queue, &front.config);
        let mut attributes = current.changed(call.parameters, &front.config, call.now_secs())?;
        if let Some(policy) = &mut attributes.dead_letter {
            dead_letter::check(call, queue.name(), policy)?;
        }
        let ticket = apply(call, &queue, attributes.clone())?;
        (attributes, ticket)
    };
    call.durable(Some(ticket)).await?;
    let answer = call.success().with(|object| {
        object.text("queueId", &public_id(queue.id()));
        attributes.show_settings(object);
    });
    Ok(answer.into())
}

/// Gives a queue other attributes. Called with `changes` held.
pub(super) fn apply(
    call: &Call<'_>,
    queue: &Queue,
    attributes: Attributes,
) -> Result<Ticket, CmqError> {
    let front = call.front;
    let overrides = attributes.overrides(&queue.spec().arguments, &front.config);
    // Not written for a queue that is not: it has them for as long as it is there.
    let op = front.attributes.set(queue.id(), attributes);
    let vhost = &call.caller.vhost;
    Ok(vhost.set_queue_overrides_with(queue.name(), overrides, |_| vec![op])?)
}

/// `DeleteQueue`.
pub(in super::super) async fn delete(call: &Call<'_>) -> Outcome {
    let front = call.front;
    let queue = call.queue(Permission::Configure)?;
    queue.letters_published().await;
    let ticket = {
        let _changes = front.changes.lock();
        if !dead_letter::sources(call, queue.name()).is_empty() {
            return Err(CmqError::DeadLetterInUse);
        }
        let deleted = call.caller.vhost.delete_queue(&queue, |_| true);
        if deleted.is_none() {
            return Err(CmqError::NoSuchQueue);
        }
        let vhost = call.caller.vhost.name();
        let names = &front.recently_deleted;
        names.deleted(NameOf::Queue, vhost, queue.name(), monotonic());
        // A later batch than the queue's is soon enough: attributes without a queue are removed at the next start.
        let op = front.attributes.remove(queue.id());
        front.broker.committer().append(vec![op])
    };
    call.durable(Some(ticket)).await?;
    Ok(call.success().into())
}

/// `ClearQueue`: drops what waits, delayed messages too. What is received at the moment stays with who received it.
pub(in super::super) async fn clear(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Read)?;
    let (_, ticket) = queue.purge();
    call.durable(ticket).await?;
    Ok(call.success().into())
}

/// `QueryQueueRoute`: where the queue is served over CMQ's own protocol on TCP, which is nowhere.
pub(in super::super) fn query_route(call: &Call<'_>) -> Outcome {
    call.queue(Permission::Read)?;
    let answer = call.success().with(|object| {
        object.texts("addr", [""; 0]);
    });
    Ok(answer.into())
}

/// `RewindQueue`: brings back what was deleted and is still kept, from a time of enqueueing on.
pub(in super::super) async fn rewind(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Read)?;
    let secs = call.parameters.integer("startConsumeTime")?;
    let secs = secs.ok_or_else(|| CmqError::Missing("startConsumeTime".to_owned()))?;
    let to_ms = u64::try_from(secs)
        .map_err(|_| CmqError::RewindTime)?
        .saturating_mul(1000);
    let kept_ms = queue.arguments().rewind_ms.ok_or(CmqError::NotRewindable)?;
    // Within the second in which it is asked, all that is kept may be meant. A message that is not deleted yet cannot be
    // jumped over.
    let since_ms = call.clock().wall_ms().saturating_sub(kept_ms);
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

/// When the oldest message was enqueued that is neither deleted nor delayed, Unix ms; now, if there is none.
async fn oldest_ms(call: &Call<'_>, queue: &Queue) -> Result<u64, CmqError> {
    let oldest = queue.oldest().await.map_err(|error| {
        tracing::warn!(queue = %queue.name(), %error, "cannot read the oldest message");
        CmqError::Internal
    })?;
    let clock = call.clock();
    Ok(oldest.map_or_else(|| clock.wall_ms(), |oldest| clock.wall_ms_at(oldest)))
}
