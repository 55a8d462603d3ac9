//! Suspends listeners: they close their sockets and open them again at the same addresses. Connections stay open.

use std::io;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Listeners answer at once; this is for one whose task has ended.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Whether listeners take connections, and where each says that it has followed.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) is_suspended: bool,
    pub(super) followed: mpsc::Sender<io::Result<()>>,
}

/// Gives orders to the listeners that follow it.
#[derive(Debug, Default)]
pub struct Suspension {
    orders: watch::Sender<Option<Order>>,
}

/// A listener's end.
pub(super) type Orders = watch::Receiver<Option<Order>>;

impl Suspension {
    pub(super) fn follow(&self) -> Orders {
        self.orders.subscribe()
    }

    /// Closes the sockets. When this returns, the system refuses connections.
    pub async fn suspend(&self) -> io::Result<()> {
        self.order(true).await
    }

    /// Opens them again.
    pub async fn resume(&self) -> io::Result<()> {
        self.order(false).await
    }

    async fn order(&self, is_suspended: bool) -> io::Result<()> {
        let listeners = self.orders.receiver_count();
        let (followed, mut answers) = mpsc::channel(listeners.max(1));
        self.orders.send_replace(Some(Order {
            is_suspended,
            followed,
        }));
        let mut result = Ok(());
        for _ in 0..listeners {
            match timeout(ANSWER_WITHIN, answers.recv()).await {
                Ok(Some(followed)) => result = result.and(followed),
                Ok(None) | Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        result
    }
}

/// Waits for the next order. Without those who give them, none comes.
pub(super) async fn next_order(orders: Option<&mut Orders>) -> Order {
    if let Some(orders) = orders {
        while orders.changed().await.is_ok() {
            if let Some(order) = orders.borrow_and_update().clone() {
                return order;
            }
        }
    }
    std::future::pending().await
}
