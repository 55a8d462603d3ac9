//! The alarms that block publishers: memory and disk. The monitor of a resource sets its alarm here, and an operator may set
//! it too: it is on while either wants it. Connections subscribe.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// A resource with an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Memory,
    Disk,
}

/// Which alarms are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    /// Resident memory is above its watermark.
    pub memory: bool,
    /// The disk failed, or has too little free space.
    pub disk: bool,
}

impl Raised {
    /// Whether publishers are blocked.
    pub fn any(self) -> bool {
        self.memory || self.disk
    }

    /// The reason that `connection.blocked` gives, in RabbitMQ's words; `None` without an alarm.
    pub fn reason(self) -> Option<&'static str> {
        match (self.memory, self.disk) {
            (false, false) => None,
            (true, false) => Some("low on memory"),
            (false, true) => Some("low on disk"),
            (true, true) => Some("low on disk & memory"),
        }
    }
}

/// The broker's alarms.
#[derive(Debug, Default)]
pub struct Alarms {
    raised: watch::Sender<Raised>,
    wanted: Mutex<Wanted>,
}

/// Who wants which alarm.
#[derive(Debug, Default)]
struct Wanted {
    by_monitor: Raised,
    by_operator: Raised,
    /// In a set: so many nodes have a full disk that no majority could take what is published.
    majority_is_full: bool,
}

impl Alarms {
    /// The alarms that are on, and every change from now.
    pub fn subscribe(&self) -> watch::Receiver<Raised> {
        self.raised.subscribe()
    }

    pub fn raised(&self) -> Raised {
        *self.raised.borrow()
    }

    /// Sets the resident bytes and their limit. The memory alarm is on above the limit.
    pub fn memory_is(&self, used: u64, limit: u64) {
        let on = used > limit;
        match self.switch(|wanted| wanted.by_monitor.memory = on) {
            false => {}
            true if on => tracing::warn!(
                resource = "memory",
                used,
                limit,
                "alarm raised: publishers are blocked"
            ),
            true => tracing::info!(resource = "memory", used, limit, "alarm cleared"),
        }
    }

    /// Switches the memory alarm.
    pub fn set_memory(&self, on: bool) {
        self.memory_is(u64::from(on), 0);
    }

    /// Switches the disk alarm.
    pub fn set_disk(&self, on: bool) {
        // The committer has logged the free bytes and their limit.
        match self.switch(|wanted| wanted.by_monitor.disk = on) {
            false => {}
            true if on => {
                tracing::warn!(resource = "disk", "alarm raised: publishers are blocked");
            }
            true => tracing::info!(resource = "disk", "alarm cleared"),
        }
    }

    /// Sets whether the disks of so many nodes of the set are full that no majority could take what is published. Then the
    /// disk alarm is on, as with a full disk of its own.
    pub fn set_majority_full(&self, on: bool) {
        match self.switch(|wanted| wanted.majority_is_full = on) {
            false => {}
            true if on => {
                tracing::warn!(
                    "alarm raised: the disks of too many nodes of the set are full: publishers are blocked"
                );
            }
            true => tracing::info!("alarm cleared: a majority of the set has room on its disks"),
        }
    }

    /// Switches an alarm for an operator. It stays on while the monitor of its resource wants it.
    pub fn set_by_operator(&self, resource: Resource, on: bool) {
        self.switch(|wanted| match resource {
            Resource::Memory => wanted.by_operator.memory = on,
            Resource::Disk => wanted.by_operator.disk = on,
        });
        tracing::warn!(?resource, on, "an operator has switched an alarm");
    }

    /// True if this raises or clears an alarm.
    fn switch(&self, change: impl FnOnce(&mut Wanted)) -> bool {
        let mut wanted = self.wanted.lock();
        change(&mut wanted);
        let Wanted {
            by_monitor,
            by_operator,
            majority_is_full,
        } = &*wanted;
        let now = Raised {
            memory: by_monitor.memory || by_operator.memory,
            disk: by_monitor.disk || by_operator.disk || *majority_is_full,
        };
        self.raised.send_if_modified(|raised| {
            let changed = *raised != now;
            *raised = now;
            changed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_on_while_the_monitor_or_an_operator_wants_it() {
        let alarms = Alarms::default();
        alarms.set_by_operator(Resource::Memory, true);
        alarms.memory_is(1, 5);
        assert!(alarms.raised().memory, "the monitor does not clear it");
        alarms.memory_is(9, 5);
        alarms.set_by_operator(Resource::Memory, false);
        assert!(alarms.raised().memory, "nor the operator");
        alarms.memory_is(1, 5);
        assert!(!alarms.raised().any());
        alarms.set_by_operator(Resource::Disk, true);
        assert_eq!(alarms.raised().reason(), Some("low on disk"));
        alarms.set_majority_full(true);
        alarms.set_by_operator(Resource::Disk, false);
        assert!(alarms.raised().disk, "the set has no room");
        alarms.set_disk(false);
        assert!(alarms.raised().disk, "nor the monitor of this node's disk");
        alarms.set_majority_full(false);
        assert!(!alarms.raised().any());
    }

    #[test]
    fn changes_are_seen_once() {
        let alarms = Alarms::default();
        let mut changes = alarms.subscribe();
        alarms.set_memory(false);
        assert!(!changes.has_changed().unwrap(), "nothing has changed");
        alarms.set_memory(true);
        assert!(changes.has_changed().unwrap());
        assert_eq!(changes.borrow_and_update().reason(), Some("low on memory"));
        alarms.set_memory(true);
        assert!(!changes.has_changed().unwrap());
        alarms.set_disk(true);
        assert_eq!(alarms.raised().reason(), Some("low on disk & memory"));
        alarms.set_memory(false);
        alarms.set_disk(false);
        assert!(!alarms.raised().any());
        assert_eq!(alarms.raised().reason(), None);
    }
}
