//! The next message of a work queue, and the heads of its lanes.

use crate::broker::queue::lane::{Head, Lane};
use crate::model::Lease;

use super::state::WorkQueue;

/// The next message to hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// The index of its lane.
    pub(super) lane: usize,
    pub(super) head: Head,
}

impl WorkQueue {
    /// The next message: the returned message that came back first, or else the head of the lane of the highest
    /// level.
    pub(super) fn next(&mut self) -> Option<Next> {
        let lanes = &self.lanes;
        if let Some((lane, head)) = self.returns.first(|next| returned_head(lanes, next)) {
            return Some(Next { lane, head });
        }
        let mut lanes = (0..).zip(&mut self.lanes);
        let (lane, (_, first)) = lanes.find(|(_, (_, lane))| lane.waits_in_order())?;
        let head = first.head();
        Some(Next { lane, head })
    }

    /// The head of one lane, if a message waits there in its order.
    pub(super) fn head_of(&mut self, index: usize) -> Option<Next> {
        let (_, lane) = self.lanes.get_mut(index)?;
        lane.waits_in_order().then(|| Next {
            lane: index,
            head: lane.head(),
        })
    }
}

/// The index of a returned message's lane, and the message as its head. `None` if it does not wait any more.
fn returned_head(lanes: &[(u8, Lane)], next: Lease) -> Option<(usize, Head)> {
    let index = lanes.iter().position(|(lane, _)| *lane == next.lane)?;
    let (_, lane) = lanes.get(index)?;
    Some((index, lane.returned_head(next.offset, next.turn)?))
}
