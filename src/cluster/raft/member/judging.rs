//! Judges where this node stands, and ends what rests on a leadership that is over.

use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::type_config::TypeConfigExt;
use openraft::{Instant, RaftMetrics, ServerState};

use super::super::standing::{Evidence, Standing, standing_of};
use super::super::types::Group;
use super::Member;

impl Member {
    pub(super) fn judge(&self, metrics: &RaftMetrics<Group>) -> Standing {
        let heard = *self.heard.lock();
        let leader = metrics.current_leader.and_then(|leader| {
            let node = metrics.membership_config.membership().get_node(&leader)?;
            Some(node.member(leader))
        });
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let is_alone = voters == [self.options.this.id];
        let unheard = match metrics.state {
            ServerState::Leader if is_alone => {
                *self.alone.lock() = Some((metrics.current_term, Group::now()));
                Some(Duration::ZERO)
            }
            ServerState::Leader => {
                let acked = metrics.last_quorum_acked.map(|at| at.elapsed());
                let alone = self.alone.lock().filter(|it| it.0 == metrics.current_term);
                acked
                    .into_iter()
                    .chain(alone.map(|it| it.1.elapsed()))
                    .min()
            }
            _ => heard
                .filter(|(id, _)| leader.as_ref().is_some_and(|leader| leader.id == *id))
                .map(|(_, at)| at.elapsed()),
        };
        let evidence = Evidence {
            leads: metrics.state == ServerState::Leader,
            term: metrics.current_term,
            leader,
            unheard,
        };
        let has_lost = self.used.lock().as_ref().is_some_and(|it| it.1.is_lost());
        let mut leaderships = self.leaderships.lock();
        if has_lost {
            leaderships.end();
        }
        standing_of(evidence, self.options.election_timeout, &mut leaderships)
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
            (Some((leadership, _)), Standing::Leads(now)) => leadership == now,
            (None, _) => true,
            (Some(_), Standing::Follows { .. } | Standing::NoMajority) => false,
        };
        if !holds && let Some((_, proposals)) = used.take() {
            proposals.lose();
        }
    }
}
