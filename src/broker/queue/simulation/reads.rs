//! Reads that are under way: what `reading` does on its threads, cut into pieces between which other things happen.

use std::cell::Cell;

use crate::broker::queue::effects::{Chunks, Effect, Pick, Picked, Seek};
use crate::broker::queue::reading::{picks, seek};
use crate::broker::queue::rewind::plan::{RewindPosition, RewindSearch};
use crate::broker::queue::rewind::rewind_to::RewindTo;
use crate::broker::queue::rewind::search::find_position;
use crate::model::{LogId, Message, Ticket};
use crate::store::StoreError;

use super::checked::{Checked, ensure};
use super::disk::{Disk, decoded};

/// Small reads, so that there are many.
const READ_BYTES: usize = 300;

/// What is under way for a queue.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) work: Work,
    /// It goes on when this batch is synced.
    pub(super) after: Ticket,
    /// What it wants has been waited for.
    is_second: bool,
}

#[derive(Debug)]
pub(super) enum Work {
    Read {
        log: LogId,
        from: u64,
    },
    Loaded {
        log: LogId,
        from: u64,
        chunks: Chunks,
    },
    Pick(Pick),
    Picked(Vec<Picked>),
    Seek(Seek),
    Search(RewindTo, Vec<RewindSearch>),
    Found(RewindTo, Vec<RewindPosition>),
}

/// A finished piece of work that its machine has to be told of.
pub(super) enum Outcome {
    Loaded {
        log: LogId,
        from: u64,
        chunks: Chunks,
    },
    Picked(Vec<Picked>),
    Sought(Seek, u64),
    Found(RewindTo, Vec<RewindPosition>),
}

impl UnderWay {
    pub(super) fn new(work: Work, after: Ticket) -> UnderWay {
        UnderWay {
            work,
            after,
            is_second: false,
        }
    }

    /// What carries out an effect. Answers are not read.
    pub(super) fn of(effect: Effect) -> Option<UnderWay> {
        let work = match effect {
            Effect::Read { log, from } => Work::Read { log, from },
            Effect::Pick(pick) => Work::Pick(pick),
            Effect::Seek(seek) => Work::Seek(seek),
            Effect::Answer { .. } | Effect::AwaitRound(_) => return None,
        };
        Some(UnderWay::new(work, Ticket(0)))
    }

    /// Whether it reads this log from this offset.
    pub(super) fn reads(&self, log: LogId, from: u64) -> bool {
        match &self.work {
            Work::Read {
                log: at,
                from: start,
            }
            | Work::Loaded {
                log: at,
                from: start,
                ..
            } => (*at, *start) == (log, from),
            Work::Pick(_)
            | Work::Picked(_)
            | Work::Seek(_)
            | Work::Search(..)
            | Work::Found(..) => false,
        }
    }

    /// Whether messages wait for it.
    pub(super) fn holds_up(&self) -> bool {
        match self.work {
            Work::Read { .. } | Work::Loaded { .. } => true,
            Work::Pick(_) | Work::Picked(_) | Work::Seek(_) => true,
            Work::Search(..) | Work::Found(..) => false,
        }
    }

    /// Does the next piece. What is left of it goes on later.
    pub(super) fn proceed(
        self,
        disk: &mut Disk,
        expects: impl Fn(LogId, u64) -> bool,
        is_persistent: impl Fn(&Message) -> bool,
    ) -> Checked<Result<Outcome, UnderWay>> {
        let after = disk.next();
        let next = |work| Ok(Err(UnderWay::new(work, Ticket(0))));
        match self.work {
            Work::Read { log, from } => {
                let chunks = disk.read(log, from, READ_BYTES);
                let is_found = chunks.first().is_some_and(|chunk| chunk.first <= from);
                if is_found || !expects(log, from) {
                    let chunks = decoded(chunks);
                    return next(Work::Loaded { log, from, chunks });
                }
                ensure!(!self.is_second, "{log:?} has lost the message at {from}");
                Ok(Err(UnderWay {
                    after,
                    is_second: true,
                    ..self
                }))
            }
            Work::Loaded { log, from, chunks } => Ok(Ok(Outcome::Loaded { log, from, chunks })),
            Work::Pick(pick) => {
                let (picked, unwritten) = read_picks(disk, &pick, &expects)?;
                let after = unwritten.map_or(Ticket(0), |from| {
                    disk.await_written(pick.log, from);
                    after
                });
                Ok(Err(UnderWay::new(Work::Picked(picked), after)))
            }
            Work::Picked(picked) => Ok(Ok(Outcome::Picked(picked))),
            Work::Seek(seek) => {
                let offsets = seek.offsets.clone();
                let found = seek::first_at(disk.store(), seek.log, offsets, seek.ms);
                Ok(Ok(Outcome::Sought(seek, found.expect("a store in memory"))))
            }
            Work::Search(to, searches) => {
                let find = |search| find_position(disk.store(), search, &is_persistent);
                let found = searches.iter().map(find).collect::<Result<_, _>>();
                next(Work::Found(to, found.expect("a store in memory")))
            }
            Work::Found(to, found) => Ok(Ok(Outcome::Found(to, found))),
        }
    }
}

/// Reads single messages. Also returns where one has to be waited for, which may still be on its way to the store.
fn read_picks(
    disk: &Disk,
    pick: &Pick,
    expects: impl Fn(LogId, u64) -> bool,
) -> Checked<(Vec<Picked>, Option<u64>)> {
    let (unwritten, lost) = (Cell::new(None), Cell::new(None));
    let read = |from, max_bytes| {
        let chunks = disk.read(pick.log, from, max_bytes);
        let is_found = chunks.first().is_some_and(|chunk| chunk.first <= from);
        if is_found || !expects(pick.log, from) {
            return Ok(chunks);
        }
        match disk.was_awaited(pick.log, from) {
            true => lost.set(Some(from)),
            false => unwritten.set(Some(from)),
        }
        Err(StoreError::Corrupt(format!("no message at {from}")))
    };
    let (picked, _) = picks::pick(pick, read);
    let lost = lost.get();
    ensure!(lost.is_none(), "{:?} has lost {lost:?}", pick.log);
    Ok((picked, unwritten.get()))
}
