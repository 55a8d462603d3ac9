//! The listening sockets of the front doors.

use std::net::SocketAddr;
use std::sync::Arc;

use tracing::info;

use super::error::StartError;
use crate::config::Config;
use crate::model::IpRange;
use crate::net::{Listener, Suspension, Tls};
use crate::views::{ListenerView, Protocol, Security};

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

/// The open sockets, while nothing is behind them: clients that connect wait.
pub(super) struct Sockets {
    pub(super) suspension: Suspension,
    pub(super) open: Vec<(ListenerView, Listener)>,
}

impl Sockets {
    pub(super) fn open(
        wanted: &Addresses,
        tls: Option<&Arc<Tls>>,
        proxies: &Arc<[IpRange]>,
    ) -> Result<Sockets, StartError> {
        if !wanted.0.iter().any(|view| view.protocol == Protocol::Amqp) {
            return Err(StartError::NoAddress);
        }
        let suspension = Suspension::default();
        let mut open = Vec::new();
        for view in &wanted.0 {
            let (listener, address) = listen(*view, tls, proxies)?;
            let listener = listener.with_suspension(&suspension);
            let view = ListenerView { address, ..*view };
            info!("{} listener on {address}", log_name(view));
            open.push((view, listener));
        }
        Ok(Sockets { suspension, open })
    }

    pub(super) fn addresses(&self) -> Addresses {
        Addresses(self.open.iter().map(|(view, _)| *view).collect())
    }
}

/// A listening socket and its address; for port 0 the system chooses one.
fn listen(
    wanted: ListenerView,
    tls: Option<&Arc<Tls>>,
    proxies: &Arc<[IpRange]>,
) -> Result<(Listener, SocketAddr), StartError> {
    let ListenerView {
        address, security, ..
    } = wanted;
    let failed = |error| StartError::Listen { address, error };
    let listener = Listener::open(address).map_err(failed)?;
    let mut listener = listener.with_proxies(Arc::clone(proxies));
    if security == Security::Tls {
        let tls = tls.cloned();
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
