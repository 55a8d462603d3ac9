//! The channels of one connection, found by number, and what they share. Knows no frames.

use super::assembly::Assembling;
use super::channel::Channel;
use super::consumers::ConsumerChannels;
use super::unsynced::Unsynced;
use crate::broker::connections::ChannelStatus;
use crate::model::ConsumerId;

/// The channels of a connection, and lists of those that something is due on.
#[derive(Default)]
pub(super) struct Channels {
    /// Ordered by number.
    #[expect(
        clippy::vec_box,
        reason = "a channel is large, and opening one moves those behind it"
    )]
    pub(super) open: Vec<Box<Channel>>,
    /// Index of the one found last.
    pub(super) last: usize,
    /// Those with work left for the end of the batch.
    pub(super) dirty: Vec<u16>,
    /// Those with confirms to come.
    pub(super) confirming: Vec<u16>,
    /// Those with deliveries among the output.
    pub(super) delivering: Vec<u16>,
    /// Where its consumers are.
    pub(super) consumers: ConsumerChannels,
    /// What has arrived in part.
    pub(super) assembling: Assembling,
    /// Consumers that have lost their queue while a method waited: told once it is answered. No consumer
    /// can be added meanwhile, and each is in here at most once.
    pub(super) cancelled: Vec<ConsumerId>,
    /// The client publishes.
    pub(super) has_published: bool,
    /// What of that may not be on disk.
    pub(super) unsynced: Unsynced,
    /// Channel errors that have been logged.
    pub(super) errors_logged: u32,
    /// Something has changed that operators may want to see.
    pub(super) changed: bool,
}

impl Channels {
    pub(super) fn index(&mut self, number: u16) -> Option<usize> {
        if self
            .open
            .get(self.last)
            .is_some_and(|channel| channel.number == number)
        {
            return Some(self.last);
        }
        self.last = self
            .open
            .binary_search_by_key(&number, |channel| channel.number)
            .ok()?;
        Some(self.last)
    }

    pub(super) fn get_mut(&mut self, number: u16) -> Option<&mut Channel> {
        let index = self.index(number)?;
        self.open.get_mut(index).map(|channel| &mut **channel)
    }

    pub(super) fn insert(&mut self, number: u16) {
        if let Err(index) = self
            .open
            .binary_search_by_key(&number, |channel| channel.number)
        {
            self.open.insert(index, Box::new(Channel::new(number)));
        }
    }

    pub(super) fn remove(&mut self, number: u16) {
        if let Some(index) = self.index(number) {
            self.open.remove(index);
        }
    }

    pub(super) fn numbers(&self) -> Vec<u16> {
        self.open.iter().map(|channel| channel.number).collect()
    }

    /// For operators.
    pub(super) fn status(&self) -> Vec<ChannelStatus> {
        self.open.iter().map(|channel| channel.status()).collect()
    }
}
