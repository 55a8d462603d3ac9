//! Commands for the whole node: `stop_app`, `start_app`, `stop`, and the end of the process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::listeners::{Addresses, Fronts, Listeners};
use crate::broker::broker::Broker;
use crate::ctl::context::NodeCommand;

/// The task that carries out commands.
pub(super) struct CommandTask {
    pub(super) broker: Arc<Broker>,
    pub(super) fronts: Fronts,
    pub(super) grace: Duration,
    /// The addresses of the start: `start_app` listens on the same ports again.
    pub(super) addresses: Arc<Addresses>,
    pub(super) running: watch::Sender<bool>,
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
        self.running.send_replace(true);
        Ok(())
    }
}
