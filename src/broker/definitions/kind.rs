//! Every kind of record on disk, with its key and its value.

/// The kinds of records. A key is the kind's word, a NUL and the identity of a record of this kind: *names*,
/// each with its length before it as four bytes, or *ids* of eight bytes, all big-endian. Values are JSON.
///
/// | kind | word | names or ids | value |
/// |---|---|---|---|
/// | `Vhost` | `vhost` | its name | description, tags, default queue type |
/// | `VhostLimits` | `vhost-limits` | virtual host | maximum numbers of connections and queues |
/// | `Exchange` | `exchange` | virtual host, name | type, properties, arguments |
/// | `Queue` | `queue` | virtual host, name | id, properties, arguments, overrides |
/// | `Binding` | `binding` | virtual host, source, `queue` or `exchange`, destination, routing key, hash of the arguments | the same, and the arguments |
/// | `Policy` | `policy` | virtual host, name | pattern, types, keys and values, priority |
/// | `OperatorPolicy` | `operator-policy` | virtual host, name | the same |
/// | `User` | `user` | its name | tags, password hash, limits |
/// | `Permission` | `permission` | user, virtual host | patterns to configure, write, read |
/// | `TopicPermission` | `topic-permission` | user, virtual host, exchange | patterns to write, read |
/// | `GlobalParameter` | `global-parameter` | its name | any JSON |
/// | `Shovel` | `shovel` | virtual host, name | the value of the parameter |
/// | `SecretKey` | `secret-key` | id of the key | key, user, virtual host |
/// | `CmqQueue` | `cmq-queue` | id of the queue | CMQ's attributes of it |
/// | `CmqTopic` | `cmq-topic` | id of the topic | CMQ's topic |
/// | `CmqSubscription` | `cmq-subscription` | ids of topic and subscription | CMQ's subscription |
/// | `Clock` | `clock` | none | how the broker's time line goes with the machine's clocks |
///
/// Besides these there is one counter, under the key `queue-ids` without a NUL: see `queue_ids`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Vhost,
    VhostLimits,
    Exchange,
    Queue,
    Binding,
    Policy,
    OperatorPolicy,
    User,
    Permission,
    TopicPermission,
    GlobalParameter,
    Shovel,
    SecretKey,
    CmqQueue,
    CmqTopic,
    CmqSubscription,
    Clock,
}

impl Kind {
    /// The first part of the kind's keys.
    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Vhost => "vhost",
            Kind::VhostLimits => "vhost-limits",
            Kind::Exchange => "exchange",
            Kind::Queue => "queue",
            Kind::Binding => "binding",
            Kind::Policy => "policy",
            Kind::OperatorPolicy => "operator-policy",
            Kind::User => "user",
            Kind::Permission => "permission",
            Kind::TopicPermission => "topic-permission",
            Kind::GlobalParameter => "global-parameter",
            Kind::Shovel => "shovel",
            Kind::SecretKey => "secret-key",
            Kind::CmqQueue => "cmq-queue",
            Kind::CmqTopic => "cmq-topic",
            Kind::CmqSubscription => "cmq-subscription",
            Kind::Clock => "clock",
        }
    }
}
