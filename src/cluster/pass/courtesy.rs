//! What a front door says to a client that no leader serves.

use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;

use super::header::Door;
use crate::net::{SocketPermit, Transport};

/// Speaks the protocols of the front doors.
pub trait Courtesy: Send + Sync + 'static {
    /// Takes a client to the point where its protocol has a word for it, says why it is not served, and waits as the
    /// protocol asks. The connection closes when this is ready.
    fn turn_away(
        &self,
        door: Door,
        client: Transport,
        peer: SocketAddr,
        permit: SocketPermit,
        why: String,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Begins to listen to what a client is told; `None` if the protocol has no last word.
    fn hearing(&self, door: Door) -> Option<Box<dyn Hearing>>;
}

/// Listens to what the leader tells a client, so as to know whether a last word fits in.
pub trait Hearing: Send {
    /// These are the next bytes to the client.
    fn heard(&mut self, bytes: &[u8]);

    /// The last word; `None` if the client is in the middle of something, or was told already.
    fn last_word(&self, why: &str) -> Option<Bytes>;
}
