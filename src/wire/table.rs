//! Field tables (spec 4.2.5.5) with RabbitMQ's type tags: `t b B s u I i l L f d D S A T F V x`. Brokers
//! disagree on some tags; RabbitMQ reads `s` as a signed 16-bit integer, and both `l` and `L` as signed
//! 64-bit.
//!
//! amq-protocol's parser recurses, so a table is walked here first to check its shape and depth. Lookups
//! ([`Entries`], [`find`]) build no table.

use std::borrow::Cow;
use std::str;

use amq_protocol::types::generation::gen_field_table;
use amq_protocol::types::parsing::parse_field_table;
use bytes::{BufMut, BytesMut};
use thiserror::Error;

use super::FieldTable;
use super::cursor::Cursor;

/// Maximum nesting of tables and arrays. RabbitMQ has no such limit, but the stack of a thread is finite, and
/// real tables are far from this depth.
pub const TABLE_DEPTH_MAX: usize = 128;

/// A malformed field table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TableError {
    /// Shorter than its lengths say.
    #[error("field table is cut short")]
    Truncated,
    /// Bytes after the end of the table.
    #[error("{0} bytes after the end of the field table")]
    Trailing(usize),
    /// A value's type tag is not one of RabbitMQ's.
    #[error("unknown field type {0}")]
    UnknownTag(u8),
    /// Nested deeper than [`TABLE_DEPTH_MAX`].
    #[error("field table is nested deeper than {TABLE_DEPTH_MAX}")]
    TooDeep,
}

/// Reads a table with its length prefix; more bytes after it are an error.
pub fn decode_table(raw: &[u8]) -> Result<FieldTable, TableError> {
    let mut cursor = Cursor::new(raw);
    let mut odd_names = Vec::new();
    walk_table(&mut cursor, &mut odd_names)?;
    if !cursor.is_empty() {
        return Err(TableError::Trailing(cursor.rest().len()));
    }
    // A walked table parses. Should the parser disagree, "cut short" is the nearest error.
    match parse_field_table(&*masked(raw, &odd_names)) {
        Ok(([], table)) => Ok(table),
        Ok((rest, _)) => Err(TableError::Trailing(rest.len())),
        Err(_) => Err(TableError::Truncated),
    }
}

/// Writes a table with its length prefix.
pub fn encode_table(table: &FieldTable, out: &mut BytesMut) {
    let context = amq_protocol::frame::WriteContext::from(Vec::with_capacity(64));
    let (raw, _) = gen_field_table(table)(context)
        .expect("a Vec takes whatever is written to it")
        .into_inner();
    out.put_slice(&raw);
}

/// Checks a table with its length prefix without building it.
pub fn check_table(raw: &[u8]) -> Result<(), TableError> {
    let mut cursor = Cursor::new(raw);
    walk_table(&mut cursor, &mut Vec::new())?;
    if cursor.is_empty() {
        Ok(())
    } else {
        Err(TableError::Trailing(cursor.rest().len()))
    }
}

/// Checks the fields of a table without its length prefix, and builds nothing.
pub fn check_fields(fields: &[u8]) -> Result<(), TableError> {
    walk_fields(fields, &mut Vec::new(), 1)
}

/// One field of a table, borrowed from the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub name: &'a [u8],
    pub tag: u8,
    /// The value, without the length prefix of strings, byte arrays, tables and arrays.
    pub value: &'a [u8],
}

/// The fields of a table in wire order, including duplicates. Stops at the first malformed one.
#[derive(Clone, Debug)]
pub struct Entries<'a>(Cursor<'a>);

impl<'a> Entries<'a> {
    /// The fields of a table without its length prefix.
    pub fn of_fields(fields: &'a [u8]) -> Entries<'a> {
        Entries(Cursor::new(fields))
    }

    /// The fields of a table with its length prefix.
    pub fn of_table(raw: &'a [u8]) -> Entries<'a> {
        Entries(Cursor::new(Cursor::new(raw).long().unwrap_or_default()))
    }

    /// The fields that are still to come.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0.rest()
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let name = self.0.short()?;
        let tag = self.0.u8()?;
        let value = take_value(&mut self.0, tag).ok()?;
        Some(Entry { name, tag, value })
    }
}

/// The type tags and values of an array without its length prefix, in order. Stops at the first malformed one.
pub fn array_values(array: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut cursor = Cursor::new(array);
    std::iter::from_fn(move || {
        let tag = cursor.u8()?;
        Some((tag, take_value(&mut cursor, tag).ok()?))
    })
}

/// A copy of a table, both with their length prefix, in which the field `name` has another value and stands last. All other
/// fields keep their octets. `value` is an encoded value without its tag. A table that is cut short loses its torn end.
pub fn replace_field(raw: &[u8], name: &str, tag: u8, value: &[u8]) -> Vec<u8> {
    let mut fields = Vec::with_capacity(raw.len() + name.len() + value.len() + 2);
    let mut cursor = Cursor::new(Cursor::new(raw).long().unwrap_or_default());
    while !cursor.is_empty() {
        let start = cursor.rest();
        let Some(found) = take_field(&mut cursor) else {
            break;
        };
        let taken = start.len() - cursor.rest().len();
        if found != name.as_bytes() {
            fields.extend_from_slice(start.get(..taken).unwrap_or_default());
        }
    }
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    fields.push(length);
    fields.extend(name.bytes().take(length.into()));
    fields.push(tag);
    fields.extend_from_slice(value);
    let mut table = u32::try_from(fields.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
        .to_vec();
    table.append(&mut fields);
    table
}

/// Takes a field, and returns its name.
fn take_field<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let name = cursor.short()?;
    let tag = cursor.u8()?;
    take_value(cursor, tag).ok()?;
    Some(name)
}

/// The first field called `name` of a table with its length prefix.
pub fn find<'a>(raw: &'a [u8], name: &str) -> Option<Entry<'a>> {
    Entries::of_table(raw).find(|entry| entry.name == name.as_bytes())
}

/// Replaces the bytes above 127 in `odd_names`, which are slices of `outer`, by question marks. RabbitMQ
/// accepts field names of any bytes. Names here are text, and no rule of the broker looks up a name that is
/// not.
pub(super) fn masked<'a>(outer: &'a [u8], odd_names: &[&[u8]]) -> Cow<'a, [u8]> {
    if odd_names.is_empty() {
        return Cow::Borrowed(outer);
    }
    let mut bytes = outer.to_vec();
    for name in odd_names {
        let start = name.as_ptr().addr() - outer.as_ptr().addr();
        for byte in bytes
            .iter_mut()
            .skip(start)
            .take(name.len())
            .filter(|byte| !byte.is_ascii())
        {
            *byte = b'?';
        }
    }
    Cow::Owned(bytes)
}

/// Walks one table off the front of `cursor`. Adds names that are not UTF-8 to `odd_names`: see [`masked`].
pub(super) fn walk_table<'a>(
    cursor: &mut Cursor<'a>,
    odd_names: &mut Vec<&'a [u8]>,
) -> Result<(), TableError> {
    let fields = cursor.long().ok_or(TableError::Truncated)?;
    walk_fields(fields, odd_names, 1)
}

/// Walks the fields of a table at nesting `depth`.
pub(super) fn walk_fields<'a>(
    fields: &'a [u8],
    odd_names: &mut Vec<&'a [u8]>,
    depth: usize,
) -> Result<(), TableError> {
    if depth > TABLE_DEPTH_MAX {
        return Err(TableError::TooDeep);
    }
    let mut cursor = Cursor::new(fields);
    while !cursor.is_empty() {
        let name = cursor.short().ok_or(TableError::Truncated)?;
        if str::from_utf8(name).is_err() {
            odd_names.push(name);
        }
        walk_value(&mut cursor, odd_names, depth)?;
    }
    Ok(())
}

fn walk_array<'a>(
    values: &'a [u8],
    odd_names: &mut Vec<&'a [u8]>,
    depth: usize,
) -> Result<(), TableError> {
    if depth > TABLE_DEPTH_MAX {
        return Err(TableError::TooDeep);
    }
    let mut cursor = Cursor::new(values);
    while !cursor.is_empty() {
        walk_value(&mut cursor, odd_names, depth)?;
    }
    Ok(())
}

fn walk_value<'a>(
    cursor: &mut Cursor<'a>,
    odd_names: &mut Vec<&'a [u8]>,
    depth: usize,
) -> Result<(), TableError> {
    let tag = cursor.u8().ok_or(TableError::Truncated)?;
    let value = take_value(cursor, tag)?;
    match tag {
        b'F' => walk_fields(value, odd_names, depth + 1),
        b'A' => walk_array(value, odd_names, depth + 1),
        _ => Ok(()),
    }
}

/// Takes a value of type `tag`, without its length prefix.
fn take_value<'a>(cursor: &mut Cursor<'a>, tag: u8) -> Result<&'a [u8], TableError> {
    let value = match tag {
        b'V' => cursor.take(0),
        b't' | b'b' | b'B' => cursor.take(1),
        b's' | b'u' => cursor.take(2),
        b'I' | b'i' | b'f' => cursor.take(4),
        b'D' => cursor.take(5),
        b'l' | b'L' | b'd' | b'T' => cursor.take(8),
        b'S' | b'x' | b'A' | b'F' => cursor.long(),
        unknown => return Err(TableError::UnknownTag(unknown)),
    };
    value.ok_or(TableError::Truncated)
}
