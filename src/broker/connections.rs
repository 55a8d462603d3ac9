//! The connections that are open, for operators to list and close. Front doors enter theirs here; what a
//! connection does is none of this file's business.

use std::net::SocketAddr;
use std::sync::Arc;

use amq_protocol::types::FieldTable;
use dashmap::DashMap;

use crate::model::{ConnectionId, Name};

/// What never changes about an open connection.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Its identity.
    pub id: ConnectionId,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Who logged in.
    pub user: Name,
    /// The virtual host it opened.
    pub vhost: Name,
    /// The SASL mechanism, such as `PLAIN`.
    pub auth_mechanism: Name,
    /// What the client said of itself.
    pub client_properties: FieldTable,
    /// Negotiated largest frame in bytes.
    pub frame_max: u32,
    /// Negotiated highest channel number.
    pub channel_max: u16,
    /// Negotiated heartbeat in seconds; 0 is none.
    pub heartbeat_secs: u16,
    /// When it was opened, milliseconds since the epoch.
    pub connected_at_ms: u64,
}

impl ConnectionInfo {
    /// RabbitMQ's name of a connection: `client:port -> server:port`.
    pub fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }

    /// What rabbitmqctl calls the process id: an opaque text that names the connection to `close_connection`.
    pub fn pid(&self) -> String {
        format!("<leveret.1.{}.0>", self.id.0)
    }

    /// The process id of one of its channels.
    pub fn channel_pid(&self, number: u16) -> String {
        format!("<leveret.1.{}.{number}>", self.id.0)
    }
}

/// What changes about an open connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectionStatus {
    /// Whether publishing is stopped by an alarm, or the connection is closing.
    pub state: ConnectionState,
    /// Bytes received.
    pub received_bytes: u64,
    /// Reads that brought them.
    pub reads: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Writes that took them.
    pub writes: u64,
    /// Bytes that wait for the socket.
    pub pending_bytes: u64,
    /// Its open channels.
    pub channels: Vec<ChannelStatus>,
}

/// The state words that rabbitmqctl prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionState {
    /// Open.
    #[default]
    Running,
    /// An alarm is on and the connection has not published since.
    Blocking,
    /// An alarm is on and the connection's publishes wait for it to clear.
    Blocked,
    /// Slowed down by back-pressure.
    Flow,
    /// Close has been sent.
    Closing,
}

impl ConnectionState {
    /// RabbitMQ's word for the state.
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
#[derive(Clone, Debug, Default)]
pub struct ChannelStatus {
    /// Channel number.
    pub number: u16,
    /// Consumers on it.
    pub consumers: usize,
    /// Deliveries not acknowledged yet.
    pub unacknowledged: usize,
    /// Publishes not confirmed yet.
    pub unconfirmed: usize,
    /// Publishes and acks of the transaction that is open.
    pub uncommitted: usize,
    /// Prefetch per consumer; 0 is unlimited.
    pub prefetch: u16,
    /// Prefetch of the channel as a whole; 0 is unlimited.
    pub global_prefetch: u16,
    /// In confirm mode.
    pub confirm: bool,
    /// In transaction mode.
    pub transactional: bool,
}

/// What the registry can ask of an open connection.
pub trait ConnectionControl: Send + Sync {
    /// Asks it to close with 320 `CONNECTION_FORCED - reason`. Returns at once.
    fn close(&self, reason: &str);

    /// What changes about it, as of now.
    fn status(&self) -> ConnectionStatus;
}

/// An open connection as others see it.
#[derive(Clone)]
pub struct Connection {
    /// What never changes.
    pub info: Arc<ConnectionInfo>,
    control: Arc<dyn ConnectionControl>,
}

impl Connection {
    /// Asks it to close with 320 `CONNECTION_FORCED - reason`. Returns at once.
    pub fn close(&self, reason: &str) {
        self.control.close(reason);
    }

    /// What changes about it, as of now.
    pub fn status(&self) -> ConnectionStatus {
        self.control.status()
    }
}

/// All open connections.
#[derive(Default)]
pub struct Connections {
    open: DashMap<ConnectionId, Connection>,
}

impl Connections {
    /// Enters a connection. It leaves when what is returned is dropped.
    pub fn register(
        self: &Arc<Self>,
        info: Arc<ConnectionInfo>,
        control: Arc<dyn ConnectionControl>,
    ) -> Registration {
        let id = info.id;
        self.open.insert(id, Connection { info, control });
        Registration {
            connections: Arc::clone(self),
            id,
        }
    }

    /// All of them, in the order in which they were opened.
    pub fn list(&self) -> Vec<Connection> {
        let mut all: Vec<Connection> = self
            .open
            .iter()
            .map(|entry| entry.value().clone())
            .collect();
        all.sort_by_key(|connection| connection.info.id);
        all
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Asks those that `concerns` picks to close with 320 `CONNECTION_FORCED - reason`; how many they were.
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

/// The place of one connection in the registry.
pub struct Registration {
    connections: Arc<Connections>,
    id: ConnectionId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.connections.open.remove(&self.id);
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
