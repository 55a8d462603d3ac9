//! Declaring, binding and deleting by a connection, on a store in memory. This file has the broker of these
//! tests.

mod life;
mod refusals;

use std::sync::Arc;

use super::*;
use crate::broker::broker::Broker;
use crate::broker::broker::{BrokerConfig, DEFAULT_USER, DEFAULT_VHOST};
use crate::broker::error::BrokerError;
use crate::broker::exchange::{ALTERNATE_EXCHANGE, Destination, RouteKeys};
use crate::broker::exchange::{Exchange, ExchangeKind};
use crate::broker::limits::VhostLimits;
use crate::broker::users::Validity;
use crate::broker::vhost::VhostMetadata;
use crate::model::arguments::{DEAD_LETTER_EXCHANGE, QUEUE_TYPE, QueueKind};
use crate::model::{Body, Message, Origin};
use crate::store::commit::{Committer, Limits};
use crate::store::{MemoryStore, Store};
use crate::wire::AMQPValue;
use crate::wire::FieldTable;

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

    /// Waits until everything that was handed to the committer so far is durable.
    async fn written(&self) {
        let committer = self.broker.committer();
        committer.wait(committer.append(Vec::new())).await.unwrap();
    }

    fn session(&self) -> Session {
        self.session_of(DEFAULT_USER, DEFAULT_VHOST)
    }

    fn session_of(&self, user: &str, vhost: &str) -> Session {
        let vhost = self.broker.vhost(vhost).unwrap();
        let user = self.broker.users().get(user).unwrap();
        let user = Arc::new(user.logged_in());
        let connection = self.broker.next_connection();
        Session::new(Arc::clone(&self.broker), vhost, user, connection)
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

fn passive_exchange(name: &str) -> DeclareExchange<'_> {
    DeclareExchange {
        passive: true,
        ..exchange(name, "")
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

fn to_queue(name: &str) -> Destination {
    Destination::Queue(name.into())
}

fn to_exchange(name: &str) -> Destination {
    Destination::Exchange(name.into())
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
        dead_lettered: false,
        failures: 0,
        handed_out: false,
    })
}
