//! A message, where it is published, and its frames.

use bytes::BytesMut;
use leveret::wire::protocol::basic;
use leveret::wire::{
    AMQPClass, AMQPProperties, AMQPValue, FRAME_END, FRAME_OVERHEAD, FrameKind, encode_method,
    encode_properties, put_content_header, put_frame_header,
};

use super::table;

const PERSISTENT: u8 = 2;

/// A message, and where it is published. It is persistent and not mandatory unless the test says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Publish<'a> {
    method: basic::Publish,
    properties: AMQPProperties,
    body: &'a [u8],
}

impl<'a> Publish<'a> {
    pub(crate) fn to(exchange: &str, routing_key: &str, body: &'a [u8]) -> Publish<'a> {
        Publish {
            method: basic::Publish {
                exchange: exchange.into(),
                routing_key: routing_key.into(),
                mandatory: false,
                immediate: false,
            },
            properties: AMQPProperties::default().with_delivery_mode(PERSISTENT),
            body,
        }
    }

    /// Through the default exchange.
    pub(crate) fn to_queue(queue: &str, body: &'a [u8]) -> Publish<'a> {
        Publish::to("", queue, body)
    }

    pub(crate) fn mandatory(mut self) -> Publish<'a> {
        self.method.mandatory = true;
        self
    }

    /// Without any property.
    pub(crate) fn transient(self) -> Publish<'a> {
        self.with(|_| AMQPProperties::default())
    }

    pub(crate) fn with_headers(self, headers: &[(&str, AMQPValue)]) -> Publish<'a> {
        self.with(|properties| properties.with_headers(table(headers)))
    }

    /// With properties changed.
    pub(crate) fn with(
        mut self,
        change: impl FnOnce(AMQPProperties) -> AMQPProperties,
    ) -> Publish<'a> {
        self.properties = change(self.properties);
        self
    }

    /// Its frames: method, header, and body in frames of at most `frame_max` octets.
    pub(crate) fn frames(&self, channel: u16, frame_max: u32) -> BytesMut {
        let mut out = BytesMut::new();
        let method = AMQPClass::Basic(basic::AMQPMethod::Publish(self.method.clone()));
        encode_method(&mut out, channel, &method);
        let properties = encode_properties(&self.properties);
        put_content_header(&mut out, channel, &properties, self.body.len() as u64);
        let payload_max = usize::try_from(frame_max).unwrap() - FRAME_OVERHEAD;
        for part in self.body.chunks(payload_max) {
            put_frame_header(&mut out, FrameKind::Body, channel, part.len());
            out.extend_from_slice(part);
            out.extend_from_slice(&[FRAME_END]);
        }
        out
    }
}
