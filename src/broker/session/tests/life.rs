//! Life cycles of exchanges, queues and bindings: creation, removals that cause others, and restarts.

use std::task::Poll;

use super::*;
use crate::broker::queue::QueueOwner;

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
    session
        .bind(to_queue("q"), "x", "k.*", none())
        .await
        .unwrap();
    session
        .bind(to_queue("q"), "x", "k.*", with.clone())
        .await
        .unwrap();
    session
        .bind(to_queue("gone"), "x", "k.*", none())
        .await
        .unwrap();
    session.bind(to_queue("q"), "t", "", none()).await.unwrap();
    session
        .bind(to_exchange("amq.direct"), "x", "e", none())
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
    fixture.written().await;
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
async fn deleted_definitions_stay_deleted() {
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
        session
            .bind(to_queue(name), "x", "k", none())
            .await
            .unwrap();
    }
    session
        .bind(to_queue("q"), "auto", "", none())
        .await
        .unwrap();
    session
        .unbind(to_queue("r"), "x", "k", none())
        .await
        .unwrap();
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
        refused(
            other
                .bind(to_queue("mine"), "amq.direct", "k", none())
                .await
        ),
        locked
    );
    owner
        .bind(to_queue("mine"), "amq.direct", "k", none())
        .await
        .unwrap();
    // An invalid binding is reported before the lock. Any connection can remove a binding that does not exist.
    assert_eq!(
        refused(
            other
                .bind(
                    to_queue("mine"),
                    "amq.headers",
                    "",
                    table(&[("x-match", text("zz"))])
                )
                .await
        ),
        "Invalid x-match field value <<\"zz\">>; expected all, any, all-with-x, or any-with-x"
    );
    assert_eq!(
        refused(
            other
                .unbind(to_queue("mine"), "amq.direct", "k", none())
                .await
        ),
        locked
    );
    other
        .unbind(to_queue("mine"), "amq.direct", "other", none())
        .await
        .unwrap();
    assert_eq!(routed(&owner, "amq.direct", "k"), ["mine"]);
    assert_eq!(refused(other.purge_queue("mine").await), locked);
    assert_eq!(
        refused(other.delete_queue("mine", false, false).await),
        locked
    );
    assert_eq!(refused(other.queue_to_read_checked("mine").await), locked);
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
    s.bind(to_queue("abc\n"), "x\n", "k", none()).await.unwrap();
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
        stats: std::sync::Arc::default(),
    };
    assert_eq!(
        refused(s.vhost.create_exchange(late).await),
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
async fn of_many_declarations_together_one_creates() {
    let fixture = Fixture::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let s = fixture.session();
        tasks.spawn(async move {
            for round in 0..20 {
                let name = format!("q{round}");
                s.declare_queue(queue(&name)).await.unwrap();
                // Another task may just have deleted the queue; nothing else may go wrong.
                match s.bind(to_queue(&name), "amq.topic", "#", none()).await {
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
        let deleted = vhost.delete_queue(&queue, |_| true).await;
        assert!(matches!(deleted, Ok(Some(_))));
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
    s.bind(to_queue("q"), "x", "k", none()).await.unwrap();
    changed("bind");
    s.unbind(to_queue("q"), "x", "k", none()).await.unwrap();
    changed("unbind");
    s.delete_queue("q", false, false).await.unwrap();
    changed("delete queue");
    s.delete_exchange("x", false).await.unwrap();
    changed("delete exchange");
}

#[tokio::test]
async fn auto_delete_queues_go_with_their_last_consumer_and_are_forgotten() {
    let fixture = Fixture::new().await;
    let s = fixture.session();
    for round in 0..50 {
        let declare = DeclareQueue {
            auto_delete: true,
            ..exclusive("")
        };
        let name = s.declare_queue(declare).await.unwrap().name;
        let queue = s.vhost.queue(&name).unwrap();
        s.vhost.queue_unused(&queue);
        assert!(s.vhost.queue(&name).is_none(), "round {round}");
    }
    assert!(s.owned().queues.len() < 10, "deleted queues are not kept");
}

#[tokio::test]
async fn expired_queues_are_deleted() {
    let fixture = Fixture::new().await;
    let s = fixture.session();
    let arguments = table(&[("x-expires", AMQPValue::LongInt(1))]);
    s.declare_queue(DeclareQueue {
        arguments,
        ..queue("q")
    })
    .await
    .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while s.vhost.queue("q").is_some() {
        assert!(
            std::time::Instant::now() < deadline,
            "the queue is still there"
        );
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    fixture.written().await;
    let fixture = fixture.restart().await;
    assert!(fixture.broker.vhost("/").unwrap().queue("q").is_none());
}

#[tokio::test]
async fn a_delayed_message_is_kept_back_also_behind_a_dead_letter_exchange() {
    let fixture = Fixture::new().await;
    let s = fixture.session();
    let delayed = DeclareExchange {
        arguments: table(&[("x-delayed-type", text("fanout"))]),
        ..exchange("d", "x-delayed-message")
    };
    s.declare_exchange(delayed).await.unwrap();
    s.declare_queue(queue("target")).await.unwrap();
    s.bind(to_queue("target"), "d", "", none()).await.unwrap();
    let arguments = table(&[
        (DEAD_LETTER_EXCHANGE, text("d")),
        ("x-max-length", AMQPValue::LongInt(0)),
    ]);
    s.declare_queue(DeclareQueue {
        arguments,
        ..queue("source")
    })
    .await
    .unwrap();
    let headers = table(&[("x-delay", AMQPValue::LongInt(3_600_000))]);
    let properties = crate::wire::AMQPProperties::default().with_headers(headers);
    let message = Message {
        properties: crate::wire::encode_properties(&properties),
        ..Message::clone(&message())
    };
    s.vhost
        .queue("source")
        .unwrap()
        .publish(&[Arc::new(message)]);
    let counts = s.vhost.queue("target").unwrap().counts();
    assert_eq!((counts.ready, counts.delayed), (0, 1));
    assert_eq!(s.vhost.queue("source").unwrap().counts().ready, 0);
}

/// Durable auto-delete exchanges and their bindings, after a kill of the broker.
#[tokio::test]
async fn auto_delete_exchanges_whose_bindings_no_restart_keeps_are_gone() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    for name in ["exclusive", "transient", "chain", "kept", "both", "unused"] {
        let declare = DeclareExchange {
            auto_delete: true,
            ..exchange(name, "direct")
        };
        session.declare_exchange(declare).await.unwrap();
    }
    session
        .declare_exchange(exchange("stays", "direct"))
        .await
        .unwrap();
    session
        .declare_queue(super::exclusive("mine"))
        .await
        .unwrap();
    let transient = DeclareQueue {
        durable: false,
        ..queue("fleeting")
    };
    session.declare_queue(transient).await.unwrap();
    session.declare_queue(queue("q")).await.unwrap();
    for (to, from) in [
        (to_queue("mine"), "exclusive"),
        (to_queue("fleeting"), "transient"),
        (to_exchange("exclusive"), "chain"),
        (to_queue("q"), "kept"),
        (to_queue("q"), "both"),
        (to_queue("mine"), "both"),
        (to_queue("mine"), "stays"),
    ] {
        session.bind(to, from, "k", none()).await.unwrap();
    }
    let mut fixture = fixture.restart().await;
    // Deleted definitions stay deleted.
    for _ in 0..2 {
        let vhost = fixture.broker.vhost("/").unwrap();
        let is_there = |name: &&str| vhost.exchange(name).is_some();
        let gone = ["exclusive", "transient", "chain"];
        assert_eq!(gone.iter().filter(|name| is_there(name)).count(), 0);
        assert!(["kept", "both", "unused", "stays"].iter().all(is_there));
        fixture = fixture.restart().await;
    }
    let session = fixture.session();
    assert_eq!(routed(&session, "both", "k"), ["q"]);
    // It still deletes itself with the last binding.
    session.delete_queue("q", false, false).await.unwrap();
    assert!(session.vhost.exchange("both").is_none());
}

/// A message with many keys for an exchange with many bindings is routed in pieces; declarations go on in between.
#[tokio::test]
async fn declarations_do_not_wait_for_a_long_walk() {
    let fixture = Fixture::new().await;
    let session = fixture.session();
    session
        .declare_exchange(exchange("x", "topic"))
        .await
        .unwrap();
    for n in 0..200 {
        let name = format!("q{n}");
        session.declare_queue(queue(&name)).await.unwrap();
        let key = format!("#.{n}.#");
        session
            .bind(to_queue(&name), "x", &key, none())
            .await
            .unwrap();
    }
    let cc: Vec<String> = (0..20_000).map(|n| format!("a.{}.{n}", n % 200)).collect();
    let cc: Vec<&str> = cc.iter().map(String::as_str).collect();
    let keys = RouteKeys {
        routing_key: "a",
        cc: &cc,
        properties: &[],
    };
    let x = session.vhost.exchange("x").unwrap();
    assert!(session.vhost.try_route(&x, &keys).is_none());
    let mut search = std::pin::pin!(session.vhost.route_in_pieces(&x, &keys));
    let first = std::future::poll_fn(|cx| Poll::Ready(search.as_mut().poll(cx))).await;
    assert!(first.is_pending());
    session.declare_queue(queue("new")).await.unwrap();
    session
        .bind(to_queue("new"), "x", "#", none())
        .await
        .unwrap();
    session.delete_queue("q0", false, false).await.unwrap();
    let found = search.await;
    // Both came too late, but a deleted queue gets nothing.
    assert_eq!(found.now.len(), 199);
    let mut sync = Vec::new();
    assert!(session.vhost.route(&x, &keys, &mut sync).is_none());
    assert_eq!(
        sync.len(),
        200,
        "without the one that is gone, with the new one"
    );
}
