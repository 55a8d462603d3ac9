//! A run from its start to the report.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use super::carry::Entrance;
use super::definitions::{self, LeftOut, Scope, TargetKind};
use super::error::MigrateError;
use super::inventory::{self, SourceQueue, is_chosen};
use super::limits::SAVE_EVERY;
use super::management::Management;
use super::mover::Mover;
use super::options::{Options, Steps};
use super::report::{QueueReport, Report, Verdict, compare, table};
use super::show::Show;
use super::state::{Both, QueueKey, StateFile};
use super::tallies::tallies;
use super::workers::{Failures, move_all};

/// Exit codes: a run that could not begin or end, and one whose counts do not agree.
const FAILED: u8 = 2;
const DIFFERS: u8 = 1;
/// How long the statistics of a management API may take to show what has happened. RabbitMQ's come every 5 s.
const STATISTICS_WAIT: Duration = Duration::from_secs(15);
const STATISTICS_POLL: Duration = Duration::from_millis(500);
/// Only Leveret answers this.
const LEVERET_PATH: &str = "api/leveret/streams";

/// Runs a migration. Prints progress to standard error, and the report to standard output.
pub fn run(options: Options) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(Migration::run(options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DIFFERS),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    // Without standard error the exit code says it.
    drop(writeln!(stderr(), "leveret migrate: {error}"));
    ExitCode::from(FAILED)
}

struct Migration {
    options: Options,
    source: Arc<Management>,
    target: Management,
    target_kind: TargetKind,
    state: Arc<StateFile>,
    show: Arc<Show>,
}

impl Migration {
    /// Returns whether all counts agree.
    async fn run(options: Options) -> Result<bool, MigrateError> {
        let source = Arc::new(Management::new(&options.from_management)?);
        let target = Management::new(&options.to_management)?;
        let target_kind = kind_of(&target).await?;
        let (from, to) = (options.from.to_string(), options.to.to_string());
        let migration = Migration {
            state: Arc::new(StateFile::open(options.state.clone(), &from, &to)?),
            options,
            source,
            target,
            target_kind,
            show: Arc::new(Show::new()),
        };
        migration.check_rights().await?;
        let left_out = migration.copy_definitions().await?;
        let queues = migration.chosen_queues().await?;
        let failures = match migration.options.steps {
            Steps::DefinitionsOnly => return Ok(true),
            Steps::DryRun => {
                migration.say_queues(&queues)?;
                return Ok(true);
            }
            Steps::All | Steps::MessagesOnly => migration.move_messages(&queues).await?,
        };
        migration.conclude(&queues, left_out, &failures).await
    }

    /// Restoring messages takes an administrator. Elsewhere messages with another user's id take an impersonator.
    async fn check_rights(&self) -> Result<(), MigrateError> {
        let whoami = self.target.get("api/whoami").await?;
        let has_tag = |tag: &str| match whoami.get("tags") {
            Some(Value::Array(tags)) => tags.iter().any(|own| own == tag),
            Some(Value::String(tags)) => tags.split(',').any(|own| own == tag),
            Some(_) | None => false,
        };
        match self.target_kind {
            TargetKind::Leveret if !has_tag("administrator") => {
                Err(MigrateError::NoAdministrator(self.target.user.clone()))
            }
            TargetKind::Other if !has_tag("impersonator") => {
                self.show.say(&format!(
                    "user '{}' of the target lacks the tag impersonator: messages with another user-id will be refused",
                    self.target.user
                ));
                Ok(())
            }
            TargetKind::Leveret | TargetKind::Other => Ok(()),
        }
    }

    async fn copy_definitions(&self) -> Result<Vec<LeftOut>, MigrateError> {
        match self.options.steps {
            Steps::MessagesOnly => return Ok(Vec::new()),
            Steps::All if self.state.definitions_copied() => {
                self.show.say("definitions: copied by an earlier run");
                return Ok(Vec::new());
            }
            Steps::All | Steps::DefinitionsOnly | Steps::DryRun => {}
        }
        let mut document = self.source.get("api/definitions").await?;
        let scope = Scope {
            vhosts: &self.options.vhosts,
            login: &self.target.user,
            target: self.target_kind,
        };
        let mut left_out = definitions::prepare(&mut document, &scope);
        self.show
            .say(&format!("definitions: {}", definitions::summary(&document)));
        if self.options.steps != Steps::DryRun {
            let answer = self.target.post("api/definitions", &document).await?;
            left_out.extend(definitions::not_imported(answer.as_ref()));
            self.state.set_definitions_copied();
            self.state.save()?;
        }
        for LeftOut {
            category,
            vhost,
            name,
            reason,
        } in &left_out
        {
            self.show.say(&format!(
                "not copied: {category} '{name}' in vhost '{vhost}': {reason}"
            ));
        }
        Ok(left_out)
    }

    async fn chosen_queues(&self) -> Result<Vec<SourceQueue>, MigrateError> {
        let rows = self.source.get(inventory::PATH).await?;
        let mut queues = inventory::queues(&rows).map_err(|why| MigrateError::Answer {
            what: inventory::PATH.to_owned(),
            why,
        })?;
        let names = self.options.queues.as_ref();
        queues.retain(|queue| is_chosen(queue, &self.options.vhosts, names));
        Ok(queues)
    }

    fn say_queues(&self, queues: &[SourceQueue]) -> Result<(), MigrateError> {
        let mut out = String::new();
        for queue in queues {
            let what = match queue.obstacle {
                Some(obstacle) => format!("not moved: {obstacle}"),
                None => format!(
                    "{} messages, {} of them unacked, {} consumers",
                    queue.messages, queue.unacked, queue.consumers
                ),
            };
            let kind = format!("{:?}", queue.kind).to_lowercase();
            out.push_str(&format!(
                "{} {} ({kind}): {what}\n",
                queue.vhost, queue.name
            ));
        }
        Ok(stdout().write_all(out.as_bytes())?)
    }

    async fn move_messages(&self, queues: &[SourceQueue]) -> Result<Failures, MigrateError> {
        let movable: Vec<_> = movable(queues).cloned().collect();
        self.note_before(&movable).await?;
        let (stop, stopped) = watch::channel(false);
        let show = Arc::clone(&self.show);
        let mover = Arc::new(Mover {
            management: Arc::clone(&self.source),
            from: self.options.from.clone(),
            to: self.options.to.clone(),
            entrance: match self.target_kind {
                TargetKind::Leveret => Entrance::Restore,
                TargetKind::Other => Entrance::Default,
            },
            prefetch: self.options.prefetch,
            state: Arc::clone(&self.state),
            stop: stopped,
            say: Box::new(move |line| show.say(line)),
        });
        let total = self.total(&movable);
        let moving = move_all(&mover, movable, self.options.end, self.options.parallel);
        tokio::pin!(moving);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut signals = 0;
        let failures = loop {
            tokio::select! {
                failures = &mut moving => break failures,
                // A target that confirms nothing would hold up the end for ever: the second signal does not wait for it.
                _ = interrupt.recv() => signals += 1,
                _ = terminate.recv() => signals += 1,
                () = sleep(SAVE_EVERY) => {
                    self.state.save()?;
                    self.show.progress(self.state.confirmed(), total);
                }
            }
            match signals {
                0 => {}
                // The workers hold receivers until they end.
                1 => drop(stop.send(true)),
                _ => {
                    self.state.save()?;
                    return Err(MigrateError::Interrupted);
                }
            }
        };
        self.state.save()?;
        self.show.end();
        Ok(failures)
    }

    /// What the source had at first, for the bar.
    fn total(&self, queues: &[SourceQueue]) -> u64 {
        let before = |queue: &SourceQueue| {
            let state = self.state.queue(&QueueKey::new(&queue.vhost, &queue.name));
            state.before.unwrap_or_default().source.messages
        };
        queues.iter().map(before).sum()
    }

    /// Notes what both brokers have of queues that are new to this migration.
    async fn note_before(&self, queues: &[SourceQueue]) -> Result<(), MigrateError> {
        let now = self.tallies(queues).await?;
        for (key, both) in now {
            self.state.change(&key, |queue| {
                queue.before.get_or_insert(both);
            });
        }
        self.state.save()
    }

    async fn tallies(
        &self,
        queues: &[SourceQueue],
    ) -> Result<BTreeMap<QueueKey, Both>, MigrateError> {
        let source = tallies(&self.source, &self.options.from, queues).await?;
        let mut target = tallies(&self.target, &self.options.to, queues).await?;
        let both = source.into_iter().map(|(key, source)| {
            let target = target.remove(&key).unwrap_or_default();
            (key, Both { source, target })
        });
        Ok(both.collect())
    }

    /// Compares the counts when the statistics show what has happened, and reports.
    async fn conclude(
        &self,
        queues: &[SourceQueue],
        left_out: Vec<LeftOut>,
        failures: &Failures,
    ) -> Result<bool, MigrateError> {
        let moved: Vec<_> = movable(queues).cloned().collect();
        let since = Instant::now();
        let report = loop {
            let after = self.tallies(&moved).await?;
            let report = self.report(queues, left_out.clone(), failures, &after);
            if report.agrees || since.elapsed() > STATISTICS_WAIT || !failures.is_empty() {
                break report;
            }
            sleep(STATISTICS_POLL).await;
        };
        if let Some(path) = &self.options.report {
            let text = serde_json::to_string_pretty(&report).unwrap_or_default();
            fs::write(path, text).map_err(|error| MigrateError::Report {
                path: path.clone(),
                error,
            })?;
        }
        stdout().write_all(table(&report).as_bytes())?;
        Ok(report.agrees)
    }

    fn report(
        &self,
        queues: &[SourceQueue],
        left_out: Vec<LeftOut>,
        failures: &Failures,
        after: &BTreeMap<QueueKey, Both>,
    ) -> Report {
        let queues: Vec<_> = queues
            .iter()
            .map(|queue| {
                let key = QueueKey::new(&queue.vhost, &queue.name);
                let state = self.state.queue(&key);
                let after = after.get(&key).copied().unwrap_or_default();
                let verdict = match (queue.obstacle, failures.get(&key)) {
                    (Some(obstacle), _) => Verdict::Skipped(obstacle.to_owned()),
                    (None, Some(failure)) => Verdict::Failed(failure.clone()),
                    (None, None) => compare(queue.kind, &state, &after),
                };
                QueueReport {
                    vhost: queue.vhost.clone(),
                    name: queue.name.clone(),
                    kind: queue.kind,
                    state,
                    after,
                    verdict,
                }
            })
            .collect();
        Report {
            from: self.options.from.to_string(),
            to: self.options.to.to_string(),
            agrees: queues.iter().all(|queue| queue.verdict.is_fine()),
            left_out,
            queues,
        }
    }
}

fn movable(queues: &[SourceQueue]) -> impl Iterator<Item = &SourceQueue> {
    queues.iter().filter(|queue| queue.obstacle.is_none())
}

async fn kind_of(target: &Management) -> Result<TargetKind, MigrateError> {
    match target.get(LEVERET_PATH).await {
        Ok(_) => Ok(TargetKind::Leveret),
        Err(MigrateError::Refused {
            status: StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED,
            ..
        }) => Ok(TargetKind::Other),
        Err(error) => Err(error),
    }
}
