//! Carries out what concerns the whole node, one thing after another: commands of operators, changes of its role in a set,
//! and the end of the process.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

use super::error::StartError;
use super::process::Process;
use super::set_options::SetSettings;
use super::stage::Stage;
use super::standby::Standby;
use super::{blocking, data_dir, disk_room, set_start};
use crate::broker::first_start::has_queues_or_vhosts;
use crate::clock::monotonic;
use crate::cluster::node::roles::{self, Next, Runs};
use crate::cluster::node::{Beginning, Holds, RunningSet, SetNode};
use crate::cluster::raft::{Leadership, Standing};
use crate::ctl::context::NodeCommand;
use crate::seldom::Seldom;

/// Pause after a leader could not start the broker.
const BEGIN_AGAIN: Duration = Duration::from_secs(1);
/// What fails again and again is logged once in this time.
const FAILURES_LOGGED_EVERY: Duration = Duration::from_secs(60);
/// How often a leader looks at the disks of the set.
const LOOK_AT_DISKS: Duration = Duration::from_secs(2);

/// Why a node joins no set.
const WOULD_LOSE: &str = "this node has queues or virtual hosts of its own, which it would lose: a node joins with a new \
                          data directory";
const SERVES_NOT: &str = "this node does not serve its own set now, so nobody knows what it would lose: try again when it does";

/// The task that carries out commands and follows the node's role.
pub(super) struct Supervisor {
    stage: Stage,
    /// `None` for a node by itself, and while it is repaired.
    role: Option<Role>,
    /// The files of this node are damaged: it begins anew with these settings.
    repair: Option<Repair>,
}

/// What a node does whose files are damaged.
struct Repair {
    settings: SetSettings,
    /// What is damaged, until the files are aside. A start would not find all of it.
    damage: Option<String>,
    failures: Seldom,
}

impl Repair {
    /// If it may not begin anew, it takes part with the files that it has: the set may need its vote.
    async fn carry_out(&mut self, process: &Arc<Process>) -> Result<RunningSet, StartError> {
        let settings = self.settings.clone();
        if let Some(damage) = &self.damage {
            let begun = set_start::begin_anew(process, &settings, damage.clone()).await;
            if let Err(refusal) = begun {
                let set = set_start::take_part(process, settings, Beginning::Forms).await;
                let set = set.map_err(|_| refusal)?;
                warn!(damage, "this node takes part with its damaged files");
                return Ok(set);
            }
            self.damage = None;
        }
        set_start::start(process, settings, Beginning::Forms).await
    }
}

/// The role of this node in its set.
pub(super) struct Role {
    settings: SetSettings,
    set: RunningSet,
    standing: watch::Receiver<Standing>,
    broken: watch::Receiver<Option<String>>,
    /// Whether the node begins empty, since another one begins the set.
    gives_up: watch::Receiver<bool>,
    runs: Runs,
    /// Of starts of the broker.
    failures: Seldom,
}

impl Role {
    pub(super) fn new(set: RunningSet, settings: SetSettings) -> Role {
        Role {
            standing: set.set().standing(),
            broken: set.set().broken(),
            gives_up: set.set().gives_up(),
            runs: Runs::Waiting,
            failures: seldom(),
            set,
            settings,
        }
    }

    pub(super) fn set(&self) -> &SetNode {
        self.set.set()
    }
}

impl Supervisor {
    /// A node by itself runs the broker already.
    pub(super) fn alone(stage: Stage) -> Supervisor {
        Supervisor {
            stage,
            role: None,
            repair: None,
        }
    }

    pub(super) fn in_set(stage: Stage, role: Role) -> Supervisor {
        Supervisor {
            stage,
            role: Some(role),
            repair: None,
        }
    }

    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<NodeCommand>,
        stop_asked: watch::Sender<bool>,
    ) {
        loop {
            self.give_up().await;
            let again = self.repair().await || self.settle().await;
            tokio::select! {
                command = commands.recv() => match command {
                    Some(NodeCommand::End(done)) => {
                        self.end().await;
                        done.send(()).unwrap_or_default();
                        return;
                    }
                    Some(command) => self.carry_out(command, &stop_asked).await,
                    None => return,
                },
                () = changed(self.role.as_mut()) => {}
                () = tokio::time::sleep(BEGIN_AGAIN), if again => {}
                () = tokio::time::sleep(LOOK_AT_DISKS), if self.leads() => self.look_at_disks().await,
            }
        }
    }

    async fn carry_out(&mut self, command: NodeCommand, stop_asked: &watch::Sender<bool>) {
        if let NodeCommand::StopApp(_) | NodeCommand::Drain(_) = command {
            self.give_up_leading().await;
        }
        let stage = &mut self.stage;
        // An answer fails only if the operator has disconnected.
        match command {
            NodeCommand::StopApp(done) => {
                stage.close().await;
                done.send(()).unwrap_or_default();
            }
            NodeCommand::StartApp(done) => done.send(stage.reopen()).unwrap_or_default(),
            NodeCommand::SuspendListeners(done) => {
                done.send(stage.suspend().await).unwrap_or_default();
            }
            NodeCommand::ResumeListeners(done) => {
                done.send(stage.resume().await).unwrap_or_default();
            }
            NodeCommand::Drain(done) => done.send(stage.drain().await).unwrap_or_default(),
            NodeCommand::Revive(done) => done.send(stage.revive().await).unwrap_or_default(),
            NodeCommand::SetChannelMax(channel_max, done) => {
                if let Some(tenure) = stage.tenure() {
                    tenure.fronts.amqp.set_channel_max(channel_max);
                }
                done.send(()).unwrap_or_default();
            }
            NodeCommand::Join(target, done) => match self.prepare_to_join(&target).await {
                Ok(set) => {
                    // It may take long, and meanwhile this node may be stopped.
                    tokio::spawn(async move {
                        let joined = set.join(&target).await;
                        let joined = joined.map_err(|error| error.to_string());
                        done.send(joined).unwrap_or_default();
                    });
                }
                Err(refusal) => done.send(Err(refusal)).unwrap_or_default(),
            },
            NodeCommand::Stop => {
                stop_asked.send_replace(true);
            }
            // The loop takes it.
            NodeCommand::End(done) => done.send(()).unwrap_or_default(),
        }
    }

    /// Hands over before this node closes its doors: else the others would pass their clients on to closed ones.
    async fn give_up_leading(&mut self) {
        if let Some(role) = &mut self.role
            && let Runs::Broker(leadership) = role.runs
        {
            hand_over(role, leadership, &mut self.stage).await;
            self.settle().await;
        }
    }

    /// Makes this node a new one, without a set: one that it is alone in is left behind.
    async fn prepare_to_join(&mut self, target: &str) -> Result<Arc<SetNode>, String> {
        let Some(role) = &self.role else {
            return Err("this node runs by itself: start it with --cluster-listen".to_owned());
        };
        let (set, settings) = (Arc::clone(role.set.set()), role.settings.clone());
        let overview = set.overview();
        if overview.status.set.is_none() {
            match set.holds() {
                Holds::Nothing => return Ok(set),
                Holds::Defaults => {}
                Holds::Data => {
                    return Err("this node has data of its own, which it would lose: a node joins with a new data directory"
                        .to_owned());
                }
            }
        } else if overview.has_not_joined_yet() {
            return Ok(set);
        } else if overview.members.len() > 1 {
            return Err("this node is a member of a set with other nodes: stop it, have one of them forget it, and start it \
                        with a new data directory"
                .to_owned());
        } else if self.stage.has_data().ok_or(SERVES_NOT)? {
            return Err(WOULD_LOSE.to_owned());
        }
        let (name, trust) = (&settings.name, settings.trust.clone());
        let probed = RunningSet::probe(name, trust, &settings.peers, target).await;
        probed.map_err(|error| error.to_string())?;
        self.stop_serving(&set).await?;
        drop(set);
        if let Some(role) = self.role.take() {
            role.set.stop().await;
        }
        let kept = self.set_aside().await;
        let process = self.stage.process();
        let beginning = match &kept {
            Ok(kept) => {
                info!(kept = %kept.display(), "this node begins anew to join another set");
                Beginning::Joins
            }
            // It goes on as it was.
            Err(_) => Beginning::Forms,
        };
        let started = set_start::start(process, settings.clone(), beginning).await;
        let set = started.map_err(|error| format!("{error}: start this node again"))?;
        let node = Arc::clone(set.set());
        let standby = Standby::new(self.stage.process(), &node);
        self.stage.replace_standby(standby).await;
        self.role = Some(Role::new(set, settings));
        match kept {
            Ok(_) => Ok(node),
            Err(error) => Err(format!("this node cannot give up its own set: {error}")),
        }
    }

    /// Ends the broker, which confirms nothing any more. Clients may have declared something until then: it begins again
    /// if they have.
    async fn stop_serving(&mut self, set: &SetNode) -> Result<(), String> {
        self.stage.lose().await;
        let Some(role) = &mut self.role else {
            return Ok(());
        };
        let Runs::Broker(_) = std::mem::replace(&mut role.runs, Runs::Waiting) else {
            return Ok(());
        };
        let store = set.lead().await.map_err(|_| SERVES_NOT)?.store;
        let found = blocking(move || has_queues_or_vhosts(|prefix| store.definitions(prefix)));
        match found.await.map_err(|error| error.to_string())? {
            true => Err(WOULD_LOSE.to_owned()),
            false => Ok(()),
        }
    }

    /// Keeps what the store has written beside it.
    async fn set_aside(&self) -> io::Result<PathBuf> {
        let dir = self.stage.process().config().data_dir.clone();
        blocking(move || data_dir::set_aside(&dir)).await
    }

    /// Begins empty when another node begins the set, and this one has nothing but what a first start writes.
    async fn give_up(&mut self) {
        let Some(role) = self.role.take_if(|role| *role.gives_up.borrow()) else {
            return;
        };
        role.set.stop().await;
        match self.set_aside().await {
            Ok(kept) => {
                info!(kept = %kept.display(), "this node begins anew in the set of another one")
            }
            Err(failure) => warn!(%failure, "this node cannot begin anew"),
        }
        self.repair = Some(Repair {
            settings: role.settings,
            damage: None,
            failures: seldom(),
        });
    }

    /// Does what the role asks for until it asks for nothing more. True if it must be tried again.
    async fn settle(&mut self) -> bool {
        let Some(role) = &mut self.role else {
            return false;
        };
        loop {
            let standing = role.standing.borrow_and_update().clone();
            match roles::next(&standing, &role.runs) {
                Next::Stay => return false,
                Next::Begin(_) if is_out_of_service(&self.stage, role).await => return true,
                Next::Begin(leadership) => {
                    if !begin(&mut self.stage, role, leadership).await {
                        return true;
                    }
                }
                Next::End => {
                    warn!("this node does not lead its set any more");
                    self.stage.lose().await;
                    self.stage.process().alarms.set_majority_full(false);
                    role.runs = Runs::Waiting;
                }
                Next::PassOn { leader } => {
                    info!(leader = leader.name, "this node follows");
                    role.runs = Runs::Passing { leader };
                }
                Next::Wait => role.runs = Runs::Waiting,
            }
        }
    }

    /// Begins anew when the files of this node have turned out to be damaged. True if it must be tried again.
    async fn repair(&mut self) -> bool {
        if let Some(role) = self.role.take_if(|role| role.broken.borrow().is_some()) {
            self.stage.lose().await;
            self.repair = Some(Repair {
                settings: role.settings,
                damage: role.broken.borrow().clone(),
                failures: seldom(),
            });
            role.set.stop().await;
        }
        let Some(repair) = &mut self.repair else {
            return false;
        };
        let settings = repair.settings.clone();
        match repair.carry_out(self.stage.process()).await {
            Ok(set) => {
                let standby = Standby::new(self.stage.process(), set.set());
                self.stage.replace_standby(standby).await;
                self.role = Some(Role::new(set, settings));
                self.repair = None;
                false
            }
            Err(error) => {
                if let Some(unsaid) = repair.failures.passes(monotonic()) {
                    error!(%unsaid, "this node takes no part in its set: {error}");
                }
                true
            }
        }
    }

    fn leads(&self) -> bool {
        let runs = self.role.as_ref().map(|role| &role.runs);
        matches!(runs, Some(Runs::Broker(_)))
    }

    /// Blocks publishers if no majority of the set has room on its disks. Hands over if this node's disk is full and
    /// another's is not.
    async fn look_at_disks(&self) {
        let process = self.stage.process();
        let (Some(role), Some(views)) = (&self.role, &process.info.set) else {
            return;
        };
        let (this, set) = (process.view(), views.view());
        let is_full = disk_room::majority_is_full(&this, &set);
        process.alarms.set_majority_full(is_full);
        let Some(name) = disk_room::successor(&this, &set) else {
            return;
        };
        warn!(to = name, "the disk is full: another member takes over");
        if let Err(error) = role.set.set().transfer(Some(name)).await {
            warn!("no other member takes over: {error}");
        }
    }

    /// Hands over if this node leads, and ends everything in good order.
    async fn end(mut self) {
        if let Some(mut role) = self.role.take() {
            if let Runs::Broker(leadership) = role.runs {
                hand_over(&mut role, leadership, &mut self.stage).await;
            }
            self.stage.end().await;
            role.set.stop().await;
        } else {
            self.stage.end().await;
        }
    }
}

fn seldom() -> Seldom {
    Seldom::new(1, FAILURES_LOGGED_EVERY)
}

/// Waits until the standing of this node changes, or its files turn out to be damaged.
async fn changed(role: Option<&mut Role>) {
    if let Some(role) = role {
        let changed = tokio::select! {
            changed = role.standing.changed() => changed,
            changed = role.broken.changed() => changed,
            changed = role.gives_up.changed() => changed,
        };
        if changed.is_ok() {
            return;
        }
    }
    std::future::pending().await
}

/// Whether this node should not serve although it leads, since an operator has closed its doors: another node takes over.
/// During maintenance it serves what the others pass on if none does.
async fn is_out_of_service(stage: &Stage, role: &Role) -> bool {
    if !stage.is_closed() && !stage.is_under_maintenance() {
        return false;
    }
    match role.set.set().hand_over(None).await {
        Ok(()) => true,
        Err(error) => {
            debug!("this node is out of service, and no other member takes over: {error}");
            stage.is_closed()
        }
    }
}

/// Starts the broker for a leadership. False if that must be tried again.
async fn begin(stage: &mut Stage, role: &mut Role, leadership: Leadership) -> bool {
    let leads = Standing::Leads(leadership);
    let mut standing = role.standing.clone();
    let over = async move {
        // Without a sender, the group has ended.
        drop(standing.wait_for(|standing| *standing != leads).await);
    };
    let mut over = std::pin::pin!(over);
    let led = tokio::select! {
        led = role.set.set().lead() => led,
        () = &mut over => return true,
    };
    let begun = match led {
        Ok(led) => stage
            .begin(led, over)
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match begun {
        Ok(true) => {
            info!(
                term = leadership.term,
                "this node leads its set and serves clients"
            );
            role.runs = Runs::Broker(leadership);
            true
        }
        Ok(false) => true,
        Err(error) => {
            let passes = role.failures.passes(monotonic());
            if let Some(unsaid) = passes {
                error!(%unsaid, "this node leads its set and cannot run the broker: {error}");
            }
            // Another member may be able to.
            if let Err(error) = role.set.set().hand_over(None).await
                && passes.is_some()
            {
                warn!("no other member takes over: {error}");
            }
            false
        }
    }
}

/// Hands over to another member, if there is one that answers. The broker ends as soon as this node has ceased to lead.
async fn hand_over(role: &mut Role, leadership: Leadership, stage: &mut Stage) {
    let set: &SetNode = role.set.set();
    if set.overview().members.len() < 2 {
        return;
    }
    let leads = Standing::Leads(leadership);
    let ended = async {
        let left = role.standing.wait_for(|standing| *standing != leads).await;
        drop(left);
        stage.lose().await;
    };
    let handed = set.hand_over(None);
    let (mut ended, mut handed) = (std::pin::pin!(ended), std::pin::pin!(handed));
    let handed = tokio::select! {
        () = &mut ended => handed.await,
        handed = &mut handed => {
            if handed.is_ok() {
                ended.await;
            }
            handed
        }
    };
    if let Err(error) = handed {
        warn!("no other member takes over before this node stops: {error}");
    }
}
