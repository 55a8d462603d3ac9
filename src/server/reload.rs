//! Reads the configuration again while the broker runs. Live options hold from then on; others are named, and wait for the
//! next start. An invalid configuration changes nothing.

use std::num::NonZeroU16;

use tracing::{error, info, warn};

use super::process::{Now, Process};
use super::{RunningServer, settings};
use crate::config::{Change, Config, ConfigError, RawConfig, Reading, Reload, Sources, changes};
use crate::{logging, memory};

/// Knows where the configuration comes from, and what holds.
#[derive(Debug)]
pub struct Reloader {
    sources: Sources,
    holds: RawConfig,
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
        self.holds.take_live(reading.raw);
        match Config::from_raw(&self.holds) {
            // Before the live options: a broker that begins meanwhile has them, too.
            Ok(holds) => server.process.set_config(holds),
            Err(error) => error!("the next broker of this process begins as before: {error}"),
        }
        for change in changes {
            match change.option.reload {
                Reload::Live => {
                    apply(&server.process, change.option.field, config);
                    info!("configuration: {change}");
                }
                Reload::Restart => warn!("configuration: {change}"),
            }
        }
        let shown = &server.process.shown.configuration;
        shown.send_replace(self.holds.shown_settings().into());
        info!(changes = changes.len(), "configuration reloaded");
    }
}

/// Who takes a live option.
enum Taker {
    /// The process.
    Process(fn(&Process, &Config)),
    /// The broker and its front door, if it runs here now.
    Running(fn(&Now, &Config)),
}

/// How each live option takes its value.
const APPLIES: &[(&str, Taker)] = &[
    ("heartbeat", Taker::Running(set_tuning)),
    ("frame_max", Taker::Running(set_tuning)),
    (
        "channel_max",
        Taker::Running(|now, config| {
            if let Some(channel_max) = NonZeroU16::new(config.channel_max) {
                now.amqp.set_channel_max(channel_max);
            }
        }),
    ),
    (
        "connection_max",
        Taker::Running(|now, config| {
            now.amqp
                .set_connection_max(settings::connection_max(config));
        }),
    ),
    ("connection_max", Taker::Process(show_amqp_limits)),
    (
        "memory_high_watermark",
        Taker::Process(|process, config| {
            process.memory.set_watermark(config.memory_high_watermark);
        }),
    ),
    (
        "disk_free_limit",
        Taker::Running(|now, config| {
            let bytes = config.disk_free_limit.bytes(memory::total_bytes());
            now.broker.committer().set_disk_free_min(bytes);
        }),
    ),
    (
        "loopback_users",
        Taker::Running(|now, config| {
            let users = config.loopback_users.clone();
            now.broker.users().set_loopback_users(users);
        }),
    ),
    (
        "consumer_timeout",
        Taker::Running(|now, config| {
            now.amqp.set_consumer_timeout(config.consumer_timeout);
        }),
    ),
    ("consumer_timeout", Taker::Process(show_amqp_limits)),
    (
        "log_level",
        Taker::Process(|_, config| {
            logging::set_level(Some(config.log_level));
        }),
    ),
];

fn set_tuning(now: &Now, config: &Config) {
    now.amqp.set_tuning(config.heartbeat, config.frame_max);
}

fn show_amqp_limits(process: &Process, config: &Config) {
    let shown = &process.shown.amqp_limits;
    shown.send_replace(settings::amqp_limits(config));
}

fn apply(process: &Process, field: &str, config: &Config) {
    let now = process.now();
    for (_, taker) in APPLIES.iter().filter(|(name, _)| *name == field) {
        match (taker, &now) {
            (Taker::Process(apply), _) => apply(process, config),
            (Taker::Running(apply), Some(now)) => apply(now, config),
            (Taker::Running(_), None) => {}
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
        let mut applied: Vec<&str> = APPLIES.iter().map(|(field, _)| *field).collect();
        applied.dedup();
        assert_eq!(live, applied);
    }
}
