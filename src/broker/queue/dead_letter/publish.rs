//! Publishes dead letters in steps. Each step takes some dead messages of one queue, publishes their letters at the
//! targets and removes the messages from their queue, all in one batch. The command that brings deaths about makes the
//! first steps itself; the rest waits in the queue, for its turn in the `line`.

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

/// Maximum number of messages whose letters are published in one step.
const STEP_LETTERS_MAX: usize = 64;
/// Maximum number of publishes of one step: one for each letter and target.
const STEP_PUBLISHES_MAX: usize = 1024;
/// Maximum number of bytes of these publishes, and of the messages.
const STEP_BYTES_MAX: usize = 256 * 1024;
/// Maximum number of publishes that the command makes which brings deaths about. No fewer than a run of messages may push
/// out of a full queue, so that publishers do not outrun the letters.
const AT_ONCE_MAX: usize = 1024;
impl Queue {
    /// Waits until the letters of all messages that have died so far are published. Called before a queue is deleted, so
    /// that they are not lost with it.
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

    /// Whether there are dead letters that are not published yet.
    pub fn has_letters(&self) -> bool {
        self.lock().machine.is_dying()
    }

    /// Publishes this queue's dead letters and those that come of them, up to a bound; the others join the line.
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

    /// Publishes some of this queue's dead letters: one step. Queues that have letters then go to `queues`. Returns how
    /// many publishes that were.
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
        // What is published at the targets leaves this queue in the same batch.
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

    /// The letters of the first messages that died are published.
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

/// Letters of one queue, gathered to runs with the same targets.
struct Mail<'a> {
    source: &'a Queue,
    /// With the arguments that hold; `None` if it has no dead letter exchange any more.
    spec: Option<QueueSpec>,
    /// A dead letter queue that was set later (`QueueOverrides`) loses nothing.
    always: bool,
    run: Vec<Arc<Message>>,
    targets: Vec<Arc<Queue>>,
    /// Queues that have letters of their own by now.
    queues: &'a mut VecDeque<Arc<Queue>>,
    publishes: usize,
    bytes: usize,
}

impl<'a> Mail<'a> {
    fn new(source: &'a Queue, queues: &'a mut VecDeque<Arc<Queue>>) -> Mail<'a> {
        let (arguments, always) = {
            let settings = source.settings.read();
            let always = settings.overrides.dead_letter_exchange.is_some();
            (Arc::clone(&settings.effective), always)
        };
        // None: the queue had a dead letter exchange when its messages died.
        let spec = arguments.dead_letter_exchange.is_some().then(|| QueueSpec {
            arguments,
            ..source.spec.clone()
        });
        Mail {
            source,
            spec,
            always,
            run: Vec::new(),
            targets: Vec::new(),
            queues,
            publishes: 0,
            bytes: 0,
        }
    }

    /// Writes the letter of a message that has died, and puts it with the others.
    fn post(&mut self, dead: &Dead) {
        let Some(spec) = &self.spec else {
            return;
        };
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

    /// Publishes the run at its targets.
    fn deliver(&mut self) {
        for target in &self.targets {
            let (_, letters) = target.publish_run(&self.run, self.admission(target));
            if letters {
                self.queues.push_back(Arc::clone(target));
            }
        }
        self.run.clear();
    }

    /// What a target takes of dead letters: a classic queue refuses them when it is full and `x-overflow` says so, and
    /// they are dropped; a quorum queue takes them all, since it refuses only publishers that wait for confirms. As in
    /// RabbitMQ.
    fn admission(&self, target: &Queue) -> Admission {
        match target.spec.arguments.kind {
            _ if self.always => Admission::Always,
            QueueKind::Quorum => Admission::Always,
            QueueKind::Classic | QueueKind::Stream => Admission::Each,
        }
    }
}
