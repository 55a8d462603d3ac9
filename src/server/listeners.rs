//! Opens and closes the listeners of the front doors.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::error::StartError;
use crate::broker::broker::Broker;
use crate::config::Config;
use crate::net::Listener;
use crate::views::{ListenerView, Protocol};
use crate::{amqp, cmq, management, metrics};

/// The reason that clients see when the broker stops, in RabbitMQ's words.
const SHUTDOWN_REASON: &str = "broker forced connection closure with reason 'shutdown'";

/// The front doors.
pub(super) struct Fronts {
    pub(super) amqp: Arc<amqp::Front>,
    pub(super) cmq: Arc<cmq::Front>,
    pub(super) management: Arc<management::Front>,
    pub(super) metrics: Arc<metrics::Front>,
}

/// The addresses of each front door's listeners.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    pub(super) amqp: Vec<SocketAddr>,
    pub(super) cmq: Vec<SocketAddr>,
    pub(super) management: Vec<SocketAddr>,
    pub(super) prometheus: Vec<SocketAddr>,
}

impl Addresses {
    /// The configured addresses; a port may be 0.
    pub(super) fn configured(config: &Config) -> Addresses {
        Addresses {
            amqp: config.amqp_listen.clone(),
            cmq: config.cmq_listen.iter().flatten().copied().collect(),
            management: config.management_listen.iter().flatten().copied().collect(),
            prometheus: config.prometheus_listen.iter().flatten().copied().collect(),
        }
    }

    pub(super) fn views(&self) -> Vec<ListenerView> {
        let amqp = self.amqp.iter().map(|address| (Protocol::Amqp, *address));
        let cmq = self.cmq.iter().map(|address| (Protocol::Cmq, *address));
        let management = self.management.iter();
        let management = management.map(|address| (Protocol::Management, *address));
        let prometheus = self.prometheus.iter();
        let prometheus = prometheus.map(|address| (Protocol::Prometheus, *address));
        amqp.chain(cmq)
            .chain(management)
            .chain(prometheus)
            .map(|(protocol, address)| ListenerView { protocol, address })
            .collect()
    }
}

/// The open listeners and their connections.
pub(super) struct Listeners {
    pub(super) addresses: Addresses,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Listeners {
    pub(super) fn open(wanted: &Addresses, fronts: &Fronts) -> Result<Listeners, StartError> {
        if wanted.amqp.is_empty() {
            return Err(StartError::NoAddress);
        }
        let (stop, stopped) = watch::channel(false);
        let mut listeners = Listeners {
            addresses: Addresses::default(),
            stop,
            tasks: JoinSet::new(),
        };
        for &wanted in &wanted.amqp {
            let (listener, address) = listen(wanted)?;
            info!("AMQP listener on {address}");
            listeners.addresses.amqp.push(address);
            let serve = fronts.amqp.clone().serve(listener, stopped.clone());
            listeners.tasks.spawn(serve);
        }
        for &wanted in &wanted.cmq {
            let (listener, address) = listen(wanted)?;
            info!("CMQ listener on {address}");
            listeners.addresses.cmq.push(address);
            let serve = fronts.cmq.clone().serve(listener, stopped.clone());
            listeners.tasks.spawn(serve);
        }
        for &wanted in &wanted.management {
            let (listener, address) = listen(wanted)?;
            info!("management listener on {address}");
            listeners.addresses.management.push(address);
            let serve = fronts.management.clone().serve(listener, stopped.clone());
            listeners.tasks.spawn(serve);
        }
        for &wanted in &wanted.prometheus {
            let (listener, address) = listen(wanted)?;
            info!("metrics listener on {address}");
            listeners.addresses.prometheus.push(address);
            let serve = fronts.metrics.clone().serve(listener, stopped.clone());
            listeners.tasks.spawn(serve);
        }
        // Pushes go on until the broker stops, and need no listener.
        listeners.tasks.spawn(fronts.cmq.clone().push(stopped));
        Ok(listeners)
    }

    /// Closes the listeners and then the connections. Connections that do not close within the grace are cut
    /// off.
    pub(super) async fn close(mut self, broker: &Broker, grace: Duration) {
        self.stop.send_replace(true);
        let closing = broker.connections().close_where(SHUTDOWN_REASON, |_| true);
        info!(connections = closing, "closing connections");
        let all_closed = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all_closed).await.is_err() {
            warn!(
                connections = broker.connections().len(),
                "some connections did not close in time"
            );
        }
        self.tasks.shutdown().await;
    }
}

/// A listening socket and its address; for port 0 the system chooses one.
fn listen(wanted: SocketAddr) -> Result<(Listener, SocketAddr), StartError> {
    let open = || {
        let listener = Listener::open(wanted)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    open().map_err(|error| StartError::Listen {
        address: wanted,
        error,
    })
}
