//! Opens and closes the listeners of the front doors.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::error::StartError;
use crate::broker::broker::Broker;
use crate::config::Config;
use crate::model::IpRange;
use crate::net::{Listener, Suspension, Tls};
use crate::views::{ListenerView, Protocol, Security};
use crate::{amqp, cmq, management, metrics};

/// The reason that clients see when the broker stops, in RabbitMQ's words.
const SHUTDOWN_REASON: &str = "broker forced connection closure with reason 'shutdown'";

/// The front doors.
pub(super) struct Fronts {
    pub(super) amqp: Arc<amqp::Front>,
    pub(super) cmq: Arc<cmq::Front>,
    pub(super) management: Arc<management::Front>,
    pub(super) metrics: Arc<metrics::Front>,
    /// For the listeners with TLS.
    pub(super) tls: Option<Arc<Tls>>,
    /// Whose connections begin with a header of the PROXY protocol.
    pub(super) proxies: Arc<[IpRange]>,
}

/// The listeners of the front doors.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(Vec<ListenerView>);

impl Addresses {
    /// The configured addresses; a port may be 0.
    pub(super) fn configured(config: &Config) -> Addresses {
        let mut all = Vec::new();
        let mut add = |protocol, security, addresses: &[Option<SocketAddr>]| {
            all.extend(addresses.iter().flatten().map(|&address| ListenerView {
                protocol,
                security,
                address,
            }));
        };
        add(Protocol::Amqp, Security::Plain, &config.amqp_listen);
        add(Protocol::Amqp, Security::Tls, &config.amqps_listen);
        add(Protocol::Cmq, Security::Plain, &config.cmq_listen);
        add(Protocol::Cmq, Security::Tls, &config.cmq_tls_listen);
        add(
            Protocol::Management,
            Security::Plain,
            &config.management_listen,
        );
        add(
            Protocol::Management,
            Security::Tls,
            &config.management_tls_listen,
        );
        add(
            Protocol::Prometheus,
            Security::Plain,
            &config.prometheus_listen,
        );
        add(
            Protocol::Prometheus,
            Security::Tls,
            &config.prometheus_tls_listen,
        );
        Addresses(all)
    }

    pub(super) fn views(&self) -> &[ListenerView] {
        &self.0
    }

    /// The addresses of one kind of listeners, in the order of the configuration.
    pub(super) fn of(&self, protocol: Protocol, security: Security) -> Vec<SocketAddr> {
        let is_wanted =
            |view: &&ListenerView| (view.protocol, view.security) == (protocol, security);
        self.0
            .iter()
            .filter(is_wanted)
            .map(|view| view.address)
            .collect()
    }
}

/// The open listeners and their connections.
pub(super) struct Listeners {
    pub(super) addresses: Addresses,
    suspension: Suspension,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Listeners {
    pub(super) fn open(wanted: &Addresses, fronts: &Fronts) -> Result<Listeners, StartError> {
        if !wanted.0.iter().any(|view| view.protocol == Protocol::Amqp) {
            return Err(StartError::NoAddress);
        }
        let (stop, stopped) = watch::channel(false);
        let mut listeners = Listeners {
            addresses: Addresses::default(),
            suspension: Suspension::default(),
            stop,
            tasks: JoinSet::new(),
        };
        for view in &wanted.0 {
            let (listener, address) = listen(*view, fronts)?;
            let listener = listener.with_suspension(&listeners.suspension);
            let view = ListenerView { address, ..*view };
            info!("{} listener on {address}", log_name(view));
            listeners.addresses.0.push(view);
            listeners.serve(view.protocol, listener, fronts, stopped.clone());
        }
        // Pushes go on until the broker stops, and need no listener.
        listeners.tasks.spawn(fronts.cmq.clone().push(stopped));
        Ok(listeners)
    }

    fn serve(
        &mut self,
        protocol: Protocol,
        listener: Listener,
        fronts: &Fronts,
        stopped: watch::Receiver<bool>,
    ) {
        let tasks = &mut self.tasks;
        match protocol {
            Protocol::Amqp => tasks.spawn(fronts.amqp.clone().serve(listener, stopped)),
            Protocol::Cmq => tasks.spawn(fronts.cmq.clone().serve(listener, stopped)),
            Protocol::Management => tasks.spawn(fronts.management.clone().serve(listener, stopped)),
            Protocol::Prometheus => tasks.spawn(fronts.metrics.clone().serve(listener, stopped)),
        };
    }

    /// Closes the sockets of all listeners. Connections stay open.
    pub(super) async fn suspend(&self) -> io::Result<()> {
        self.suspension.suspend().await
    }

    /// Opens them again.
    pub(super) async fn resume(&self) -> io::Result<()> {
        self.suspension.resume().await
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
fn listen(wanted: ListenerView, fronts: &Fronts) -> Result<(Listener, SocketAddr), StartError> {
    let ListenerView {
        address, security, ..
    } = wanted;
    let failed = |error| StartError::Listen { address, error };
    let listener = Listener::open(address).map_err(failed)?;
    let mut listener = listener.with_proxies(Arc::clone(&fronts.proxies));
    if security == Security::Tls {
        let tls = fronts.tls.clone();
        let tls = tls.ok_or(StartError::NoCertificate { address })?;
        listener = listener.with_tls(tls);
    }
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn log_name(view: ListenerView) -> &'static str {
    match (view.protocol, view.security) {
        (Protocol::Amqp, Security::Plain) => "AMQP",
        (Protocol::Amqp, Security::Tls) => "AMQP TLS",
        (Protocol::Cmq, Security::Plain) => "CMQ",
        (Protocol::Cmq, Security::Tls) => "CMQ TLS",
        (Protocol::Management, Security::Plain) => "management",
        (Protocol::Management, Security::Tls) => "management TLS",
        (Protocol::Prometheus, Security::Plain) => "metrics",
        (Protocol::Prometheus, Security::Tls) => "metrics TLS",
    }
}
