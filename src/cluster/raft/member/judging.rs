//! Judges where this node stands, and ends what rests on a leadership that is over.

use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::type_config::TypeConfigExt;
use openraft::{Instant, RaftMetrics, ServerState};

use super::super::awake::Reading;
use super::super::standing::{Evidence, Standing, standing_of};
use super::super::types::Group;
use super::{Member, Used};
use crate::store::{Journal, Replica};

/// Where this node stands.
pub(super) struct Judged {
    pub(super) standing: Standing,
    /// Until when it may serve if it leads, in nanoseconds since the machine booted.
    pub(super) until_ns: u64,
}

impl Used {
    pub(super) fn end(&self) {
        self.proposals.lose();
        self.mandate.end();
    }
}

impl<R: Replica + Journal> Member<R> {
    pub(super) fn judge(&self, metrics: &RaftMetrics<Group>) -> Judged {
        // Read first: what is heard is as old as it is by then, or older.
        let since_boot = self.look_at_clocks();
        let heard = *self.heard.lock();
        let leader = metrics.current_leader.and_then(|leader| {
            let node = metrics.membership_config.membership().get_node(&leader)?;
            Some(node.member(leader))
        });
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let is_alone = voters == [self.options.this.id];
        let heard = match metrics.state {
            ServerState::Leader if is_alone => {
                let now = Group::now();
                *self.alone.lock() = Some((metrics.current_term, now));
                Some(now)
            }
            ServerState::Leader => {
                let acked = metrics.last_quorum_acked.map(|at| *at);
                let alone = self.alone.lock().filter(|it| it.0 == metrics.current_term);
                acked.into_iter().chain(alone.map(|it| it.1)).max()
            }
            _ => heard
                .filter(|(id, _)| leader.as_ref().is_some_and(|leader| leader.id == *id))
                .map(|(_, at)| at),
        };
        let heard = heard.filter(|at| self.awake.lock().counts(*at));
        let unheard = heard.map(|at| at.elapsed());
        let timeout = self.options.election_timeout;
        let left = unheard.map_or(Duration::ZERO, |it| timeout.saturating_sub(it));
        let until = since_boot + left;
        let evidence = Evidence {
            leads: metrics.state == ServerState::Leader,
            term: metrics.current_term,
            leader,
            unheard,
        };
        let has_lost = {
            let used = self.used.lock();
            used.as_ref().is_some_and(|it| it.proposals.is_lost())
        };
        let mut leaderships = self.leaderships.lock();
        if has_lost {
            leaderships.end();
        }
        Judged {
            standing: standing_of(evidence, timeout, &mut leaderships),
            until_ns: u64::try_from(until.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// The time since the machine booted. Notes whether it was asleep.
    fn look_at_clocks(&self) -> Duration {
        let since_boot = || Duration::from_nanos(self.options.clocks.since_boot_ns());
        let read = || Reading {
            before: since_boot(),
            now: Group::now(),
            after: since_boot(),
        };
        self.awake.lock().look(read)
    }

    /// Lets the broker answer up to this time, if this node leads.
    pub(super) fn serve_until(&self, until_ns: u64) {
        self.serves_until_ns.store(until_ns, Ordering::Release);
        if let Some(used) = &*self.used.lock() {
            used.mandate.extend(until_ns);
        }
    }

    pub(super) fn stand(&self, new: Standing) {
        self.end_others(&new);
        self.standing.send_if_modified(|standing| {
            let is_new = *standing != new;
            let has_leader = !matches!(new, Standing::NoMajority);
            if is_new && has_leader {
                self.elections.fetch_add(1, Ordering::Relaxed);
            }
            if is_new {
                *standing = new;
            }
            is_new
        });
    }

    /// Ends the leadership that a broker uses, unless it is this one.
    pub(super) fn end_others(&self, standing: &Standing) {
        let mut used = self.used.lock();
        let holds = match (&*used, standing) {
            (Some(used), Standing::Leads(now)) => used.leadership == *now,
            (None, _) => true,
            (Some(_), Standing::Follows { .. } | Standing::NoMajority) => false,
        };
        if !holds && let Some(used) = used.take() {
            used.end();
        }
    }
}
