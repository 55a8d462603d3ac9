//! Carries out what concerns the whole node, one thing after another: `stop_app`, `start_app`, maintenance, `stop`, and the
//! end of the process.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tracing::info;

use super::doors::Doors;
use super::listeners::Addresses;
use super::process::Process;
use super::tenure::Tenure;
use crate::ctl::context::NodeCommand;

/// The reason that clients see when the broker stops, in RabbitMQ's words.
const SHUTDOWN_REASON: &str = "broker forced connection closure with reason 'shutdown'";
/// The reason that clients see when maintenance begins, in RabbitMQ's words.
const MAINTENANCE_REASON: &str = "Node was put into maintenance mode";

/// The task that carries out commands.
pub(super) struct Supervisor {
    pub(super) process: Arc<Process>,
    /// The addresses of the start: `start_app` listens on the same ports again.
    pub(super) addresses: Arc<Addresses>,
    pub(super) tenure: Tenure,
    /// `None` between `stop_app` and `start_app`.
    pub(super) doors: Option<Doors>,
}

impl Supervisor {
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<NodeCommand>,
        stop_asked: watch::Sender<bool>,
    ) {
        while let Some(command) = commands.recv().await {
            match command {
                NodeCommand::StopApp(done) => {
                    self.close().await;
                    // Fails only if the operator has disconnected.
                    done.send(()).unwrap_or_default();
                }
                NodeCommand::StartApp(done) => {
                    let outcome = self.start_app();
                    done.send(outcome).unwrap_or_default();
                }
                NodeCommand::SuspendListeners(done) => {
                    done.send(self.suspend().await).unwrap_or_default();
                }
                NodeCommand::ResumeListeners(done) => {
                    done.send(self.resume().await).unwrap_or_default();
                }
                NodeCommand::Drain(done) => {
                    done.send(self.drain().await).unwrap_or_default();
                }
                NodeCommand::Revive(done) => {
                    done.send(self.revive().await).unwrap_or_default();
                }
                NodeCommand::SetChannelMax(channel_max, done) => {
                    self.tenure.fronts.amqp.set_channel_max(channel_max);
                    done.send(()).unwrap_or_default();
                }
                NodeCommand::Stop => {
                    stop_asked.send_replace(true);
                }
                NodeCommand::End(done) => {
                    self.end().await;
                    done.send(()).unwrap_or_default();
                    return;
                }
            }
        }
    }

    /// Begins maintenance, as RabbitMQ does. The node stays up: an operator revives it.
    async fn drain(&self) -> Result<(), String> {
        self.process.shown.under_maintenance.send_replace(true);
        self.suspend().await?;
        let connections = self.tenure.broker.connections();
        let closing = connections.close_where(MAINTENANCE_REASON, |_| true);
        info!(connections = closing, "the node is under maintenance");
        Ok(())
    }

    async fn revive(&self) -> Result<(), String> {
        self.resume().await?;
        if self.process.shown.under_maintenance.send_replace(false) {
            info!("the node is in service again");
        }
        Ok(())
    }

    /// Closes listeners and connections.
    async fn close(&mut self) {
        self.process.running.send_replace(false);
        if let Some(mut doors) = self.doors.take() {
            drop(doors.stop().await);
            let grace = self.process.config().shutdown_grace;
            doors
                .close(&self.tenure.broker, SHUTDOWN_REASON, grace)
                .await;
        }
    }

    fn start_app(&mut self) -> Result<(), String> {
        if self.doors.is_none() {
            let sockets = self.process.open_sockets(&self.addresses);
            let sockets = sockets.map_err(|error| error.to_string())?;
            self.doors = Some(Doors::to_broker(sockets, &self.tenure.fronts));
        }
        self.process.shown.under_maintenance.send_replace(false);
        self.process.running.send_replace(true);
        Ok(())
    }

    /// Ends everything in good order.
    async fn end(mut self) {
        self.tenure.stop_shovels().await;
        self.close().await;
        self.tenure.end(&self.process).await;
    }

    /// Without doors, no listener is open.
    async fn suspend(&self) -> Result<(), String> {
        match &self.doors {
            Some(doors) => doors.suspend().await.map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    async fn resume(&self) -> Result<(), String> {
        match &self.doors {
            Some(doors) => doors.resume().await.map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }
}
