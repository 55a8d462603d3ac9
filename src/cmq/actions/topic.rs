//! Topics: create, list, show and set attributes, delete. A topic is a durable exchange that carries the topic's id.

use std::sync::Arc;

use super::super::dispatch::{Call, Outcome};
use super::super::error::CmqError;
use super::super::filter::FilterKind;
use super::super::limits::{LIST_DEFAULT, LIST_MAX, TOPIC_RETENTION_SECS};
use super::super::push;
use super::super::recently_deleted::NameOf;
use super::super::topics::{Topic, TopicId, exchange_arguments};
use super::queue::{holds_word, is_name};
use crate::broker::exchange::Exchange;
use crate::broker::permissions::Permission;
use crate::broker::vhost::Created;
use crate::clock::monotonic;
use crate::model::Ticket;

const MESSAGE_BYTES_MIN: u64 = 1024;
const MESSAGE_BYTES_DEFAULT: u64 = 65_536;

fn public_id(id: TopicId) -> String {
    format!("topic-{:08x}", id.0)
}

/// `CreateTopic`.
pub(in super::super) async fn create(call: &Call<'_>) -> Outcome {
    let front = call.front;
    let name = call.parameters.required("topicName")?;
    if !is_name(name) {
        return Err(CmqError::TopicNameFormat);
    }
    call.check_topic(Permission::Configure, name)?;
    let filter = call.parameters.ranged("filterType", 1..=2)?.unwrap_or(1);
    let now_secs = call.now_secs();
    let topic = Topic {
        vhost: call.caller.vhost.name().clone(),
        name: name.into(),
        filter: FilterKind::numbered(filter).unwrap_or(FilterKind::Tags),
        message_bytes: message_bytes(call)?.unwrap_or(MESSAGE_BYTES_DEFAULT),
        owner: call.caller.user.clone(),
        created_secs: now_secs,
        modified_secs: now_secs,
    };
    let id = TopicId(front.message_ids.next());
    let ticket = {
        let _changes = front.changes.lock();
        front.tidy_topics();
        make(call, id, topic)?
    };
    call.durable(ticket).await?;
    let answer = call.success().with(|object| {
        object.text("topicId", &public_id(id));
    });
    Ok(answer.into())
}

/// Makes topic and exchange, unless an exchange of any kind has its name. Called with `changes` held.
fn make(call: &Call<'_>, id: TopicId, topic: Topic) -> Result<Option<Ticket>, CmqError> {
    let front = call.front;
    let vhost = &call.caller.vhost;
    let exchanges = vhost.exchanges();
    let is_taken = |exchange: &Exchange| exchange.name.eq_ignore_ascii_case(&topic.name);
    if exchanges.iter().any(|exchange| is_taken(exchange)) {
        return Err(CmqError::TopicExists);
    }
    let names = &front.recently_deleted;
    if names.rests(NameOf::Topic, vhost.name(), &topic.name, monotonic()) {
        return Err(CmqError::TopicNameRests);
    }
    if topics_of(call).len() >= front.config.topics_max {
        return Err(CmqError::TooManyTopics);
    }
    let exchange = Exchange {
        name: topic.name.clone(),
        kind: topic.filter.exchange(),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: exchange_arguments(id),
    };
    // Before the exchange: a topic without one is removed at the next start, and what nobody was told of with it.
    let committer = front.broker.committer();
    committer.append(vec![front.topics.set(id, topic)]);
    match vhost.create_exchange(exchange) {
        Ok(Created::New(_, ticket)) => Ok(ticket),
        made => {
            committer.append(front.topics.remove(id));
            made?;
            Err(CmqError::TopicExists)
        }
    }
}

fn message_bytes(call: &Call<'_>) -> Result<Option<u64>, CmqError> {
    let range = MESSAGE_BYTES_MIN..=call.front.config.message_bytes_max;
    call.parameters.ranged("maxMsgSize", range)
}

/// The topics of the caller's virtual host, by name.
fn topics_of(call: &Call<'_>) -> Vec<(TopicId, Arc<Topic>)> {
    let vhost = &call.caller.vhost;
    let mut topics = call.front.topics.all();
    topics.retain(|(id, topic)| {
        let exchange = vhost.exchange(&topic.name);
        let own = exchange.and_then(|exchange| call.front.topics.of_exchange(vhost, &exchange));
        own.is_some_and(|(own, _)| own == *id)
    });
    topics.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    topics
}

/// `ListTopic`.
pub(in super::super) fn list(call: &Call<'_>) -> Outcome {
    let word = call.parameters.text("searchWord").unwrap_or_default();
    let mut topics = topics_of(call);
    topics.retain(|(_, topic)| holds_word(&topic.name, word) && call.sees_topic(&topic.name));
    let offset = call.parameters.ranged("offset", 0..=u64::MAX)?.unwrap_or(0);
    let limit = call.parameters.ranged("limit", 0..=LIST_MAX)?;
    let [offset, limit] =
        [offset, limit.unwrap_or(LIST_DEFAULT)].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let answer = call.success().with(|object| {
        let total = u64::try_from(topics.len()).unwrap_or(u64::MAX);
        let shown = topics.iter().skip(offset).take(limit);
        object
            .number("totalCount", total)
            .objects("topicList", shown, |item, (id, topic)| {
                item.text("topicId", &public_id(*id))
                    .text("topicName", &topic.name);
            });
    });
    Ok(answer.into())
}

/// `GetTopicAttributes`.
pub(in super::super) fn get_attributes(call: &Call<'_>) -> Outcome {
    let (id, topic) = call.topic(Permission::Read)?;
    let waiting: u64 = call
        .subscriptions(id, &topic)
        .iter()
        .filter_map(|(subscription, _)| subscription.waiting(&call.caller.vhost, &topic))
        .map(|queue| push::waiting_in(&queue))
        .sum();
    let answer = call.success().with(|object| {
        object
            .text("topicId", &public_id(id))
            .text("topicName", &topic.name)
            .number("msgCount", waiting)
            .number("maxMsgSize", topic.message_bytes)
            .number("msgRetentionSeconds", TOPIC_RETENTION_SECS)
            .number("createTime", topic.created_secs)
            .number("lastModifyTime", topic.modified_secs)
            .number("filterType", topic.filter.number());
    });
    Ok(answer.into())
}

/// `SetTopicAttributes`.
pub(in super::super) async fn set_attributes(call: &Call<'_>) -> Outcome {
    let front = call.front;
    let ticket = {
        let _changes = front.changes.lock();
        let (id, topic) = call.topic(Permission::Configure)?;
        let changed = Topic {
            message_bytes: message_bytes(call)?.unwrap_or(topic.message_bytes),
            modified_secs: call.now_secs(),
            ..Topic::clone(&topic)
        };
        let op = front.topics.set(id, changed);
        front.broker.committer().append(vec![op])
    };
    call.durable(Some(ticket)).await?;
    Ok(call.success().into())
}

/// `DeleteTopic`: only without subscriptions.
pub(in super::super) async fn delete(call: &Call<'_>) -> Outcome {
    let front = call.front;
    let ticket = {
        let _changes = front.changes.lock();
        let (id, topic) = call.topic(Permission::Configure)?;
        if !call.subscriptions(id, &topic).is_empty() {
            return Err(CmqError::TopicInUse);
        }
        let vhost = &call.caller.vhost;
        vhost.delete_exchange(&topic.name, false)?;
        let names = &front.recently_deleted;
        names.deleted(NameOf::Topic, vhost.name(), &topic.name, monotonic());
        front.broker.committer().append(front.topics.remove(id))
    };
    call.durable(Some(ticket)).await?;
    Ok(call.success().into())
}

/// `QueryTopicRoute`: where the topic is served over CMQ's own protocol on TCP, which is nowhere.
pub(in super::super) fn query_route(call: &Call<'_>) -> Outcome {
    call.topic(Permission::Read)?;
    let answer = call.success().with(|object| {
        object.texts("addr", [""; 0]);
    });
    Ok(answer.into())
}
