//! Writes the frames of the message path straight into an output buffer, since the general encoder builds
//! values and strings that these methods do not need. Tests compare them with amq-protocol's parser.

use bytes::{BufMut, BytesMut};

use super::content::HEADER_MIN;
use super::frame::{FRAME_END, FRAME_OVERHEAD, FrameKind, put_frame_header};
use super::method_ids::basic;
use super::{ShortString, encode_header};

/// Maximum length of a short string, in bytes.
const SHORT_STRING_MAX: usize = 255;

/// Writes a `basic.deliver` frame.
pub fn put_deliver(
    out: &mut BytesMut,
    channel: u16,
    consumer_tag: &str,
    delivery_tag: u64,
    redelivered: bool,
    exchange: &str,
    routing_key: &str,
) {
    let len = 4 + short_len(consumer_tag) + 8 + 1 + short_len(exchange) + short_len(routing_key);
    open_basic(out, channel, basic::DELIVER, len);
    put_short(out, consumer_tag);
    out.put_u64(delivery_tag);
    out.put_u8(u8::from(redelivered));
    put_short(out, exchange);
    put_short(out, routing_key);
    out.put_u8(FRAME_END);
}

/// Writes a `basic.publish` frame.
pub fn put_publish(
    out: &mut BytesMut,
    channel: u16,
    exchange: &str,
    routing_key: &str,
    mandatory: bool,
) {
    let len = 4 + 2 + short_len(exchange) + short_len(routing_key) + 1;
    open_basic(out, channel, basic::PUBLISH, len);
    out.put_u16(0); // ticket, not used since 0-9
    put_short(out, exchange);
    put_short(out, routing_key);
    out.put_u8(u8::from(mandatory));
    out.put_u8(FRAME_END);
}

/// Writes a `basic.get-ok` frame. `message_count` counts the messages that remain in the queue.
pub fn put_get_ok(
    out: &mut BytesMut,
    channel: u16,
    delivery_tag: u64,
    redelivered: bool,
    exchange: &str,
    routing_key: &str,
    message_count: u32,
) {
    let len = 4 + 8 + 1 + short_len(exchange) + short_len(routing_key) + 4;
    open_basic(out, channel, basic::GET_OK, len);
    out.put_u64(delivery_tag);
    out.put_u8(u8::from(redelivered));
    put_short(out, exchange);
    put_short(out, routing_key);
    out.put_u32(message_count);
    out.put_u8(FRAME_END);
}

/// Writes a `basic.return` frame.
pub fn put_return(
    out: &mut BytesMut,
    channel: u16,
    code: u16,
    text: &str,
    exchange: &str,
    routing_key: &str,
) {
    let len = 4 + 2 + short_len(text) + short_len(exchange) + short_len(routing_key);
    open_basic(out, channel, basic::RETURN, len);
    out.put_u16(code);
    put_short(out, text);
    put_short(out, exchange);
    put_short(out, routing_key);
    out.put_u8(FRAME_END);
}

/// Writes a `basic.ack` frame: a publisher confirm, or the ack of a delivery.
pub fn put_ack(out: &mut BytesMut, channel: u16, delivery_tag: u64, multiple: bool) {
    open_basic(out, channel, basic::ACK, 4 + 8 + 1);
    out.put_u64(delivery_tag);
    out.put_u8(u8::from(multiple));
    out.put_u8(FRAME_END);
}

/// Writes a `basic.nack` frame. From a broker it says that a publish was not accepted; RabbitMQ sets the requeue
/// bit then, which has no meaning in this direction.
pub fn put_nack(
    out: &mut BytesMut,
    channel: u16,
    delivery_tag: u64,
    multiple: bool,
    requeue: bool,
) {
    open_basic(out, channel, basic::NACK, 4 + 8 + 1);
    out.put_u64(delivery_tag);
    out.put_u8(u8::from(multiple) | u8::from(requeue) << 1);
    out.put_u8(FRAME_END);
}

/// Writes a content header frame around raw properties.
pub fn put_content_header(out: &mut BytesMut, channel: u16, properties: &[u8], body_size: u64) {
    put_frame_header(
        out,
        FrameKind::Header,
        channel,
        HEADER_MIN + properties.len(),
    );
    encode_header(properties, body_size, out);
    out.put_u8(FRAME_END);
}

/// Writes a body frame. The caller cuts a body into pieces of at most `frame_max - FRAME_OVERHEAD` bytes.
pub fn put_body_frame(out: &mut BytesMut, channel: u16, piece: &[u8]) {
    out.reserve(FRAME_OVERHEAD + piece.len());
    put_frame_header(out, FrameKind::Body, channel, piece.len());
    out.put_slice(piece);
    out.put_u8(FRAME_END);
}

/// A reply text for a close or return, cut to 252 bytes and "..." as RabbitMQ cuts it.
pub fn reply_text(text: &str) -> ShortString {
    if text.len() <= SHORT_STRING_MAX {
        return ShortString::from(text);
    }
    let mut cut = head(text, SHORT_STRING_MAX - 3).to_owned();
    cut.push_str("...");
    ShortString::from(cut)
}

/// The longest beginning of `text` that fits into a short string.
pub fn short_string(text: &str) -> ShortString {
    ShortString::from(head(text, SHORT_STRING_MAX))
}

/// Opens a frame for a method of class `basic`. Its payload has `len` bytes, including the two ids.
fn open_basic(out: &mut BytesMut, channel: u16, method_id: u16, len: usize) {
    out.reserve(FRAME_OVERHEAD + len);
    put_frame_header(out, FrameKind::Method, channel, len);
    out.put_u16(basic::CLASS);
    out.put_u16(method_id);
}

fn short_len(text: &str) -> usize {
    1 + head(text, SHORT_STRING_MAX).len()
}

/// Names come off the wire as short strings, so they fit. Cutting a longer one keeps the frame intact.
fn put_short(out: &mut BytesMut, text: &str) {
    let text = head(text, SHORT_STRING_MAX);
    out.put_u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.put_slice(text.as_bytes());
}

/// The longest beginning of `text` that has at most `max` bytes and ends between two characters.
fn head(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max))
        .unwrap_or_default()
}
