//! Commands for the whole node: `stop_app`, `start_app`, maintenance, `stop`, and the end of the process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::info;

use super::listeners::{Addresses, Fronts, Listeners};
use crate::broker::broker::Broker;
use crate::ctl::context::NodeCommand;

/// The reason that clients see when maintenance begins, in RabbitMQ's words.
const MAINTENANCE_REASON: &str = "Node was put into maintenance mode";

/// The task that carries out commands.
pub(super) struct CommandTask {
    pub(super) broker: Arc<Broker>,
    pub(super) fronts: Fronts,
    pub(super) grace: Duration,
    /// The addresses of the start: `start_app` listens on the same ports again.
    pub(super) addresses: Arc<Addresses>,
    pub(super) running: watch::Sender<bool>,
    pub(super) under_maintenance: watch::Sender<bool>,
}

impl CommandTask {
    pub(super) async fn run(
        self,
        listeners: Listeners,
        mut commands: mpsc::Receiver<NodeCommand>,
        stop_asked: watch::Sender<bool>,
    ) {
        let mut listeners = Some(listeners);
        while let Some(command) = commands.recv().await {
            match command {
                NodeCommand::StopApp(done) => {
                    self.close(listeners.take()).await;
                    // Fails only if the operator has disconnected.
                    done.send(()).unwrap_or_default();
                }
                NodeCommand::StartApp(done) => {
                    let outcome = self.start_app(&mut listeners);
                    done.send(outcome).unwrap_or_default();
                }
                NodeCommand::SuspendListeners(done) => {
                    done.send(suspend(listeners.as_ref()).await)
                        .unwrap_or_default();
                }
                NodeCommand::ResumeListeners(done) => {
                    done.send(resume(listeners.as_ref()).await)
                        .unwrap_or_default();
                }
                NodeCommand::Drain(done) => {
                    let drained = self.drain(listeners.as_ref()).await;
                    done.send(drained).unwrap_or_default();
                }
                NodeCommand::Revive(done) => {
                    let revived = self.revive(listeners.as_ref()).await;
                    done.send(revived).unwrap_or_default();
                }
                NodeCommand::SetChannelMax(channel_max, done) => {
                    self.fronts.amqp.set_channel_max(channel_max);
                    done.send(()).unwrap_or_default();
                }
                NodeCommand::Stop => {
                    stop_asked.send_replace(true);
                }
                NodeCommand::End(done) => {
                    self.close(listeners.take()).await;
                    done.send(()).unwrap_or_default();
                    return;
                }
            }
        }
    }

    /// Begins maintenance, as RabbitMQ does. The node stays up: an operator revives it.
    async fn drain(&self, listeners: Option<&Listeners>) -> Result<(), String> {
        self.under_maintenance.send_replace(true);
        suspend(listeners).await?;
        let connections = self.broker.connections();
        let closing = connections.close_where(MAINTENANCE_REASON, |_| true);
        info!(connections = closing, "the node is under maintenance");
        Ok(())
    }

    async fn revive(&self, listeners: Option<&Listeners>) -> Result<(), String> {
        resume(listeners).await?;
        if self.under_maintenance.send_replace(false) {
            info!("the node is in service again");
        }
        Ok(())
    }

    async fn close(&self, listeners: Option<Listeners>) {
        self.running.send_replace(false);
        if let Some(listeners) = listeners {
            listeners.close(&self.broker, self.grace).await;
        }
    }

    fn start_app(&self, listeners: &mut Option<Listeners>) -> Result<(), String> {
        if listeners.is_none() {
            let opened = Listeners::open(&self.addresses, &self.fronts);
            *listeners = Some(opened.map_err(|error| error.to_string())?);
        }
        self.under_maintenance.send_replace(false);
        self.running.send_replace(true);
        Ok(())
    }
}

/// Without listeners, none is open.
async fn suspend(listeners: Option<&Listeners>) -> Result<(), String> {
    match listeners {
        Some(listeners) => listeners.suspend().await.map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

async fn resume(listeners: Option<&Listeners>) -> Result<(), String> {
    match listeners {
        Some(listeners) => listeners.resume().await.map_err(|error| error.to_string()),
        None => Ok(()),
    }
}
