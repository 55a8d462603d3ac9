//! The arguments that hold for a queue: those of its declaration, overridden by an operator's settings.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::RwLockReadGuard;

use crate::model::QueueOverrides;
use crate::model::arguments::QueueArguments;

use super::shell::Queue;

/// What was said of the queue since it was declared, and what holds by that.
pub(super) struct Settings {
    pub(super) overrides: QueueOverrides,
    pub(super) effective: Arc<QueueArguments>,
}

impl Queue {
    /// What was said of it since it was declared.
    pub fn overrides(&self) -> QueueOverrides {
        self.settings().overrides.clone()
    }

    /// What holds for it: its arguments as they were declared, but for its overrides.
    pub fn arguments(&self) -> Arc<QueueArguments> {
        Arc::clone(&self.settings().effective)
    }

    /// Other overrides hold from now on. They are not written: see `Vhost::set_queue_overrides`.
    pub(in crate::broker) fn reconfigure(&self, overrides: QueueOverrides) {
        let effective = overrides.apply(&self.spec.arguments);
        {
            let mut settings = self.settings.write();
            settings.overrides = overrides;
            settings.effective = Arc::clone(&effective);
        }
        let dead_letters = effective.dead_letter_exchange.is_some();
        self.dead_letters.store(dead_letters, Ordering::Release);
        self.run(|state, now_ms, fx| {
            state.set_arguments(effective, now_ms);
            // What was kept and is not any more goes from the disk at once.
            if let Some(state) = state.work() {
                state.sweep(fx);
            }
        });
    }

    pub(super) fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read()
    }
}
