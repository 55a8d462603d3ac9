//! One message as a receive brings it.

use std::sync::Arc;

use crate::clock::Moment;
use crate::model::{Lease, Message, MessageId};

use super::receipt_handle::ReceiptHandle;

/// One message of a [`ReceivedBatch`].
#[derive(Clone, Debug)]
pub struct Received {
    /// What deletes it.
    pub handle: ReceiptHandle,
    /// Which message of the queue.
    pub id: MessageId,
    /// The message.
    pub message: Arc<Message>,
    /// When it was enqueued.
    pub enqueued: Moment,
    /// When it was first received.
    pub first_received: Moment,
    /// When it comes back if it is not deleted.
    pub visible: Moment,
    /// How often it was handed out, this time included.
    pub count: u32,
    pub(in crate::broker::queue) lease: Lease,
}
