//! Publishing dead letters, in steps: each takes some messages that have died in one queue, publishes their letters at
//! the targets and takes the messages out of their queue, all in one batch. Who brings deaths about publishes some at
//! once. What is left waits in its queue, and queues take turns: however many letters come of one message, other
//! queues' work and batches get between. Decides no order and no deaths: see `dying` and `work/deaths`.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::broker::queue::death::Dead;
use crate::broker::queue::effects::Admission;
use crate::broker::queue::shell::Queue;
use crate::broker::queue::spec::QueueSpec;
use crate::model::arguments::QueueKind;
use crate::model::{Message, QueueId, Ticket};
use crate::store::commit::{Committer, StoreFailed};

use super::letter::{self, DeadLetter};

/// Messages whose letters are published in one step.
const STEP_LETTERS_MAX: usize = 64;
/// With so many publishes, one for each letter and target, a step ends.
const STEP_PUBLISHES_MAX: usize = 1024;
/// And with so many bytes of them, or of the messages.
const STEP_BYTES_MAX: usize = 256 * 1024;
/// So many publishes whoever brings deaths about makes at once: no fewer than a run of messages may push out of a full
/// queue, so that publishers do not outrun the letters.
const AT_ONCE_MAX: usize = 1024;
/// Bytes of letters that may be on their way to the disk before the next step waits for them.
const UNDER_WAY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where a dead letter goes.
#[derive(Default)]
pub struct LetterRoutes {
    /// The queues that get it now.
    pub queues: Vec<Arc<Queue>>,
    /// What others get that are behind a delayed exchange, and who they are.
    pub held: Option<(Arc<Message>, Vec<Arc<Queue>>)>,
}

/// Queues with dead letters that wait for their turn.
pub struct Letters {
    line: Mutex<Line>,
    /// Something has joined the line, or the letters are dropped.
    came: Arc<Notify>,
    /// The line has got shorter.
    went: Notify,
}

#[derive(Default)]
struct Line {
    queues: VecDeque<Weak<Queue>>,
    /// Queues that were deleted. Nobody else keeps them until their letters are published.
    deleted: HashMap<QueueId, Arc<Queue>>,
    /// One is having its turn.
    is_busy: bool,
    /// The last batch with letters, and how many bytes of them are on their way as far as is known.
    last: Ticket,
    under_way: usize,
}

impl Letters {
    /// Starts the task that publishes what waits; it ends when they are dropped.
    pub fn start() -> Arc<Letters> {
        let letters = Arc::new(Letters {
            line: Mutex::default(),
            came: Arc::default(),
            went: Notify::new(),
        });
        tokio::spawn(serve(Arc::downgrade(&letters), Arc::clone(&letters.came)));
        letters
    }

    /// Waits until no letters wait any more, for so long at most. False if some do still.
    pub async fn published(&self, within: Duration) -> bool {
        let all = async {
            loop {
                let went = self.went.notified();
                tokio::pin!(went);
                went.as_mut().enable();
                if self.is_idle() {
                    return;
                }
                went.await;
            }
        };
        tokio::time::timeout(within, all).await.is_ok()
    }

    fn line_up(&self, queue: &Arc<Queue>) {
        self.line().queues.push_back(Arc::downgrade(queue));
        self.came.notify_one();
    }

    /// Durability a queue that is deleted, until [`Letters::forget`].
    pub(in crate::broker::queue) fn keep(&self, queue: Arc<Queue>) {
        self.line().deleted.insert(queue.id(), queue);
    }

    fn forget(&self, queue: QueueId) {
        let forgotten = self.line().deleted.remove(&queue);
        drop(forgotten); // not under the lock
    }

    /// The queue whose turn it is.
    fn next(&self) -> Option<Arc<Queue>> {
        let mut line = self.line();
        while let Some(queue) = line.queues.pop_front() {
            if let Some(queue) = queue.upgrade() {
                line.is_busy = true;
                return Some(queue);
            }
        }
        None
    }

    fn turn_is_over(&self) {
        self.line().is_busy = false;
        self.went.notify_waiters();
    }

    /// Forgets everybody in the line: nothing can be written any more.
    fn close(&self) {
        let mut line = self.line();
        line.queues.clear();
        let forgotten = std::mem::take(&mut line.deleted);
        drop(line);
        drop(forgotten); // not under the lock
        self.turn_is_over();
    }

    fn is_idle(&self) -> bool {
        let line = self.line();
        line.queues.is_empty() && !line.is_busy
    }

    /// Counts letters that are in the batch which gathers.
    fn note(&self, bytes: usize, committer: &Committer) {
        let mut line = self.line();
        let gathering = committer.gathering();
        if gathering > line.last && committer.durable() >= line.last {
            line.under_way = 0;
        }
        line.last = gathering;
        line.under_way += bytes;
    }

    /// What has to be durable before there are more letters, if too many are on their way.
    fn too_many(&self, committer: &Committer) -> Option<Ticket> {
        let line = self.line();
        let last = line.last;
        (line.under_way >= UNDER_WAY_BYTES_MAX && committer.durable() < last).then_some(last)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock()
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        self.came.notify_one();
    }
}

impl std::fmt::Debug for Letters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.line().queues.len();
        f.debug_struct("Letters")
            .field("waiting", &waiting)
            .finish()
    }
}

async fn serve(letters: Weak<Letters>, came: Arc<Notify>) {
    loop {
        let Some(turn) = letters.upgrade().map(|letters| letters.next()) else {
            return;
        };
        let Some(queue) = turn else {
            came.notified().await;
            continue;
        };
        let room = queue.room_for_letters().await;
        let mut queues = VecDeque::new();
        // One queue that panics keeps back no other's letters.
        let step = AssertUnwindSafe(|| queue.send_some(STEP_PUBLISHES_MAX, &mut queues));
        if room.is_ok() && catch_unwind(step).is_err() {
            tracing::error!(queue = %queue.name(), "a queue has panicked over its dead letters");
        }
        drop(queue);
        for queue in queues {
            queue.services.letters.line_up(&queue);
        }
        let Some(letters) = letters.upgrade() else {
            return;
        };
        match room {
            Ok(()) => letters.turn_is_over(),
            Err(StoreFailed) => return letters.close(),
        }
        drop(letters);
        tokio::task::yield_now().await;
    }
}

impl Queue {
    /// Waits until the letters of what has died so far are published. For a queue that is to be deleted: what it had
    /// lost before must not be lost with it.
    pub async fn letters_published(&self) {
        let deaths = || {
            self.lock()
                .state
                .work()
                .map_or((0, 0), |state| state.deaths())
        };
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
        self.lock().state.is_dying()
    }

    /// Publishes this queue's dead letters and those that come of them, up to a bound; the others join the line.
    pub(in crate::broker::queue) fn send_letters(&self) {
        let services = &self.services;
        let mut left = AT_ONCE_MAX;
        let mut queues: VecDeque<Arc<Queue>> = self.me.upgrade().into_iter().collect();
        while let Some(queue) = queues.pop_front() {
            if left == 0 || services.letters.too_many(&services.committer).is_some() {
                services.letters.line_up(&queue);
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
            let state = cell.state.work();
            state.map_or_else(Vec::new, |state| state.take_letters(max, STEP_BYTES_MAX))
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
        let applied = self.apply_to(self.lock(), |machine, now_ms, fx| {
            if let Some(state) = machine.work() {
                state.bury(now_ms, count, fx);
            }
        });
        let mut cell = self.lock();
        if cell.deleted && !cell.state.is_dying() {
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

    async fn room_for_letters(&self) -> Result<(), StoreFailed> {
        let services = &self.services;
        while let Some(ticket) = services.letters.too_many(&services.committer) {
            services.committer.wait(ticket).await?;
        }
        Ok(())
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
            let settings = source.settings();
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
