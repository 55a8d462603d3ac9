//! Publishes dead letters in steps. Each step takes some dying messages of one queue, publishes their dead
//! letters to the target queues and settles the messages, all in one batch. The command that causes the
//! deaths makes the first steps itself; for the rest the queue joins the `line`.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::broker::queue::death::Dead;
use crate::broker::queue::effects::Admission;
use crate::broker::queue::shell::{LetterRoutes, Queue};
use crate::broker::queue::spec::QueueSpec;
use crate::model::arguments::QueueKind;
use crate::model::{Message, QueueId};
use crate::store::commit::Committer;

use super::letter::{self, DeadLetter};
use super::line::LetterSource;

/// Maximum number of dying messages of one step.
const STEP_LETTERS_MAX: usize = 64;
/// Maximum number of publishes of one step: one for each dead letter and target.
const STEP_PUBLISHES_MAX: usize = 1024;
/// Maximum bytes of these publishes, and of the dying messages.
const STEP_BYTES_MAX: usize = 256 * 1024;
/// Maximum number of publishes by the command that causes the deaths. At least as many as a run of messages
/// can push out of a full queue, so that publishers do not outrun the dead letters.
const AT_ONCE_MAX: usize = 1024;
impl Queue {
    /// Waits until the dead letters of all messages that have died so far are published. Called before a
    /// queue is deleted, so that they are not lost with it.
    pub async fn letters_published(&self) {
        let deaths = || self.lock().machine.deaths();
        let (died, _) = deaths();
        loop {
            let loaded = self.loaded.notified();
            tokio::pin!(loaded);
            loaded.as_mut().enable();
            if deaths().1 >= died || self.is_deleted() {
                return;
            }
            loaded.await;
        }
    }

    /// Whether any dead letters are unpublished.
    pub fn has_letters(&self) -> bool {
        self.lock().machine.is_dying()
    }

    /// Publishes this queue's dead letters, and those that they cause in other queues, up to [`AT_ONCE_MAX`].
    /// Queues with more join the line.
    pub(in crate::broker::queue) fn send_letters(&self) {
        let services = &self.services;
        let mut left = AT_ONCE_MAX;
        let mut queues: VecDeque<Arc<Queue>> = self.me.upgrade().into_iter().collect();
        while let Some(queue) = queues.pop_front() {
            if left == 0 || services.letters.too_many(&services.committer).is_some() {
                let queue = Arc::downgrade(&queue);
                services.letters.line_up(queue);
            } else {
                left = left.saturating_sub(queue.send_some(left, &mut queues));
            }
        }
    }

    /// Publishes some of this queue's dead letters: one step. Adds queues that have dead letters afterwards
    /// to `queues`. Returns the number of publishes.
    fn send_some(&self, publishes_max: usize, queues: &mut VecDeque<Arc<Queue>>) -> usize {
        let max = publishes_max.min(STEP_LETTERS_MAX);
        let taken = {
            let mut cell = self.lock();
            cell.lined_up = false;
            cell.machine.take_letters(max, STEP_BYTES_MAX)
        };
        if taken.is_empty() {
            return 0;
        }
        // The publishes and the settled messages must be in one batch: a restart finds both or neither.
        let _one_batch = self.services.committer.batch_guard();
        let mut mail = Mail::new(self, queues);
        let mut sent = 0;
        for dead in &taken {
            if mail.publishes >= publishes_max.min(STEP_PUBLISHES_MAX)
                || mail.bytes >= STEP_BYTES_MAX
            {
                break;
            }
            mail.post(dead);
            sent += 1;
        }
        mail.deliver();
        let (publishes, bytes) = (mail.publishes, mail.bytes);
        self.services.letters.note(bytes, &self.services.committer);
        self.buried(sent, queues);
        publishes.max(sent)
    }

    /// Settles the first `count` dying messages, since their dead letters are published. A deleted queue
    /// without others then removes its logs.
    fn buried(&self, count: usize, queues: &mut VecDeque<Arc<Queue>>) {
        let applied = self.apply(self.lock(), |machine, now_ms, fx| {
            machine.bury(now_ms, count, fx);
        });
        let mut cell = self.lock();
        if cell.deleted && !cell.machine.is_dying() {
            let ops = self.remove_logs(&mut cell);
            self.services.committer.append(ops);
            self.services.letters.forget(self.spec.id);
        }
        drop(cell);
        self.loaded.notify_waiters();
        if applied.letters {
            queues.extend(self.me.upgrade());
        }
    }
}

impl LetterSource for Queue {
    fn id(&self) -> QueueId {
        self.spec.id
    }

    fn name(&self) -> &str {
        &self.spec.name
    }

    fn committer(&self) -> &Committer {
        &self.services.committer
    }

    fn publish_some(&self) {
        let mut queues = VecDeque::new();
        self.send_some(STEP_PUBLISHES_MAX, &mut queues);
        for queue in queues {
            let queue = Arc::downgrade(&queue);
            self.services.letters.line_up(queue);
        }
    }
}

/// Dead letters of one queue, gathered into runs with the same targets.
struct Mail<'a> {
    source: &'a Queue,
    /// With the arguments that the queue had when the last message died.
    spec: QueueSpec,
    /// Targets accept all dead letters, even when full: an override (`QueueOverrides`) has set the dead
    /// letter exchange.
    always: bool,
    run: Vec<Arc<Message>>,
    targets: Vec<Arc<Queue>>,
    /// Collects targets that have dead letters of their own.
    queues: &'a mut VecDeque<Arc<Queue>>,
    publishes: usize,
    bytes: usize,
}

impl<'a> Mail<'a> {
    fn new(source: &'a Queue, queues: &'a mut VecDeque<Arc<Queue>>) -> Mail<'a> {
        let overrides = source.overrides();
        Mail {
            source,
            spec: source.spec.clone(),
            always: overrides.dead_letter_exchange.is_some(),
            run: Vec::new(),
            targets: Vec::new(),
            queues,
            publishes: 0,
            bytes: 0,
        }
    }

    /// Builds the dead letter of a message, routes it and adds it to the run.
    fn post(&mut self, dead: &Dead) {
        self.spec.arguments = Arc::clone(&dead.arguments);
        let spec = &self.spec;
        let wall_ms = self.source.services.clock.wall_ms();
        let letter = match letter::write(spec, &dead.message, dead.reason, wall_ms) {
            Ok(letter) => letter,
            Err(error) => {
                tracing::warn!(queue = %spec.name, %error, "message cannot be dead-lettered and is dropped");
                return;
            }
        };
        let owner = self.source.services.owner.upgrade();
        let routes = owner.map_or_else(LetterRoutes::default, |owner| {
            owner.route_dead_letter(&letter)
        });
        self.put(&letter, Arc::clone(&letter.message), routes.queues);
        if let Some((message, queues)) = routes.held {
            self.put(&letter, message, queues);
        }
    }

    fn put(&mut self, letter: &DeadLetter, message: Arc<Message>, mut targets: Vec<Arc<Queue>>) {
        targets.retain(|target| !letter.would_cycle(target.name()));
        self.publishes += targets.len();
        self.bytes += targets.len() * message.size();
        let same = |(one, other): (&Arc<Queue>, &Arc<Queue>)| Arc::ptr_eq(one, other);
        let is_same =
            self.targets.len() == targets.len() && self.targets.iter().zip(&targets).all(same);
        if !is_same {
            self.deliver();
            self.targets = targets;
        }
        self.run.push(message);
    }

    /// Publishes the run to its targets.
    fn deliver(&mut self) {
        for target in &self.targets {
            let (_, letters) = target.publish_run(&self.run, self.admission(target));
            if letters {
                self.queues.push_back(Arc::clone(target));
            }
        }
        self.run.clear();
    }

    /// As in RabbitMQ, a full classic queue may refuse dead letters (`x-overflow`), which are then dropped. A
    /// quorum queue accepts all of them, since it refuses only publishers that wait for confirms.
    fn admission(&self, target: &Queue) -> Admission {
        match target.spec.arguments.kind {
            _ if self.always => Admission::Always,
            QueueKind::Quorum => Admission::Always,
            QueueKind::Classic | QueueKind::Stream => Admission::Each,
        }
    }
}
