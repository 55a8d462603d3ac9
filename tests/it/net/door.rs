//! A front door whose protocol the test gives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leveret::net::{Acceptor, Capacity, Listener, SocketPermit, Tls, Transport};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::PATIENCE;

/// An open front door.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    _stop: watch::Sender<bool>,
    _task: JoinSet<()>,
}

pub(crate) struct Limits {
    pub(crate) capacity: Capacity,
    pub(crate) patience: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            capacity: Capacity {
                authenticated: 100,
                newcomers: 100,
            },
            patience: PATIENCE,
        }
    }
}

impl Door {
    pub(crate) fn open<F>(
        tls: &Arc<Tls>,
        limits: Limits,
        serve: impl Fn(Transport, SocketAddr, SocketPermit) -> F + Clone + Send + Sync + 'static,
    ) -> Door
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = Listener::open(([127, 0, 0, 1], 0).into()).unwrap();
        Door::on(listener.with_tls(Arc::clone(tls)), limits, serve)
    }

    pub(crate) fn on<F>(
        listener: Listener,
        limits: Limits,
        serve: impl Fn(Transport, SocketAddr, SocketPermit) -> F + Clone + Send + Sync + 'static,
    ) -> Door
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let acceptor = Acceptor::new("tests", limits.capacity, limits.patience);
            acceptor.serve(listener, stopped, serve).await;
        });
        Door {
            address,
            _stop: stop,
            _task: task,
        }
    }
}
