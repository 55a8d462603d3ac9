//! Reads the configuration again while the broker runs. Live options hold from then on; others are named, and wait for the
//! next start. An invalid configuration changes nothing.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::{RunningServer, settings};
use crate::broker::broker::Broker;
use crate::config::{Change, Config, ConfigError, RawConfig, Reading, Reload, Sources, changes};
use crate::memory::{self, MemoryMonitor};
use crate::views::AmqpLimits;
use crate::{amqp, logging};

/// Knows where the configuration comes from, and what holds.
#[derive(Debug)]
pub struct Reloader {
    sources: Sources,
    holds: RawConfig,
}

/// What takes live options.
pub(super) struct Live {
    pub(super) broker: Arc<Broker>,
    pub(super) memory: Arc<MemoryMonitor>,
    pub(super) amqp: Arc<amqp::Front>,
    /// What operators see.
    pub(super) amqp_limits: watch::Sender<AmqpLimits>,
}

impl Reloader {
    /// `holds` is what the sources said when the broker started.
    pub fn new(sources: Sources, holds: RawConfig) -> Reloader {
        Reloader { sources, holds }
    }

    /// Reads all sources, applies what can change, and logs each change.
    pub fn reload(&mut self, server: &RunningServer, environment: impl Fn(&str) -> Option<String>) {
        match self.read(environment) {
            Ok((reading, config, changes)) => {
                for warning in &reading.warnings {
                    warn!("{warning}");
                }
                self.apply(server, reading, &config, &changes);
            }
            Err(error) => {
                error!("the configuration was not reloaded, and the old one holds: {error}")
            }
        }
    }

    fn read(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<(Reading, Config, Vec<Change>), ConfigError> {
        let reading = self.sources.read(environment)?;
        let config = reading.config()?;
        let changes = changes(&self.holds, &reading.raw)?;
        Ok((reading, config, changes))
    }

    fn apply(
        &mut self,
        server: &RunningServer,
        reading: Reading,
        config: &Config,
        changes: &[Change],
    ) {
        for change in changes {
            match change.option.reload {
                Reload::Live => {
                    server.live.apply(change.option.field, config);
                    info!("configuration: {change}");
                }
                Reload::Restart => warn!("configuration: {change}"),
            }
        }
        self.holds.take_live(reading.raw);
        server
            .configuration
            .send_replace(self.holds.shown_settings().into());
        info!(changes = changes.len(), "configuration reloaded");
    }
}

type Apply = fn(&Live, &Config);

/// How each live option takes its value.
const APPLIES: &[(&str, Apply)] = &[
    ("heartbeat", |live, config| {
        live.amqp.set_tuning(config.heartbeat, config.frame_max)
    }),
    ("frame_max", |live, config| {
        live.amqp.set_tuning(config.heartbeat, config.frame_max)
    }),
    ("channel_max", |live, config| {
        if let Some(channel_max) = std::num::NonZeroU16::new(config.channel_max) {
            live.amqp.set_channel_max(channel_max);
        }
    }),
    ("connection_max", |live, config| {
        live.amqp
            .set_connection_max(settings::connection_max(config));
        live.amqp_limits.send_replace(settings::amqp_limits(config));
    }),
    ("memory_high_watermark", |live, config| {
        live.memory.set_watermark(config.memory_high_watermark)
    }),
    ("disk_free_limit", |live, config| {
        let bytes = config.disk_free_limit.bytes(memory::total_bytes());
        live.broker.committer().set_disk_free_min(bytes);
    }),
    ("loopback_users", |live, config| {
        live.broker
            .users()
            .set_loopback_users(config.loopback_users.clone());
    }),
    ("consumer_timeout", |live, config| {
        live.amqp.set_consumer_timeout(config.consumer_timeout);
        live.amqp_limits.send_replace(settings::amqp_limits(config));
    }),
    ("log_level", |_, config| {
        logging::set_level(Some(config.log_level));
    }),
];

impl Live {
    fn apply(&self, field: &str, config: &Config) {
        for (_, apply) in APPLIES.iter().filter(|(name, _)| *name == field) {
            apply(self, config);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OPTIONS;

    #[test]
    fn every_live_option_is_applied() {
        let live = OPTIONS
            .iter()
            .filter(|option| option.reload == Reload::Live);
        let live: Vec<&str> = live.map(|option| option.field).collect();
        let applied: Vec<&str> = APPLIES.iter().map(|(field, _)| *field).collect();
        assert_eq!(live, applied);
    }
}
