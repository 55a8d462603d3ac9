//! The `basic` properties as they lie in a content header: sixteen flag bits, then the values that are present.
//! Rules read single fields straight from the raw bytes; messages that the broker changes (dead lettering, reply-to)
//! are rewritten field by field, so that what it does not understand stays as it was.

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
/// How many properties there are; their flags are the highest bits, first property highest.
const COUNT: usize = 14;
/// The flag of property number `index`: the first property has the highest bit.
fn flag(index: usize) -> u16 {
    0x8000 >> index
}

/// The lowest flag: another word of flags follows. `basic` has no use for one. The flag above it means nothing.
const MORE_FLAGS: u16 = 1;

/// The properties of one message, read from their raw form without allocation. Strings are bytes: AMQP says UTF-8,
/// RabbitMQ does not check, and clients do put binary correlation ids there.
#[derive(Clone, Debug)]
pub struct PropertiesView<'a> {
    /// Each present property as it is on the wire, its length included where it has one.
    fields: [Option<&'a [u8]>; COUNT],
}

impl<'a> PropertiesView<'a> {
    /// Finds the properties in `raw`. Checks that all is there and nothing more; the headers table's own length is
    /// checked, its fields are not: see [`PropertiesView::check_headers`].
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

    /// `content-type`.
    pub fn content_type(&self) -> Option<&'a [u8]> {
        self.short(CONTENT_TYPE)
    }

    /// `content-encoding`.
    pub fn content_encoding(&self) -> Option<&'a [u8]> {
        self.short(CONTENT_ENCODING)
    }

    /// Whether there is a headers table, be it empty.
    pub fn has_headers(&self) -> bool {
        self.headers_raw().is_some()
    }

    /// The headers table with its length in front.
    pub fn headers_raw(&self) -> Option<&'a [u8]> {
        self.raw(HEADERS)
    }

    /// The first header called `name`, as it is on the wire.
    pub fn header(&self, name: &str) -> Option<Entry<'a>> {
        table::find(self.headers_raw()?, name)
    }

    /// Whether the headers table is well formed, without building it.
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

    /// `priority`.
    pub fn priority(&self) -> Option<u8> {
        self.octet(PRIORITY)
    }

    /// `correlation-id`.
    pub fn correlation_id(&self) -> Option<&'a [u8]> {
        self.short(CORRELATION_ID)
    }

    /// `reply-to`.
    pub fn reply_to(&self) -> Option<&'a [u8]> {
        self.short(REPLY_TO)
    }

    /// `expiration`: milliseconds as digits, if the publisher kept to the rule.
    pub fn expiration(&self) -> Option<&'a [u8]> {
        self.short(EXPIRATION)
    }

    /// `message-id`.
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

    /// `user-id`.
    pub fn user_id(&self) -> Option<&'a [u8]> {
        self.short(USER_ID)
    }

    /// `app-id`.
    pub fn app_id(&self) -> Option<&'a [u8]> {
        self.short(APP_ID)
    }

    /// `cluster-id`, deprecated.
    pub fn cluster_id(&self) -> Option<&'a [u8]> {
        self.short(CLUSTER_ID)
    }

    /// A changed copy: see [`PropertiesEdit`].
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

/// Properties under change. Fields that are not set or removed keep their bytes.
#[derive(Clone, Debug, Default)]
pub struct PropertiesEdit<'a> {
    fields: [Option<Cow<'a, [u8]>>; COUNT],
}

impl<'a> PropertiesEdit<'a> {
    /// Puts `headers` in place of the headers table.
    pub fn set_headers(&mut self, headers: &FieldTable) -> &mut Self {
        let mut raw = BytesMut::new();
        encode_table(headers, &mut raw);
        self.set(HEADERS, raw.to_vec())
    }

    /// Puts an encoded table, its length in front, in place of the headers table.
    pub fn set_headers_raw(&mut self, raw: Vec<u8>) -> &mut Self {
        self.set(HEADERS, raw)
    }

    /// Takes the headers table away.
    pub fn remove_headers(&mut self) -> &mut Self {
        self.remove(HEADERS)
    }

    /// Takes `expiration` away, as dead lettering does.
    pub fn remove_expiration(&mut self) -> &mut Self {
        self.remove(EXPIRATION)
    }

    /// Sets `reply-to`, cut at 255 bytes.
    pub fn set_reply_to(&mut self, reply_to: &str) -> &mut Self {
        let text = super::short_string(reply_to);
        let mut raw = Vec::with_capacity(1 + text.as_str().len());
        raw.put_u8(u8::try_from(text.as_str().len()).unwrap_or(u8::MAX));
        raw.put_slice(text.as_str().as_bytes());
        self.set(REPLY_TO, raw)
    }

    /// Sets `delivery-mode`.
    pub fn set_delivery_mode(&mut self, mode: u8) -> &mut Self {
        self.set(DELIVERY_MODE, vec![mode])
    }

    /// Sets `priority`.
    pub fn set_priority(&mut self, priority: u8) -> &mut Self {
        self.set(PRIORITY, vec![priority])
    }

    /// The raw form.
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

/// The properties `raw` with more headers at the end of the table, 64 bit integers by name; and with `delivery-mode`
/// `mode_if_none`, if that is given and they have none. `None` if there is such a header already, or if `raw` is cut short.
/// Made for every delivery of a stream: one pass, one allocation.
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

/// Reads all properties into values. Fails where a string is not UTF-8: what only has to be changed in places is better
/// edited ([`PropertiesView::edit`]).
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
    // The view has seen that all is there and nothing more, so the parser has no reason to refuse.
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

/// Takes the bytes of property number `index`, its length included.
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
