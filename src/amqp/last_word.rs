//! Listens to the frames that a client gets from elsewhere, and knows whether a `connection.close` fits in now. Pure.

use bytes::{Bytes, BytesMut};

use super::error::Code;
use super::handshake::close;
use super::method_id::MethodId;
use crate::wire::{FrameKind, encode_method};

/// Octets of a frame's head, and of the class and method id behind it.
const HEAD: usize = 7;
const IDS: usize = 4;
/// Minimum length of a payload with these ids.
const WITH_IDS_MIN: u32 = 4;

/// Where in the frames to a client the bytes so far end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWord {
    /// The next frame's head, as far as it came; of a method on channel 0 with its ids.
    head: [u8; HEAD + IDS],
    have: usize,
    /// Octets of the frame under way that are still to come.
    left: u64,
    said: Said,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    /// At least one whole frame.
    Frames,
    /// The connection is being closed, or these are no frames.
    Enough,
}

impl Default for LastWord {
    fn default() -> LastWord {
        LastWord {
            head: [0; HEAD + IDS],
            have: 0,
            left: 0,
            said: Said::Nothing,
        }
    }
}

impl LastWord {
    /// The next bytes to the client.
    pub fn heard(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.said != Said::Enough {
            let taken = match self.left {
                0 => self.take_head(bytes),
                left => {
                    let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.left -= taken as u64;
                    taken
                }
            };
            if self.left == 0 && self.have == 0 && self.said == Said::Nothing {
                self.said = Said::Frames;
            }
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// A close with 320, if it fits in.
    pub fn say(&self, why: &str) -> Option<Bytes> {
        let fits = (self.said, self.have, self.left) == (Said::Frames, 0, 0);
        fits.then(|| {
            let mut out = BytesMut::new();
            encode_method(
                &mut out,
                0,
                &close(Code::ConnectionForced, why, MethodId::NONE),
            );
            out.freeze()
        })
    }

    /// Collects octets of a head; returns how many it took.
    fn take_head(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        for octet in bytes {
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *octet;
            }
            self.have += 1;
            taken += 1;
            if self.have >= self.head_length() {
                self.begin_frame();
                break;
            }
        }
        taken
    }

    fn head_length(&self) -> usize {
        let [kind, high, low, a, b, c, d, ..] = self.head;
        let has_ids = self.have >= HEAD
            && (kind, high, low) == (FrameKind::Method.octet(), 0, 0)
            && u32::from_be_bytes([a, b, c, d]) >= WITH_IDS_MIN;
        match has_ids {
            true => HEAD + IDS,
            false => HEAD,
        }
    }

    fn begin_frame(&mut self) {
        let [kind, _, _, a, b, c, d, ids @ ..] = self.head;
        let with_end = u64::from(u32::from_be_bytes([a, b, c, d])) + 1;
        self.left = with_end - (self.have - HEAD) as u64;
        let closes = self.have > HEAD
            && [MethodId::CONNECTION_CLOSE, MethodId::CONNECTION_CLOSE_OK]
                .contains(&MethodId::of(&ids));
        let is_frame = [
            FrameKind::Method,
            FrameKind::Header,
            FrameKind::Body,
            FrameKind::Heartbeat,
        ]
        .map(FrameKind::octet)
        .contains(&kind);
        if closes || !is_frame {
            self.said = Said::Enough;
        }
        self.have = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::AMQPClass;
    use crate::wire::protocol::connection::{AMQPMethod, CloseOk, OpenOk};

    fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap();
        let head = [&[kind][..], &channel.to_be_bytes(), &length.to_be_bytes()].concat();
        [&head, payload, &[0xce]].concat()
    }

    fn method(method: AMQPMethod) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode_method(&mut out, 0, &AMQPClass::Connection(method));
        out.to_vec()
    }

    #[test]
    fn a_close_fits_in_between_two_frames_and_nowhere_else() {
        let frames = [
            method(AMQPMethod::OpenOk(OpenOk {})),
            frame(8, 0, b""),
            frame(1, 1, &[0, 60, 0, 60]),
            frame(2, 1, &[7; 20]),
            frame(3, 1, &[206; 300]),
            // As a close looks on another channel, and in a body.
            frame(1, 1, &[0, 10, 0, 50]),
            frame(3, 1, &[0, 10, 0, 50]),
        ];
        let all = frames.concat();
        let mut ends = Vec::new();
        let mut end = 0;
        for frame in &frames {
            end += frame.len();
            ends.push(end);
        }
        for piece in [1, 2, 7, 64] {
            let mut word = LastWord::default();
            let mut heard = 0;
            for bytes in all.chunks(piece) {
                word.heard(bytes);
                heard += bytes.len();
                let fits = word.say("why").is_some();
                assert_eq!(fits, ends.contains(&heard), "{heard} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_client_that_is_told_already_and_one_without_frames_get_no_close() {
        let mut closed = LastWord::default();
        closed.heard(&method(AMQPMethod::OpenOk(OpenOk {})));
        closed.heard(&method(AMQPMethod::CloseOk(CloseOk {})));
        let mut another = LastWord::default();
        another.heard(b"AMQP\0\0\x09\x01");
        for word in [LastWord::default(), closed, another] {
            assert_eq!(word.say("why"), None);
        }
    }

    #[test]
    fn the_close_says_320_and_why() {
        let mut word = LastWord::default();
        word.heard(&frame(8, 0, b""));
        let said = word.say("the leader is lost").unwrap();
        let text = b"CONNECTION_FORCED - the leader is lost";
        assert!(said.windows(text.len()).any(|bytes| bytes == text));
        assert_eq!(said[11..13], 320_u16.to_be_bytes());
    }
}
