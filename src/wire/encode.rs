//! Frames of the message path, written straight into an output buffer: the general encoder builds values and strings
//! that these methods do not need. Tests hold them against amq-protocol's parser.

use bytes::{BufMut, BytesMut};

use super::content::HEADER_MIN;
use super::frame::{FRAME_END, FRAME_OVERHEAD, FrameKind, put_frame_header};
use super::method_ids::basic;
use super::{ShortString, encode_header};

/// The longest short string, in bytes.
const SHORT_STRING_MAX: usize = 255;

/// Writes a `basic.deliver` frame. `delivery_tag` is the tag by which the client settles the message.
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

/// Writes a `basic.get-ok` frame. `message_count`: how many are left in the queue.
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

/// Writes a `basic.ack` frame: a publisher confirm.
pub fn put_ack(out: &mut BytesMut, channel: u16, delivery_tag: u64, multiple: bool) {
    open_basic(out, channel, basic::ACK, 4 + 8 + 1);
    out.put_u64(delivery_tag);
    out.put_u8(u8::from(multiple));
    out.put_u8(FRAME_END);
}

/// Writes a `basic.nack` frame: a publish that was not taken. RabbitMQ's has the requeue bit set, which means nothing
/// in this direction; `requeue` says what to put there.
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

/// Writes a body frame. Cutting a body into pieces of at most `frame_max - FRAME_OVERHEAD` bytes is the caller's work.
pub fn put_body_frame(out: &mut BytesMut, channel: u16, piece: &[u8]) {
    out.reserve(FRAME_OVERHEAD + piece.len());
    put_frame_header(out, FrameKind::Body, channel, piece.len());
    out.put_slice(piece);
    out.put_u8(FRAME_END);
}

/// A reply text for a close or return: cut as RabbitMQ cuts it, to 252 bytes and "...".
pub fn reply_text(text: &str) -> ShortString {
    if text.len() <= SHORT_STRING_MAX {
        return ShortString::from(text);
    }
    let mut cut = head(text, SHORT_STRING_MAX - 3).to_owned();
    cut.push_str("...");
    ShortString::from(cut)
}

/// A short string of `text`, or of as much of it as fits.
pub fn short_string(text: &str) -> ShortString {
    ShortString::from(head(text, SHORT_STRING_MAX))
}

/// Opens a frame for a method of class `basic` whose payload, ids included, is `len` bytes.
fn open_basic(out: &mut BytesMut, channel: u16, method_id: u16, len: usize) {
    out.reserve(FRAME_OVERHEAD + len);
    put_frame_header(out, FrameKind::Method, channel, len);
    out.put_u16(basic::CLASS);
    out.put_u16(method_id);
}

fn short_len(text: &str) -> usize {
    1 + head(text, SHORT_STRING_MAX).len()
}

/// Names come off the wire as short strings, so they fit; one that did not must not tear the frame.
fn put_short(out: &mut BytesMut, text: &str) {
    let text = head(text, SHORT_STRING_MAX);
    out.put_u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.put_slice(text.as_bytes());
}

/// The longest beginning of `text` that has at most `max` bytes and does not cut a character.
fn head(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max))
        .unwrap_or_default()
}
