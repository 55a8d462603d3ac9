//! Which nodes have lanes to this one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// The number of lanes of each node that has one.
#[derive(Debug, Default)]
pub(super) struct Callers(watch::Sender<HashMap<u64, usize>>);

/// A lane while it is open.
#[derive(Debug)]
pub(super) struct OpenLane {
    callers: Arc<Callers>,
    node: u64,
}

impl Callers {
    /// A lane of this node begins.
    pub(super) fn enter(self: &Arc<Callers>, node: u64) -> OpenLane {
        self.0
            .send_modify(|lanes| *lanes.entry(node).or_default() += 1);
        OpenLane {
            callers: Arc::clone(self),
            node,
        }
    }

    /// Whether this node has no lane; waits for the end of its lanes for some time.
    pub(super) async fn is_gone(&self, node: u64, within: Duration) -> bool {
        let mut lanes = self.0.subscribe();
        let gone = lanes.wait_for(|lanes| !lanes.contains_key(&node));
        timeout(within, gone).await.is_ok()
    }
}

impl OpenLane {
    /// Ends the lane. Whether it was the last one of its node.
    pub(super) fn end(self) -> bool {
        let (callers, node) = (Arc::clone(&self.callers), self.node);
        drop(self);
        !callers.0.borrow().contains_key(&node)
    }
}

impl Drop for OpenLane {
    fn drop(&mut self) {
        self.callers.0.send_modify(|lanes| {
            if let Some(count) = lanes.get_mut(&self.node) {
                *count -= 1;
                if *count == 0 {
                    lanes.remove(&self.node);
                }
            }
        });
    }
}
