//! The open connections, for operators to list and close. Front doors register theirs here.

use std::net::SocketAddr;
use std::sync::Arc;

use amq_protocol::types::FieldTable;
use dashmap::DashMap;

use super::stats::{BrokerStats, MessageStats};
use crate::model::{ConnectionId, Name, TlsInfo};

/// The properties of an open connection that do not change.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    pub id: ConnectionId,
    /// Address of the client.
    pub peer: SocketAddr,
    /// Address that the client connected to.
    pub local: SocketAddr,
    pub user: Name,
    pub vhost: Name,
    /// The SASL mechanism, such as `PLAIN`.
    pub auth_mechanism: Name,
    pub client_properties: FieldTable,
    /// Negotiated maximum frame size in bytes.
    pub frame_max: u32,
    /// Negotiated highest channel number.
    pub channel_max: u16,
    /// Negotiated heartbeat; 0 means none.
    pub heartbeat_secs: u16,
    /// Milliseconds since the Unix epoch.
    pub connected_at_ms: u64,
    /// `None` for a connection without TLS.
    pub tls: Option<Box<TlsInfo>>,
}

impl ConnectionInfo {
    /// RabbitMQ's form: `client:port -> server:port`.
    pub fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }

    /// The "process id" of rabbitmqctl: opaque text that `close_connection` takes.
    pub fn pid(&self) -> String {
        pid(self.id)
    }

    /// The process id of one of its channels.
    pub fn channel_pid(&self, number: u16) -> String {
        format!("<leveret.1.{}.{number}>", self.id.0)
    }
}

/// The "process id" of a connection.
pub fn pid(connection: ConnectionId) -> String {
    format!("<leveret.1.{}.0>", connection.0)
}

/// The state and counters of an open connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectionStatus {
    pub state: ConnectionState,
    pub received_bytes: u64,
    pub reads: u64,
    pub sent_bytes: u64,
    pub writes: u64,
    /// Bytes that wait to be written to the socket.
    pub pending_bytes: u64,
    pub channels: Vec<ChannelStatus>,
}

/// States as rabbitmqctl prints them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionState {
    #[default]
    Running,
    /// An alarm is on and the connection has not published since.
    Blocking,
    /// An alarm is on and the connection's publishes wait for it to clear.
    Blocked,
    /// Slowed down by back-pressure.
    Flow,
    Closing,
}

impl ConnectionState {
    pub fn as_str(self) -> &'static str {
        match self {
            ConnectionState::Running => "running",
            ConnectionState::Blocking => "blocking",
            ConnectionState::Blocked => "blocked",
            ConnectionState::Flow => "flow",
            ConnectionState::Closing => "closing",
        }
    }
}

/// One open channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelStatus {
    pub number: u16,
    pub consumers: usize,
    pub unacknowledged: usize,
    pub unconfirmed: usize,
    /// Publishes and acks of the open transaction.
    pub uncommitted: usize,
    /// Prefetch per consumer; 0 is unlimited.
    pub prefetch: u16,
    /// Prefetch of the channel as a whole; 0 is unlimited.
    pub global_prefetch: u16,
    pub confirm: bool,
    pub transactional: bool,
    pub message_stats: MessageStats,
    /// When any of this was last seen to change, in milliseconds on the broker's time line.
    pub active_ms: u64,
}

impl ChannelStatus {
    /// Notes the time, unless the channel is as it was at one of these earlier looks, which are ordered by number.
    pub fn seen(&mut self, before: &[ChannelStatus], now_ms: u64) {
        self.active_ms = now_ms;
        let known = before.binary_search_by_key(&self.number, |channel| channel.number);
        if let Some(known) = known.ok().and_then(|index| before.get(index)) {
            self.active_ms = known.active_ms;
            if *self != *known {
                self.active_ms = now_ms;
            }
        }
    }
}

/// An open connection, as operators control it.
pub trait ConnectionControl: Send + Sync {
    /// Asks the connection to close with 320 `CONNECTION_FORCED - reason`. Does not wait for that.
    fn close(&self, reason: &str);

    fn status(&self) -> ConnectionStatus;
}

/// An open connection.
#[derive(Clone)]
pub struct Connection {
    pub info: Arc<ConnectionInfo>,
    control: Arc<dyn ConnectionControl>,
}

impl Connection {
    /// Asks the connection to close with 320 `CONNECTION_FORCED - reason`. Does not wait for that.
    pub fn close(&self, reason: &str) {
        self.control.close(reason);
    }

    pub fn status(&self) -> ConnectionStatus {
        self.control.status()
    }
}

/// All open connections.
#[derive(Default)]
pub struct Connections {
    open: DashMap<ConnectionId, Connection>,
    stats: Arc<BrokerStats>,
}

impl Connections {
    pub(super) fn new(stats: Arc<BrokerStats>) -> Connections {
        Connections {
            open: DashMap::new(),
            stats,
        }
    }

    /// Registers a connection until the returned registration is dropped.
    pub fn register(
        self: &Arc<Self>,
        info: Arc<ConnectionInfo>,
        control: Arc<dyn ConnectionControl>,
    ) -> Registration {
        let id = info.id;
        self.open.insert(id, Connection { info, control });
        self.stats.churn.connection_created.add(1);
        Registration {
            connections: Arc::clone(self),
            id,
        }
    }

    /// All connections in the order in which they were opened.
    pub fn list(&self) -> Vec<Connection> {
        let mut all: Vec<Connection> = self
            .open
            .iter()
            .map(|entry| entry.value().clone())
            .collect();
        all.sort_by_key(|connection| connection.info.id);
        all
    }

    /// The properties of an open connection.
    pub fn info(&self, id: ConnectionId) -> Option<Arc<ConnectionInfo>> {
        let found = self.open.get(&id)?;
        Some(Arc::clone(&found.info))
    }

    pub fn status(&self, id: ConnectionId) -> Option<ConnectionStatus> {
        let found = self.open.get(&id)?.value().clone();
        Some(found.status())
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Asks the connections that `concerns` selects to close with 320 `CONNECTION_FORCED - reason`; returns their number.
    pub fn close_where(&self, reason: &str, concerns: impl Fn(&ConnectionInfo) -> bool) -> usize {
        let concerned: Vec<Connection> = self
            .list()
            .into_iter()
            .filter(|c| concerns(&c.info))
            .collect();
        for connection in &concerned {
            connection.close(reason);
        }
        concerned.len()
    }
}

/// The registration of one connection.
pub struct Registration {
    connections: Arc<Connections>,
    id: ConnectionId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.connections.open.remove(&self.id);
        self.connections.stats.churn.connection_closed.add(1);
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Closes(Mutex<Vec<String>>);

    impl ConnectionControl for Closes {
        fn close(&self, reason: &str) {
            self.0.lock().push(reason.to_owned());
        }

        fn status(&self) -> ConnectionStatus {
            ConnectionStatus::default()
        }
    }

    fn info(id: u64, user: &str) -> ConnectionInfo {
        ConnectionInfo {
            id: ConnectionId(id),
            peer: ([127, 0, 0, 1], 40000).into(),
            local: ([127, 0, 0, 1], 5672).into(),
            user: user.into(),
            vhost: "/".into(),
            auth_mechanism: "PLAIN".into(),
            client_properties: FieldTable::default(),
            frame_max: 131_072,
            channel_max: 2047,
            heartbeat_secs: 60,
            connected_at_ms: 0,
            tls: None,
        }
    }

    #[test]
    fn a_channel_is_active_when_it_has_changed_since_the_last_look() {
        let channel = |number, consumers| ChannelStatus {
            number,
            consumers,
            ..ChannelStatus::default()
        };
        let mut before = Vec::new();
        for (now_ms, first, second, active) in [
            (10, 0, 0, [10, 10]),
            (20, 0, 1, [10, 20]),
            (30, 0, 1, [10, 20]),
            (40, 2, 1, [40, 20]),
        ] {
            let mut channels = vec![channel(1, first), channel(7, second)];
            channels
                .iter_mut()
                .for_each(|one| one.seen(&before, now_ms));
            let seen: Vec<u64> = channels.iter().map(|one| one.active_ms).collect();
            assert_eq!(seen, active);
            before = channels;
        }
    }

    #[test]
    fn connections_are_listed_closed_and_forgotten() {
        let connections = Arc::new(Connections::default());
        let (a, b) = (Arc::new(Closes::default()), Arc::new(Closes::default()));
        let first = connections.register(Arc::new(info(1, "ann")), a.clone());
        let second = connections.register(Arc::new(info(2, "bob")), b.clone());
        let names: Vec<String> = connections.list().iter().map(|c| c.info.name()).collect();
        assert_eq!(names, ["127.0.0.1:40000 -> 127.0.0.1:5672"; 2]);
        assert_eq!(
            connections.close_where("user 'bob' was deleted", |info| &*info.user == "bob"),
            1
        );
        assert!(a.0.lock().is_empty());
        assert_eq!(*b.0.lock(), ["user 'bob' was deleted"]);
        drop(first);
        assert_eq!(connections.list().len(), 1);
        drop(second);
        assert!(connections.is_empty());
    }
}
