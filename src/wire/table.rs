//! Field tables (spec 4.2.5.5) with RabbitMQ's type tags: `t b B s u I i l L f d D S A T F V x`. Of the tags on
//! which the world disagrees, RabbitMQ reads `s` as a signed 16-bit integer, and both `l` and `L` as signed 64-bit.
//!
//! A table is walked here before amq-protocol's parser, which recurses, gets to see it: shape and depth are known good
//! by then. Tables that are only looked into ([`Entries`], [`find`]) are never built at all.

use std::borrow::Cow;
use std::str;

use amq_protocol::types::generation::gen_field_table;
use amq_protocol::types::parsing::parse_field_table;
use bytes::{BufMut, BytesMut};
use thiserror::Error;

use super::FieldTable;
use super::cursor::Cursor;

/// How deep tables and arrays may lie in one another. RabbitMQ has no such bound; nobody nests like that, and the
/// stack of a thread is finite.
pub const TABLE_DEPTH_MAX: usize = 128;

/// Why bytes are not a field table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TableError {
    /// Shorter than the lengths in it say.
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

/// Reads a table with its length in front; nothing may follow it.
pub fn decode_table(raw: &[u8]) -> Result<FieldTable, TableError> {
    let mut cursor = Cursor::new(raw);
    let mut odd_names = Vec::new();
    walk_table(&mut cursor, &mut odd_names)?;
    if !cursor.is_empty() {
        return Err(TableError::Trailing(cursor.rest().len()));
    }
    // A walked table parses; were the parser of another opinion, "cut short" is the nearest thing to say.
    match parse_field_table(&*masked(raw, &odd_names)) {
        Ok(([], table)) => Ok(table),
        Ok((rest, _)) => Err(TableError::Trailing(rest.len())),
        Err(_) => Err(TableError::Truncated),
    }
}

/// Writes a table with its length in front.
pub fn encode_table(table: &FieldTable, out: &mut BytesMut) {
    let context = amq_protocol::frame::WriteContext::from(Vec::with_capacity(64));
    let (raw, _) = gen_field_table(table)(context)
        .expect("a Vec takes whatever is written to it")
        .into_inner();
    out.put_slice(&raw);
}

/// Walks a table with its length in front, without building anything.
pub fn check_table(raw: &[u8]) -> Result<(), TableError> {
    let mut cursor = Cursor::new(raw);
    walk_table(&mut cursor, &mut Vec::new())?;
    if cursor.is_empty() {
        Ok(())
    } else {
        Err(TableError::Trailing(cursor.rest().len()))
    }
}

/// Walks the fields of a table that has no length in front, without building anything.
pub fn check_fields(fields: &[u8]) -> Result<(), TableError> {
    walk_fields(fields, &mut Vec::new(), 1)
}

/// One field of a table as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The field's name.
    pub name: &'a [u8],
    /// The value's type tag.
    pub tag: u8,
    /// The value: without its length for strings, byte arrays, tables and arrays.
    pub value: &'a [u8],
}

/// The fields of a table in the order of the wire, duplicates included. Stops at the first malformed one.
#[derive(Clone, Debug)]
pub struct Entries<'a>(Cursor<'a>);

impl<'a> Entries<'a> {
    /// The fields of a table without its length.
    pub fn of_fields(fields: &'a [u8]) -> Entries<'a> {
        Entries(Cursor::new(fields))
    }

    /// The fields of a table with its length in front.
    pub fn of_table(raw: &'a [u8]) -> Entries<'a> {
        Entries(Cursor::new(Cursor::new(raw).long().unwrap_or_default()))
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

/// The values of an array, given without its length, in order. Stops at the first malformed one.
pub fn array_values(array: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut cursor = Cursor::new(array);
    std::iter::from_fn(move || {
        let tag = cursor.u8()?;
        Some((tag, take_value(&mut cursor, tag).ok()?))
    })
}

/// The first field called `name` of a table with its length in front.
pub fn find<'a>(raw: &'a [u8], name: &str) -> Option<Entry<'a>> {
    Entries::of_table(raw).find(|entry| entry.name == name.as_bytes())
}

/// `outer` with the bytes above 127 of `odd_names`, slices of it, replaced by question marks. RabbitMQ takes field names
/// of any bytes; the values here have text for names, and nobody asks for the others.
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

/// Walks one table off the front of `cursor`. Names that are not UTF-8 are added to `odd_names`: see [`masked`].
pub(super) fn walk_table<'a>(
    cursor: &mut Cursor<'a>,
    odd_names: &mut Vec<&'a [u8]>,
) -> Result<(), TableError> {
    let fields = cursor.long().ok_or(TableError::Truncated)?;
    walk_fields(fields, odd_names, 1)
}

/// Walks the fields of a table that lies `depth` deep.
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

/// Takes a value of type `tag`, without its length where it has one.
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
