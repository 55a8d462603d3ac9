//! What a broker has of the queues, for the comparison at the end.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::MigrateError;
use super::inventory::{QueueKind, SourceQueue};
use super::limits::CLOSE;
use super::management::Management;
use super::mover::open;
use super::state::{QueueKey, Tally};
use crate::model::amqp_uri::AmqpUri;
use crate::shovel::link::Link;

const TALLIES_PATH: &str = "api/queues?columns=vhost,name,messages,messages_unacknowledged,message_stats.ack,message_stats.deliver_no_ack,\
                            message_stats.get_no_ack";

/// What a broker has of the queues. Ready messages are counted over AMQP, since the statistics of a management API are
/// seconds old; those of streams AMQP does not tell. A queue that is not there has none.
pub(super) async fn tallies(
    management: &Management,
    uri: &AmqpUri,
    queues: &[SourceQueue],
) -> Result<BTreeMap<QueueKey, Tally>, MigrateError> {
    // Ready messages first: one that is delivered meanwhile counts twice, and is not missed.
    let ready = ready_messages(uri, queues).await;
    let rows = management.get(TALLIES_PATH).await?;
    let mut tallies = BTreeMap::new();
    for row in rows.as_array().into_iter().flatten() {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
        let number = |path: &str| {
            row.pointer(path)
                .and_then(Value::as_u64)
                .unwrap_or_default()
        };
        let key = QueueKey::new(text("vhost"), text("name"));
        let tally = Tally {
            messages: ready.get(&key).copied().unwrap_or(number("/messages")),
            unacked: number("/messages_unacknowledged"),
            settled: number("/message_stats/ack")
                + number("/message_stats/deliver_no_ack")
                + number("/message_stats/get_no_ack"),
        };
        tallies.insert(key, tally);
    }
    let own = queues.iter().map(|queue| {
        let key = QueueKey::new(&queue.vhost, &queue.name);
        let tally = tallies.remove(&key).unwrap_or_default();
        (key, tally)
    });
    Ok(own.collect())
}

/// Ready messages of all queues that AMQP counts.
async fn ready_messages(uri: &AmqpUri, queues: &[SourceQueue]) -> BTreeMap<QueueKey, u64> {
    let mut counted = BTreeMap::new();
    let mut link = None;
    for queue in queues
        .iter()
        .filter(|queue| queue.kind != QueueKind::Stream)
    {
        if let Some(ready) = ready(uri, queue, &mut link).await {
            counted.insert(QueueKey::new(&queue.vhost, &queue.name), ready);
        }
    }
    if let Some((_, link)) = link {
        link.close(CLOSE).await;
    }
    counted
}

/// Ready messages of a queue over AMQP; `None` if that is not allowed or the broker is away. Keeps the link for the next
/// queue of the virtual host.
async fn ready(
    uri: &AmqpUri,
    queue: &SourceQueue,
    kept: &mut Option<(String, Link)>,
) -> Option<u64> {
    if kept.as_ref().is_none_or(|(vhost, _)| *vhost != queue.vhost) {
        if let Some((_, link)) = kept.take() {
            link.close(CLOSE).await;
        }
        let link = open(uri, &queue.vhost).await.ok()?;
        *kept = Some((queue.vhost.clone(), link));
    }
    let (_, link) = kept.as_mut()?;
    match link.find_queue(&queue.name).await {
        Ok(found) => Some(u64::from(found.unwrap_or_default())),
        Err(_) => {
            *kept = None;
            None
        }
    }
}
