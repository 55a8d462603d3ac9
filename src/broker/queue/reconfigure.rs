//! Changes of a live queue's arguments: its overrides and policies, and the effective arguments with their sources.

use std::sync::Arc;

use crate::model::arguments::QueueArguments;
use crate::model::effective::{Given, Setting};
use crate::model::policy::{Applied, PolicySet, Target};
use crate::model::{Name, QueueOverrides};

use super::settings::Settings;
use super::shell::Queue;

impl Queue {
    /// What an operator or CMQ's API has set.
    pub fn overrides(&self) -> QueueOverrides {
        self.settings.read().given.overrides.clone()
    }

    /// What was given to the queue besides its declared arguments.
    pub fn given(&self) -> Given {
        self.settings.read().given.clone()
    }

    /// The policies that apply.
    pub fn policies(&self) -> Applied {
        self.settings.read().given.policies.clone()
    }

    pub fn policy_name(&self) -> Option<Name> {
        self.settings.read().given.policies.policy_name().cloned()
    }

    pub fn operator_policy_name(&self) -> Option<Name> {
        let settings = self.settings.read();
        settings.given.policies.operator_policy_name().cloned()
    }

    /// The effective arguments: those of the declaration, merged with policies and overrides.
    pub fn arguments(&self) -> Arc<QueueArguments> {
        Arc::clone(&self.settings.read().effective)
    }

    /// Every value that was given and holds, with its source.
    pub fn effective(&self) -> Vec<Setting> {
        self.given().settings(&self.spec.arguments)
    }

    /// Applies other overrides, without writing them: see `Vhost::set_queue_overrides`.
    pub(in crate::broker) fn set_overrides(&self, overrides: QueueOverrides) {
        self.change_settings(|settings| {
            let policies = settings.given.policies.clone();
            let given = Given {
                policies,
                overrides,
            };
            Some((given, settings.policies_version))
        });
    }

    /// Applies the policies of the virtual host, unless the queue has later ones.
    pub(in crate::broker) fn apply_policies(&self, set: &PolicySet) {
        if self.settings.read().policies_version >= set.version() {
            return;
        }
        let target = Target::Queue(self.spec.arguments.kind);
        let policies = set.applied_to(&self.spec.name, target);
        self.change_settings(|settings| {
            if settings.policies_version >= set.version() {
                return None;
            }
            settings.policies_version = set.version();
            let overrides = settings.given.overrides.clone();
            let given = Given {
                policies,
                overrides,
            };
            Some((given, set.version()))
        });
    }

    /// Replaces what the queue was given, and does what is due then. Settings and machine change under one lock, so
    /// that the last of two concurrent changes holds in both.
    fn change_settings(&self, change: impl FnOnce(&mut Settings) -> Option<(Given, u64)>) {
        let is_expired = self.run(|machine, now_ms, fx| {
            let mut settings = self.settings.write();
            let changed = change(&mut settings).filter(|(given, _)| *given != settings.given);
            let Some((given, version)) = changed else {
                return false;
            };
            *settings = Settings::new(given, version, &self.spec.arguments);
            let arguments = Arc::clone(&settings.effective);
            drop(settings);
            machine.reconfigure(now_ms, arguments, fx);
            machine.is_expired(now_ms)
        });
        self.loaded.notify_waiters();
        if is_expired == Some(true) {
            self.tell_owner(|owner, queue| owner.queue_expired(queue));
        }
    }
}
