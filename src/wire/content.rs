//! Content headers (spec 2.3.5.2): class, body size, and the properties as raw bytes. Consumers receive the
//! properties unchanged; `properties` reads them.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::cursor::Cursor;
use super::method_ids::basic;
use super::table::TableError;

/// The class of all content: `basic`.
pub const BASIC_CLASS_ID: u16 = basic::CLASS;
/// Length of the part that every content header has: class id, weight and body size.
pub const HEADER_MIN: usize = 12;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentHeader {
    /// The class of the method before it; a peer that sends anything but [`BASIC_CLASS_ID`] gets 505.
    pub class_id: u16,
    /// Length of the following body in bytes, as the peer declares it; the caller must check it.
    pub body_size: u64,
    /// Property flags and property list, not checked yet.
    pub properties: Bytes,
}

/// A malformed content header or malformed properties. Unless noted otherwise, RabbitMQ closes the connection
/// with 541 and the bare text `INTERNAL_ERROR`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Shorter than its flags and lengths say.
    #[error("content header is cut short")]
    Truncated,
    /// The weight field is reserved and must be zero. RabbitMQ answers 505, as for an unexpected frame.
    #[error("content header has weight {0}")]
    Weight(u16),
    /// A second word of property flags, which `basic` does not have.
    #[error("more property flags than there are properties")]
    MoreFlags,
    /// Bytes after the last property.
    #[error("{0} bytes after the last property")]
    Trailing(usize),
    /// This reading needs the property as text. Other readings accept any bytes.
    #[error("property {0} is not UTF-8")]
    NotUtf8(&'static str),
    /// The headers table is malformed.
    #[error("headers: {0}")]
    Headers(#[from] TableError),
}

/// Reads the payload of a content header frame. `properties` is a slice of it, not a copy.
pub fn decode_header(payload: Bytes) -> Result<ContentHeader, HeaderError> {
    let mut cursor = Cursor::new(&payload);
    let class_id = cursor.u16().ok_or(HeaderError::Truncated)?;
    let weight = cursor.u16().ok_or(HeaderError::Truncated)?;
    let body_size = cursor.u64().ok_or(HeaderError::Truncated)?;
    if weight != 0 {
        return Err(HeaderError::Weight(weight));
    }
    Ok(ContentHeader {
        class_id,
        body_size,
        properties: payload.slice(HEADER_MIN..),
    })
}

/// Writes the payload of a `basic` content header frame. `properties` is the raw form: flags, then values.
pub fn encode_header(properties: &[u8], body_size: u64, out: &mut BytesMut) {
    out.reserve(HEADER_MIN + properties.len());
    out.put_u16(BASIC_CLASS_ID);
    out.put_u16(0);
    out.put_u64(body_size);
    out.put_slice(properties);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_back_as_written() {
        for (properties, body_size) in [
            (&b"\0\0"[..], 0),
            (&b"\x10\0\x02"[..], u64::MAX),
            (&b""[..], 7),
        ] {
            let mut out = BytesMut::new();
            encode_header(properties, body_size, &mut out);
            let header = decode_header(out.freeze()).expect("what was written can be read");
            assert_eq!(header.class_id, BASIC_CLASS_ID);
            assert_eq!(header.body_size, body_size);
            assert_eq!(header.properties, properties);
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        let cases: &[(&[u8], HeaderError)] = &[
            (b"", HeaderError::Truncated),
            (b"\0\x3c\0\0\0\0\0\0\0\0\0", HeaderError::Truncated),
            (
                b"\0\x3c\0\x01\0\0\0\0\0\0\0\x05\0\0",
                HeaderError::Weight(1),
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(
                decode_header(Bytes::from_static(bytes)).as_ref(),
                Err(expected)
            );
        }
    }
}
