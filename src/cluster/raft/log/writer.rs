//! What the log's thread does, step by step: appends what has gathered, syncs it, and reports it in order.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};

use openraft::storage::IOFlushed;

use super::shared::Shared;
use super::state::{Install, Work};
use crate::cluster::raft::types::{Group, log_id};
use crate::store::Replica;

/// Carries out the work of a log.
pub(super) struct Writer<R> {
    shared: Arc<Shared<R>>,
    /// What has gathered, and is not begun.
    works: VecDeque<Work>,
    /// What was written since the last sync: who waits for it, and its epoch and last entry.
    written: Vec<IOFlushed<Group>>,
    last: Option<(u64, u64)>,
    /// After a failure nothing more is written.
    outcome: Result<(), String>,
}

impl<R: Replica> Writer<R> {
    pub(super) fn new(shared: Arc<Shared<R>>) -> Writer<R> {
        Writer {
            shared,
            works: VecDeque::new(),
            written: Vec::new(),
            last: None,
            outcome: Ok(()),
        }
    }

    /// Takes the next step; it may block. Breaks when the log has ended and everything is carried out, and is pending
    /// while there is nothing to do.
    pub(super) fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<ControlFlow<()>> {
        if self.works.is_empty() && self.written.is_empty() && !self.gather(context) {
            return Poll::Pending;
        }
        match self.works.pop_front() {
            Some(work) => self.carry_out(work),
            None if !self.written.is_empty() => self.flush(),
            None => {
                self.shared.state.lock().is_over = true;
                self.shared.changed.notify_waiters();
                return Poll::Ready(ControlFlow::Break(()));
            }
        }
        Poll::Ready(ControlFlow::Continue(()))
    }

    /// Takes the work that waits. False while there is none, and the log has not ended.
    fn gather(&mut self, context: &mut Context<'_>) -> bool {
        let mut state = self.shared.state.lock();
        self.works = std::mem::take(&mut state.queue);
        let waits = self.works.is_empty() && !state.ended;
        if waits {
            state.idle = Some(context.waker().clone());
        }
        !waits
    }

    fn carry_out(&mut self, work: Work) {
        match work {
            Work::Append {
                entries,
                bytes,
                epoch,
                flushed,
            } => {
                for (id, proposal) in entries {
                    self.write(|store| store.append_entry(id, &proposal));
                    self.last = Some((epoch, id.index));
                }
                self.shared.state.lock().waiting_bytes -= bytes;
                self.written.push(flushed);
            }
            // What was appended before is durable before the rest is done.
            work if !self.written.is_empty() => {
                self.works.push_front(work);
                self.flush();
            }
            Work::Vote(vote, done) => {
                self.write(|store| store.save_vote(vote));
                // Who asked may have ended.
                drop(done.send(self.outcome()));
            }
            Work::Truncate(upto) => self.write(|store| store.truncate_log(upto)),
            Work::Purge(upto) => self.write(|store| store.purge_log(upto)),
            Work::Install(install, done) => {
                self.install(install);
                // Who asked may have ended.
                drop(done.send(self.outcome()));
            }
        }
    }

    fn write(&mut self, write: impl FnOnce(&R) -> Result<(), crate::store::StoreError>) {
        if self.outcome.is_ok() {
            let written = write(&self.shared.store);
            self.end_with(written.map_err(|e| e.to_string()));
        }
    }

    fn end_with(&mut self, outcome: Result<(), String>) {
        if let Err(failure) = &outcome {
            self.shared.state.lock().failed = Some(failure.clone());
            self.shared.changed.notify_waiters();
        }
        self.outcome = outcome;
    }

    fn outcome(&self) -> io::Result<()> {
        self.outcome.clone().map_err(io::Error::other)
    }

    fn install(&mut self, install: Install) {
        self.write(|_| install());
        if self.outcome.is_err() {
            return;
        }
        let found = match self.shared.store.replica_state() {
            Ok(found) => found,
            Err(failure) => return self.end_with(Err(failure.to_string())),
        };
        // Otherwise the log had the snapshot's entry, and stays.
        if found.purged == found.last {
            self.shared.state.lock().begin_after(log_id(found.last));
            self.shared.changed.notify_waiters();
        }
    }

    /// Syncs, and reports what is durable.
    fn flush(&mut self) {
        self.write(Replica::sync_log);
        if let (Some((epoch, last)), Ok(())) = (self.last.take(), &self.outcome) {
            self.shared.state.lock().synced(epoch, last);
        }
        self.shared.changed.notify_waiters();
        let outcome = self.outcome.clone();
        for flushed in self.written.drain(..) {
            flushed.io_completed(outcome.clone().map_err(io::Error::other));
        }
    }
}
