//! Class and method ids, as replies name them and as method frames begin.

use crate::wire::method_ids::{basic, channel, connection};

/// A class and a method. Zeros name no method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MethodId {
    pub(crate) class: u16,
    pub(crate) method: u16,
}

/// The class whose methods carry content.
pub(crate) const CLASS_BASIC: u16 = basic::CLASS;

impl MethodId {
    /// Errors about no method in particular carry this.
    pub(crate) const NONE: MethodId = MethodId::new(0, 0);
    #[cfg(test)]
    pub(crate) const CONNECTION_START_OK: MethodId =
        MethodId::new(connection::CLASS, connection::START_OK);
    pub(crate) const CONNECTION_OPEN: MethodId = MethodId::new(connection::CLASS, connection::OPEN);
    pub(crate) const CONNECTION_CLOSE: MethodId =
        MethodId::new(connection::CLASS, connection::CLOSE);
    pub(crate) const CONNECTION_CLOSE_OK: MethodId =
        MethodId::new(connection::CLASS, connection::CLOSE_OK);
    pub(crate) const CONNECTION_UPDATE_SECRET: MethodId =
        MethodId::new(connection::CLASS, connection::UPDATE_SECRET);
    pub(crate) const CHANNEL_OPEN: MethodId = MethodId::new(channel::CLASS, channel::OPEN);
    pub(crate) const CHANNEL_CLOSE: MethodId = MethodId::new(channel::CLASS, channel::CLOSE);
    pub(crate) const CHANNEL_CLOSE_OK: MethodId = MethodId::new(channel::CLASS, channel::CLOSE_OK);
    pub(crate) const BASIC_PUBLISH: MethodId = MethodId::new(basic::CLASS, basic::PUBLISH);

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

    #[test]
    fn the_ids_start_the_payload() {
        let publish = [0, 60, 0, 40, 0, 0];
        assert_eq!(MethodId::of(&publish), MethodId::BASIC_PUBLISH);
        assert_eq!(MethodId::of(&publish[..3]), MethodId::NONE);
    }
}
