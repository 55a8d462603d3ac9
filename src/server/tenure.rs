//! What this node runs while it serves clients: the committer, the broker on it, and the front doors. It can begin and end
//! many times in one process, and leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{error, warn};

use super::error::StartError;
use super::local_door::LocalDoor;
use super::process::{Now, Process};
use super::{definitions, settings};
use crate::broker::alarms::Alarms;
use crate::broker::broker::Broker;
use crate::broker::parameters::CLUSTER_NAME;
use crate::clock::Mandate;
use crate::config::Config;
use crate::ctl::context::Context;
use crate::model::Name;
use crate::net::Listener;
use crate::store::Committer;
use crate::views::{Protocol, Views};
use crate::{amqp, cmq, management, metrics};

/// Time that an orderly end waits for dead letters.
const LETTERS_GRACE: Duration = Duration::from_secs(5);
/// How long the end waits until nothing uses the broker.
const RELEASE_WAIT: Duration = Duration::from_secs(5);
const RELEASE_POLL: Duration = Duration::from_millis(2);

/// The front doors.
pub(super) struct Fronts {
    pub(super) amqp: Arc<amqp::Front>,
    pub(super) cmq: Arc<cmq::Front>,
    pub(super) management: Arc<management::Front>,
    pub(super) metrics: Arc<metrics::Front>,
}

impl Fronts {
    /// Serves the connections of a listener by the front door of its protocol.
    pub(super) fn serve(
        &self,
        protocol: Protocol,
        listener: Listener,
        stopped: watch::Receiver<bool>,
        tasks: &mut JoinSet<()>,
    ) {
        match protocol {
            Protocol::Amqp => tasks.spawn(self.amqp.clone().serve(listener, stopped)),
            Protocol::Cmq => tasks.spawn(self.cmq.clone().serve(listener, stopped)),
            Protocol::Management => tasks.spawn(self.management.clone().serve(listener, stopped)),
            Protocol::Prometheus => tasks.spawn(self.metrics.clone().serve(listener, stopped)),
        };
    }
}

/// A time in which this node serves clients: a single node's from its start to its end.
pub(super) struct Tenure {
    pub(super) broker: Arc<Broker>,
    pub(super) fronts: Fronts,
    views: Arc<Views>,
    background: JoinSet<()>,
}

impl Tenure {
    /// Starts the broker on a committer, which the caller shuts down if this fails or is dropped. The doors are still
    /// closed.
    pub(super) async fn begin(
        process: &Process,
        committer: Arc<Committer>,
        mandate: Arc<Mandate>,
    ) -> Result<Tenure, StartError> {
        let config = &*process.config();
        let auth = settings::auth_config(config)?;
        let broker = Broker::open(committer, settings::broker(config, auth, mandate)).await?;
        match config.cluster_listen {
            None => definitions::load(config, &broker).await?,
            Some(_) => definitions::load_for_set(process, &broker).await,
        }
        name_cluster(config, &broker).await?;
        let alarms = &process.alarms;
        let (memory, node) = (Arc::clone(&process.memory), process.info.clone());
        let views = Views::new(Arc::clone(&broker), Arc::clone(alarms), memory, node);
        let views = Arc::new(views);
        let fronts = open_fronts(process, config, &views).await?;
        let mut background = JoinSet::new();
        background.spawn(Arc::clone(&views).take_samples());
        let committer = Arc::clone(broker.committer());
        background.spawn(forward_disk_alarm(committer, Arc::clone(alarms)));
        let door = LocalDoor::new(&fronts.amqp, &broker, process.running.subscribe());
        background.spawn(Arc::clone(views.shovels()).follow(Arc::new(door)));
        let tenure = Tenure {
            broker,
            fronts,
            views,
            background,
        };
        tenure.announce(process);
        Ok(tenure)
    }

    fn announce(&self, process: &Process) {
        let now = Now {
            broker: Arc::clone(&self.broker),
            amqp: Arc::clone(&self.fronts.amqp),
        };
        let context = Context {
            node: process.node(),
            broker: Arc::clone(&self.broker),
            views: Arc::clone(&self.views),
            memory: Arc::clone(&process.memory),
            verifying: Arc::new(Semaphore::new(1)),
        };
        process.begins(now, context);
    }

    /// Ends shovels, while clients are still served.
    pub(super) async fn stop_shovels(&self) {
        self.views.shovels().stop().await;
    }

    /// Makes everything durable and drops the broker. The doors are closed already.
    pub(super) async fn end(self, process: &Process) {
        self.broker.note_time();
        if !self.broker.letters_published(LETTERS_GRACE).await {
            warn!(
                "some dead letters are not published yet; their messages are in their queues at the next start"
            );
        }
        process.ends();
        let committer = self.broker.committer();
        shut_down(Arc::clone(committer)).await;
        if committer.has_written_all() {
            committer.store().ends_in_order(self.broker.handed_out());
        }
        self.release(process).await;
    }

    /// Drops everything. What is not durable yet is lost, as in a crash, if the store takes nothing more.
    pub(super) async fn release(mut self, process: &Process) {
        process.ends();
        shut_down(Arc::clone(self.broker.committer())).await;
        self.background.shutdown().await;
        let broker = Arc::downgrade(&self.broker);
        drop(self);
        let released = async {
            while broker.strong_count() > 0 {
                tokio::time::sleep(RELEASE_POLL).await;
            }
        };
        if tokio::time::timeout(RELEASE_WAIT, released).await.is_err() {
            warn!("the memory of the last broker is still in use");
        }
        process.alarms.set_disk(false);
    }
}

/// Writes what waits, if the store takes it, and ends the threads.
pub(super) async fn shut_down(committer: Arc<Committer>) {
    let ended = tokio::task::spawn_blocking(move || committer.shutdown());
    if ended.await.is_err() {
        error!("the store did not close in good order");
    }
}

/// Sets the configured name of the cluster, as RabbitMQ does at each start. A set keeps the name of the node that served
/// first.
async fn name_cluster(config: &Config, broker: &Broker) -> Result<(), StartError> {
    let parameters = broker.global_parameters();
    let is_in_set = config.cluster_listen.is_some();
    if is_in_set && config.cluster_name.is_none() && parameters.get(CLUSTER_NAME).is_none() {
        let name = broker.cluster_name().into();
        parameters.set(CLUSTER_NAME, name).await?;
    }
    let is_new = |name: &&Name| broker.cluster_name() != ***name;
    if let Some(name) = config.cluster_name.as_ref().filter(is_new) {
        let name = name.to_string().into();
        broker.global_parameters().set(CLUSTER_NAME, name).await?;
    }
    Ok(())
}

async fn open_fronts(
    process: &Process,
    config: &Config,
    views: &Arc<Views>,
) -> Result<Fronts, StartError> {
    let (broker, alarms, shares) = (views.broker(), &process.alarms, &process.shares);
    let amqp = settings::amqp(config, shares);
    let cmq = settings::cmq_config(config, shares);
    let mut management = settings::management_config(config, shares);
    management.tls.clone_from(&process.tls);
    let cmq = cmq::Front::open(Arc::clone(broker), Arc::clone(alarms), cmq).await?;
    Ok(Fronts {
        management: management::Front::new(Arc::clone(views), cmq.directory(), management),
        metrics: metrics::Front::new(Arc::clone(views), settings::metrics_config(config)),
        amqp: amqp::Front::new(Arc::clone(broker), Arc::clone(alarms), amqp),
        cmq,
    })
}

async fn forward_disk_alarm(committer: Arc<Committer>, alarms: Arc<Alarms>) {
    let mut alarm = committer.alarm();
    // The task must not keep the committer.
    drop(committer);
    loop {
        let raised = alarm.borrow_and_update().is_some();
        alarms.set_disk(raised);
        if alarm.changed().await.is_err() {
            return;
        }
    }
}
