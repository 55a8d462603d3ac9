//! One message as a receive brings it.

use std::sync::Arc;

use crate::clock::Moment;
use crate::model::{Lease, Message, MessageId, Ticket};

use super::receipt_handle::ReceiptHandle;

/// How long a received message is invisible, in milliseconds, if its queue has no `x-visibility-timeout`.
pub const RECEIVE_VISIBILITY_MS_DEFAULT: u64 = 30_000;

/// One message of a received batch.
#[derive(Clone, Debug)]
pub struct Received {
    /// What deletes it.
    pub handle: ReceiptHandle,
    pub id: MessageId,
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

/// What a receive brings.
#[derive(Debug)]
pub(in crate::broker::queue) struct Answer {
    pub(in crate::broker::queue) messages: Vec<Received>,
    /// When it is durable that they are leased.
    pub(in crate::broker::queue) ticket: Option<Ticket>,
}
