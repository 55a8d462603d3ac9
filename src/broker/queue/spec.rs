//! What a queue is, what it shares with the other queues, and what it asks of its virtual host.

use std::sync::{Arc, Weak};

use crate::clock::Clock;
use crate::model::arguments::QueueArguments;
use crate::model::{ConnectionId, Name, QueueId};
use crate::store::commit::Committer;

use super::budget::MemoryBudget;
use super::dead_letter::letter::DeadLetter;
use super::dead_letter::letters::{LetterRoutes, Letters};
use super::reading::QueueThreads;
use super::shell::Queue;
use super::timers::Timers;

/// What a queue is.
#[derive(Clone, Debug)]
pub struct QueueSpec {
    /// Its id, never used again.
    pub id: QueueId,
    /// Its name.
    pub name: Name,
    /// It is there after a restart.
    pub durable: bool,
    /// The connection that owns it, if it is exclusive.
    pub exclusive_owner: Option<ConnectionId>,
    /// It is deleted when its last consumer leaves.
    pub auto_delete: bool,
    /// Its arguments, as they were declared; see [`Queue::arguments`] for those that hold.
    pub arguments: Arc<QueueArguments>,
}

/// What queues share.
#[derive(Clone)]
pub struct QueueServices {
    /// The way to the disk.
    pub committer: Arc<Committer>,
    /// Deadlines.
    pub timers: Arc<Timers>,
    /// The broker's time. Whatever is called `ms` in this room is on its line, unless it says wall-clock time.
    pub clock: Arc<Clock>,
    /// Memory for messages.
    pub budget: Arc<MemoryBudget>,
    /// Where they read.
    pub threads: Arc<QueueThreads>,
    /// Those with dead letters that wait.
    pub letters: Arc<Letters>,
    /// The virtual host.
    pub owner: Weak<dyn QueueOwner>,
}

/// What a queue asks of its virtual host. None of these is called with the queue's lock held.
pub trait QueueOwner: Send + Sync {
    /// The queues that a dead letter goes to, as the exchanges say.
    fn route_dead_letter(&self, letter: &DeadLetter) -> LetterRoutes;
    /// The last consumer of an auto-delete queue has left.
    fn queue_unused(&self, queue: &Arc<Queue>);
    /// `x-expires` has passed.
    fn queue_expired(&self, queue: &Arc<Queue>);
}
