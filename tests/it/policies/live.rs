//! Each key on a live queue or exchange: tightened, loosened and cleared.

use std::sync::Arc;

use leveret::model::policy::{PolicyDraft, PolicyKind};
use leveret::store::MemoryStore;
use leveret::wire::protocol::basic;
use leveret::wire::{AMQPClass, AMQPValue};
use serde_json::json;

use super::{Ahead, clear, draft, set, vhost};
use crate::support::socketless::message;
use crate::support::{Peer, TestServer, eventually, eventually_eq, long, text};

/// A broker, and a client that has declared the queue `q` and the queue `dead`.
async fn with_queue(arguments: &[(&str, AMQPValue)]) -> (TestServer, Peer) {
    with_queue_by(arguments, Arc::default()).await
}

async fn with_queue_by(arguments: &[(&str, AMQPValue)], clocks: Arc<Ahead>) -> (TestServer, Peer) {
    let server = TestServer::start_by(clocks, |_| ()).await;
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "q", arguments).await;
    peer.declare(1, "dead").await;
    peer.confirm_select(1).await;
    (server, peer)
}

/// Publishes to `q`; whether the broker accepts the message.
async fn accepts(peer: &mut Peer, body: &str) -> bool {
    peer.publish(1, "q", body.as_bytes()).await;
    match peer.method().await.1 {
        AMQPClass::Basic(basic::AMQPMethod::Ack(_)) => true,
        AMQPClass::Basic(basic::AMQPMethod::Nack(_)) => false,
        other => panic!("{other:?}"),
    }
}

async fn publish(peer: &mut Peer, bodies: &[&str]) {
    for body in bodies {
        assert!(accepts(peer, body).await);
    }
}

async fn drain(peer: &mut Peer, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(content) = peer.get_no_ack(1, queue).await {
        bodies.push(content.text());
    }
    bodies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lower_length_drops_from_the_head_and_a_higher_one_has_room() {
    let (server, mut peer) = with_queue(&[]).await;
    publish(&mut peer, &["1", "2", "3", "4"]).await;
    set(
        &server,
        json!({"max-length": 2, "dead-letter-exchange": "", "dead-letter-routing-key": "dead"}),
    )
    .await;
    // The policy holds when it is set: nothing is waited for.
    assert_eq!(server.ready("q"), 2);
    assert_eq!(drain(&mut peer, "dead").await, ["1", "2"]);
    set(&server, json!({"max-length": 4})).await;
    publish(&mut peer, &["5", "6"]).await;
    assert_eq!(drain(&mut peer, "q").await, ["3", "4", "5", "6"]);
    set(&server, json!({"max-length-bytes": 10})).await;
    publish(&mut peer, &["0123456789", "x"]).await;
    assert_eq!(drain(&mut peer, "q").await, ["x"]);
    clear(&server).await;
    publish(&mut peer, &["0123456789", "x"]).await;
    assert_eq!(server.ready("q"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lower_of_argument_policy_and_operator_policy_holds() {
    let (server, mut peer) = with_queue(&[("x-max-length", long(3))]).await;
    publish(&mut peer, &["1", "2", "3", "4"]).await;
    assert_eq!(server.ready("q"), 3);
    set(&server, json!({"max-length": 5})).await;
    assert_eq!(server.ready("q"), 3);
    let operator = draft("o", "", json!({"max-length": 1}));
    vhost(&server)
        .set_policy(PolicyKind::Operator, operator)
        .await
        .unwrap();
    assert_eq!(drain(&mut peer, "q").await, ["4"]);
    let queue = server.queue("q");
    assert_eq!(queue.policy_name().as_deref(), Some("p"));
    assert_eq!(queue.operator_policy_name().as_deref(), Some("o"));
    let settings = queue.effective();
    assert_eq!(settings.len(), 1);
    assert_eq!(settings[0].key, "max-length");
    assert_eq!(settings[0].value, json!(1));
    assert_eq!(settings[0].source.to_string(), "operator policy o");
    vhost(&server)
        .clear_policy(PolicyKind::Operator, "o")
        .await
        .unwrap();
    assert_eq!(queue.arguments().max_length, Some(3));
    assert_eq!(queue.effective()[0].source.to_string(), "argument");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shorter_time_to_live_expires_what_is_due_and_a_longer_one_spares_the_rest() {
    let clocks = Arc::<Ahead>::default();
    let (server, mut peer) = with_queue_by(&[], clocks.clone()).await;
    publish(&mut peer, &["old"]).await;
    clocks.advance(10_000);
    set(
        &server,
        json!({"message-ttl": 5_000, "dead-letter-exchange": "", "dead-letter-routing-key": "dead"}),
    )
    .await;
    assert_eq!(server.ready("q"), 0, "the message was older than that");
    assert_eq!(drain(&mut peer, "dead").await, ["old"]);
    set(&server, json!({"message-ttl": 600_000})).await;
    publish(&mut peer, &["stays"]).await;
    clear(&server).await;
    assert_eq!(drain(&mut peer, "q").await, ["stays"]);
    // Without a time that has passed, the timer of the queue expires the message.
    publish(&mut peer, &["soon"]).await;
    set(&server, json!({"message-ttl": 100})).await;
    eventually("the message expires", || server.ready("q") == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overflow_and_dead_letter_exchange_hold_from_the_next_message_on() {
    let (server, mut peer) = with_queue(&[]).await;
    set(
        &server,
        json!({"max-length": 1, "overflow": "reject-publish"}),
    )
    .await;
    assert!(accepts(&mut peer, "1").await);
    assert!(!accepts(&mut peer, "2").await);
    set(&server, json!({"max-length": 1})).await;
    assert!(accepts(&mut peer, "3").await);
    assert_eq!(drain(&mut peer, "dead").await, [""; 0]);
    set(
        &server,
        json!({"max-length": 1, "dead-letter-exchange": "", "dead-letter-routing-key": "dead"}),
    )
    .await;
    assert!(accepts(&mut peer, "4").await);
    assert_eq!(drain(&mut peer, "dead").await, ["3"]);
    clear(&server).await;
    assert!(accepts(&mut peer, "5").await);
    assert_eq!(drain(&mut peer, "q").await, ["4", "5"]);
}

/// Messages that have died go where they went at their death, though their dead letters wait for others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_died_by_a_policy_are_dead_lettered_after_it_is_cleared() {
    const MESSAGES: u64 = 20_000;
    let clocks = Arc::<Ahead>::default();
    let (server, peer) = with_queue_by(&[], clocks.clone()).await;
    let queue = server.queue("q");
    let run: Vec<_> = (0..MESSAGES)
        .map(|number| Arc::new(message("q", number.to_string())))
        .collect();
    run.chunks(1_000).for_each(|run| drop(queue.publish(run)));
    clocks.advance(60_000);
    set(
        &server,
        json!({"message-ttl": 1, "dead-letter-exchange": "", "dead-letter-routing-key": "dead"}),
    )
    .await;
    clear(&server).await;
    let letters = || {
        (
            server.ready("q") + server.ready("dead"),
            queue.has_letters(),
        )
    };
    eventually_eq("messages", (MESSAGES, false), letters).await;
    assert!(server.ready("dead") > 1_024, "{:?}", server.ready("dead"));
    drop(peer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_limit_counts_for_messages_that_are_there() {
    let (server, mut peer) = with_queue(&[("x-queue-type", text("quorum"))]).await;
    publish(&mut peer, &["m"]).await;
    set(
        &server,
        json!({"delivery-limit": 0, "dead-letter-exchange": "", "dead-letter-routing-key": "dead"}),
    )
    .await;
    let got = peer.get(1, "q").await.unwrap();
    let reject = basic::AMQPMethod::Reject(basic::Reject {
        delivery_tag: got.delivery_tag(),
        requeue: true,
    });
    peer.basic(1, reject).await;
    eventually_eq("dead letters", 1, || server.ready("dead")).await;
    // A classic queue does not take the key: the policy is not for it.
    peer.declare_durable(1, "q-classic", &[]).await;
    assert_eq!(server.queue("q-classic").policy_name(), None);
    assert_eq!(server.queue("q").policy_name().as_deref(), Some("p"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unused_queue_expires_by_policy() {
    let (server, mut peer) = with_queue(&[]).await;
    set(&server, json!({"expires": 600_000})).await;
    peer.expect_nothing(1).await;
    assert!(vhost(&server).queue("q").is_some());
    set(&server, json!({"expires": 1})).await;
    eventually("the queue expires", || vhost(&server).queue("q").is_none()).await;
    assert!(vhost(&server).queue("dead").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visibility_timeout_and_history_hold_for_leases_and_acks_from_then_on() {
    let (server, mut peer) = with_queue(&[]).await;
    publish(&mut peer, &["m"]).await;
    set(
        &server,
        json!({"visibility-timeout": 50, "rewind-seconds": 600}),
    )
    .await;
    assert!(peer.get(1, "q").await.is_some());
    assert_eq!(server.unacked("q"), 1);
    eventually_eq("ready messages", 1, || server.ready("q")).await;
    assert_eq!(drain(&mut peer, "q").await, ["m"]);
    assert_eq!(server.counts("q").unwrap().rewindable, 1);
    set(&server, json!({"visibility-timeout": 50})).await;
    assert_eq!(server.counts("q").unwrap().rewindable, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_trim_a_stream() {
    let stream = [
        ("x-queue-type", text("stream")),
        ("x-stream-max-segment-size-bytes", long(1)),
    ];
    let clocks = Arc::<Ahead>::default();
    let (server, mut peer) = with_queue_by(&stream, clocks.clone()).await;
    publish(&mut peer, &["0123456789"; 5]).await;
    server.flush().await;
    let ready = server.ready("q");
    set(&server, json!({"max-length-bytes": 1})).await;
    assert!(server.ready("q") < ready, "all but the last segment go");
    clocks.advance(7_200_000);
    publish(&mut peer, &["new"]).await;
    server.flush().await;
    set(&server, json!({"max-age": "1h"})).await;
    assert_eq!(server.ready("q"), 1);
    // Of a stream, the policy holds against the argument.
    assert_eq!(server.queue("q").arguments().max_age_ms, Some(3_600_000));
    clear(&server).await;
    assert_eq!(server.queue("q").arguments().max_age_ms, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alternate_exchange_changes_routes_that_channels_have_cached() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_exchange(1, "q-direct", "direct", &[]).await;
    peer.declare_exchange(1, "rest", "fanout", &[]).await;
    peer.declare(1, "others").await;
    peer.bind(1, "others", "rest", "").await;
    peer.confirm_select(1).await;
    let publish = async |peer: &mut Peer| {
        peer.publish_to(1, "q-direct", "no binding", &[], "m").await;
        peer.method().await;
        server.ready("others")
    };
    assert_eq!(publish(&mut peer).await, 0);
    set(&server, json!({"alternate-exchange": "rest"})).await;
    assert_eq!(publish(&mut peer).await, 1);
    assert_eq!(publish(&mut peer).await, 2);
    clear(&server).await;
    assert_eq!(publish(&mut peer).await, 2);
    // An exchange that is declared later has it too, and the argument wins.
    set(&server, json!({"alternate-exchange": "rest"})).await;
    peer.declare_exchange(1, "q-late", "direct", &[]).await;
    let own = [("alternate-exchange", text("nowhere"))];
    peer.declare_exchange(1, "q-own", "direct", &own).await;
    peer.publish_to(1, "q-late", "k", &[], "m").await;
    peer.method().await;
    assert_eq!(server.ready("others"), 3);
    peer.publish_to(1, "q-own", "k", &[], "m").await;
    peer.method().await;
    assert_eq!(server.ready("others"), 3);
    let vhost = vhost(&server);
    let settings = |name| vhost.exchange_settings(&vhost.exchange(name).unwrap());
    assert_eq!(settings("q-late")[0].source.to_string(), "policy p");
    assert_eq!(settings("q-own")[0].source.to_string(), "argument");
    assert_eq!(settings("rest"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_survive_a_restart_and_apply_before_any_client_comes() {
    let server = TestServer::start_on(Arc::new(MemoryStore::default())).await;
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "q", &[]).await;
    let low = draft(
        "low",
        "",
        json!({"max-length": 9, "alternate-exchange": "amq.fanout"}),
    );
    let high = PolicyDraft {
        priority: Some(json!(10.5)),
        apply_to: Some(json!("queues")),
        ..draft("high", "^q$", json!({"max-length": 2}))
    };
    let operator = draft("o", "", json!({"message-ttl": 600_000}));
    for (kind, draft) in [
        (PolicyKind::User, low),
        (PolicyKind::User, high),
        (PolicyKind::Operator, operator),
    ] {
        vhost(&server).set_policy(kind, draft).await.unwrap();
    }
    drop(peer);
    let server = server.restart().await;
    let queue = server.queue("q");
    assert_eq!(queue.policy_name().as_deref(), Some("high"));
    assert_eq!(queue.arguments().max_length, Some(2));
    assert_eq!(queue.arguments().message_ttl_ms, Some(600_000));
    let vhost = vhost(&server);
    let topic = vhost.exchange("amq.topic").unwrap();
    let policies = vhost.exchange_policies(&topic);
    assert_eq!(policies.policy_name().map(|name| &**name), Some("low"));
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "all").await;
    peer.bind(1, "all", "amq.fanout", "").await;
    peer.confirm_select(1).await;
    peer.publish_to(1, "amq.topic", "k", &[], "m").await;
    peer.method().await;
    assert_eq!(server.ready("all"), 1, "the alternate exchange holds");
    let high = vhost.policy(PolicyKind::User, "high").unwrap();
    assert_eq!(high.priority().as_f64(), Some(10.5));
    assert_eq!(vhost.policies(PolicyKind::User).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_go_with_their_virtual_host() {
    let server = TestServer::start().await;
    let add = async || server.broker.add_vhost("v", <_>::default()).await.unwrap();
    add().await;
    let old = server.broker.vhost("v").unwrap();
    let one = || draft("p", "", json!({"max-length": 1}));
    old.set_policy(PolicyKind::User, one()).await.unwrap();
    server.broker.delete_vhost("v").await.unwrap();
    let refused = old.set_policy(PolicyKind::User, one()).await;
    assert_eq!(refused.unwrap_err().to_string(), "vhost 'v' not found");
    add().await;
    let server = server.restart().await;
    let vhost = server.broker.vhost("v").unwrap();
    assert_eq!(vhost.policies(PolicyKind::User).len(), 0);
    let missing = vhost.clear_policy(PolicyKind::User, "p").await;
    assert_eq!(missing.unwrap_err().to_string(), "Parameter does not exist");
}
