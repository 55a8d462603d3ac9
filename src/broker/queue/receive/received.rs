//! One received message.

use std::sync::Arc;

use crate::clock::Moment;
use crate::model::{Lease, Message, MessageId, Ticket};

use super::receipt_handle::ReceiptHandle;

/// How long a received message is invisible, in milliseconds, if its queue has no `x-visibility-timeout`.
pub const RECEIVE_VISIBILITY_MS_DEFAULT: u64 = 30_000;

/// One message of a received batch.
#[derive(Clone, Debug)]
pub struct Received {
    /// Deletes or prolongs it.
    pub handle: ReceiptHandle,
    pub id: MessageId,
    pub message: Arc<Message>,
    pub enqueued: Moment,
    pub first_received: Moment,
    /// When it is visible again, unless it is deleted.
    pub visible: Moment,
    /// How often it was handed out, this time included.
    pub count: u32,
    pub(in crate::broker::queue) lease: Lease,
}

/// The answer to a receive.
#[derive(Debug)]
pub(in crate::broker::queue) struct Answer {
    pub(in crate::broker::queue) messages: Vec<Received>,
    /// The batch that makes their leases durable.
    pub(in crate::broker::queue) ticket: Option<Ticket>,
}
