//! An HTTP endpoint for tests: records what is posted to it, and responds as the test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Clone, Debug)]
pub(crate) struct Posted {
    /// The request line.
    pub(crate) line: String,
    /// Names are in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
    pub(crate) at: Instant,
}

/// The status of a reply that closes the connection instead.
pub(crate) const HANGS_UP: u16 = 0;

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) after: Duration,
    /// The reply waits until this is true.
    pub(crate) gate: Option<watch::Receiver<bool>>,
    /// More headers, each with its end of line.
    pub(crate) headers: String,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Reply {
        Reply {
            status,
            after: Duration::ZERO,
            gate: None,
            headers: String::new(),
        }
    }
}

type Answer = Arc<dyn Fn(&Posted) -> Reply + Send + Sync>;

/// A port for endpoints that come and go. It stays reserved, and refuses connections while no endpoint listens.
pub(crate) struct Port(TcpSocket);

impl Port {
    pub(crate) fn reserve() -> Port {
        Port(bound(([127, 0, 0, 1], 0).into()))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(crate) fn start(
        &self,
        answer: impl Fn(&Posted) -> Reply + Send + Sync + 'static,
    ) -> Endpoint {
        let address = self.address();
        let listener = bound(address).listen(64).unwrap();
        let posted = Arc::<Mutex<Vec<Posted>>>::default();
        let connections = Arc::<Mutex<usize>>::default();
        let task = tokio::spawn(serve(
            listener,
            Arc::clone(&posted),
            Arc::clone(&connections),
            Arc::new(answer),
        ));
        Endpoint {
            address,
            posted,
            connections,
            task,
        }
    }
}

/// Several sockets may be bound to one address as long as only one listens.
fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// Listens until it is dropped.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    posted: Arc<Mutex<Vec<Posted>>>,
    connections: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Endpoint {
    pub(crate) async fn start(
        answer: impl Fn(&Posted) -> Reply + Send + Sync + 'static,
    ) -> Endpoint {
        Port::reserve().start(answer)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.posted.lock().clone()
    }

    /// The bodies of all requests so far.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.posted()
            .into_iter()
            .map(|posted| posted.body)
            .collect()
    }

    /// Number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    posted: Arc<Mutex<Vec<Posted>>>,
    connections: Arc<Mutex<usize>>,
    answer: Answer,
) {
    // The tasks of connections end with this one.
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        *connections.lock() += 1;
        let (posted, answer) = (Arc::clone(&posted), Arc::clone(&answer));
        tasks.spawn(async move {
            let mut stream = BufReader::new(stream);
            while let Some(request) = read(&mut stream).await {
                posted.lock().push(request.clone());
                let reply = answer(&request);
                tokio::time::sleep(reply.after).await;
                if let Some(mut gate) = reply.gate {
                    gate.wait_for(|open| *open).await.unwrap();
                }
                let (status, headers) = (reply.status, reply.headers);
                if status == HANGS_UP {
                    return;
                }
                let text = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: 2\r\n\r\nok");
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Posted> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: HashMap<String, String> = lines
        .iter()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Posted {
        line: lines.first()?.clone(),
        headers,
        body: String::from_utf8(body).ok()?,
        at: Instant::now(),
    })
}
