//! What operators see of a shovel.

use std::sync::Arc;

use super::progress::Numbers;
use crate::model::Name;
use crate::model::shovel::ShovelDefinition;

/// Where a shovel moves messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Ends {
    /// URIs in use, without credentials.
    pub source_uri: String,
    pub destination_uri: String,
    pub definition: Arc<ShovelDefinition>,
}

impl Ends {
    /// Queue or exchange and key of both ends, by the names of RabbitMQ's API.
    pub fn names(&self) -> Vec<(String, &str)> {
        let ends = self.definition.ends().into_iter();
        ends.map(|(key, text)| (key.replace('-', "_"), text))
            .collect()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum ShovelState {
    /// Connects to both ends.
    Starting,
    Running(Ends),
    /// Broken. It is tried again after its delay, unless that is 0.
    Terminated {
        reason: String,
    },
}

/// A shovel at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct ShovelStatus {
    pub vhost: Name,
    pub name: Name,
    pub state: ShovelState,
    /// When the state last changed, in wall-clock milliseconds.
    pub changed_ms: u64,
    pub numbers: Numbers,
}

impl ShovelStatus {
    /// The state by RabbitMQ's names: a running shovel whose destination is blocked has a name of its own.
    pub fn state_name(&self) -> &'static str {
        match &self.state {
            ShovelState::Starting => "starting",
            ShovelState::Running(_) if self.numbers.is_blocked => "blocked",
            ShovelState::Running(_) => "running",
            ShovelState::Terminated { .. } => "terminated",
        }
    }
}
