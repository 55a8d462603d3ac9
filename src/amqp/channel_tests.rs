//! A channel with a queue behind it, without a socket.

use std::sync::Arc;
use std::time::Duration;

use super::channel::{Channel, Phase};
use super::connection_state::{ConnectionState, Context};
use super::front::{Front, Settings};
use super::handshake::Capabilities;
use super::limits::{DELIVERY_WINDOW_MESSAGES, UNACKED_PER_CHANNEL_MAX};
use super::outbox::Outbox;
use super::queue_handles::QueueHandle;
use super::unacked::{AckTime, UnackedDelivery};
use crate::broker::broker::{Broker, BrokerConfig, DEFAULT_USER, DEFAULT_VHOST};
use crate::broker::queue::Queue;
use crate::broker::session::{DeclareQueue, Session};
use crate::model::{Body, Lease, Message, Origin};
use crate::net::{Capacity, LoginFrom};
use crate::store::{Committer, Limits, MemoryStore};
use crate::wire::FieldTable;
use crate::wire::protocol::basic::Consume;

async fn connection() -> ConnectionState {
    let store = Arc::new(MemoryStore::new());
    let committer = Committer::start(store, Limits::default()).unwrap();
    let config = BrokerConfig::default();
    let broker = Broker::open(Arc::clone(&committer), config).await.unwrap();
    let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
    let user = broker.users().get(DEFAULT_USER).unwrap();
    let user = Arc::new(user.logged_in());
    let connection = broker.next_connection();
    let session = Session::new(Arc::clone(&broker), vhost, user, connection);
    let settings = Settings {
        channel_max: 1,
        frame_max: 4_096,
        heartbeat_secs: 0,
        message_bytes_max: 0,
        consumer_timeout_ms: None,
        connections: Capacity {
            authenticated: 1,
            newcomers: 1,
        },
        handshake_timeout: Duration::ZERO,
        server_product: String::new(),
        mechanisms: Vec::new(),
        login_from: LoginFrom::CommonName,
    };
    let shared = Context {
        name: "test".into(),
        peer: [127, 0, 0, 1].into(),
        session: Arc::new(session),
        outbox: Arc::new(Outbox::default()),
        front: Front::new(broker, Arc::default(), settings),
        committer,
        frame_max: 4_096,
        channel_max: 1,
        client: Capabilities::default(),
    };
    ConnectionState::new(shared, 0)
}

async fn queue_with_messages(connection: &ConnectionState, count: usize) -> Arc<Queue> {
    let declare = DeclareQueue {
        name: "q",
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::default(),
    };
    let session = &connection.shared.session;
    session.declare_queue(declare).await.unwrap();
    let queue = session.vhost.queue("q").unwrap();
    let message = Arc::new(Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "q".into(),
        }),
        properties: b"\0\0"[..].into(),
        body: Body::Whole(b""[..].into()),
        persistent: false,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
        handed_out: false,
    });
    queue.publish(&vec![message; count]);
    queue
}

/// Sends all deliveries in the outbox, to a socket that takes all output. Returns their number.
fn send(channel: &mut Channel, connection: &mut ConnectionState) -> u32 {
    let mut deliveries = Vec::new();
    connection.shared.outbox.take(&mut deliveries);
    for delivery in &deliveries {
        channel.deliver(connection, delivery);
    }
    channel.deliveries_written(connection);
    u32::try_from(deliveries.len()).unwrap()
}

#[tokio::test]
async fn a_message_got_for_a_channel_that_closes_meanwhile_goes_back() {
    let mut connection = connection().await;
    let queue = queue_with_messages(&connection, 2).await;
    let mut channel = Channel::new(1);
    let got = queue.get(false).await.unwrap().unwrap();
    channel.phase = Phase::Closing;
    channel.send_got(&mut connection, &queue, &got, false);
    assert!(connection.out.is_empty());
    assert_eq!((queue.counts().ready, queue.counts().unacked), (2, 0));
}

#[tokio::test]
async fn a_channel_with_too_many_unacked_deliveries_gets_no_more() {
    let mut connection = connection().await;
    let window = DELIVERY_WINDOW_MESSAGES;
    queue_with_messages(&connection, 4 * window as usize).await;
    // Unacked deliveries of a queue that is gone. With the first window one less than the maximum is unacked.
    let mut channel = Channel::new(1);
    for offset in 0..UNACKED_PER_CHANNEL_MAX as u64 - u64::from(window) - 1 {
        channel.unacked.push(UnackedDelivery {
            queue: QueueHandle::NONE,
            consumer: None,
            lease: Lease {
                lane: 0,
                offset,
                turn: 0,
            },
            time: AckTime::Since(0),
        });
    }
    let consume = Consume {
        queue: "q".into(),
        consumer_tag: "c".into(),
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
        arguments: FieldTable::default(),
    };
    assert!(channel.basic_consume(&mut connection, consume).is_ok());
    assert_eq!(send(&mut channel, &mut connection), window);
    assert_eq!(channel.unacked.len(), UNACKED_PER_CHANNEL_MAX - 1);
    assert_eq!(send(&mut channel, &mut connection), window);
    assert_eq!(send(&mut channel, &mut connection), 0);
    // Again one less than the maximum.
    let acked = channel.basic_ack(&mut connection, window.into(), true);
    assert!(acked.is_ok());
    channel.flush(&mut connection);
    assert_eq!(channel.unacked.len(), UNACKED_PER_CHANNEL_MAX - 1);
    assert_eq!(send(&mut channel, &mut connection), window);
    assert_eq!(send(&mut channel, &mut connection), 0);
}
