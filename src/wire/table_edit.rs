//! Changes of an encoded field table that keep the bytes of all other fields: order, types and names that are
//! not UTF-8 stay as they came.

use bytes::BufMut;

use super::cursor::Cursor;
use super::table::Entries;

/// The table with its length prefix, without the fields called `name`.
pub fn table_without(raw: &[u8], name: &str) -> Vec<u8> {
    let fields = Cursor::new(raw).long().unwrap_or_default();
    let mut kept = Vec::with_capacity(fields.len());
    let mut entries = Entries::of_fields(fields);
    let mut rest = fields;
    while let Some(entry) = entries.next() {
        let len = rest.len() - entries.rest().len();
        let (field, after) = rest.split_at(len);
        if entry.name != name.as_bytes() {
            kept.extend_from_slice(field);
        }
        rest = after;
    }
    with_length(&kept)
}

/// The table with its length prefix, with `fields` behind its own. `None` stands for a table without fields.
pub fn table_with(raw: Option<&[u8]>, fields: &[u8]) -> Vec<u8> {
    let before = raw.and_then(|raw| Cursor::new(raw).long());
    let mut all = before.unwrap_or_default().to_vec();
    all.extend_from_slice(fields);
    with_length(&all)
}

/// Appends a field with a table of `fields`.
pub fn put_table_field(to: &mut Vec<u8>, name: &str, fields: &[u8]) {
    put_name(to, name);
    to.put_u8(b'F');
    to.extend_from_slice(&with_length(fields));
}

/// Appends a field with a long string.
pub fn put_text_field(fields: &mut Vec<u8>, name: &str, text: &[u8]) {
    put_name(fields, name);
    fields.put_u8(b'S');
    fields.extend_from_slice(&with_length(text));
}

/// Appends a field with a boolean.
pub fn put_bool_field(fields: &mut Vec<u8>, name: &str, value: bool) {
    put_name(fields, name);
    fields.put_u8(b't');
    fields.put_u8(u8::from(value));
}

/// Appends a field with an unsigned 32-bit integer.
pub fn put_u32_field(fields: &mut Vec<u8>, name: &str, value: u32) {
    put_name(fields, name);
    fields.put_u8(b'i');
    fields.put_u32(value);
}

/// Appends a field with a signed 32-bit integer.
pub fn put_i32_field(fields: &mut Vec<u8>, name: &str, value: i32) {
    put_name(fields, name);
    fields.put_u8(b'I');
    fields.put_i32(value);
}

/// Appends a field with an array of long strings.
pub fn put_texts_field(fields: &mut Vec<u8>, name: &str, texts: &[&str]) {
    let mut array = Vec::new();
    for text in texts {
        array.put_u8(b'S');
        array.extend_from_slice(&with_length(text.as_bytes()));
    }
    put_name(fields, name);
    fields.put_u8(b'A');
    fields.extend_from_slice(&with_length(&array));
}

/// Appends a field with a table that has its length prefix already.
pub fn put_encoded_table_field(fields: &mut Vec<u8>, name: &str, table: &[u8]) {
    put_name(fields, name);
    fields.put_u8(b'F');
    fields.put_slice(table);
}

/// Names are constants of this program, far below 255 bytes.
fn put_name(fields: &mut Vec<u8>, name: &str) {
    fields.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    fields.put_slice(name.as_bytes());
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(4 + bytes.len());
    raw.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    raw.put_slice(bytes);
    raw
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::table::{check_table, find};

    #[test]
    fn a_field_is_added_and_taken_off_without_a_change_of_others() {
        // "b" twice, of different types; a name that is not UTF-8; an unsigned short.
        let fields = b"\x01bt\x01\x01bS\0\0\0\x02xy\x01\xffV\x01uu\0\x07";
        let raw = with_length(fields);
        let mut inner = Vec::new();
        put_text_field(&mut inner, "text", b"\xfe");
        put_bool_field(&mut inner, "yes", true);
        put_u32_field(&mut inner, "n", 7);
        put_i32_field(&mut inner, "i", -7);
        put_texts_field(&mut inner, "none", &[]);
        put_texts_field(&mut inner, "two", &["", "b"]);
        put_encoded_table_field(&mut inner, "raw", &raw);
        let mut own = Vec::new();
        put_table_field(&mut own, "own", &inner);
        let with = table_with(Some(&raw), &own);
        assert_eq!(check_table(&with), Ok(()));
        assert_eq!(find(&with, "own").map(|entry| entry.value), Some(&*inner));
        assert_eq!(table_without(&with, "own"), raw);
        assert_eq!(table_without(&raw, "none"), raw);
        assert_eq!(
            table_without(&raw, "b"),
            with_length(b"\x01\xffV\x01uu\0\x07")
        );
        let only = table_with(None, &own);
        assert_eq!(table_without(&only, "own"), with_length(b""));
    }
}
