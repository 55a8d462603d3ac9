//! The open doors: who serves the connections of each socket. The sockets outlive them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::listeners::Sockets;
use super::standby::Standby;
use super::tenure::Fronts;
use crate::broker::broker::Broker;
use crate::cluster::pass::{Door, Passage};
use crate::net::{Listener, Suspension};
use crate::views::{ListenerView, Protocol};

/// Time that passed clients have to take the last word when this node passes them on no more.
const GOODBYE_WITHIN: Duration = Duration::from_millis(500);

/// The sockets of all doors and their connections.
pub(super) struct Doors {
    suspension: Suspension,
    stop: watch::Sender<bool>,
    lent: Vec<(ListenerView, oneshot::Receiver<Listener>)>,
    tasks: JoinSet<()>,
}

impl Doors {
    /// Lets clients in to the broker: those of the sockets, and in a set those that other nodes pass on.
    pub(super) fn to_broker(sockets: Sockets, fronts: &Fronts, passage: Option<&Passage>) -> Doors {
        let mut doors = Doors::lend(sockets, |protocol, listener, stopped, tasks| {
            fronts.serve(protocol, listener, stopped, tasks);
        });
        for (door, protocol) in [
            (Door::Amqp, Protocol::Amqp),
            (Door::Cmq, Protocol::Cmq),
            (Door::Management, Protocol::Management),
        ] {
            if let Some(passage) = passage {
                let (listener, stopped) = (passage.listener(door), doors.stop.subscribe());
                fronts.serve(protocol, listener, stopped, &mut doors.tasks);
            }
        }
        // Pushes go on until the doors close, and need no listener.
        let push = fronts.cmq.clone().push(doors.stop.subscribe());
        doors.tasks.spawn(push);
        doors
    }

    /// Lets clients in to a node that does not run the broker.
    pub(super) fn to_standby(sockets: Sockets, standby: &Standby) -> Doors {
        let Standby {
            metrics, passing, ..
        } = standby;
        Doors::lend(sockets, |protocol, listener, stopped, tasks| {
            let door = match protocol {
                Protocol::Amqp => Door::Amqp,
                Protocol::Cmq => Door::Cmq,
                Protocol::Management => Door::Management,
                Protocol::Prometheus => {
                    tasks.spawn(Arc::clone(metrics).serve(listener, stopped));
                    return;
                }
            };
            tasks.spawn(Arc::clone(passing).serve(listener, door, stopped));
        })
    }

    fn lend(
        sockets: Sockets,
        serve: impl Fn(Protocol, Listener, watch::Receiver<bool>, &mut JoinSet<()>),
    ) -> Doors {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut lent = Vec::new();
        for (view, listener) in sockets.open {
            let (listener, back) = listener.lend();
            lent.push((view, back));
            serve(view.protocol, listener, stopped.clone(), &mut tasks);
        }
        Doors {
            suspension: sockets.suspension,
            stop,
            lent,
            tasks,
        }
    }

    /// Closes the sockets of all listeners. Connections stay open.
    pub(super) async fn suspend(&self) -> io::Result<()> {
        self.suspension.suspend().await
    }

    /// Opens them again.
    pub(super) async fn resume(&self) -> io::Result<()> {
        self.suspension.resume().await
    }

    /// Accepts no more, and takes the sockets back. A socket whose server has failed is missing.
    pub(super) async fn stop(&mut self) -> Sockets {
        self.stop.send_replace(true);
        let mut open = Vec::new();
        for (view, back) in std::mem::take(&mut self.lent) {
            match back.await {
                Ok(listener) => open.push((view, listener)),
                Err(_) => warn!(address = %view.address, "a listener has failed"),
            }
        }
        Sockets {
            suspension: std::mem::take(&mut self.suspension),
            open,
        }
    }

    /// Accepts no more, and returns the sockets. Clients that are passed on hear that this is over, and are cut off a
    /// moment later; nothing waits for that.
    pub(super) async fn cut(mut self) -> Sockets {
        let sockets = self.stop().await;
        tokio::spawn(self.say_goodbye(GOODBYE_WITHIN));
        sockets
    }

    /// As [`Doors::cut`], before the process ends: waits for the clients.
    pub(super) async fn end(mut self, grace: Duration) {
        drop(self.stop().await);
        self.say_goodbye(grace.min(GOODBYE_WITHIN)).await;
    }

    async fn say_goodbye(mut self, within: Duration) {
        let all_closed = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(within, all_closed).await.is_err() {
            debug!("some passed clients did not close in time");
        }
        self.tasks.shutdown().await;
    }

    /// Closes the connections of clients with a reason. Those that do not close within the grace are cut off.
    pub(super) async fn close(mut self, broker: &Broker, reason: &str, grace: Duration) {
        let closing = broker.connections().close_where(reason, |_| true);
        info!(connections = closing, "closing connections");
        let all_closed = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all_closed).await.is_err() {
            let connections = broker.connections().len();
            warn!(connections, "some connections did not close in time");
        }
        self.tasks.shutdown().await;
    }
}
