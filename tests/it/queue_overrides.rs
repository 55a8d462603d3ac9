//! Overrides: settings of a queue that an operator changes after its declaration.

use std::sync::Arc;

use leveret::broker::broker::{Broker, BrokerConfig, DEFAULT_VHOST};
use leveret::broker::queue::Queue;
use leveret::broker::vhost::{Created, NewQueue, Vhost};
use leveret::model::QueueOverrides;
use leveret::model::arguments::QueueArguments;
use leveret::store::MemoryStore;

use crate::support::{socketless, table, text};

async fn open(store: &Arc<MemoryStore>) -> (Arc<Broker>, Arc<Vhost>) {
    let broker = socketless::open(Arc::clone(store) as _, BrokerConfig::default()).await;
    let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
    (broker, vhost)
}

fn new(name: &str, kind: &str) -> NewQueue {
    NewQueue {
        name: name.into(),
        durable: true,
        exclusive_owner: None,
        auto_delete: false,
        arguments: table(&[("x-queue-type", text(kind))]),
    }
}

fn created(result: Created<Arc<Queue>>) -> Arc<Queue> {
    match result {
        Created::New(queue) | Created::Existing(queue) => queue,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overrides_take_effect_survive_a_restart_and_can_be_removed() {
    let store = Arc::new(MemoryStore::new());
    let (_broker, vhost) = open(&store).await;
    let some = QueueOverrides {
        visibility_timeout_ms: Some(30_000),
        delivery_limit: Some(4),
        dead_letter_exchange: Some("".into()),
        dead_letter_routing_key: Some("dead".into()),
        ..QueueOverrides::default()
    };
    let later = QueueOverrides {
        retention_ms: Some(60_000),
        ..some.clone()
    };
    let set = created(vhost.create_queue(new("set", "quorum")).await.unwrap());
    let plain = created(vhost.create_queue(new("plain", "quorum")).await.unwrap());
    vhost
        .set_queue_overrides("set", some.clone())
        .await
        .unwrap();
    assert_eq!(set.arguments().delivery_limit, Some(4));
    assert_eq!(plain.arguments().delivery_limit, Some(20));
    vhost
        .set_queue_overrides("plain", later.clone())
        .await
        .unwrap();
    assert_eq!(plain.arguments().retention_ms, Some(60_000));
    // Further declarations are compared with the first one, not with the overrides.
    let again = QueueArguments::parse(&new("plain", "quorum").arguments).unwrap();
    assert_eq!(plain.spec().arguments.inequivalent(&again.raw), None);
    vhost
        .set_queue_overrides("none", later.clone())
        .await
        .unwrap_err();
    created(vhost.create_queue(new("stream", "stream")).await.unwrap());
    let refused = vhost.set_queue_overrides("stream", later.clone()).await;
    assert!(refused.unwrap_err().to_string().contains("it is a stream"));

    let (_broker, vhost) = open(&store).await;
    let queue = |name| vhost.queue(name).unwrap();
    assert_eq!(queue("set").overrides(), some);
    assert_eq!(queue("plain").overrides(), later);
    assert_eq!(
        queue("plain").arguments().visibility_timeout_ms,
        Some(30_000)
    );
    assert_eq!(
        queue("plain")
            .arguments()
            .dead_letter_routing_key
            .as_deref(),
        Some("dead")
    );
    vhost
        .set_queue_overrides("plain", QueueOverrides::default())
        .await
        .unwrap();
    assert_eq!(
        *queue("plain").arguments(),
        *queue("plain").spec().arguments
    );
}
