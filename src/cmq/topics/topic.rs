//! One topic: its attributes, and how its exchange names it.

use serde::{Deserialize, Serialize};

use crate::cmq::filter::FilterKind;
use crate::model::Name;
use crate::model::arguments::integer_value;
use crate::wire::{AMQPValue, FieldTable};

/// The argument of an exchange that says which topic it is.
const TOPIC: &str = "x-cmq-topic";
/// What the name of a queue begins with in which messages wait that are to be pushed.
pub(crate) const PUSH_QUEUE: &str = "cmq.push.";

/// A topic; ids are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicId(pub(crate) u64);

/// A topic. Times are seconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Topic {
    /// The virtual host of its exchange.
    pub(crate) vhost: Name,
    /// Its name and its exchange's.
    pub(crate) name: Name,
    /// `filterType`.
    pub(crate) filter: FilterKind,
    /// `maxMsgSize` in bytes.
    pub(crate) message_bytes: u64,
    /// Who made it.
    pub(crate) owner: Name,
    /// `createTime`.
    pub(crate) created_secs: u64,
    /// `lastModifyTime`.
    pub(crate) modified_secs: u64,
}

/// The arguments of a topic's exchange.
pub(crate) fn exchange_arguments(id: TopicId) -> FieldTable {
    let mut arguments = FieldTable::default();
    // Ids are below 2^63: see `sequence`.
    let id = i64::try_from(id.0).unwrap_or(i64::MAX);
    arguments.insert(TOPIC.into(), AMQPValue::LongLongInt(id));
    arguments
}

/// The topic that an exchange with these arguments would be. Any client that declares exchanges may write any argument.
pub(super) fn id_in(arguments: &FieldTable) -> Option<TopicId> {
    let id = arguments.inner().get(TOPIC)?;
    Some(TopicId(u64::try_from(integer_value(id)?).ok()?))
}
