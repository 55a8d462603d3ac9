//! Forwards connections to a port, and counts them.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(super) struct Forwarder {
    pub(super) port: u16,
    counts: Arc<Mutex<Counts>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    open: usize,
    most: usize,
    total: usize,
}

impl Forwarder {
    pub(super) async fn start(target: u16) -> Forwarder {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::<Mutex<Counts>>::default();
        let task = tokio::spawn(forward(listener, target, Arc::clone(&counts)));
        Forwarder { port, counts, task }
    }

    /// How many connections are open, were open together at most, and were made.
    pub(super) fn connections(&self) -> (usize, usize, usize) {
        let counts = self.counts.lock();
        (counts.open, counts.most, counts.total)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(listener: TcpListener, target: u16, counts: Arc<Mutex<Counts>>) {
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let counts = Arc::clone(&counts);
        tokio::spawn(async move {
            {
                let mut counts = counts.lock();
                counts.open += 1;
                counts.total += 1;
                counts.most = counts.most.max(counts.open);
            }
            if let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await {
                copy_bidirectional(&mut client, &mut server).await.ok();
            }
            counts.lock().open -= 1;
        });
    }
}
