//! The `basic` properties in their raw form: sixteen flag bits, then the present values.
//! Rules read single fields straight from the raw bytes. When the broker changes a message (dead lettering,
//! reply-to), it replaces single fields and keeps the bytes of all others.
//!
//! This codec is written by hand, since amq-protocol's parser allocates a value for every field of every
//! message and rejects strings that are not UTF-8, which clients do send.

use std::borrow::Cow;

use amq_protocol::protocol::basic;
use bytes::{BufMut, Bytes, BytesMut};

use super::content::HeaderError;
use super::cursor::Cursor;
use super::table::{self, Entries, Entry, check_table, decode_table, encode_table};
use super::{AMQPProperties, FieldTable};

const CONTENT_TYPE: usize = 0;
const CONTENT_ENCODING: usize = 1;
const HEADERS: usize = 2;
const DELIVERY_MODE: usize = 3;
const PRIORITY: usize = 4;
const CORRELATION_ID: usize = 5;
const REPLY_TO: usize = 6;
const EXPIRATION: usize = 7;
const MESSAGE_ID: usize = 8;
const TIMESTAMP: usize = 9;
const TYPE: usize = 10;
const USER_ID: usize = 11;
const APP_ID: usize = 12;
const CLUSTER_ID: usize = 13;
/// Number of properties.
const COUNT: usize = 14;
/// The flag of property number `index`: the first property has the highest bit.
fn flag(index: usize) -> u16 {
    0x8000 >> index
}

/// Whether raw properties have a priority. Reads only the first octets.
pub fn names_priority(properties: &[u8]) -> bool {
    properties
        .first_chunk()
        .is_some_and(|flags| u16::from_be_bytes(*flags) & flag(PRIORITY) != 0)
}

/// The lowest flag announces another word of flags, which `basic` does not have. The flag above it has no
/// meaning.
const MORE_FLAGS: u16 = 1;

/// The properties of one message, read from their raw form without allocation. Strings are bytes: AMQP requires
/// UTF-8, but RabbitMQ does not check it, and some clients send binary correlation ids.
#[derive(Clone, Debug)]
pub struct PropertiesView<'a> {
    /// The bytes of each present property, including its length prefix if it has one.
    fields: [Option<&'a [u8]>; COUNT],
}

impl<'a> PropertiesView<'a> {
    /// No property at all.
    pub fn none() -> PropertiesView<'a> {
        PropertiesView {
            fields: [None; COUNT],
        }
    }

    /// Finds the properties in `raw`, which must hold them all and nothing else. Checks the length of the
    /// headers table but not its fields: see [`PropertiesView::check_headers`].
    pub fn parse(raw: &'a [u8]) -> Result<PropertiesView<'a>, HeaderError> {
        let mut cursor = Cursor::new(raw);
        let flags = cursor.u16().ok_or(HeaderError::Truncated)?;
        if flags & MORE_FLAGS != 0 {
            return Err(HeaderError::MoreFlags);
        }
        let mut fields = [None; COUNT];
        for (index, field) in fields.iter_mut().enumerate() {
            if flags & flag(index) != 0 {
                *field = Some(take_field(&mut cursor, index).ok_or(HeaderError::Truncated)?);
            }
        }
        if !cursor.is_empty() {
            return Err(HeaderError::Trailing(cursor.rest().len()));
        }
        Ok(PropertiesView { fields })
    }

    pub fn content_type(&self) -> Option<&'a [u8]> {
        self.short(CONTENT_TYPE)
    }

    pub fn content_encoding(&self) -> Option<&'a [u8]> {
        self.short(CONTENT_ENCODING)
    }

    /// Whether there is a headers table, possibly an empty one.
    pub fn has_headers(&self) -> bool {
        self.headers_raw().is_some()
    }

    /// The headers table with its length prefix.
    pub fn headers_raw(&self) -> Option<&'a [u8]> {
        self.raw(HEADERS)
    }

    /// The first header called `name`.
    pub fn header(&self, name: &str) -> Option<Entry<'a>> {
        table::find(self.headers_raw()?, name)
    }

    /// Checks the whole headers table without building it.
    pub fn check_headers(&self) -> Result<(), HeaderError> {
        Ok(self.headers_raw().map_or(Ok(()), check_table)?)
    }

    /// The headers table; empty when there is none.
    pub fn headers(&self) -> Result<FieldTable, HeaderError> {
        Ok(self
            .headers_raw()
            .map_or_else(|| Ok(FieldTable::default()), decode_table)?)
    }

    /// `delivery-mode`: 2 is persistent.
    pub fn delivery_mode(&self) -> Option<u8> {
        self.octet(DELIVERY_MODE)
    }

    pub fn priority(&self) -> Option<u8> {
        self.octet(PRIORITY)
    }

    pub fn correlation_id(&self) -> Option<&'a [u8]> {
        self.short(CORRELATION_ID)
    }

    pub fn reply_to(&self) -> Option<&'a [u8]> {
        self.short(REPLY_TO)
    }

    /// `expiration`: milliseconds as decimal digits, if the publisher follows the convention.
    pub fn expiration(&self) -> Option<&'a [u8]> {
        self.short(EXPIRATION)
    }

    pub fn message_id(&self) -> Option<&'a [u8]> {
        self.short(MESSAGE_ID)
    }

    /// `timestamp`, in seconds since 1970.
    pub fn timestamp(&self) -> Option<u64> {
        Cursor::new(self.raw(TIMESTAMP)?).u64()
    }

    /// `type`.
    pub fn kind(&self) -> Option<&'a [u8]> {
        self.short(TYPE)
    }

    pub fn user_id(&self) -> Option<&'a [u8]> {
        self.short(USER_ID)
    }

    pub fn app_id(&self) -> Option<&'a [u8]> {
        self.short(APP_ID)
    }

    /// `cluster-id`, deprecated.
    pub fn cluster_id(&self) -> Option<&'a [u8]> {
        self.short(CLUSTER_ID)
    }

    /// Starts a changed copy.
    pub fn edit(&self) -> PropertiesEdit<'a> {
        PropertiesEdit {
            fields: self.fields.map(|field| field.map(Cow::Borrowed)),
        }
    }

    fn raw(&self, index: usize) -> Option<&'a [u8]> {
        self.fields.get(index).copied().flatten()
    }

    fn short(&self, index: usize) -> Option<&'a [u8]> {
        Cursor::new(self.raw(index)?).short()
    }

    fn octet(&self, index: usize) -> Option<u8> {
        Cursor::new(self.raw(index)?).u8()
    }
}

/// A changed copy of properties. Fields that are neither set nor removed keep their bytes.
#[derive(Clone, Debug, Default)]
pub struct PropertiesEdit<'a> {
    fields: [Option<Cow<'a, [u8]>>; COUNT],
}

/// A property with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextProperty {
    ContentType,
    ContentEncoding,
    CorrelationId,
    ReplyTo,
    Expiration,
    MessageId,
    Type,
    UserId,
    AppId,
    ClusterId,
}

impl TextProperty {
    fn index(self) -> usize {
        match self {
            TextProperty::ContentType => CONTENT_TYPE,
            TextProperty::ContentEncoding => CONTENT_ENCODING,
            TextProperty::CorrelationId => CORRELATION_ID,
            TextProperty::ReplyTo => REPLY_TO,
            TextProperty::Expiration => EXPIRATION,
            TextProperty::MessageId => MESSAGE_ID,
            TextProperty::Type => TYPE,
            TextProperty::UserId => USER_ID,
            TextProperty::AppId => APP_ID,
            TextProperty::ClusterId => CLUSTER_ID,
        }
    }
}

impl<'a> PropertiesEdit<'a> {
    /// Sets a text, cut at 255 bytes.
    pub fn set_text(&mut self, property: TextProperty, text: &str) -> &mut Self {
        let text = super::short_string(text);
        let mut raw = Vec::with_capacity(1 + text.as_str().len());
        raw.put_u8(u8::try_from(text.as_str().len()).unwrap_or(u8::MAX));
        raw.put_slice(text.as_str().as_bytes());
        self.set(property.index(), raw)
    }

    pub fn set_timestamp(&mut self, seconds: u64) -> &mut Self {
        self.set(TIMESTAMP, seconds.to_be_bytes().to_vec())
    }

    pub fn set_headers(&mut self, headers: &FieldTable) -> &mut Self {
        let mut raw = BytesMut::new();
        encode_table(headers, &mut raw);
        self.set(HEADERS, raw.to_vec())
    }

    /// Replaces the headers table by an encoded table with its length prefix.
    pub fn set_headers_raw(&mut self, raw: Vec<u8>) -> &mut Self {
        self.set(HEADERS, raw)
    }

    pub fn remove_headers(&mut self) -> &mut Self {
        self.remove(HEADERS)
    }

    /// Removes `expiration`, as dead lettering does.
    pub fn remove_expiration(&mut self) -> &mut Self {
        self.remove(EXPIRATION)
    }

    /// Sets `reply-to`, cut at 255 bytes.
    pub fn set_reply_to(&mut self, reply_to: &str) -> &mut Self {
        self.set_text(TextProperty::ReplyTo, reply_to)
    }

    pub fn set_delivery_mode(&mut self, mode: u8) -> &mut Self {
        self.set(DELIVERY_MODE, vec![mode])
    }

    pub fn set_priority(&mut self, priority: u8) -> &mut Self {
        self.set(PRIORITY, vec![priority])
    }

    pub fn finish(&self) -> Bytes {
        let len = self
            .fields
            .iter()
            .flatten()
            .map(|field| field.len())
            .sum::<usize>();
        let mut out = BytesMut::with_capacity(2 + len);
        let present = self
            .fields
            .iter()
            .enumerate()
            .filter(|(_, field)| field.is_some());
        out.put_u16(present.fold(0, |flags, (index, _)| flags | flag(index)));
        for field in self.fields.iter().flatten() {
            out.put_slice(field);
        }
        out.freeze()
    }

    fn set(&mut self, index: usize, raw: Vec<u8>) -> &mut Self {
        if let Some(field) = self.fields.get_mut(index) {
            *field = Some(Cow::Owned(raw));
        }
        self
    }

    fn remove(&mut self, index: usize) -> &mut Self {
        if let Some(field) = self.fields.get_mut(index) {
            *field = None;
        }
        self
    }
}

/// Appends headers, 64-bit integers by name, to the headers table of `raw`. Also sets `delivery-mode` to
/// `mode_if_none`, if that is given and `raw` has no mode. Returns `None` if a header of that name exists or
/// `raw` is cut short. Runs for every delivery of a stream, so it makes one pass and one allocation.
pub fn append_headers(
    raw: &[u8],
    headers: &[(&str, i64)],
    mode_if_none: Option<u8>,
) -> Option<Bytes> {
    const LONG_LONG: u8 = b'l';
    let mut cursor = Cursor::new(raw);
    let mut flags = cursor.u16()?;
    let start = cursor.rest();
    for text in [CONTENT_TYPE, CONTENT_ENCODING] {
        if flags & flag(text) != 0 {
            cursor.short()?;
        }
    }
    let before = start.get(..start.len() - cursor.rest().len())?;
    let fields = match flags & flag(HEADERS) {
        0 => &[],
        _ => cursor.long()?,
    };
    let is_new = |name: &[u8]| headers.iter().all(|(new, _)| new.as_bytes() != name);
    if !Entries::of_fields(fields).all(|entry| is_new(entry.name)) {
        return None;
    }
    let mode = mode_if_none.filter(|_| flags & flag(DELIVERY_MODE) == 0);
    if mode.is_some() {
        flags |= flag(DELIVERY_MODE);
    }
    let added: usize = headers.iter().map(|(name, _)| 1 + name.len() + 1 + 8).sum();
    let mut out = BytesMut::with_capacity(raw.len() + 4 + added + 1);
    out.put_u16(flags | flag(HEADERS));
    out.put_slice(before);
    out.put_u32(u32::try_from(fields.len() + added).ok()?);
    out.put_slice(fields);
    for (name, value) in headers {
        out.put_u8(u8::try_from(name.len()).ok()?);
        out.put_slice(name.as_bytes());
        out.put_u8(LONG_LONG);
        out.put_i64(*value);
    }
    out.extend(mode);
    out.put_slice(cursor.rest());
    Some(out.freeze())
}

/// Reads all properties into values. Fails on a string that is not UTF-8, so code that changes single fields
/// uses [`PropertiesView::edit`] instead.
pub fn decode_properties(raw: &[u8]) -> Result<AMQPProperties, HeaderError> {
    let view = PropertiesView::parse(raw)?;
    view.check_headers()?;
    let strings = [
        ("content-type", view.content_type()),
        ("content-encoding", view.content_encoding()),
        ("correlation-id", view.correlation_id()),
        ("reply-to", view.reply_to()),
        ("expiration", view.expiration()),
        ("message-id", view.message_id()),
        ("type", view.kind()),
        ("user-id", view.user_id()),
        ("app-id", view.app_id()),
        ("cluster-id", view.cluster_id()),
    ];
    for (name, bytes) in strings {
        std::str::from_utf8(bytes.unwrap_or_default()).map_err(|_| HeaderError::NotUtf8(name))?;
    }
    // The view has checked all lengths, so the parser has no reason to fail.
    basic::parse_properties(raw)
        .map(|(_, properties)| properties)
        .map_err(|_| HeaderError::Truncated)
}

/// Writes properties in their raw form.
pub fn encode_properties(properties: &AMQPProperties) -> Bytes {
    let context = amq_protocol::frame::WriteContext::from(Vec::with_capacity(64));
    let (raw, _) = basic::gen_properties(properties)(context)
        .expect("a Vec takes whatever is written to it")
        .into_inner();
    raw.into()
}

/// Takes the bytes of property number `index`, including its length prefix.
fn take_field<'a>(cursor: &mut Cursor<'a>, index: usize) -> Option<&'a [u8]> {
    let start = *cursor;
    let len = match index {
        DELIVERY_MODE | PRIORITY => 1,
        TIMESTAMP => 8,
        HEADERS => 4 + cursor.long()?.len(),
        _ => 1 + cursor.short()?.len(),
    };
    *cursor = start;
    cursor.take(len)
}
