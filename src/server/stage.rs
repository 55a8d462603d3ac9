//! What this node serves clients with now: the broker, if it runs here, and who is behind the sockets.

use std::sync::Arc;
use std::time::Duration;

use tokio::join;
use tracing::info;

use super::doors::Doors;
use super::error::StartError;
use super::listeners::{Addresses, Sockets};
use super::process::Process;
use super::settings;
use super::standby::Standby;
use super::tenure::{Tenure, shut_down};
use crate::broker::vhost::Vhost;
use crate::cluster::raft::Led;
use crate::store::Committer;

/// The reason that clients see when the broker stops, in RabbitMQ's words.
const SHUTDOWN_REASON: &str = "broker forced connection closure with reason 'shutdown'";
/// The reason that clients see when maintenance begins, in RabbitMQ's words.
const MAINTENANCE_REASON: &str = "Node was put into maintenance mode";
/// The reason that clients see when another node takes over.
const LOST_REASON: &str = "this node does not lead its set any more: reconnect";
/// Time that clients have to answer when another node takes over. Nothing that they wait for can come any more.
const LOST_GRACE: Duration = Duration::from_millis(500);

/// The broker and the sockets of this node.
pub(super) struct Stage {
    process: Arc<Process>,
    /// The addresses of the start: `start_app` listens on the same ports again.
    addresses: Arc<Addresses>,
    tenure: Option<Tenure>,
    sockets: Place,
    /// For clients of a node that does not run the broker; a node by itself always does.
    standby: Option<Standby>,
}

/// Where the sockets are.
enum Place {
    /// Closed, between `stop_app` and `start_app`.
    Closed,
    /// Open with nothing behind them: clients wait.
    Waiting(Sockets),
    /// This node does not run the broker.
    Standby(Doors),
    Served(Doors),
}

impl Stage {
    /// With open sockets and nothing behind them.
    pub(super) fn new(process: Arc<Process>, addresses: Arc<Addresses>, sockets: Sockets) -> Stage {
        Stage {
            process,
            addresses,
            tenure: None,
            sockets: Place::Waiting(sockets),
            standby: None,
        }
    }

    /// For a node of a set, which does not run the broker yet.
    #[must_use]
    pub(super) fn with_standby(mut self, standby: Standby) -> Stage {
        self.standby = Some(standby);
        self.stand_by();
        self
    }

    /// This node takes part in another set now.
    pub(super) async fn replace_standby(&mut self, standby: Standby) {
        self.take_sockets_back().await;
        self.standby = Some(standby);
        self.stand_by();
    }

    /// Lets clients in to a broker that runs already.
    #[must_use]
    pub(super) fn with(mut self, tenure: Tenure) -> Stage {
        self.tenure = Some(tenure);
        self.serve();
        self
    }

    pub(super) fn tenure(&self) -> Option<&Tenure> {
        self.tenure.as_ref()
    }

    pub(super) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Whether the broker has queues or virtual hosts that someone has declared. `None` while it does not run here.
    pub(super) fn has_data(&self) -> Option<bool> {
        let vhosts = self.tenure.as_ref()?.broker.vhost_list();
        let has_queues = |vhost: &Arc<Vhost>| !vhost.unordered_queues().is_empty();
        Some(vhosts.len() > 1 || vhosts.iter().any(has_queues))
    }

    /// Starts the broker of a leadership, unless `over` comes first. False if it came.
    pub(super) async fn begin(
        &mut self,
        led: Led,
        over: impl Future<Output = ()>,
    ) -> Result<bool, StartError> {
        let limits = settings::commit_limits(&self.process.config());
        let committer = Committer::start(led.store, limits)?;
        let begun = tokio::select! {
            begun = Tenure::begin(&self.process, Arc::clone(&committer), led.mandate) => begun.map(Some),
            () = over => Ok(None),
        };
        match begun {
            Ok(Some(tenure)) => {
                self.tenure = Some(tenure);
                self.take_sockets_back().await;
                self.serve();
                Ok(true)
            }
            Ok(None) => {
                self.process.ends();
                shut_down(committer).await;
                Ok(false)
            }
            Err(error) => {
                self.process.ends();
                shut_down(committer).await;
                Err(error)
            }
        }
    }

    /// Passes clients on, while this node does not run the broker.
    fn stand_by(&mut self) {
        let Some(standby) = &self.standby else {
            return;
        };
        self.sockets = match std::mem::replace(&mut self.sockets, Place::Closed) {
            Place::Waiting(sockets) => Place::Standby(Doors::to_standby(sockets, standby)),
            other @ (Place::Closed | Place::Standby(_) | Place::Served(_)) => other,
        };
    }

    async fn take_sockets_back(&mut self) {
        self.sockets = match std::mem::replace(&mut self.sockets, Place::Closed) {
            Place::Standby(doors) => Place::Waiting(doors.cut().await),
            other @ (Place::Closed | Place::Waiting(_) | Place::Served(_)) => other,
        };
    }

    /// Lets the clients of open sockets in to the broker.
    fn serve(&mut self) {
        let Some(tenure) = &self.tenure else {
            return;
        };
        self.sockets = match std::mem::replace(&mut self.sockets, Place::Closed) {
            Place::Waiting(sockets) => {
                let passage = self.standby.is_some().then_some(&self.process.passage);
                Place::Served(Doors::to_broker(sockets, &tenure.fronts, passage))
            }
            other @ (Place::Closed | Place::Standby(_) | Place::Served(_)) => other,
        };
    }

    /// Another node leads: nothing is delivered or confirmed any more, and clients are told to reconnect.
    pub(super) async fn lose(&mut self) {
        let Some(tenure) = self.tenure.take() else {
            return;
        };
        self.process.ends();
        let committer = Arc::clone(tenure.broker.committer());
        if let Place::Served(mut doors) = std::mem::replace(&mut self.sockets, Place::Closed) {
            let sockets = doors.stop().await;
            // Clients that wait for a confirm hear that it does not come.
            join!(
                doors.close(&tenure.broker, LOST_REASON, LOST_GRACE),
                shut_down(committer)
            );
            self.sockets = Place::Waiting(sockets);
            self.stand_by();
        }
        tenure.release(&self.process).await;
    }

    /// Closes listeners and connections.
    pub(super) async fn close(&mut self) {
        self.process.running.send_replace(false);
        let sockets = std::mem::replace(&mut self.sockets, Place::Closed);
        let grace = self.process.config().shutdown_grace;
        match (sockets, &self.tenure) {
            (Place::Served(mut doors), Some(tenure)) => {
                drop(doors.stop().await);
                doors.close(&tenure.broker, SHUTDOWN_REASON, grace).await;
            }
            (Place::Standby(doors), _) => doors.end(grace).await,
            (Place::Closed | Place::Waiting(_) | Place::Served(_), _) => {}
        }
    }

    /// Whether an operator has closed the doors, so that another node should lead.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.sockets, Place::Closed)
    }

    /// Whether an operator has begun maintenance here.
    pub(super) fn is_under_maintenance(&self) -> bool {
        *self.process.shown.under_maintenance.borrow()
    }

    /// Listens again after [`Stage::close`].
    pub(super) fn reopen(&mut self) -> Result<(), String> {
        if let Place::Closed = self.sockets {
            let sockets = self.process.open_sockets(&self.addresses);
            self.sockets = Place::Waiting(sockets.map_err(|error| error.to_string())?);
            match self.tenure {
                Some(_) => self.serve(),
                None => self.stand_by(),
            }
        }
        self.process.shown.under_maintenance.send_replace(false);
        self.process.running.send_replace(true);
        Ok(())
    }

    /// Ends everything in good order.
    pub(super) async fn end(mut self) {
        if let Some(tenure) = &self.tenure {
            tenure.stop_shovels().await;
        }
        self.close().await;
        if let Some(tenure) = self.tenure.take() {
            tenure.end(&self.process).await;
        }
    }

    /// Begins maintenance, as RabbitMQ does. The node stays up: an operator revives it.
    pub(super) async fn drain(&mut self) -> Result<(), String> {
        self.process.shown.under_maintenance.send_replace(true);
        self.suspend().await?;
        if let Place::Standby(_) = self.sockets {
            // The clients that this node passes on go to other nodes.
            self.take_sockets_back().await;
            self.stand_by();
        }
        let closing = self.tenure.as_ref().map_or(0, |tenure| {
            let connections = tenure.broker.connections();
            connections.close_where(MAINTENANCE_REASON, |_| true)
        });
        info!(connections = closing, "the node is under maintenance");
        Ok(())
    }

    pub(super) async fn revive(&self) -> Result<(), String> {
        self.resume().await?;
        if self.process.shown.under_maintenance.send_replace(false) {
            info!("the node is in service again");
        }
        Ok(())
    }

    /// Closes the sockets. Connections stay open.
    pub(super) async fn suspend(&self) -> Result<(), String> {
        match &self.sockets {
            Place::Served(doors) | Place::Standby(doors) => {
                doors.suspend().await.map_err(|error| error.to_string())
            }
            Place::Closed | Place::Waiting(_) => Ok(()),
        }
    }

    pub(super) async fn resume(&self) -> Result<(), String> {
        match &self.sockets {
            Place::Served(doors) | Place::Standby(doors) => {
                doors.resume().await.map_err(|error| error.to_string())
            }
            Place::Closed | Place::Waiting(_) => Ok(()),
        }
    }
}
