//! Connections and channels.

use std::sync::Arc;

use super::history::Subject;
use super::sources::Views;
use crate::broker::connections::{ChannelStatus, Connection, ConnectionInfo, ConnectionStatus};
use crate::clock::Moment;
use crate::model::ConnectionId;

/// An open connection.
#[derive(Clone, Debug)]
pub struct ConnectionView {
    pub info: Arc<ConnectionInfo>,
    pub status: ConnectionStatus,
}

/// An open channel.
#[derive(Clone, Debug)]
pub struct ChannelView {
    pub connection: Arc<ConnectionInfo>,
    pub status: ChannelStatus,
}

/// A queue or channel is idle when nothing has happened in it for so long.
const IDLE_AFTER_MS: u64 = 1_000;

/// Names a channel of an open connection.
#[derive(Clone, Debug)]
pub struct ChannelRef {
    pub connection: Arc<ConnectionInfo>,
    pub number: u16,
}

impl ConnectionView {
    fn of(connection: &Connection) -> ConnectionView {
        ConnectionView {
            info: Arc::clone(&connection.info),
            status: connection.status(),
        }
    }

    /// Names it for its history.
    pub fn subject(&self) -> Subject {
        Subject::Connection(self.info.id)
    }

    /// Its channels, ordered by number.
    pub fn channels(&self) -> impl Iterator<Item = ChannelView> + '_ {
        self.status.channels.iter().map(|status| ChannelView {
            connection: Arc::clone(&self.info),
            status: status.clone(),
        })
    }
}

impl ChannelView {
    /// Names it for its history.
    pub fn subject(&self) -> Subject {
        Subject::Channel(self.connection.id, self.status.number)
    }

    /// RabbitMQ's form: the connection's name, then the channel's number in parentheses.
    pub fn name(&self) -> String {
        channel_name(&self.connection, self.status.number)
    }

    /// The opaque "process id".
    pub fn pid(&self) -> String {
        self.connection.channel_pid(self.status.number)
    }
}

impl Views {
    /// Since when something is idle that was last active then: Unix milliseconds. `None` if it is not idle.
    pub fn idle_since_ms(&self, last_active: Moment) -> Option<u64> {
        let clock = self.broker().clock();
        let is_idle = clock.now_ms().saturating_sub(last_active.ms()) >= IDLE_AFTER_MS;
        is_idle.then(|| clock.wall_ms_at(last_active))
    }
}

impl ChannelRef {
    /// As [`ChannelView::name`].
    pub fn name(&self) -> String {
        channel_name(&self.connection, self.number)
    }

    /// The opaque "process id".
    pub fn pid(&self) -> String {
        self.connection.channel_pid(self.number)
    }
}

fn channel_name(connection: &ConnectionInfo, number: u16) -> String {
    format!("{} ({number})", connection.name())
}

impl Views {
    /// All connections, in the order in which they were opened.
    pub fn connections(&self) -> Vec<ConnectionView> {
        let all = self.broker.connections().list();
        all.iter().map(ConnectionView::of).collect()
    }

    /// A connection by its name.
    pub fn connection(&self, name: &str) -> Option<ConnectionView> {
        let all = self.broker.connections().list();
        let found = all.iter().find(|connection| connection.info.name() == name);
        found.map(ConnectionView::of)
    }

    /// The channels of all connections.
    pub fn channels(&self) -> Vec<ChannelView> {
        let all = self.connections();
        all.iter().flat_map(ConnectionView::channels).collect()
    }

    /// A channel by its name.
    pub fn channel(&self, name: &str) -> Option<ChannelView> {
        let (connection, _) = name.rsplit_once(" (")?;
        let connection = self.connection(connection)?;
        connection.channels().find(|channel| channel.name() == name)
    }

    pub(super) fn connection_info(&self, id: ConnectionId) -> Option<Arc<ConnectionInfo>> {
        self.broker.connections().info(id)
    }

    pub(super) fn channel_ref(&self, id: ConnectionId, number: u16) -> Option<ChannelRef> {
        let connection = self.connection_info(id)?;
        Some(ChannelRef { connection, number })
    }
}
