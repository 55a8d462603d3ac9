//! The AMQP 0-9-1 front door: one connection per client, from the protocol header to the last close-ok. What the
//! methods mean is decided in `broker`; what they look like is known in `wire`. Everything with a channel number,
//! delivery tag or reply code lives here.

mod assembly; // content from its frames, pure
mod batch; // what is done once for many frames
mod blocking; // clients that publish while an alarm is on
mod channel; // one channel: its state and its end
mod channels; // the channels of one connection
mod closing; // how channels and connections end
mod confirms; // publisher confirms, pure
mod connection; // the task of one connection
mod consumers; // the consumers of a channel, and its queues
mod credit; // how much a consumer may be sent, pure
mod cx; // what the handler of a method is given
mod deliver; // deliveries on their way to the client
mod dispatch; // from frames to channels
mod error; // from errors to reply codes
pub mod handshake; // from the protocol header to an open connection, pure
mod heartbeat; // when to send one, and when the peer is dead, pure
mod keep; // what waiting messages keep alive, pure
mod leaving; // what channels give back when they end
mod limits; // the bounds of a connection
mod listener; // accepts connections
mod methods; // what each method does
mod misread; // frames that cannot be read, pure
mod outbox; // what the broker has for a connection
mod replies; // direct reply-to
mod room; // what all connections may hold half received
mod routes; // where publishes go, remembered
pub mod sasl; // who is it, pure
mod unacked; // delivery tags, pure
mod unsynced; // what is on its way to the disk
mod writer; // output that waits for the socket

pub use listener::{Front, Settings};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Random bytes in a generated name.
const RANDOM_NAME_BYTES: usize = 16;

/// A name that nobody can guess: 22 characters, as RabbitMQ's generated names have.
fn random_name() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_NAME_BYTES]>())
}
