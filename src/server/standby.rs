//! What a node of a set serves while it does not run the broker: metrics of its own, and clients that it passes on to the
//! leader.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::courtesy::DoorCourtesy;
use super::process::Process;
use super::settings;
use crate::cluster::link::Peer;
use crate::cluster::node::SetNode;
use crate::cluster::pass::{Door, DoorLimits, Passing};
use crate::cluster::raft::Standing;
use crate::metrics;

/// A client waits this many election timeouts for a leader before it is turned away: the old leader's lease, the election,
/// and the start of the broker on the new one.
const HOLD_ELECTIONS: u32 = 4;

/// The doors of a node that does not run the broker.
pub(super) struct Standby {
    pub(super) metrics: Arc<metrics::Standby>,
    pub(super) passing: Arc<Passing>,
    /// Tells `passing` who leads.
    _follows: JoinSet<()>,
}

impl Standby {
    pub(super) fn new(process: &Arc<Process>, set: &SetNode) -> Standby {
        let config = process.config();
        let (leader, leader_seen) = watch::channel(None);
        let mut follows = JoinSet::new();
        follows.spawn(follow(set.standing(), leader));
        let passing = Passing::new(
            Arc::clone(set.links()),
            leader_seen,
            config.cluster_election_timeout * HOLD_ELECTIONS,
            Arc::new(DoorCourtesy::new(&config, &process.shares)),
            limits(process),
        );
        Standby {
            metrics: own_metrics(process),
            passing: Arc::new(passing),
            _follows: follows,
        }
    }
}

/// Passes on which other node leads.
async fn follow(mut standing: watch::Receiver<Standing>, leader: watch::Sender<Option<Peer>>) {
    loop {
        let now = match &*standing.borrow_and_update() {
            Standing::Follows { leader, .. } => Some(Peer {
                node: Some(leader.id),
                address: leader.address.clone(),
            }),
            Standing::Leads(_) | Standing::NoMajority => None,
        };
        leader.send_if_modified(|before| {
            let is_new = *before != now;
            *before = now;
            is_new
        });
        if standing.changed().await.is_err() {
            return;
        }
    }
}

/// The limits of the doors, as on the leader.
fn limits(process: &Process) -> [DoorLimits; 3] {
    let (config, shares) = (process.config(), &process.shares);
    let amqp = settings::amqp(&config, shares);
    let cmq = settings::cmq_config(&config, shares);
    let management = settings::management_config(&config, shares);
    [
        DoorLimits {
            door: Door::Amqp,
            name: "AMQP",
            capacity: amqp.connections,
            patience: amqp.handshake_timeout,
        },
        DoorLimits {
            door: Door::Cmq,
            name: "CMQ",
            capacity: cmq.connections,
            patience: cmq.newcomer_timeout,
        },
        DoorLimits {
            door: Door::Management,
            name: "management",
            capacity: management.connections,
            patience: management.newcomer_timeout,
        },
    ]
}

fn own_metrics(process: &Arc<Process>) -> Arc<metrics::Standby> {
    let weak = Arc::downgrade(process);
    let source = move || {
        let process = weak.upgrade()?;
        let set = process.info.set.as_ref()?.view();
        Some((process.view(), set))
    };
    let config = settings::metrics_config(&process.config());
    metrics::Standby::new(Arc::new(source), &config)
}
