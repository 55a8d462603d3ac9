//! What the verbs act on: the broker, and the process that runs it.

use std::num::NonZeroU16;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::broker::broker::Broker;
use crate::broker::connections::Connections;
use crate::broker::limits::Limits;
use crate::broker::users::Users;
use crate::cluster::node::Current;
use crate::memory::MemoryMonitor;
use crate::model::Name;
use crate::views::{NodeView, SetSource, Views};

/// A command to the process as a whole.
#[derive(Debug)]
pub(crate) enum NodeCommand {
    /// Close listeners and connections; reply when that is done.
    StopApp(oneshot::Sender<()>),
    /// Open the listeners again. The error of the reply is text for the operator.
    StartApp(oneshot::Sender<Result<(), String>>),
    /// Close the sockets of the listeners, or open them again; connections stay open. The error is text for the operator.
    SuspendListeners(oneshot::Sender<Result<(), String>>),
    ResumeListeners(oneshot::Sender<Result<(), String>>),
    /// Begin maintenance: suspend the listeners and close the connections of clients; or end it.
    Drain(oneshot::Sender<Result<(), String>>),
    Revive(oneshot::Sender<Result<(), String>>),
    /// Set the largest `channel-max` of new connections.
    SetChannelMax(NonZeroU16, oneshot::Sender<()>),
    /// Leave the set of this node alone, and become a member of the set of this node. The error is text for the operator.
    Join(String, oneshot::Sender<Result<(), String>>),
    /// End the process in good order.
    Stop,
    /// Close listeners and connections because the process ends.
    End(oneshot::Sender<()>),
}

/// The process, as verbs see it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The supervisor carries them out.
    pub(crate) commands: mpsc::Sender<NodeCommand>,
    /// False between `stop_app` and `start_app`.
    pub(crate) running: watch::Receiver<bool>,
}

impl Node {
    pub(super) fn is_running(&self) -> bool {
        *self.running.borrow()
    }
}

/// What the socket serves.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) node: Node,
    /// What verbs act on, while this node runs the broker.
    pub(crate) serving: watch::Receiver<Option<Arc<Context>>>,
    /// `None` for a node by itself.
    pub(crate) set: Option<InSet>,
    /// What operators see of the process; `None` when it ends.
    pub(crate) view: Arc<dyn Fn() -> Option<NodeView> + Send + Sync>,
}

/// This node in its set, as verbs see it.
#[derive(Clone)]
pub(crate) struct InSet {
    pub(crate) views: SetSource,
    pub(crate) current: Current,
}

impl Host {
    pub(super) fn context(&self) -> Option<Arc<Context>> {
        self.serving.borrow().clone()
    }

    /// Waits until this node does not run the broker any more.
    pub(super) async fn ended(&self) {
        let mut serving = self.serving.clone();
        // Without a sender, the process ends.
        drop(serving.wait_for(Option::is_none).await);
    }
}

/// What verbs act on.
pub(crate) struct Context {
    pub(crate) broker: Arc<Broker>,
    pub(crate) node: Node,
    pub(crate) views: Arc<Views>,
    pub(crate) memory: Arc<MemoryMonitor>,
    /// One verification of the data directory at a time.
    pub(crate) verifying: Arc<Semaphore>,
}

impl Context {
    pub(super) fn users(&self) -> &Users {
        self.broker.users()
    }

    pub(super) fn limits(&self) -> &Limits {
        self.broker.limits()
    }

    pub(super) fn connections(&self) -> &Connections {
        self.broker.connections()
    }

    pub(super) fn vhost_names(&self) -> Vec<Name> {
        self.broker
            .vhost_list()
            .iter()
            .map(|vhost| vhost.name().clone())
            .collect()
    }

    pub(super) fn has_vhost(&self, name: &str) -> bool {
        self.broker.vhost(name).is_some()
    }
}
