//! The AMQP 0-9-1 front door: one connection per client, from the protocol header to the last close-ok. What the
//! methods mean is decided in `broker`; what they look like is known in `wire`.

pub mod handshake;
pub mod sasl;
