//! The alarms that block publishers: memory and disk. The monitor of a resource sets its alarm here; connections
//! subscribe.

use tokio::sync::watch;

/// Which alarms are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        if !self.switch(|raised| std::mem::replace(&mut raised.memory, on) != on) {
            return;
        }
        if on {
            tracing::warn!(
                resource = "memory",
                used,
                limit,
                "alarm raised: publishers are blocked"
            );
        } else {
            tracing::info!(resource = "memory", used, limit, "alarm cleared");
        }
    }

    /// Switches the memory alarm.
    pub fn set_memory(&self, on: bool) {
        self.memory_is(u64::from(on), 0);
    }

    /// Switches the disk alarm.
    pub fn set_disk(&self, on: bool) {
        if !self.switch(|raised| std::mem::replace(&mut raised.disk, on) != on) {
            return;
        }
        // The committer has logged the free bytes and their limit.
        if on {
            tracing::warn!(resource = "disk", "alarm raised: publishers are blocked");
        } else {
            tracing::info!(resource = "disk", "alarm cleared");
        }
    }

    fn switch(&self, change: impl FnOnce(&mut Raised) -> bool) -> bool {
        self.raised.send_if_modified(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
