//! The AMQP 0-9-1 front door: one connection per client, from the protocol header to the last close-ok.
//! `broker` decides what methods mean, `wire` knows their encoding. Everything with a channel number,
//! delivery tag or reply code is here.
//!
//! A publish goes through `task` (socket), `frames`, `channel_frames`, `methods/publish` and `batch_end`
//! (confirms); a delivery through `outbox`, `deliveries`, `deliver` and `task`; an ack through `frames`,
//! `channel_frames`, `methods/ack` and `batch_end`.

mod ack_timeouts; // deliveries that stay unacked for too long
mod assembly; // a content from its frames, pure
mod assembly_budget; // memory for incomplete contents of all connections
mod batch_end; // after a batch of frames: runs, acks, confirms
mod blocking; // publishers during an alarm
mod channel; // the state of one channel
mod channel_credit; // credit for the consumers of a channel
mod channel_frames; // the frames of one channel
#[cfg(test)]
mod channel_tests;
mod channels; // the channels of one connection
mod closing; // how channels and connections end
mod confirms; // publisher confirms, pure
mod connection; // an open connection without its socket
mod connection_state; // the state that channels work with
mod consumers; // the consumers of a channel and of a connection
mod credentials; // secrets that are renewed or expire
mod credit; // credit of one consumer, pure
mod deliver; // one delivery, as frames
mod deliveries; // from the outbox to the channels
mod detach; // copies of small bodies, pure
mod direct_reply_to; // requesters and their replies
mod error; // refusals and reply codes
mod firehose; // copies of publishes and deliveries
mod frames; // from frames to channels
mod front; // settings and state of all connections
mod gathered_acks; // acks of a batch of frames
mod generated_name; // names that the broker makes up
mod handshake; // from the protocol header to an open connection, pure
mod heartbeat; // when to send one, and when the peer is dead, pure
mod last_word; // whether a close fits in between the frames to a client, pure
mod leaving; // what ending channels return to their queues
mod limits; // limits of connections
mod listener; // accepts connections
mod message_frames; // messages as content frames
mod method_id; // class and method ids
mod methods; // the handlers of methods
mod outbox; // deliveries and events for a connection
mod protocol_errors; // replies to malformed or unexpected frames, pure
mod publishing; // a channel's state for publishing
mod queue_handles; // the queues that a channel uses
mod route_cache; // routes of publishes
mod run; // consecutive publishes to the same queues
mod sasl; // SASL mechanisms, pure
mod task; // the task of one connection and its socket
mod transaction; // publishes and acks before tx.commit
mod turned_away; // clients of a node that cannot serve them
mod unacked; // unacked deliveries by delivery tag, pure
mod unsynced; // published bytes that are not durable
mod writer; // output that waits for the socket

pub use front::{Front, Settings};
pub use last_word::LastWord;
pub use sasl::Mechanism;
pub use turned_away::turn_away;
