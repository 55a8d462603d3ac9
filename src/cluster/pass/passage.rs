//! The leader's end: gives passed clients to the front doors.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::header::{Door, Header, WELCOME};
use crate::cluster::link::{Caller, LinkStream};
use crate::net::{Listener, Passed};

/// Where passed clients find the front doors while this node leads.
#[derive(Debug, Default)]
pub struct Passage {
    doors: Mutex<HashMap<Door, mpsc::Sender<Passed>>>,
}

impl Passage {
    /// A listener that accepts what other nodes pass on to this door from now on, in the place of an earlier one. Once it
    /// is dropped, the door takes no passed client.
    pub fn listener(&self, door: Door) -> Listener {
        let (sender, listener) = Listener::of_nodes();
        self.doors.lock().insert(door, sender);
        listener
    }

    /// Takes a stream of the kind [`super::PASSED_CLIENT`]. Without a door for it the stream closes, and the other node
    /// tries again or looks for another leader.
    pub fn take(&self, from: &Caller, header: &[u8], stream: LinkStream) {
        let node = &from.name;
        let header = match Header::decode(header) {
            Ok(header) => header,
            Err(error) => return tracing::warn!(%node, %error, "a passed client without a header"),
        };
        let Some(transport) = stream.into_transport() else {
            return;
        };
        let passed = Passed::new(transport, header.facts, WELCOME);
        let door = self.doors.lock().get(&header.door).cloned();
        let taken = door.is_some_and(|door| door.try_send(passed).is_ok());
        if !taken {
            tracing::debug!(%node, door = ?header.door, "a passed client finds no open door");
        }
    }
}
