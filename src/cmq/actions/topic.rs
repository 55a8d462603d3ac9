//! Creates, lists, changes and deletes topics. A topic is a durable exchange that carries the topic's id.

use std::sync::Arc;

use super::listing::{ANY_OFFSET, Page, contains_word, total};
use super::names::{is_name, topic_id};
use crate::broker::exchange::Exchange;
use crate::broker::permissions::Permission;
use crate::broker::vhost::Created;
use crate::clock::monotonic;
use crate::cmq::call::{Call, Outcome};
use crate::cmq::error::CmqError;
use crate::cmq::filter::FilterKind;
use crate::cmq::limits::{LIST_MAX, TOPIC_RETENTION_SECS};
use crate::cmq::push;
use crate::cmq::recently_deleted::NameOf;
use crate::cmq::topics::{Topic, TopicId, exchange_arguments};

const MESSAGE_BYTES_MIN: u64 = 1024;
const MESSAGE_BYTES_DEFAULT: u64 = 65_536;

/// `CreateTopic`.
pub(in crate::cmq) async fn create(call: &Call<'_>) -> Outcome {
    let api = call.api;
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
    let id = TopicId(api.message_ids.next());
    {
        let _changes = api.changes.lock().await;
        api.topics.tidy(&api.broker).await?;
        create_exchange(call, id, topic).await?;
    }
    let response = call.success().with(|object| {
        object.text("topicId", &topic_id(id));
    });
    Ok(response.into())
}

/// Stores the topic and creates its exchange. Refuses if an exchange of any kind has its name. Called with `changes` held.
async fn create_exchange(call: &Call<'_>, id: TopicId, topic: Topic) -> Result<(), CmqError> {
    let api = call.api;
    let vhost = &call.caller.vhost;
    let exchanges = vhost.exchanges();
    let is_taken = |exchange: &Exchange| exchange.name.eq_ignore_ascii_case(&topic.name);
    if exchanges.iter().any(|exchange| is_taken(exchange)) {
        return Err(CmqError::TopicExists);
    }
    let recently_deleted = &api.recently_deleted;
    if recently_deleted.contains(NameOf::Topic, vhost.name(), &topic.name, monotonic()) {
        return Err(CmqError::TopicNameRests);
    }
    if topics_of(call).len() >= api.config.topics_max {
        return Err(CmqError::TooManyTopics);
    }
    let exchange = Exchange {
        name: topic.name.clone(),
        kind: topic.filter.exchange(),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: exchange_arguments(id),
        stats: Arc::default(),
    };
    let also = api.topics.put(id, topic);
    match vhost.create_exchange_with(exchange, also).await? {
        Created::New(_) => Ok(()),
        Created::Existing(_) => Err(CmqError::TopicExists),
    }
}

fn message_bytes(call: &Call<'_>) -> Result<Option<u64>, CmqError> {
    let range = MESSAGE_BYTES_MIN..=call.api.config.message_bytes_max;
    call.parameters.ranged("maxMsgSize", range)
}

/// The topics of the caller's virtual host, by name.
fn topics_of(call: &Call<'_>) -> Vec<(TopicId, Arc<Topic>)> {
    let vhost = &call.caller.vhost;
    let mut topics = call.api.topics.all();
    topics.retain(|(id, topic)| {
        let exchange = vhost.exchange(&topic.name);
        let own = exchange.and_then(|exchange| call.api.topics.of_exchange(vhost, &exchange));
        own.is_some_and(|(own, _)| own == *id)
    });
    topics.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    topics
}

/// `ListTopic`.
pub(in crate::cmq) fn list(call: &Call<'_>) -> Outcome {
    let word = call.parameters.text("searchWord").unwrap_or_default();
    let mut topics = topics_of(call);
    topics.retain(|(_, topic)| contains_word(&topic.name, word) && call.sees_topic(&topic.name));
    let page = Page::read(call, ANY_OFFSET, LIST_MAX)?;
    let response = call.success().with(|object| {
        object.number("totalCount", total(&topics)).objects(
            "topicList",
            page.of(&topics),
            |item, (id, topic)| {
                item.text("topicId", &topic_id(*id))
                    .text("topicName", &topic.name);
            },
        );
    });
    Ok(response.into())
}

/// `GetTopicAttributes`.
pub(in crate::cmq) fn get_attributes(call: &Call<'_>) -> Outcome {
    let (id, topic) = call.topic(Permission::Read)?;
    let waiting: u64 = call
        .subscriptions(id, &topic)
        .iter()
        .filter_map(|(subscription, _)| subscription.waiting(&call.caller.vhost, &topic))
        .map(|queue| push::waiting_in(&queue))
        .sum();
    let response = call.success().with(|object| {
        object
            .text("topicId", &topic_id(id))
            .text("topicName", &topic.name)
            .number("msgCount", waiting)
            .number("maxMsgSize", topic.message_bytes)
            .number("msgRetentionSeconds", TOPIC_RETENTION_SECS)
            .number("createTime", topic.created_secs)
            .number("lastModifyTime", topic.modified_secs)
            .number("filterType", topic.filter.number());
    });
    Ok(response.into())
}

/// `SetTopicAttributes`.
pub(in crate::cmq) async fn set_attributes(call: &Call<'_>) -> Outcome {
    let api = call.api;
    {
        let _changes = api.changes.lock().await;
        let (id, topic) = call.topic(Permission::Configure)?;
        let changed = Topic {
            message_bytes: message_bytes(call)?.unwrap_or(topic.message_bytes),
            modified_secs: call.now_secs(),
            ..Topic::clone(&topic)
        };
        let proposal = api.topics.put(id, changed);
        proposal.commit(api.broker.committer()).await?;
    }
    Ok(call.success().into())
}

/// `DeleteTopic`: refused while the topic has subscriptions.
pub(in crate::cmq) async fn delete(call: &Call<'_>) -> Outcome {
    let api = call.api;
    {
        let _changes = api.changes.lock().await;
        let (id, topic) = call.topic(Permission::Configure)?;
        if !call.subscriptions(id, &topic).is_empty() {
            return Err(CmqError::TopicInUse);
        }
        let vhost = &call.caller.vhost;
        let also = api.topics.remove(id);
        vhost.delete_exchange_with(&topic.name, false, also).await?;
        let recently_deleted = &api.recently_deleted;
        recently_deleted.insert(NameOf::Topic, vhost.name(), &topic.name, monotonic());
    }
    Ok(call.success().into())
}

/// `QueryTopicRoute`: the addresses that serve the topic over CMQ's own TCP protocol. There are none.
pub(in crate::cmq) fn query_route(call: &Call<'_>) -> Outcome {
    call.topic(Permission::Read)?;
    let response = call.success().with(|object| {
        object.texts("addr", [""; 0]);
    });
    Ok(response.into())
}
