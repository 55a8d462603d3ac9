//! Contents on their way from link to link. A body passes in the pieces in which it comes, so memory does not depend on
//! the size of messages.

use bytes::{Bytes, BytesMut};

use super::link::{CHANNEL, LinkError};
use crate::wire::protocol::channel;
use crate::wire::{
    AMQPClass, DeliverView, FRAME_OVERHEAD, Frame, FrameKind, FromBroker, decode_from_broker,
    decode_header, put_body_frame, put_content_header, put_publish,
};

/// A delivery of the source. Its texts are reused for the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    pub tag: u64,
    pub redelivered: bool,
    pub exchange: String,
    pub routing_key: String,
}

impl Delivery {
    fn set(&mut self, view: &DeliverView<'_>) {
        self.tag = view.delivery_tag;
        self.redelivered = view.redelivered;
        view.exchange.clone_into(&mut self.exchange);
        view.routing_key.clone_into(&mut self.routing_key);
    }
}

/// How a message is published at the destination.
#[derive(Clone, Debug)]
pub struct Publication<'a> {
    pub exchange: &'a str,
    pub routing_key: &'a str,
    /// A message without a queue comes back, and the pump ends.
    pub mandatory: bool,
    /// The encoded properties.
    pub properties: Bytes,
    /// A number for the message; see [`super::in_flight::InFlight::settled_mark`].
    pub mark: u64,
}

/// Decides how messages are published.
pub trait Forward: Send {
    /// `properties` are those of the delivery, encoded. An error ends the pump.
    fn publication<'a>(
        &'a mut self,
        delivery: &'a Delivery,
        properties: Bytes,
    ) -> Result<Publication<'a>, LinkError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between two messages.
    Idle,
    Header,
    Body {
        missing: u64,
    },
}

/// A message that is published: its method and header have been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) tag: u64,
    pub(super) mark: u64,
    pub(super) redelivered: bool,
}

pub(super) struct Relay {
    state: State,
    delivery: Delivery,
    /// The largest payload of a frame at the destination.
    payload_max: usize,
}

impl Relay {
    pub(super) fn new(frame_max: u32) -> Relay {
        let frame_max = usize::try_from(frame_max).unwrap_or(usize::MAX);
        Relay {
            state: State::Idle,
            delivery: Delivery::default(),
            payload_max: frame_max.saturating_sub(FRAME_OVERHEAD).max(1),
        }
    }

    /// Whether the destination has the beginning of a message without its end.
    pub(super) fn is_publishing(&self) -> bool {
        matches!(self.state, State::Body { .. })
    }

    /// Whether the next frame begins a message.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Takes a frame of the source and writes frames for the destination to `out`.
    pub(super) fn take(
        &mut self,
        frame: Frame,
        forward: &mut impl Forward,
        out: &mut BytesMut,
    ) -> Result<Option<Published>, LinkError> {
        match (frame.kind, self.state) {
            (FrameKind::Method, State::Idle) => {
                match decode_from_broker(&frame.payload)? {
                    FromBroker::Deliver(view) => {
                        self.delivery.set(&view);
                        self.state = State::Header;
                    }
                    FromBroker::Other(method) => check(&method)?,
                    FromBroker::Ack { .. } | FromBroker::Nack { .. } => {
                        return Err(unexpected());
                    }
                }
                Ok(None)
            }
            (FrameKind::Header, State::Header) => self.header(frame.payload, forward, out),
            (FrameKind::Body, State::Body { missing }) => {
                self.body(&frame.payload, missing, out)?;
                Ok(None)
            }
            _ => Err(unexpected()),
        }
    }

    fn header(
        &mut self,
        payload: Bytes,
        forward: &mut impl Forward,
        out: &mut BytesMut,
    ) -> Result<Option<Published>, LinkError> {
        let header = decode_header(payload)?;
        let Publication {
            exchange,
            routing_key,
            mandatory,
            properties,
            mark,
        } = forward.publication(&self.delivery, header.properties)?;
        put_publish(out, CHANNEL, exchange, routing_key, mandatory);
        put_content_header(out, CHANNEL, &properties, header.body_size);
        self.state = State::before(header.body_size);
        Ok(Some(Published {
            tag: self.delivery.tag,
            mark,
            redelivered: self.delivery.redelivered,
        }))
    }

    fn body(&mut self, piece: &[u8], missing: u64, out: &mut BytesMut) -> Result<(), LinkError> {
        let Some(missing) = missing.checked_sub(piece.len() as u64) else {
            let text = "a body is larger than its header says";
            return Err(LinkError::Protocol(text.to_owned()));
        };
        for piece in piece.chunks(self.payload_max) {
            put_body_frame(out, CHANNEL, piece);
        }
        self.state = State::before(missing);
        Ok(())
    }
}

impl State {
    fn before(missing: u64) -> State {
        match missing {
            0 => State::Idle,
            missing => State::Body { missing },
        }
    }
}

/// Checks a method of the source that is no delivery.
fn check(method: &AMQPClass) -> Result<(), LinkError> {
    use crate::wire::protocol::basic::AMQPMethod as Basic;
    match method {
        AMQPClass::Basic(Basic::Cancel(_)) => Err(LinkError::Cancelled),
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => Err(LinkError::Closed {
            code: close.reply_code,
            text: close.reply_text.to_string(),
        }),
        other => Err(LinkError::Protocol(format!("unexpected method {other:?}"))),
    }
}

fn unexpected() -> LinkError {
    LinkError::Protocol("a frame that cannot follow the one before".to_owned())
}
