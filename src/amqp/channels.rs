//! The open channels of one connection, found by number.

use super::channel::Channel;
use crate::broker::connections::ChannelStatus;

#[derive(Default)]
pub(super) struct Channels {
    /// Ordered by number.
    #[expect(
        clippy::vec_box,
        reason = "a channel is large, and opening one moves those behind it"
    )]
    open: Vec<Box<Channel>>,
    /// Index of the latest lookup.
    last: usize,
}

impl Channels {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn get_mut(&mut self, number: u16) -> Option<&mut Channel> {
        let index = self.index(number)?;
        self.open.get_mut(index).map(|channel| &mut **channel)
    }

    pub(super) fn insert(&mut self, number: u16) {
        let index = self.search(number);
        if let Err(index) = index {
            self.open.insert(index, Box::new(Channel::new(number)));
        }
    }

    pub(super) fn remove(&mut self, number: u16) {
        if let Some(index) = self.index(number) {
            self.open.remove(index);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.open.iter().map(|channel| &**channel)
    }

    pub(super) fn numbers(&self) -> Vec<u16> {
        self.iter().map(|channel| channel.number).collect()
    }

    pub(super) fn status(&self) -> Vec<ChannelStatus> {
        self.iter().map(Channel::status).collect()
    }

    fn index(&mut self, number: u16) -> Option<usize> {
        let last = self.open.get(self.last);
        if last.is_none_or(|channel| channel.number != number) {
            self.last = self.search(number).ok()?;
        }
        Some(self.last)
    }

    fn search(&self, number: u16) -> Result<usize, usize> {
        self.open
            .binary_search_by_key(&number, |channel| channel.number)
    }
}
