//! Declaring, binding and deleting as a connection sees it: life cycles, refusals with their texts (those that
//! RabbitMQ 4.0.5 gives), and what is left after a restart. On a store in memory.

use super::*;
use crate::broker::broker::{BrokerConfig, DEFAULT_USER, DEFAULT_VHOST};
use crate::broker::exchange::RouteKeys;
use crate::broker::limits::VhostLimits;
use crate::broker::vhost::VhostMetadata;
use crate::model::{Body, Message, Origin};
use crate::store::commit::{Committer, Limits};
use crate::store::{MemoryStore, Store};

/// A broker on a store that outlives it.
struct Fixture {
    store: Arc<dyn Store>,
    broker: Arc<Broker>,
}

impl Fixture {
    async fn new() -> Fixture {
        Fixture::open(Arc::new(MemoryStore::new())).await
    }

    async fn open(store: Arc<dyn Store>) -> Fixture {
        let committer = Committer::start(Arc::clone(&store), Limits::default()).unwrap();
        let config = BrokerConfig {
            loopback_users: Vec::new(),
            memory_bytes: 64 << 20,
            ..BrokerConfig::default()
        };
        let broker = Broker::open(committer, config).await.unwrap();
        Fixture { store, broker }
    }

    async fn restart(self) -> Fixture {
        self.broker.committer().shutdown();
        Fixture::open(self.store).await
    }

    fn session(&self) -> Session {
        self.session_of(DEFAULT_USER, DEFAULT_VHOST)
    }

    fn session_of(&self, user: &str, vhost: &str) -> Session {
        let vhost = self.broker.vhost(vhost).unwrap();
        let user = self.broker.users().get(user).unwrap();
        self.broker
            .session(vhost, user, self.broker.next_connection())
    }
}

fn exchange<'a>(name: &'a str, kind: &'a str) -> DeclareExchange<'a> {
    DeclareExchange {
        name,
        kind,
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
    }
}

fn queue(name: &str) -> DeclareQueue<'_> {
    DeclareQueue {
        name,
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::default(),
    }
}

fn exclusive(name: &str) -> DeclareQueue<'_> {
    DeclareQueue {
        exclusive: true,
        ..queue(name)
    }
}

fn passive(name: &str) -> DeclareQueue<'_> {
    DeclareQueue {
        passive: true,
        ..queue(name)
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn none() -> FieldTable {
    FieldTable::default()
}

fn refused<T: std::fmt::Debug>(result: Result<T, BrokerError>) -> String {
    result.unwrap_err().to_string()
}

fn routed(session: &Session, exchange: &str, routing_key: &str) -> Vec<String> {
    let keys = RouteKeys {
        routing_key,
        cc: &[],
        properties: &[],
    };
    let mut queues = Vec::new();
    if let Some(exchange) = session.vhost.exchange(exchange) {
        assert!(session.vhost.route(&exchange, &keys, &mut queues).is_none());
    }
    queues
        .iter()
        .map(|queue| queue.name().to_string())
        .collect()
}

fn message() -> Arc<Message> {
    Arc::new(Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "q".into(),
        }),
        properties: bytes::Bytes::from_static(&[0, 0]),
        body: Body::Whole(bytes::Bytes::from_static(b"body")),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
    })
}

#[tokio::test]
async fn a_fresh_broker_has_its_defaults_once() {
    let fixture = Fixture::new().await;
    let vhost = fixture.broker.vhost("/").unwrap();
    let names: Vec<String> = vhost
        .exchanges()
        .iter()
        .map(|x| x.name.to_string())
        .collect();
    let expected = [
        "",
        "amq.direct",
        "amq.fanout",
        "amq.headers",
        "amq.match",
        "amq.rabbitmq.trace",
        "amq.topic",
    ];
    assert_eq!(names, expected);
    assert!(fixture.broker.users().may_enter("guest", "/"));
    fixture.broker.users().delete("guest").await.unwrap();
    let fixture = fixture.restart().await;
    assert!(
        fixture.broker.users().get("guest").is_none(),
        "deleted is deleted"
    );
}

#[tokio::test]
async fn durable_things_outlive_a_restart_and_others_do_not() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    let arguments = table(&[(ALTERNATE_EXCHANGE, text("amq.fanout"))]);
    let durable = DeclareExchange {
        arguments,
        ..exchange("x", "topic")
    };
    session.declare_exchange(durable).await.unwrap();
    let transient = DeclareExchange {
        durable: false,
        ..exchange("t", "fanout")
    };
    session.declare_exchange(transient).await.unwrap();
    let arguments = table(&[("x-max-length", AMQPValue::LongInt(5))]);
    session
        .declare_queue(DeclareQueue {
            arguments,
            ..queue("q")
        })
        .await
        .unwrap();
    session
        .declare_queue(DeclareQueue {
            durable: false,
            ..queue("gone")
        })
        .await
        .unwrap();
    session.declare_queue(exclusive("mine")).await.unwrap();
    let with = table(&[("a", AMQPValue::Double(0.5))]);
    session.bind_queue("q", "x", "k.*", none()).await.unwrap();
    session
        .bind_queue("q", "x", "k.*", with.clone())
        .await
        .unwrap();
    session
        .bind_queue("gone", "x", "k.*", none())
        .await
        .unwrap();
    session.bind_queue("q", "t", "", none()).await.unwrap();
    session
        .bind_exchange("amq.direct", "x", "e", none())
        .await
        .unwrap();
    let ticket = session
        .vhost
        .queue("q")
        .unwrap()
        .publish(&[message()])
        .ticket
        .unwrap();
    fixture.broker.committer().wait(ticket).await.unwrap();
    let id = session.vhost.queue("q").unwrap().id();

    let fixture = fixture.restart().await;
    let session = fixture.session();
    let x = session.vhost.exchange("x").unwrap();
    assert_eq!(x.kind, ExchangeKind::Topic);
    assert_eq!(x.alternate().as_deref(), Some("amq.fanout"));
    assert!(session.vhost.exchange("t").is_none());
    assert!(session.vhost.queue("gone").is_none());
    assert!(session.vhost.queue("mine").is_none());
    let q = session.vhost.queue("q").unwrap();
    assert_eq!((q.id(), q.counts().ready), (id, 1));
    assert_eq!(q.spec().arguments.max_length, Some(5));
    assert_eq!(routed(&session, "x", "k.1"), ["q"]);
    let bound: Vec<_> = session
        .vhost
        .bindings()
        .into_iter()
        .filter(|b| !b.source.is_empty())
        .collect();
    assert_eq!(bound.len(), 3);
    assert!(bound.iter().any(|binding| binding.arguments == with));
    let logs = fixture.store.logs().unwrap();
    fixture
        .broker
        .committer()
        .wait(session.vhost.settled())
        .await
        .unwrap();
    assert!(
        logs.iter().all(|(log, _)| log.queue() == id),
        "logs of transient queues are dropped"
    );
    session.declare_queue(queue("new")).await.unwrap();
    assert!(
        session.vhost.queue("new").unwrap().id() > id,
        "ids are not used again"
    );
}

#[tokio::test]
async fn what_was_deleted_stays_deleted() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    let auto_delete = DeclareExchange {
        auto_delete: true,
        ..exchange("auto", "fanout")
    };
    session.declare_exchange(auto_delete).await.unwrap();
    session
        .declare_exchange(exchange("x", "direct"))
        .await
        .unwrap();
    for name in ["q", "r"] {
        session.declare_queue(queue(name)).await.unwrap();
        session.bind_queue(name, "x", "k", none()).await.unwrap();
    }
    session.bind_queue("q", "auto", "", none()).await.unwrap();
    session.unbind_queue("r", "x", "k", none()).await.unwrap();
    session.vhost.queue("q").unwrap().publish(&[message()]);
    assert_eq!(session.delete_queue("q", false, false).await, Ok(1));
    assert_eq!(
        session.delete_queue("q", false, false).await,
        Ok(0),
        "no error if there is none"
    );
    assert!(
        session.vhost.exchange("auto").is_none(),
        "its last binding went with the queue"
    );
    session.delete_exchange("x", true).await.unwrap();
    session.delete_exchange("x", true).await.unwrap();

    let fixture = fixture.restart().await;
    let vhost = fixture.broker.vhost("/").unwrap();
    assert_eq!(vhost.queues().len(), 1);
    assert_eq!(vhost.exchanges().len(), 7);
    assert_eq!(
        vhost.bindings().len(),
        1,
        "only the one to the default exchange"
    );
}

#[tokio::test]
async fn exclusive_queues_belong_to_their_connection() {
    let fixture = Fixture::new().await;
    let (owner, other) = (fixture.session(), fixture.session());
    let named = owner.declare_queue(exclusive("")).await.unwrap().name;
    assert!(
        named.starts_with("amq.gen-") && named.len() == "amq.gen-".len() + 22,
        "{named}"
    );
    owner.declare_queue(exclusive("mine")).await.unwrap();
    owner
        .declare_queue(DeclareQueue {
            durable: false,
            ..exclusive("mine")
        })
        .await
        .unwrap();
    let locked = "cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It could be originally \
                  declared on another connection or the exclusive property value does not match that of the \
                  original declaration.";
    assert_eq!(refused(owner.declare_queue(queue("mine")).await), locked);
    assert_eq!(
        refused(other.declare_queue(exclusive("mine")).await),
        locked
    );
    assert_eq!(refused(other.declare_queue(passive("mine")).await), locked);
    assert_eq!(
        refused(other.bind_queue("mine", "amq.direct", "k", none()).await),
        locked
    );
    assert_eq!(refused(other.purge_queue("mine").await), locked);
    assert_eq!(
        refused(other.delete_queue("mine", false, false).await),
        locked
    );
    assert_eq!(refused(other.queue_for_get("mine")), locked);
    assert_eq!(refused(other.queue_for_consume("mine")), locked);
    other
        .unbind_queue("mine", "amq.direct", "k", none())
        .await
        .unwrap();
    other.declare_queue(queue("open")).await.unwrap();
    assert!(
        refused(owner.declare_queue(exclusive("open")).await)
            .starts_with("cannot obtain exclusive")
    );
    owner.close();
    assert!(owner.vhost.queue("mine").is_none());
    assert!(owner.vhost.queue("open").is_some());
    other.declare_queue(exclusive("mine")).await.unwrap();
    let late = owner.declare_queue(exclusive("late")).await;
    assert!(
        late.is_err() && owner.vhost.queue("late").is_none(),
        "the connection has ended"
    );
}

#[tokio::test]
async fn refusals_have_rabbitmqs_texts() {
    let fixture = Fixture::new().await;
    let s = fixture.session();
    s.declare_queue(queue("q")).await.unwrap();
    s.declare_exchange(exchange("x", "direct")).await.unwrap();
    let internal = DeclareExchange {
        internal: true,
        ..exchange("internal", "fanout")
    };
    s.declare_exchange(internal).await.unwrap();
    let default = "operation not permitted on the default exchange";
    let passive_exchange = |name| DeclareExchange {
        passive: true,
        ..exchange(name, "")
    };
    for (result, expected) in [
        (
            s.declare_exchange(exchange("x", "fanout")).await,
            "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'",
        ),
        (
            s.declare_exchange(DeclareExchange {
                durable: false,
                ..exchange("x", "direct")
            })
            .await,
            "inequivalent arg 'durable' for exchange 'x' in vhost '/': received 'false' but current is 'true'",
        ),
        (
            s.declare_exchange(DeclareExchange {
                internal: true,
                ..exchange("x", "direct")
            })
            .await,
            "inequivalent arg 'internal' for exchange 'x' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            s.declare_exchange(DeclareExchange {
                arguments: table(&[(ALTERNATE_EXCHANGE, AMQPValue::LongInt(1))]),
                ..exchange("x", "direct")
            })
            .await,
            "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received the value '1' of type \
          'signedint' but current is none",
        ),
        (
            s.declare_exchange(DeclareExchange {
                arguments: table(&[(ALTERNATE_EXCHANGE, AMQPValue::LongInt(1))]),
                ..exchange("y", "direct")
            })
            .await,
            "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'y' in vhost '/'",
        ),
        (
            s.declare_exchange(exchange("y", "zz")).await,
            "unknown exchange type 'zz'",
        ),
        (s.declare_exchange(exchange("", "direct")).await, default),
        (s.declare_exchange(passive_exchange("")).await, default),
        (
            s.declare_exchange(passive_exchange("nx")).await,
            "no exchange 'nx' in vhost '/'",
        ),
        (
            s.declare_exchange(exchange("amq.foo", "direct")).await,
            "exchange name 'amq.foo' contains reserved prefix 'amq.*'",
        ),
        (s.delete_exchange("", false).await, default),
        (
            s.delete_exchange("amq.direct", false).await,
            "deletion of system exchange 'amq.direct' in vhost '/' not allowed",
        ),
        (
            s.bind_queue("nq", "x", "k", none()).await,
            "no queue 'nq' in vhost '/'",
        ),
        (
            s.bind_queue("nq", "nx", "k", none()).await,
            "no exchange 'nx' in vhost '/'",
        ),
        (s.bind_queue("q", "", "k", none()).await, default),
        (s.bind_exchange("", "x", "k", none()).await, default),
        (
            s.bind_exchange("x", "nx", "k", none()).await,
            "no exchange 'nx' in vhost '/'",
        ),
        (
            s.bind_exchange("nx", "x", "k", none()).await,
            "no exchange 'nx' in vhost '/'",
        ),
        (
            s.bind_queue("q", "amq.match", "", table(&[("x-match", text("zz"))]))
                .await,
            "Invalid x-match field value <<\"zz\">>; expected all, any, all-with-x, or any-with-x",
        ),
    ] {
        assert_eq!(refused(result), expected);
    }
    for (declare, expected) in [
        (passive("nq"), "no queue 'nq' in vhost '/'"),
        (passive(""), "no queue '' in vhost '/'"),
        (
            queue("amq.foo"),
            "queue name 'amq.foo' contains reserved prefix 'amq.*'",
        ),
        (
            DeclareQueue {
                durable: false,
                auto_delete: true,
                ..queue("q")
            },
            "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
        ),
        (
            DeclareQueue {
                auto_delete: true,
                ..queue("q")
            },
            "inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            DeclareQueue {
                arguments: table(&[("x-message-ttl", AMQPValue::ShortInt(1000))]),
                ..queue("q")
            },
            "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received the value '1000' of type 'short' but \
          current is none",
        ),
        (
            DeclareQueue {
                arguments: table(&[("x-message-ttl", text("5"))]),
                ..queue("nq")
            },
            "invalid arg 'x-message-ttl' for queue 'nq' in vhost '/': \"expected integer, got longstr\"",
        ),
        (
            DeclareQueue {
                arguments: table(&[("x-delivery-limit", AMQPValue::LongInt(5))]),
                ..queue("nq")
            },
            "invalid arg 'x-delivery-limit' for queue 'nq' in vhost '/' of queue type rabbit_classic_queue",
        ),
        (
            DeclareQueue {
                arguments: table(&[(DEAD_LETTER_EXCHANGE, AMQPValue::LongInt(5))]),
                ..queue("nq")
            },
            "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'nq' in vhost '/'",
        ),
        (
            DeclareQueue {
                durable: false,
                arguments: table(&[(QUEUE_TYPE, text("quorum"))]),
                ..queue("nq")
            },
            "invalid property 'non-durable' for queue 'nq' in vhost '/'",
        ),
        (
            DeclareQueue {
                arguments: table(&[(QUEUE_TYPE, text("quorum"))]),
                ..exclusive("nq")
            },
            "invalid property 'exclusive-owner' for queue 'nq' in vhost '/'",
        ),
        (
            DeclareQueue {
                arguments: table(&[(QUEUE_TYPE, text("quorum"))]),
                ..queue("")
            },
            "Cannot declare a server-named queue for type rabbit_quorum_queue",
        ),
    ] {
        assert_eq!(refused(s.declare_queue(declare).await), expected);
    }
    let stream = DeclareQueue {
        arguments: table(&[(QUEUE_TYPE, text("stream"))]),
        ..queue("nq")
    };
    assert!(
        s.declare_queue(stream)
            .await
            .unwrap_err()
            .is_not_implemented()
    );
    assert_eq!(
        refused(s.purge_queue("nq").await),
        "no queue 'nq' in vhost '/'"
    );
    assert_eq!(
        refused(s.check_publish("nx", "k")),
        "no exchange 'nx' in vhost '/'"
    );
    assert_eq!(
        refused(s.check_publish("internal", "k")),
        "cannot publish to internal exchange 'internal' in vhost '/'"
    );
    s.bind_queue("q", "x", "k", none()).await.unwrap();
    assert_eq!(
        refused(s.delete_exchange("x", true).await),
        "exchange 'x' in vhost '/' in use"
    );
    s.vhost.queue("q").unwrap().publish(&[message()]);
    assert_eq!(
        refused(s.delete_queue("q", false, true).await),
        "queue 'q' in vhost '/' not empty"
    );
    assert_eq!(s.purge_queue("q").await, Ok(1));
    assert_eq!(s.delete_queue("q", true, true).await, Ok(0));
    let quorum = DeclareQueue {
        arguments: table(&[(QUEUE_TYPE, text("quorum"))]),
        ..queue("qq")
    };
    s.declare_queue(quorum).await.unwrap();
    let flagged = s.delete_queue("qq", true, true).await.unwrap_err();
    assert!(flagged.is_not_implemented());
    assert_eq!(
        flagged.to_string(),
        "cannot delete queue 'qq' in vhost '/'. queue.delete operations with if-unused flag set are not supported by \
         quorum queues"
    );
}

/// The rights that each method takes, and which of several missing ones is told.
#[tokio::test]
async fn rights_are_asked_for_as_rabbitmq_does() {
    let fixture = Fixture::new().await;
    let users = fixture.broker.users();
    users.add("pu", b"pu", Vec::new()).await.unwrap();
    users
        .set_permissions("pu", "/", ["^c", "^w", "^r"])
        .await
        .unwrap();
    let guest = fixture.session();
    for name in ["cq", "wq", "rq"] {
        guest.declare_queue(queue(name)).await.unwrap();
    }
    for name in ["wx", "rx", "ry", "wy"] {
        guest
            .declare_exchange(exchange(name, "direct"))
            .await
            .unwrap();
    }
    let s = fixture.session_of("pu", "/");
    s.declare_queue(queue("c2")).await.unwrap();
    s.declare_queue(passive("rq")).await.unwrap();
    s.bind_queue("wq", "rx", "k", none()).await.unwrap();
    s.bind_exchange("wx", "rx", "k", none()).await.unwrap();
    s.purge_queue("rq").await.unwrap();
    let dlx = table(&[(DEAD_LETTER_EXCHANGE, text("wx"))]);
    let ae = table(&[(ALTERNATE_EXCHANGE, text("wx"))]);
    let check = |result: Result<(), BrokerError>, permission: &str, kind: &str, name: &str| {
        let expected =
            format!("{permission} access to {kind} '{name}' in vhost '/' refused for user 'pu'");
        assert_eq!(refused(result), expected);
    };
    check(
        s.declare_queue(queue("q")).await.map(drop),
        "configure",
        "queue",
        "q",
    );
    check(
        s.declare_queue(DeclareQueue {
            arguments: dlx,
            ..queue("c3")
        })
        .await
        .map(drop),
        "read",
        "queue",
        "c3",
    );
    check(
        s.declare_exchange(exchange("z", "direct")).await,
        "configure",
        "exchange",
        "z",
    );
    check(
        s.declare_exchange(exchange("amq.foo", "direct")).await,
        "configure",
        "exchange",
        "amq.foo",
    );
    check(
        s.declare_exchange(DeclareExchange {
            arguments: ae,
            ..exchange("c3", "direct")
        })
        .await,
        "read",
        "exchange",
        "c3",
    );
    check(
        s.delete_exchange("nope", false).await,
        "configure",
        "exchange",
        "nope",
    );
    check(
        s.delete_queue("nope", false, false).await.map(drop),
        "configure",
        "queue",
        "nope",
    );
    check(
        s.bind_queue("rq", "rx", "k", none()).await,
        "write",
        "queue",
        "rq",
    );
    check(
        s.bind_queue("wq", "wx", "k", none()).await,
        "read",
        "exchange",
        "wx",
    );
    check(
        s.bind_queue("rq", "", "k", none()).await,
        "write",
        "queue",
        "rq",
    );
    check(
        s.unbind_queue("rq", "rx", "k", none()).await,
        "write",
        "queue",
        "rq",
    );
    check(
        s.bind_exchange("rx", "ry", "k", none()).await,
        "write",
        "exchange",
        "rx",
    );
    check(
        s.bind_exchange("wx", "wy", "k", none()).await,
        "read",
        "exchange",
        "wy",
    );
    check(s.purge_queue("wq").await.map(drop), "read", "queue", "wq");
    check(s.queue_for_get("nope").map(drop), "read", "queue", "nope");
    check(s.queue_for_consume("wq").map(drop), "read", "queue", "wq");
    check(
        s.check_publish("rx", "k").map(drop),
        "write",
        "exchange",
        "rx",
    );
    check(
        s.check_publish("nope", "k").map(drop),
        "write",
        "exchange",
        "nope",
    );
    check(
        s.check_publish("", "wq").map(drop),
        "write",
        "exchange",
        "amq.default",
    );
    assert!(s.check_publish("wx", "k").is_ok());

    users
        .set_permissions("pu", "/", [".*", ".*", ".*"])
        .await
        .unwrap();
    users
        .set_topic_permissions("pu", "/", "amq.topic", ["^w", "^r"])
        .await
        .unwrap();
    let topic = |permission: &str, key: &str| {
        format!(
            "{permission} access to topic '{key}' in exchange 'amq.topic' in vhost '/' refused for user 'pu'"
        )
    };
    assert!(s.check_publish("amq.topic", "w.a").is_ok());
    assert_eq!(
        refused(s.check_publish("amq.topic", "a")),
        topic("write", "a")
    );
    s.bind_queue("wq", "amq.topic", "r.#", none())
        .await
        .unwrap();
    assert_eq!(
        refused(s.bind_queue("nope", "amq.topic", "k", none()).await),
        topic("read", "k")
    );
    assert_eq!(
        refused(s.unbind_queue("wq", "amq.topic", "k", none()).await),
        topic("read", "k")
    );
}

#[tokio::test]
async fn names_lose_their_line_ends() {
    let fixture = Fixture::new().await;
    let s = fixture.session();
    assert_eq!(
        &*s.declare_queue(queue("a\nb\rc")).await.unwrap().name,
        "abc"
    );
    s.declare_exchange(exchange("x\r\n", "direct"))
        .await
        .unwrap();
    s.bind_queue("abc\n", "x\n", "k", none()).await.unwrap();
    assert_eq!(routed(&s, "x", "k"), ["abc"]);
    s.delete_queue("a\nbc", false, false).await.unwrap();
    assert!(s.vhost.queue("abc").is_none());
}

#[tokio::test]
async fn virtual_hosts_come_and_go_with_all_that_is_in_them() {
    let fixture = Fixture::new().await;
    let broker = &fixture.broker;
    let metadata = VhostMetadata {
        default_queue_kind: Some(QueueKind::Quorum),
        ..VhostMetadata::default()
    };
    broker.add_vhost("v", metadata.clone()).await.unwrap();
    assert!(broker.add_vhost("v", metadata.clone()).await.is_err());
    broker
        .users()
        .set_permissions("guest", "v", [".*", ".*", ".*"])
        .await
        .unwrap();
    let s = fixture.session_of("guest", "v");
    s.declare_queue(queue("quorum")).await.unwrap();
    s.declare_queue(queue("quorum")).await.unwrap();
    s.declare_queue(exclusive("classic")).await.unwrap();
    assert_eq!(
        s.vhost.queue("quorum").unwrap().spec().arguments.kind,
        QueueKind::Quorum
    );
    assert_eq!(
        s.vhost.queue("classic").unwrap().spec().arguments.kind,
        QueueKind::Classic
    );
    let limits = VhostLimits {
        max_queues: Some(2),
        max_connections: None,
    };
    broker.limits().set("v", limits).await.unwrap();
    assert_eq!(
        refused(s.declare_queue(queue("b")).await),
        "cannot declare queue 'b': queue limit in vhost 'v' (2) is reached"
    );
    s.declare_queue(queue("quorum")).await.unwrap();

    let fixture = fixture.restart().await;
    assert_eq!(fixture.broker.vhost("v").unwrap().metadata(), metadata);
    let s = fixture.session_of("guest", "v");
    fixture.broker.delete_vhost("v").await.unwrap();
    assert!(fixture.broker.delete_vhost("v").await.is_err());
    let late = Exchange {
        name: "late".into(),
        kind: ExchangeKind::Direct,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: none(),
    };
    assert_eq!(
        refused(s.vhost.create_exchange(late)),
        "vhost 'v' not found"
    );

    let fixture = fixture.restart().await;
    assert!(fixture.broker.vhost("v").is_none());
    fixture
        .broker
        .add_vhost("v", VhostMetadata::default())
        .await
        .unwrap();
    assert!(fixture.broker.vhost("v").unwrap().queues().is_empty());
    assert!(!fixture.broker.users().may_enter("guest", "v"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_declare_at_once_one_creates() {
    let fixture = Fixture::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let s = fixture.session();
        tasks.spawn(async move {
            for round in 0..20 {
                let name = format!("q{round}");
                s.declare_queue(queue(&name)).await.unwrap();
                // Another task may just have deleted the queue; nothing else may go wrong.
                match s.bind_queue(&name, "amq.topic", "#", none()).await {
                    Ok(()) | Err(BrokerError::NotFound(_)) => {}
                    Err(error) => panic!("{error}"),
                }
                s.delete_queue(&name, false, false).await.unwrap();
            }
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined.unwrap();
    }
    let vhost = fixture.broker.vhost("/").unwrap();
    for queue in vhost.queues() {
        vhost.delete_queue(&queue, |_| true).unwrap();
    }
    let fixture = fixture.restart().await;
    let vhost = fixture.broker.vhost("/").unwrap();
    assert!(vhost.queues().is_empty() && vhost.bindings().is_empty());
}

#[tokio::test]
async fn routes_change_their_generation() {
    let fixture = Fixture::new().await;
    let s = fixture.session();
    let mut last = s.vhost.generation();
    let mut changed = |what: &str| {
        let now = s.vhost.generation();
        assert_ne!(now, last, "{what}");
        last = now;
    };
    s.declare_queue(queue("q")).await.unwrap();
    changed("declare queue");
    s.declare_exchange(exchange("x", "direct")).await.unwrap();
    changed("declare exchange");
    s.bind_queue("q", "x", "k", none()).await.unwrap();
    changed("bind");
    s.unbind_queue("q", "x", "k", none()).await.unwrap();
    changed("unbind");
    s.delete_queue("q", false, false).await.unwrap();
    changed("delete queue");
    s.delete_exchange("x", false).await.unwrap();
    changed("delete exchange");
}
