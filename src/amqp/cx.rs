//! What the handler of a method is given besides its channel, and how it waits for something. Decides nothing.

use std::future::Future;
use std::pin::Pin;

use super::assembly::Assembling;
use super::channel::Channel;
use super::connection::Context;
use super::consumers::ConsumerChannels;
use super::error::{MethodId, Refusal};
use super::unsynced::Unsynced;
use super::writer::Writer;
use crate::clock::{Clock, Moment};
use crate::wire::{self, AMQPClass};

/// What handling a method comes to.
pub(crate) type Handled = Result<(), Refusal>;

/// What remains to be done on a channel when something that had to be waited for is there.
pub(crate) type Done = Box<dyn FnOnce(&mut Channel, &mut Cx<'_>) -> Handled + Send>;

/// Something that a method waits for. Until it is there, the connection handles no further frame.
pub(crate) struct Later {
    pub(crate) channel: u16,
    pub(crate) method: MethodId,
    pub(crate) future: Pin<Box<dyn Future<Output = Done> + Send>>,
}

/// What a handler may use besides its channel.
pub(crate) struct Cx<'a> {
    /// What all channels of the connection share.
    pub(crate) shared: &'a Context,
    /// Output.
    pub(crate) out: &'a mut Writer,
    /// What has to be waited for.
    pub(crate) later: &'a mut Option<Later>,
    /// The method being handled.
    pub(crate) method: MethodId,
    /// Where the consumers of the connection are.
    pub(crate) consumers: &'a mut ConsumerChannels,
    /// Milliseconds since the connection was opened.
    pub(crate) now_ms: u64,
    /// Channels with work left for the end of the batch.
    pub(crate) dirty: &'a mut Vec<u16>,
    /// Channels with confirms to come.
    pub(crate) confirming: &'a mut Vec<u16>,
    /// Channels with deliveries among the output.
    pub(crate) delivering: &'a mut Vec<u16>,
    /// The client publishes.
    pub(crate) has_published: &'a mut bool,
    /// What the connection has published that may not be on disk.
    pub(crate) unsynced: &'a mut Unsynced,
    /// What has arrived in part, on all channels.
    pub(crate) assembling: &'a mut Assembling,
    /// Size of the buffer that the frames at hand were read into.
    pub(crate) read_buffer: usize,
}

impl Cx<'_> {
    /// Sends a method.
    pub(crate) fn send(&mut self, channel: u16, method: AMQPClass) {
        wire::encode_method(self.out.buffer(), channel, &method);
    }

    /// The broker's time.
    pub(crate) fn clock(&self) -> &Clock {
        self.shared.session.clock()
    }

    /// The wall-clock time of a moment, as the client is shown it.
    pub(crate) fn wall_ms_at(&self, moment: Moment) -> u64 {
        self.clock().wall_ms_at(moment)
    }

    /// Waits for `future` and goes on with what it gives.
    pub(crate) fn later(
        &mut self,
        channel: &Channel,
        future: impl Future<Output = Done> + Send + 'static,
    ) {
        debug_assert!(self.later.is_none(), "one thing is waited for at a time");
        *self.later = Some(Later {
            channel: channel.number,
            method: self.method,
            future: Box::pin(future),
        });
    }
}

/// Makes a [`Done`] of a closure.
pub(crate) fn done(
    next: impl FnOnce(&mut Channel, &mut Cx<'_>) -> Handled + Send + 'static,
) -> Done {
    Box::new(next)
}
