//! One topic: its attributes, and how its exchange names it.

use serde::{Deserialize, Serialize};

use crate::cmq::filter::FilterKind;
use crate::model::Name;
use crate::model::arguments::integer_value;
use crate::wire::{AMQPValue, FieldTable};

/// The argument of an exchange with the id of its topic.
const TOPIC: &str = "x-cmq-topic";
/// Prefix of the names of queues in which messages wait to be pushed.
pub(crate) const PUSH_QUEUE: &str = "cmq.push.";

/// Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicId(pub(crate) u64);

/// A topic. Times are seconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Topic {
    /// The virtual host of its exchange.
    pub(crate) vhost: Name,
    /// Also the name of its exchange.
    pub(crate) name: Name,
    /// `filterType`.
    pub(crate) filter: FilterKind,
    /// `maxMsgSize` in bytes.
    pub(crate) message_bytes: u64,
    /// The user that created it.
    pub(crate) owner: Name,
    /// `createTime`.
    pub(crate) created_secs: u64,
    /// `lastModifyTime`.
    pub(crate) modified_secs: u64,
}

/// The arguments of a topic's exchange.
pub(crate) fn exchange_arguments(id: TopicId) -> FieldTable {
    let mut arguments = FieldTable::default();
    // Ids are below 2^63: see `ids`.
    let id = i64::try_from(id.0).unwrap_or(i64::MAX);
    arguments.insert(TOPIC.into(), AMQPValue::LongLongInt(id));
    arguments
}

/// The topic id in an exchange's arguments. Clients over AMQP may write any id there.
pub(super) fn id_in(arguments: &FieldTable) -> Option<TopicId> {
    let id = arguments.inner().get(TOPIC)?;
    Some(TopicId(u64::try_from(integer_value(id)?).ok()?))
}
