//! What this member does when its own files turn out to be damaged. The others have what is in them. If they are a majority
//! without it, it takes no part any more, and begins anew. Until then its log and its vote are needed, and another member
//! leads, which can read what this one cannot.

use std::sync::atomic::Ordering;

use openraft::RaftMetrics;
use tracing::{error, warn};

use super::super::standing::Standing;
use super::super::types::Group;
use super::{Member, Running};
use crate::store::{Journal, Replica};

impl<R: Replica + Journal> Member<R> {
    /// Notes what could not be read for a queue or another member.
    pub(super) fn note_damage(&self, running: &Running<R>) {
        let met = [
            self.sendings.take_damage(),
            running.durability.take_damage(),
        ];
        for damage in met.into_iter().flatten() {
            self.hurt.note(damage);
        }
    }

    pub(super) async fn look_at_damage(&self, running: &Running<R>, metrics: &RaftMetrics<Group>) {
        let leader = metrics.current_leader;
        if leader.is_some_and(|leader| leader != self.options.this.id) {
            self.hurt.follows();
        }
        self.note_damage(running);
        let Some(damage) = self.hurt.damage() else {
            return;
        };
        if self.is_dispensable(metrics) {
            return self.break_down(&damage);
        }
        let leads = matches!(*self.standing.borrow(), Standing::Leads(_));
        if leads && self.hurt.gives_way() {
            warn!(
                damage,
                "the files of this leader are damaged, and the others are no majority without it: another one leads"
            );
            if let Err(failure) = self.ask_to_lead(&running.raft, None).await {
                warn!(%failure, "cannot hand over");
            }
        }
    }

    /// Says that the files are damaged, if other members have what is in them.
    pub(super) fn break_down(&self, damage: &str) {
        if self.has_others.load(Ordering::Relaxed) && self.broken.borrow().is_none() {
            error!(damage, "the files of this node are damaged");
            self.broken.send_replace(Some(damage.to_owned()));
        }
    }
}
