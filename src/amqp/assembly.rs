//! Assembles a content from its method, header and body frames (AMQP 0-9-1, 4.2.6). Pure: says when a content
//! is complete and which frames are out of turn; knows nothing of channels or of the content's purpose.

use bytes::{BufMut, Bytes, BytesMut};

use super::limits::{BODY_PART_MIN, BODY_PIECE_MAX, PART_PINS_MAX};
use super::method_id::CLASS_BASIC;
use crate::model::Body;

/// Which frame one channel expects next. `P` stands for the publish method.
#[derive(Debug)]
pub(crate) enum Assembly<P> {
    /// Expects a method.
    Idle,
    /// Expects the content header.
    AwaitHeader(P),
    /// Expects body frames.
    AwaitBody(Box<Partial<P>>),
}

/// A content whose body is incomplete.
#[derive(Debug)]
pub(crate) struct Partial<P> {
    publish: P,
    properties: Bytes,
    remaining: u64,
    parts: Parts,
}

/// A complete content.
#[derive(Debug)]
pub(crate) struct Content<P> {
    pub(crate) publish: P,
    /// Property flags and list as they arrived.
    pub(crate) properties: Bytes,
    pub(crate) body: Body,
}

/// Incomplete contents on all channels of a connection.
#[derive(Debug, Default)]
pub(crate) struct Assembling {
    /// Their bytes.
    bytes: usize,
    /// Channels on which a content began since the list was last emptied: their headers may keep a read
    /// buffer alive.
    begun: Vec<u16>,
}

impl Assembling {
    /// A channel held `before` bytes and now holds `after`.
    pub(crate) fn change(&mut self, before: usize, after: usize) {
        self.bytes = (self.bytes + after).saturating_sub(before);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A content began on a channel.
    pub(crate) fn begin(&mut self, channel: u16) {
        if self.begun.last() != Some(&channel) {
            self.begun.push(channel);
        }
    }

    /// Removes a channel from the list of those on which contents began.
    pub(crate) fn next_begun(&mut self) -> Option<u16> {
        self.begun.pop()
    }
}

/// A frame out of turn. The texts are RabbitMQ's, which tests of clients compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unexpected {
    /// A header or body where a method is expected.
    NotMethod,
    /// Another frame where the header is expected.
    NotHeader,
    /// A header of another class than `basic`.
    WrongClass(u16),
    /// Another frame where a body is expected or, as in RabbitMQ, more body than the header announced.
    NotBody,
}

impl Unexpected {
    /// The reply text, without its leading code name.
    pub(crate) fn text(self) -> String {
        match self {
            Unexpected::NotMethod => {
                "expected method frame, got non method frame instead".to_owned()
            }
            Unexpected::NotHeader => {
                format!(
                    "expected content header for class {CLASS_BASIC}, got non content header frame instead"
                )
            }
            Unexpected::WrongClass(class) => {
                format!(
                    "expected content header for class {CLASS_BASIC}, got one for class {class} instead"
                )
            }
            Unexpected::NotBody => {
                "expected content body, got non content body frame instead".to_owned()
            }
        }
    }
}

impl<P> Assembly<P> {
    /// Whether a method is expected now.
    pub(crate) fn method(&self) -> Result<(), Unexpected> {
        match self {
            Assembly::Idle => Ok(()),
            Assembly::AwaitHeader(_) => Err(Unexpected::NotHeader),
            Assembly::AwaitBody(_) => Err(Unexpected::NotBody),
        }
    }

    /// The fault of a content header that cannot be decoded.
    pub(crate) fn header_missing(&self) -> Unexpected {
        match self {
            Assembly::Idle => Unexpected::NotMethod,
            Assembly::AwaitHeader(_) => Unexpected::NotHeader,
            Assembly::AwaitBody(_) => Unexpected::NotBody,
        }
    }

    /// A method that carries content arrived.
    pub(crate) fn begin(&mut self, publish: P) {
        *self = Assembly::AwaitHeader(publish);
    }

    /// A content header arrived. It completes a content without body.
    pub(crate) fn header(
        &mut self,
        class: u16,
        body_size: u64,
        properties: Bytes,
    ) -> Result<Option<Content<P>>, Unexpected> {
        match std::mem::replace(self, Assembly::Idle) {
            Assembly::AwaitHeader(_) if class != CLASS_BASIC => Err(Unexpected::WrongClass(class)),
            Assembly::AwaitHeader(publish) if body_size == 0 => Ok(Some(Content {
                publish,
                properties,
                body: Body::Whole(Bytes::new()),
            })),
            Assembly::AwaitHeader(publish) => {
                let parts = Parts::default();
                *self = Assembly::AwaitBody(Box::new(Partial {
                    publish,
                    properties,
                    remaining: body_size,
                    parts,
                }));
                Ok(None)
            }
            Assembly::Idle => Err(Unexpected::NotMethod),
            Assembly::AwaitBody(_) => Err(Unexpected::NotBody),
        }
    }

    /// A body frame arrived, a slice of a read buffer of `buffer` bytes. The last one completes the content.
    pub(crate) fn body(
        &mut self,
        payload: Bytes,
        buffer: usize,
    ) -> Result<Option<Content<P>>, Unexpected> {
        let length = payload.len() as u64;
        match std::mem::replace(self, Assembly::Idle) {
            Assembly::AwaitBody(partial) if length > partial.remaining => Err(Unexpected::NotBody),
            Assembly::AwaitBody(mut partial) if length < partial.remaining => {
                partial.remaining -= length;
                partial.parts.push(payload, buffer);
                *self = Assembly::AwaitBody(partial);
                Ok(None)
            }
            Assembly::AwaitBody(partial) => {
                let Partial {
                    publish,
                    properties,
                    parts,
                    ..
                } = *partial;
                Ok(Some(Content {
                    publish,
                    properties,
                    body: parts.finish(payload, buffer),
                }))
            }
            Assembly::AwaitHeader(_) => Err(Unexpected::NotHeader),
            Assembly::Idle => Err(Unexpected::NotMethod),
        }
    }

    /// A body frame of a content that is dropped arrived: only its length counts.
    pub(crate) fn skip_body(&mut self, length: usize) -> Result<(), Unexpected> {
        let length = length as u64;
        match self {
            Assembly::AwaitBody(partial) if length > partial.remaining => Err(Unexpected::NotBody),
            Assembly::AwaitBody(partial) if length < partial.remaining => {
                partial.remaining -= length;
                Ok(())
            }
            Assembly::AwaitBody(_) => {
                *self = Assembly::Idle;
                Ok(())
            }
            Assembly::AwaitHeader(_) => Err(Unexpected::NotHeader),
            Assembly::Idle => Err(Unexpected::NotMethod),
        }
    }

    /// Drops the bytes of an incomplete content. Its remaining frames go to [`Assembly::skip_body`].
    pub(crate) fn forget(&mut self) {
        if let Assembly::AwaitBody(partial) = self {
            partial.properties = Bytes::new();
            partial.parts = Parts::default();
        }
    }

    /// Bytes of properties and body of an incomplete content.
    pub(crate) fn held(&self) -> usize {
        match self {
            Assembly::AwaitBody(partial) => partial.properties.len() + partial.parts.held,
            Assembly::Idle | Assembly::AwaitHeader(_) => 0,
        }
    }

    /// Copies the properties of an incomplete content if they are a small part of their read buffer, so that
    /// they do not keep the buffer alive until the rest arrives.
    pub(crate) fn detach_header(&mut self, buffer: usize) {
        if let Assembly::AwaitBody(partial) = self
            && is_small_part(partial.properties.len(), buffer)
        {
            partial.properties = Bytes::copy_from_slice(&partial.properties);
        }
    }
}

/// Whether these bytes would keep far more of their read buffer alive than their own length.
fn is_small_part(bytes: usize, buffer: usize) -> bool {
    bytes.saturating_mul(PART_PINS_MAX) < buffer
}

/// Body frames so far. Short ones are joined, since a slice costs more memory than a few bytes.
#[derive(Debug, Default)]
struct Parts {
    whole: Vec<Bytes>,
    joined: BytesMut,
    held: usize,
}

impl Parts {
    fn push(&mut self, part: Bytes, buffer: usize) {
        self.held += part.len();
        if part.len() < BODY_PART_MIN || is_small_part(part.len(), buffer) {
            self.joined.put(part);
            if self.joined.len() >= BODY_PIECE_MAX {
                self.close_joined();
            }
            return;
        }
        self.close_joined();
        self.whole.push(part);
    }

    fn finish(mut self, last: Bytes, buffer: usize) -> Body {
        if self.held == 0 {
            return Body::Whole(last);
        }
        self.push(last, buffer);
        self.close_joined();
        match self.whole.pop() {
            Some(only) if self.whole.is_empty() => Body::Whole(only),
            Some(last) => {
                self.whole.push(last);
                Body::Parts(self.whole)
            }
            None => Body::Whole(Bytes::new()),
        }
    }

    fn close_joined(&mut self) {
        if !self.joined.is_empty() {
            self.whole.push(self.joined.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::method_ids::queue;
    use proptest::prelude::*;

    fn whole(body: &Body) -> Vec<u8> {
        body.slices().concat()
    }

    #[test]
    fn wrong_frames() {
        let properties = Bytes::new;
        let mut a: Assembly<()> = Assembly::Idle;
        assert_eq!(
            a.header(CLASS_BASIC, 3, properties()).err(),
            Some(Unexpected::NotMethod)
        );
        assert_eq!(
            a.body(Bytes::from_static(b"x"), 1).err(),
            Some(Unexpected::NotMethod)
        );
        assert_eq!(a.method(), Ok(()));
        a.begin(());
        assert_eq!(a.method(), Err(Unexpected::NotHeader));
        assert_eq!(a.body(Bytes::new(), 0).err(), Some(Unexpected::NotHeader));
        a.begin(());
        assert_eq!(
            a.header(queue::CLASS, 3, properties()).err(),
            Some(Unexpected::WrongClass(queue::CLASS))
        );
        a.begin(());
        assert!(a.header(CLASS_BASIC, 3, properties()).unwrap().is_none());
        assert_eq!(a.method(), Err(Unexpected::NotBody));
        assert_eq!(
            a.header(CLASS_BASIC, 3, properties()).err(),
            Some(Unexpected::NotBody)
        );
        a.begin(());
        a.header(CLASS_BASIC, 3, properties()).unwrap();
        assert_eq!(
            a.body(Bytes::from_static(b"four"), 4).err(),
            Some(Unexpected::NotBody)
        );
    }

    #[test]
    fn no_body_and_one_frame_are_not_copied() {
        let mut a = Assembly::Idle;
        a.begin(1);
        let content = a
            .header(CLASS_BASIC, 0, Bytes::from_static(b"p"))
            .unwrap()
            .unwrap();
        assert_eq!(
            (
                content.publish,
                content.properties.as_ref(),
                content.body.len()
            ),
            (1, b"p".as_slice(), 0)
        );
        a.begin(2);
        a.header(CLASS_BASIC, 4, Bytes::new()).unwrap();
        let frame = Bytes::from(b"four".to_vec());
        let content = a.body(frame.clone(), 4).unwrap().unwrap();
        assert!(matches!(&content.body, Body::Whole(b) if b.as_ptr() == frame.as_ptr()));
        assert!(matches!(a, Assembly::Idle));
    }

    #[test]
    fn tiny_frames_are_joined() {
        let mut a = Assembly::Idle;
        a.begin(());
        a.header(CLASS_BASIC, 100_000, Bytes::new()).unwrap();
        for _ in 0..99_999 {
            // Each frame is a slice of a large read buffer, which must be freed.
            assert!(a.body(Bytes::from(vec![7; 1]), 1).unwrap().is_none());
        }
        assert_eq!(a.held(), 99_999);
        let body = a.body(Bytes::from_static(&[7]), 1).unwrap().unwrap().body;
        assert_eq!((body.slices().len(), body.len()), (1, 100_000));
    }

    #[test]
    fn an_incomplete_content_keeps_no_large_buffer_alive() {
        let read = Bytes::from(vec![7; 256 * 1024]);
        let within = |bytes: &[u8]| read.as_ptr_range().contains(&bytes.as_ptr());
        let properties = read.slice(..20);
        for (part, is_copied) in [
            (BODY_PART_MIN, true),
            (read.len() / PART_PINS_MAX + 1, false),
        ] {
            let mut a = Assembly::Idle;
            a.begin(());
            a.header(CLASS_BASIC, part as u64 + 1, properties.clone())
                .unwrap();
            a.detach_header(read.len());
            assert!(a.body(read.slice(..part), read.len()).unwrap().is_none());
            assert_eq!(a.held(), 20 + part);
            let content = a.body(Bytes::from_static(b"x"), 1).unwrap().unwrap();
            assert!(!within(&content.properties));
            assert_eq!(!within(&content.body.slices()[0]), is_copied);
            assert_eq!(content.body.len(), part + 1);
        }
    }

    #[test]
    fn parts_are_joined_to_pieces() {
        let (count, part) = (300, BODY_PART_MIN);
        let mut a = Assembly::Idle;
        a.begin(());
        a.header(CLASS_BASIC, (count * part) as u64, Bytes::new())
            .unwrap();
        let mut content = None;
        for _ in 0..count {
            content = a.body(Bytes::from(vec![7; part]), 256 * 1024).unwrap();
        }
        let body = content.unwrap().body;
        assert_eq!(body.len(), count * part);
        assert_eq!(body.slices().len(), (count * part).div_ceil(BODY_PIECE_MAX));
    }

    #[test]
    fn the_bytes_of_all_channels_are_counted_together() {
        let mut all = Assembling::default();
        all.change(0, 10);
        all.change(0, 5);
        all.change(10, 12);
        assert_eq!(all.bytes(), 17);
        all.change(12, 0);
        assert_eq!(all.bytes(), 5);
        for channel in [1, 1, 2, 2, 1] {
            all.begin(channel);
        }
        let begun: Vec<u16> = std::iter::from_fn(|| all.next_begun()).collect();
        assert_eq!(begun, [1, 2, 1]);
    }

    #[test]
    fn a_body_can_be_skipped() {
        let mut a = Assembly::Idle;
        a.begin(());
        a.header(CLASS_BASIC, 10, Bytes::new()).unwrap();
        assert!(a.body(Bytes::from_static(b"1234"), 4).unwrap().is_none());
        a.forget();
        assert_eq!(a.held(), 0);
        assert_eq!(a.skip_body(5), Ok(()));
        assert_eq!(a.method(), Err(Unexpected::NotBody));
        assert_eq!(a.skip_body(2), Err(Unexpected::NotBody));
        assert_eq!(a.skip_body(1), Ok(()));
        assert_eq!(a.method(), Ok(()));
    }

    proptest! {
        #[test]
        fn the_body_is_what_was_sent(sizes in proptest::collection::vec(0usize..9_000, 1..12)) {
            let mut a = Assembly::Idle;
            let frames: Vec<Vec<u8>> = sizes.iter().zip(0u8..).map(|(n, i)| vec![i; *n]).collect();
            let sent = frames.concat();
            a.begin(());
            let mut content = a.header(CLASS_BASIC, sent.len() as u64, Bytes::new()).unwrap();
            for frame in frames {
                if content.is_some() { break; }
                content = a.body(Bytes::from(frame), 4_096).unwrap();
            }
            prop_assert_eq!(whole(&content.unwrap().body), sent);
        }
    }
}
