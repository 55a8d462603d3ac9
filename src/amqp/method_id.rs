//! Class and method ids of AMQP 0-9-1 (1.3), as replies name them and as method frames begin.

/// A class and a method. Zeros name no method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MethodId {
    pub(crate) class: u16,
    pub(crate) method: u16,
}

/// The class whose methods carry content.
pub(crate) const CLASS_BASIC: u16 = 60;

impl MethodId {
    /// Errors about no method in particular carry this.
    pub(crate) const NONE: MethodId = MethodId::new(0, 0);
    #[cfg(test)]
    pub(crate) const CONNECTION_START_OK: MethodId = MethodId::new(10, 11);
    pub(crate) const CONNECTION_OPEN: MethodId = MethodId::new(10, 40);
    pub(crate) const CONNECTION_CLOSE: MethodId = MethodId::new(10, 50);
    pub(crate) const CONNECTION_CLOSE_OK: MethodId = MethodId::new(10, 51);
    pub(crate) const CHANNEL_OPEN: MethodId = MethodId::new(20, 10);
    pub(crate) const CHANNEL_CLOSE: MethodId = MethodId::new(20, 40);
    pub(crate) const CHANNEL_CLOSE_OK: MethodId = MethodId::new(20, 41);
    pub(crate) const BASIC_PUBLISH: MethodId = MethodId::new(CLASS_BASIC, 40);

    pub(crate) const fn new(class: u16, method: u16) -> MethodId {
        MethodId { class, method }
    }

    /// The ids at the start of a method frame's payload; [`MethodId::NONE`] if it is too short to have them.
    pub(crate) fn of(payload: &[u8]) -> MethodId {
        match payload {
            [c0, c1, m0, m1, ..] => MethodId {
                class: u16::from_be_bytes([*c0, *c1]),
                method: u16::from_be_bytes([*m0, *m1]),
            },
            _ => MethodId::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::protocol::{basic, channel, connection};
    use crate::wire::{AMQPClass, encode_method, split};
    use bytes::BytesMut;

    fn encoded(method: &AMQPClass) -> MethodId {
        let mut out = BytesMut::new();
        encode_method(&mut out, 1, method);
        let frame = split(&mut out, 4_096).unwrap().unwrap();
        MethodId::of(&frame.payload)
    }

    #[test]
    fn ids_are_those_of_the_encoded_methods() {
        let start_ok = connection::AMQPMethod::StartOk(connection::StartOk::default());
        let open = connection::AMQPMethod::Open(connection::Open::default());
        let close = connection::AMQPMethod::Close(connection::Close::default());
        let close_ok = connection::AMQPMethod::CloseOk(connection::CloseOk {});
        let open_channel = channel::AMQPMethod::Open(channel::Open {});
        let close_channel = channel::AMQPMethod::Close(channel::Close::default());
        let close_channel_ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
        let publish = basic::AMQPMethod::Publish(basic::Publish::default());
        for (method, id) in [
            (
                AMQPClass::Connection(start_ok),
                MethodId::CONNECTION_START_OK,
            ),
            (AMQPClass::Connection(open), MethodId::CONNECTION_OPEN),
            (AMQPClass::Connection(close), MethodId::CONNECTION_CLOSE),
            (
                AMQPClass::Connection(close_ok),
                MethodId::CONNECTION_CLOSE_OK,
            ),
            (AMQPClass::Channel(open_channel), MethodId::CHANNEL_OPEN),
            (AMQPClass::Channel(close_channel), MethodId::CHANNEL_CLOSE),
            (
                AMQPClass::Channel(close_channel_ok),
                MethodId::CHANNEL_CLOSE_OK,
            ),
            (AMQPClass::Basic(publish), MethodId::BASIC_PUBLISH),
        ] {
            assert_eq!(encoded(&method), id);
        }
        assert_eq!(MethodId::of(&[0, 60, 0]), MethodId::NONE);
    }
}
