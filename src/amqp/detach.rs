//! Copies messages out of the read buffer when they would keep too much of it alive. Bodies and properties
//! are slices of the buffer that the socket was read into, and the last message in a queue keeps the whole
//! buffer. Pure.

use std::sync::Arc;

use bytes::Bytes;

use super::limits::{COPY_MESSAGE_MAX, PINNED_PER_BYTE_MAX};
use crate::model::{Body, Message};

/// The properties of a channel's last small message, shared with the next one: they are nearly always the
/// same.
#[derive(Debug, Default)]
pub(crate) struct LastProperties(Bytes);

impl LastProperties {
    /// Copies properties and body of a small message; returns those of a larger one unchanged.
    pub(crate) fn detach_small(&mut self, properties: Bytes, body: Body) -> (Bytes, Body) {
        if properties.len() + body.len() > COPY_MESSAGE_MAX {
            return (properties, body);
        }
        if self.0 != properties {
            self.0 = Bytes::copy_from_slice(&properties);
        }
        (self.0.clone(), body.copied())
    }
}

/// Copies the messages of a run of `bytes` bytes if the run is a small part of its read buffer, since the
/// other messages of the buffer may leave long before. A fast publisher's run fills most of its buffer and is
/// not copied.
pub(crate) fn detach_run(run: &mut [Arc<Message>], bytes: usize, buffer: usize) {
    if bytes * PINNED_PER_BYTE_MAX >= buffer {
        return;
    }
    for message in run {
        if message.size() > COPY_MESSAGE_MAX
            && let Some(message) = Arc::get_mut(message)
        {
            message.properties = Bytes::copy_from_slice(&message.properties);
            message.body = message.body.copied();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Origin;

    /// Whether the bytes lie in the buffer.
    fn within(bytes: &Bytes, buffer: &Bytes) -> bool {
        buffer.as_ptr_range().contains(&bytes.as_ptr())
    }

    fn message(properties: Bytes, body: Body) -> Arc<Message> {
        Arc::new(Message {
            origin: Arc::new(Origin {
                exchange: "".into(),
                routing_key: "q".into(),
            }),
            properties,
            body,
            persistent: false,
            priority: 0,
            expiration_ms: None,
            delay_ms: None,
            dead_lettered: false,
            failures: 0,
            handed_out: false,
        })
    }

    #[test]
    fn small_messages_leave_the_buffer() {
        let buffer = Bytes::from(vec![7; 10_000]);
        let mut last = LastProperties::default();
        for (body, small) in [
            (0, true),
            (COPY_MESSAGE_MAX - 3, true),
            (COPY_MESSAGE_MAX - 2, false),
        ] {
            let body = buffer.slice(3..3 + body);
            let (properties, copied) =
                last.detach_small(buffer.slice(..3), Body::Whole(body.clone()));
            assert_eq!(properties, buffer.slice(..3));
            assert_eq!(copied.slices(), [body]);
            assert_eq!(within(&properties, &buffer), !small);
            assert_eq!(within(&copied.slices()[0], &buffer), !small);
        }
    }

    #[test]
    fn properties_that_come_again_are_shared() {
        let mut last = LastProperties::default();
        let mut detached = |text: &'static str| {
            let properties = Bytes::copy_from_slice(text.as_bytes());
            last.detach_small(properties, Body::Whole(Bytes::new())).0
        };
        let (a, b, c, again) = (
            detached("one"),
            detached("one"),
            detached("two"),
            detached("one"),
        );
        assert_eq!(a.as_ptr(), b.as_ptr());
        assert_eq!((&c[..], &again[..]), (&b"two"[..], &b"one"[..]));
    }

    #[test]
    fn a_run_leaves_a_buffer_that_is_mostly_of_others() {
        let buffer = Bytes::from(vec![7; 64_000]);
        let size = 8_000;
        let parts = vec![buffer.slice(3..4_003), buffer.slice(4_003..size)];
        let check = |buffer_bytes, copied: bool| {
            let mut run = [message(buffer.slice(..3), Body::Parts(parts.clone()))];
            detach_run(&mut run, size, buffer_bytes);
            let [message] = run;
            assert_eq!(message.body.slices().concat(), parts.concat());
            let slices: [&Bytes; 2] = [&message.body.slices()[0], &message.properties];
            assert_eq!(slices.map(|slice| within(slice, &buffer)), [!copied; 2]);
        };
        check(size * PINNED_PER_BYTE_MAX, false);
        check(size * PINNED_PER_BYTE_MAX + 1, true);
        // A message with another owner is not copied.
        let shared = message(buffer.slice(..3), Body::Whole(buffer.slice(..1_000)));
        detach_run(&mut [Arc::clone(&shared)], 1_000, 64_000);
        assert!(within(&shared.properties, &buffer));
    }
}
