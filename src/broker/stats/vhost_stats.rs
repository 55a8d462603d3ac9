//! What the clients of one virtual host do, by protocol and queue type.

use super::counter::Counter;
use super::message_stats::{
    DeathCounters, Deaths, HandedOut, HandedOutCounters, MessageStats, Published, PublishedCounters,
};
use super::sizes::{SizeCounters, Sizes};
use crate::model::arguments::QueueKind;

/// The protocols of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Amqp,
    Cmq,
}

impl Protocol {
    pub const ALL: [Protocol; 2] = [Protocol::Amqp, Protocol::Cmq];

    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Amqp => "amqp091",
            Protocol::Cmq => "cmq",
        }
    }
}

/// One value per protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ByProtocol<T> {
    amqp: T,
    cmq: T,
}

/// One value per queue type.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ByKind<T> {
    classic: T,
    quorum: T,
    stream: T,
}

impl<T> ByProtocol<T> {
    pub fn of(&self, protocol: Protocol) -> &T {
        match protocol {
            Protocol::Amqp => &self.amqp,
            Protocol::Cmq => &self.cmq,
        }
    }

    fn of_mut(&mut self, protocol: Protocol) -> &mut T {
        match protocol {
            Protocol::Amqp => &mut self.amqp,
            Protocol::Cmq => &mut self.cmq,
        }
    }
}

impl<T> ByKind<T> {
    pub fn of(&self, kind: QueueKind) -> &T {
        match kind {
            QueueKind::Classic => &self.classic,
            QueueKind::Quorum => &self.quorum,
            QueueKind::Stream => &self.stream,
        }
    }

    fn of_mut(&mut self, kind: QueueKind) -> &mut T {
        match kind {
            QueueKind::Classic => &mut self.classic,
            QueueKind::Quorum => &mut self.quorum,
            QueueKind::Stream => &mut self.stream,
        }
    }
}

/// What the clients of one virtual host do. They count here batch by batch.
#[derive(Debug, Default)]
pub struct VhostStats {
    published: ByProtocol<PublishedCounters>,
    sizes: ByProtocol<SizeCounters>,
    handed_out: ByProtocol<ByKind<HandedOutCounters>>,
    dead_lettered: ByKind<DeathCounters>,
    dropped: ByKind<DeathCounters>,
    pub disk_reads: Counter,
    pub disk_writes: Counter,
    /// Bytes that AMQP clients have sent and been sent.
    pub received_bytes: Counter,
    pub sent_bytes: Counter,
    /// Rewinds, and messages that they made ready again.
    pub rewinds: Counter,
    pub rewound: Counter,
}

/// The numbers of a virtual host, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    pub published: ByProtocol<Published>,
    pub sizes: ByProtocol<Sizes>,
    pub handed_out: ByProtocol<ByKind<HandedOut>>,
    /// Messages that died in queues with a dead letter exchange, and in others.
    pub dead_lettered: ByKind<Deaths>,
    pub dropped: ByKind<Deaths>,
    pub disk_reads: u64,
    pub disk_writes: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub rewinds: u64,
    pub rewound: u64,
}

impl VhostStats {
    /// Counts a batch of publishes.
    pub fn count_published(&self, protocol: Protocol, published: &Published, sizes: &Sizes) {
        self.published.of(protocol).add(published);
        self.sizes.of(protocol).add(sizes);
    }

    /// Counts what a queue of this type has handed out.
    pub fn count_handed_out(&self, protocol: Protocol, kind: QueueKind, handed_out: &HandedOut) {
        self.handed_out.of(protocol).of(kind).add(handed_out);
    }

    /// Counts messages that died in a queue of this type: those with a dead letter, and those without.
    pub fn count_deaths(&self, kind: QueueKind, dead_lettered: &Deaths, dropped: &Deaths) {
        self.dead_lettered.of(kind).add(dead_lettered);
        self.dropped.of(kind).add(dropped);
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            disk_reads: self.disk_reads.get(),
            disk_writes: self.disk_writes.get(),
            received_bytes: self.received_bytes.get(),
            sent_bytes: self.sent_bytes.get(),
            rewinds: self.rewinds.get(),
            rewound: self.rewound.get(),
            ..Totals::default()
        };
        for kind in QueueKind::ALL {
            *totals.dead_lettered.of_mut(kind) = self.dead_lettered.of(kind).get();
            *totals.dropped.of_mut(kind) = self.dropped.of(kind).get();
        }
        for protocol in Protocol::ALL {
            *totals.published.of_mut(protocol) = self.published.of(protocol).get();
            *totals.sizes.of_mut(protocol) = self.sizes.of(protocol).get();
            for kind in QueueKind::ALL {
                let counters = self.handed_out.of(protocol).of(kind);
                *totals.handed_out.of_mut(protocol).of_mut(kind) = counters.get();
            }
        }
        totals
    }
}

impl Totals {
    pub fn messages(&self) -> MessageStats {
        let mut stats = MessageStats {
            disk_reads: self.disk_reads,
            disk_writes: self.disk_writes,
            ..MessageStats::default()
        };
        for protocol in Protocol::ALL {
            stats.add_published(self.published.of(protocol));
            for kind in QueueKind::ALL {
                stats.add_handed_out(self.handed_out.of(protocol).of(kind));
            }
        }
        stats
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        for protocol in Protocol::ALL {
            *self.published.of_mut(protocol) += *other.published.of(protocol);
            *self.sizes.of_mut(protocol) += *other.sizes.of(protocol);
            for kind in QueueKind::ALL {
                let own = self.handed_out.of_mut(protocol).of_mut(kind);
                *own += *other.handed_out.of(protocol).of(kind);
            }
        }
        for kind in QueueKind::ALL {
            *self.dead_lettered.of_mut(kind) += *other.dead_lettered.of(kind);
            *self.dropped.of_mut(kind) += *other.dropped.of(kind);
        }
        self.disk_reads += other.disk_reads;
        self.disk_writes += other.disk_writes;
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        self.rewinds += other.rewinds;
        self.rewound += other.rewound;
    }
}
