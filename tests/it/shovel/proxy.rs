//! A proxy between a client and a broker that cuts its connections when a test says so.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    cut: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(Notify::new());
        let cutting = Arc::clone(&cut);
        let task = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let cut = Arc::clone(&cutting);
                tokio::spawn(async move {
                    let Ok(mut broker) = TcpStream::connect(target).await else {
                        return;
                    };
                    let cut = cut.notified();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut broker) => {}
                        () = cut => {
                            // Resets both, wherever in a frame they are.
                            client.set_zero_linger().unwrap();
                            broker.set_zero_linger().unwrap();
                        }
                    }
                });
            }
        });
        Proxy { address, cut, task }
    }

    /// Cuts all connections. New ones are accepted.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
