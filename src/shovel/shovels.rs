//! All dynamic shovels of a broker: one task each, started, stopped and replaced as their definitions change.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::link::LocalDoor;
use super::status::ShovelStatus;
use super::worker::{Outcome, Worker};
use crate::broker::broker::Broker;
use crate::broker::parameters::{ParameterError, ShovelKey};
use crate::model::shovel::{Protection, ShovelDefinition};

pub struct Shovels {
    broker: Arc<Broker>,
    /// Set when shovels may run.
    local: OnceLock<Arc<dyn LocalDoor>>,
    running: Mutex<BTreeMap<ShovelKey, Running>>,
    /// Held while shovels are started and stopped.
    turn: tokio::sync::Mutex<Phase>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Runs,
    /// No shovel starts again.
    Stopped,
}

/// Whether a deletion overrides the shovel's protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    No,
    Yes,
}

struct Running {
    /// The definition that the worker follows.
    value: Arc<Value>,
    worker: Arc<Worker>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Shovels {
    /// None runs before [`Shovels::follow`].
    pub fn new(broker: Arc<Broker>) -> Arc<Shovels> {
        Arc::new(Shovels {
            broker,
            local: OnceLock::new(),
            running: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Follows the definitions until this future is dropped; see [`Shovels::stop`]. Shovels reach this broker through
    /// `local`.
    pub async fn follow(self: Arc<Shovels>, local: Arc<dyn LocalDoor>) {
        // A second caller would follow the same definitions.
        if self.local.set(local).is_err() {
            return;
        }
        let mut changes = self.broker.shovels().changes();
        loop {
            changes.mark_unchanged();
            let phase = self.turn.lock().await;
            self.adjust(*phase).await;
            drop(phase);
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Stops all shovels for good: each waits a little for confirms, and closes its connections.
    pub async fn stop(&self) {
        let mut phase = self.turn.lock().await;
        *phase = Phase::Stopped;
        let all = std::mem::take(&mut *self.running.lock());
        end_all(all.into_values().collect()).await;
    }

    /// All shovels, ordered by virtual host and name.
    pub fn list(&self) -> Vec<ShovelStatus> {
        let running = self.running.lock();
        running
            .values()
            .map(|running| running.worker.status())
            .collect()
    }

    pub fn get(&self, vhost: &str, name: &str) -> Option<ShovelStatus> {
        let running = self.running.lock();
        let found = running.get(&(vhost.into(), name.into()))?;
        Some(found.worker.status())
    }

    /// Stops a shovel and starts it anew; false if there is none.
    pub async fn restart(self: &Arc<Shovels>, vhost: &str, name: &str) -> bool {
        let key: ShovelKey = (vhost.into(), name.into());
        let phase = self.turn.lock().await;
        let Some(old) = self.running.lock().remove(&key) else {
            return false;
        };
        tracing::info!(shovel = name, vhost, "shovel is restarted");
        end_all(vec![old]).await;
        self.adjust(*phase).await;
        true
    }

    /// Removes the definition of a shovel; false if there is none.
    pub async fn delete(
        &self,
        vhost: &str,
        name: &str,
        force: Force,
    ) -> Result<bool, ParameterError> {
        let Some(value) = self.broker.shovels().get(vhost, name) else {
            return Ok(false);
        };
        let definition = ShovelDefinition::parse(name, &value).ok();
        match (force, definition.map(|definition| definition.protection)) {
            (Force::No, Some(Protection::Internal(owner))) => Err(ParameterError::Protected {
                vhost: vhost.into(),
                name: name.into(),
                owner,
            }),
            (Force::No | Force::Yes, _) => self.broker.shovels().clear(vhost, name, None).await,
        }
    }

    /// Starts, stops and replaces shovels, so that those run that are defined.
    async fn adjust(self: &Arc<Shovels>, phase: Phase) {
        let defined: BTreeMap<_, _> = self.broker.shovels().list().into_iter().collect();
        let outdated: Vec<Running> = {
            let mut running = self.running.lock();
            let is_outdated = |key: &ShovelKey, running: &mut Running| {
                let value = defined.get(key);
                !value.is_some_and(|value| Arc::ptr_eq(value, &running.value))
            };
            running
                .extract_if(.., is_outdated)
                .map(|(_, running)| running)
                .collect()
        };
        // A shovel's successor starts when its connections are closed, so messages are not consumed twice.
        end_all(outdated).await;
        let (Phase::Runs, Some(local)) = (phase, self.local.get()) else {
            return;
        };
        let mut running = self.running.lock();
        for (key, value) in defined {
            if running.contains_key(&key) {
                continue;
            }
            match ShovelDefinition::parse(&key.1, &value) {
                Ok(definition) => {
                    let started = self.start(key.clone(), value, definition, local);
                    running.insert(key, started);
                }
                Err(error) => {
                    let (vhost, name) = &key;
                    tracing::error!(shovel = %name, %vhost, "the stored definition is invalid: {error}");
                }
            }
        }
    }

    fn start(
        self: &Arc<Shovels>,
        key: ShovelKey,
        value: Arc<Value>,
        definition: ShovelDefinition,
        local: &Arc<dyn LocalDoor>,
    ) -> Running {
        let (broker, local) = (Arc::clone(&self.broker), Arc::clone(local));
        let worker = Arc::new(Worker::new(key, definition, Arc::clone(&broker), local));
        let (stop, stopped) = watch::channel(false);
        let (shovel, defined) = (Arc::clone(&worker), Arc::clone(&value));
        let task = tokio::spawn(async move {
            let outcome = shovel.run(stopped).await;
            let (vhost, name) = &shovel.key;
            match outcome {
                Outcome::Ended => {}
                Outcome::Complete => {
                    tracing::info!(shovel = %name, %vhost, "shovel is complete and deletes itself");
                    let cleared = broker.shovels().clear(vhost, name, Some(&defined)).await;
                    if let Err(error) = cleared {
                        tracing::error!(shovel = %name, %vhost, %error, "cannot delete a complete shovel");
                    }
                }
            }
        });
        Running {
            value,
            worker,
            stop,
            task,
        }
    }
}

/// Stops shovels together, and waits until they have closed their connections.
async fn end_all(running: Vec<Running>) {
    for one in &running {
        one.stop.send_replace(true);
    }
    for one in running {
        if let Err(error) = one.task.await {
            tracing::error!(%error, "the task of a shovel has failed");
        }
    }
}
